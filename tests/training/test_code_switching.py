"""Code-switching: words of training texts are replaced by words with near embeddings."""

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from xmodctl.catalog.recipe import Recipe
from xmodctl.core.encoded import Encoded, Ragged
from xmodctl.model import find, load
from xmodctl.model.batches import collate
from xmodctl.model.neighbors import near_words
from xmodctl.training.code_switching import CodeSwitching

SWITCHED = Recipe(code_switching=0.6)


@pytest.fixture
def model(tiny_model):
    return load(find(str(tiny_model)), "sequence", ["en_XX"], num_labels=3, seed=1)


@pytest.fixture
def tokenizer(tiny_model):
    return AutoTokenizer.from_pretrained(tiny_model)


def words_of(tokenizer) -> list[int]:
    return [number for text, number in tokenizer.get_vocab().items() if text.isalpha()]


def put_together(model, *groups: list[int]) -> None:
    """Give the pieces of each group embeddings that are alike, and all others such that no two are."""
    words = model.module.roberta.embeddings.word_embeddings.weight
    with torch.no_grad():
        words.copy_(torch.nn.functional.one_hot(torch.arange(len(words)) % words.shape[1], words.shape[1]).float())
        words.mul_(torch.where(torch.arange(len(words)) < words.shape[1], 1.0, -1.0)[:, None])
        for number, group in enumerate(groups):
            direction = torch.zeros(words.shape[1])
            direction[2 * number : 2 * number + 2] = 1.0
            for place, piece in enumerate(group):
                words[piece] = direction + 0.01 * place * torch.ones(words.shape[1])


def test_near_words_are_those_with_the_most_similar_embeddings(model, tokenizer):
    first, second, third, other, *_ = words_of(tokenizer)
    put_together(model, [first, second, third])
    near = near_words(model, tokenizer, np.array([first, other]), count=2, similarity=0.9)
    assert near[first].tolist() == [second, third]
    assert near[second].tolist() == [], "only the pieces that are asked for"
    assert near[tokenizer.eos_token_id].tolist() == []
    assert near_words(model, tokenizer, np.array([first]), count=1, similarity=0.9)[first].tolist() == [second]
    assert near_words(model, tokenizer, np.array([first]), count=2, similarity=1.0)[first].tolist() == []


class Pieces(list[str]):
    """A tokenizer as far as `near_words` needs it: the texts of its pieces, of which the first is special."""

    all_special_ids = (0,)

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str | None]:
        return [self[number] or None for number in ids]  # as transformers does for an id without a piece


@pytest.mark.parametrize(
    ("texts", "replaced"),
    [
        (("▁s", "▁House", "▁house", "▁casa", "ing", "▁1984", "▁", "▁.", "дом"), ("▁House", "▁house", "▁casa")),
        (("Ġs", "ĠHouse", "", "Ġcasa", "ing", "."), ("ĠHouse", "Ġcasa")),
        (("[CLS]", "House", "casa", "##ing", "1984", "."), ("House", "casa")),
    ],
    ids=["SentencePiece", "byte-level", "WordPiece"],
)
def test_pieces_that_begin_a_word_are_replaced_by_pieces_with_other_letters(texts, replaced, model):
    tokenizer = Pieces(texts)
    near = near_words(model, tokenizer, np.arange(len(texts)), count=20, similarity=-1.0)
    assert tuple(text for text, others in zip(texts, near, strict=True) if len(others)) == replaced
    for text, others in zip(texts, near, strict=True):
        for other in tokenizer.convert_ids_to_tokens(others.tolist()):
            assert any(map(str.isalpha, other))
            assert other != texts[0]
            assert other.strip("▁Ġ").casefold() != text.strip("▁Ġ").casefold()


def switching_of(model, tokenizer, recipe: Recipe) -> tuple[CodeSwitching, Encoded, dict[int, set[int]]]:
    first, second, third, alone, *_ = words_of(tokenizer)
    put_together(model, [first, second, third])
    row = [tokenizer.bos_token_id, *[first, alone] * 20, tokenizer.eos_token_id]
    rows = Encoded(input_ids=Ragged.of([row] * 40), rows=np.arange(40), counts={"truncated": 0})
    return CodeSwitching.of(recipe, model, tokenizer, rows), rows, {first: {second, third}}


def test_words_are_replaced_with_the_probability_of_the_recipe_and_nothing_else_is(model, tokenizer):
    switching, rows, near = switching_of(model, tokenizer, SWITCHED.with_values({"rdrop": 1}, origin="test"))
    ids = collate(rows, np.arange(40), pad_id=1)["input_ids"]
    before = ids.clone()
    switched = switching.switched(ids, np.arange(40), seed=1, step=3)
    assert torch.equal(ids, before)
    changed = switched != ids
    ((word, replacements),) = near.items()
    assert set(switched[changed].tolist()) == replacements
    assert set(ids[changed].tolist()) == {word}
    share = float(changed.sum() / (ids == word).sum())
    assert share == pytest.approx(0.6, abs=0.08)
    assert all(changed.any(dim=1)), "with R-Drop, the second pass reads every text switched"


def test_without_r_drop_half_of_the_texts_are_left_as_they_are(model, tokenizer):
    switching, rows, _ = switching_of(model, tokenizer, SWITCHED)
    ids = collate(rows, np.arange(40), pad_id=1)["input_ids"]
    changed = torch.stack(
        [(switching.switched(ids, np.arange(40), seed=1, step=step) != ids).any(dim=1) for step in range(10)]
    )
    assert float(changed.float().mean()) == pytest.approx(0.5, abs=0.1)
    assert not torch.equal(changed[0], changed[1]), "drawn again at each step"


def test_what_a_text_becomes_does_not_depend_on_the_batch_it_is_in(model, tokenizer):
    switching, rows, _ = switching_of(model, tokenizer, SWITCHED)
    units = np.array([5, 9, 30])
    together = switching.switched(collate(rows, units, pad_id=1)["input_ids"], units, seed=7, step=2)
    for place, unit in enumerate(units):
        own = np.array([unit])
        alone = switching.switched(collate(rows, own, pad_id=1)["input_ids"], own, seed=7, step=2)
        assert torch.equal(alone[0], together[place])
