import logging
import threading
from pathlib import Path

import numpy as np
import pytest

from xmodctl.core.encoded import Encoded, Ragged
from xmodctl.core.files import cache_folder
from xmodctl.data import encoding as encodings
from xmodctl.data.encoding import cached, tokenizer_identity


def encoded_rows() -> Encoded:
    return Encoded(
        input_ids=Ragged.of([[5, 6, 7], [], [8]]),
        rows=np.array([0, 1, 1]),
        scalars={"labels": np.array([1, 0, 2])},
        ragged={"tags": Ragged.of([[0, -100, 1], [], [2]])},
        counts={"truncated": 4},
    )


class Maker:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Encoded:
        self.calls += 1
        return encoded_rows()


def same(encoded: Encoded, other: Encoded) -> bool:
    return (
        [row.tolist() for row in encoded.input_ids] == [row.tolist() for row in other.input_ids]
        and encoded.rows.tolist() == other.rows.tolist()
        and {key: value.tolist() for key, value in encoded.scalars.items()}
        == {key: value.tolist() for key, value in other.scalars.items()}
        and {key: [row.tolist() for row in value] for key, value in encoded.ragged.items()}
        == {key: [row.tolist() for row in value] for key, value in other.ragged.items()}
        and encoded.counts == other.counts
    )


def test_encodings_are_joined_row_after_row():
    first, other = encoded_rows(), encoded_rows()
    joined = Encoded.joined([first, other])
    assert [row.tolist() for row in joined.input_ids] == [[5, 6, 7], [], [8]] * 2
    assert joined.rows.tolist() == [0, 1, 1, 2, 3, 3]
    assert joined.scalars["labels"].tolist() == [1, 0, 2] * 2
    assert [row.tolist() for row in joined.ragged["tags"]] == [[0, -100, 1], [], [2]] * 2
    assert joined.counts == {"truncated": 8}


def kept() -> list[Path]:
    return sorted((cache_folder() / "encodings").glob("*.safetensors"))


def test_what_was_made_once_is_not_made_again():
    make = Maker()
    first = cached({"data": "a"}, make)
    second = cached({"data": "a"}, make)
    assert make.calls == 1
    assert same(first, second)
    assert second.input_ids.values.dtype == np.int32


def test_other_parts_are_another_encoding():
    make = Maker()
    cached({"data": "a", "length": "128"}, make)
    cached({"data": "a", "length": "64"}, make)
    assert make.calls == 2
    assert len(kept()) == 2


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "replaced"])
def test_a_damaged_file_is_made_again(damage, caplog):
    make = Maker()
    cached({"data": "a"}, make)
    (file,) = kept()
    content = bytearray(file.read_bytes())
    match damage:
        case "cut":
            file.write_bytes(content[:-3])
        case "flipped":
            content[-1] ^= 1
            file.write_bytes(content)
        case "emptied":
            file.write_bytes(b"")
        case "replaced":
            file.write_bytes(b"not a tensor at all, and long enough for a header")
    assert same(cached({"data": "a"}, make), encoded_rows())
    assert make.calls == 2
    assert f"the rows are encoded again: {file} is damaged" in caplog.text
    cached({"data": "a"}, make)
    assert make.calls == 2


def test_nothing_is_kept_when_making_fails():
    def fail() -> Encoded:
        raise KeyError("no")

    with pytest.raises(KeyError):
        cached({"data": "a"}, fail)
    assert kept() == []
    assert same(cached({"data": "a"}, encoded_rows), encoded_rows())


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XMODCTL_CACHE", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING):
        assert same(cached({"data": "a"}, encoded_rows), encoded_rows())
    assert "not cached" in caplog.text


def test_what_was_not_used_for_longest_leaves_a_full_cache(monkeypatch):
    import os

    for age, name in enumerate("abc"):
        cached({"data": name}, encoded_rows)
        (newest,) = set(kept()) - {file for file in kept() if file.stat().st_mtime < 10**6}
        os.utime(newest, (age, age))
    cached({"data": "a"}, encoded_rows)  # used again, so `b` is the oldest now
    size = kept()[0].stat().st_size
    monkeypatch.setattr(encodings, "CACHE_BYTES", 3 * size)
    cached({"data": "d"}, encoded_rows)
    make = Maker()
    for name in "acd":
        cached({"data": name}, make)
    assert make.calls == 0
    cached({"data": "b"}, make)
    assert make.calls == 1


def test_two_that_want_the_same_encoding_make_it_once():
    make = Maker()
    threads = [threading.Thread(target=cached, args=({"data": "a"}, make)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert make.calls == 1


def test_a_tokenizer_is_the_same_whatever_it_has_encoded_before(tiny_model):
    import hashlib

    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    identity = tokenizer_identity(tokenizer)
    assert identity == hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()  # as in older caches
    tokenizer(["the cat", "a dog sleeps"], truncation=True, max_length=4, padding=True)
    assert tokenizer.backend_tokenizer.truncation
    assert tokenizer_identity(tokenizer) == identity
    tokenizer.add_tokens(["paka"])
    tokenizer.backend_tokenizer.add_tokens(["dogs"])
    assert tokenizer_identity(tokenizer) != identity


def test_a_ragged_array_gives_its_rows_back():
    rows = [[1, 2], [], [3]]
    for ragged in (Ragged.of(rows), Ragged.of([np.array(row, dtype=np.int64) for row in rows])):
        assert [row.tolist() for row in ragged] == rows
        assert ragged.lengths.tolist() == [2, 0, 1]
        assert ragged[-1].tolist() == [3]
        assert ragged.values.dtype == np.int32
        with pytest.raises(IndexError):
            ragged[3]
    assert len(Ragged.of([])) == 0


def test_an_encoding_whose_parts_disagree_is_refused():
    with pytest.raises(AssertionError):
        Encoded(input_ids=Ragged.of([[1]]), rows=np.array([0, 1]))
    with pytest.raises(AssertionError):
        Encoded(input_ids=Ragged.of([[1]]), rows=np.array([0]), ragged={"tags": Ragged.of([[1, 2]])})
