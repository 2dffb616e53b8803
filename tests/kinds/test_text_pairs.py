"""Sequences of texts: cut as the tokenizers library cuts them, without what it makes of the parts that are cut off."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmodctl.kinds import texts
from xmodctl.kinds.texts import kept_tokens, tokenized

WORDS = ["the", "Thames", "bridge", "長江", "上海", "Волга,", "don't", "", "double", "", "spaces", "😀", "गंगा"]


def long_and_short(seed: int, count: int = 60) -> list[str]:
    draw = np.random.default_rng(seed)
    return [" ".join(draw.choice(WORDS, size=size)) for size in draw.choice([0, 1, 3, 20, 60, 160], size=count)]


@pytest.mark.parametrize("max_length", [8, 9, 33, 128])
@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("side", ["right", "left"])
def test_tokens_are_those_that_the_library_keeps(side, columns, max_length, tokenizer, monkeypatch):
    monkeypatch.setattr(texts, "CHARACTERS", 300)  # several calls
    monkeypatch.setattr(tokenizer, "truncation_side", side)
    pairs = [long_and_short(seed) for seed in range(columns)]
    sequences, is_cut = tokenized(pairs, tokenizer, max_length=max_length)
    expected = tokenizer(*pairs, truncation=True, max_length=max_length)["input_ids"]
    whole = tokenizer(*pairs, verbose=False)["input_ids"]
    assert [sequence.tolist() for sequence in sequences] == expected
    assert is_cut.tolist() == [len(ids) > max_length for ids in whole]
    assert set(is_cut.tolist()) == {False, True}
    assert {sequence.dtype for sequence in sequences} == {np.dtype(np.int32)}


def test_the_library_does_not_make_sequences_of_what_is_cut_off(small, monkeypatch):
    made = []
    call = type(small).__call__

    def counting(self, *arguments, **settings):
        encoded = call(self, *arguments, **settings)
        made.extend(1 + len(encoding.overflowing) for encoding in encoded.encodings)
        return encoded

    monkeypatch.setattr(type(small), "__call__", counting)
    long_text = "the bridge " * 400
    sequences, is_cut = tokenized([[long_text], [long_text]], small, max_length=16)
    assert (len(sequences), is_cut.tolist()) == (1, [True])
    assert set(made) == {1}
    assert len(small(long_text, long_text, truncation=True, max_length=16).encodings[0].overflowing) > 1000


def test_nothing_makes_no_sequences(small):
    sequences, is_cut = tokenized([[], []], small, max_length=16)
    assert (sequences, is_cut.shape, is_cut.dtype) == ([], (0,), np.bool_)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=2), st.integers(1, 60))
def test_the_longer_text_loses_tokens_first(lengths, room):
    kept = kept_tokens(lengths, room)
    assert sum(kept) == min(sum(lengths), room)
    assert all(0 <= own <= length for own, length in zip(kept, lengths, strict=True))
    if len(lengths) == 2 and sum(lengths) > room:
        assert abs(kept[0] - kept[1]) <= 1 or kept[int(np.argmin(lengths))] == min(lengths)
