"""How well a vocabulary fits a language, and a new one initialized from the base's."""

import random
import subprocess
import sys

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from xmodctl.core.errors import UserError
from xmodctl.new_language.vocabulary import sample_texts, train_vocabulary
from xmodctl.training.masked_lm.vocabulary_fit import VocabularyFit, measure_fit

PIECES = ["▁", "▁the", "▁cat", "▁um", "u", "n", "t", "a", "b", "i", "s", "▁ngu", "muntu", "m", "g", "e", "l", "."]


@pytest.fixture
def base() -> PreTrainedTokenizerFast:
    """Return a tokenizer like XLM-R's: Unigram pieces, its special tokens under its ids, the mask last."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    scores = [(piece, 0.0) for piece in special]
    scores += [(piece, -2.0 - len(PIECES[0]) * number / 10) for number, piece in enumerate(PIECES)]
    built = Tokenizer(models.Unigram([*scores, ("<mask>", 0.0)], unk_id=3))
    built.normalizer = normalizers.NFKC()
    built.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    built.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    built.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=built, bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>",
        pad_token="<pad>", unk_token="<unk>", mask_token="<mask>", model_max_length=64,
    )  # fmt: skip


@pytest.fixture
def rows(base) -> torch.Tensor:
    return torch.randn(len(base), 8, generator=torch.Generator().manual_seed(0))


def zulu(count: int = 60) -> list[str]:
    """Return sentences of Zulu-like words, some with a letter that the base does not know."""
    draw = random.Random(0)
    words = ["umuntu", "ngumuntu", "ngabantu", "abantu", "isintu", "ubuntu", "the", "cat", "ŋala", "ŋuma"]
    return [" ".join(draw.choices(words, k=8)) + "." for _ in range(count)]


def test_pieces_words_and_unknown_characters_are_counted(base):
    measured = measure_fit(base, ["the cat", "umuntu ŋŋ."])
    # the | cat | _ u muntu | _ <unk> .
    assert (measured.texts, measured.words, measured.characters) == (2, 4, 15)
    assert measured.pieces == 8
    assert measured.unknown_characters == 2
    assert measured.unknown_share == pytest.approx(2 / 15)
    assert measured.pieces_per_word == 2


def test_truncation_and_padding_that_the_tokenizer_stores_change_no_count(base):
    texts = ["the cat", "umuntu ŋŋ. " * 20]
    expected = measure_fit(base, texts)
    base.backend_tokenizer.enable_truncation(8)
    base.backend_tokenizer.enable_padding(length=500)
    assert measure_fit(base, texts) == expected


@pytest.mark.parametrize(
    ("counts", "verdict", "usable"),
    [
        (VocabularyFit(1, 100, 500, 160, 0), "good", True),
        (VocabularyFit(1, 100, 770, 290, 0), "usable", True),  # Zulu through XLM-R's vocabulary
        (VocabularyFit(1, 100, 500, 400, 0), "poor", False),
        (VocabularyFit(1, 100, 500, 160, 50), "not usable: 10.0%", False),
        (VocabularyFit(1, 10, 210, 157, 0), "good: 0.75 pieces per character", True),  # Chinese
    ],
)
def test_the_verdict_explains_the_numbers(counts, verdict, usable):
    assert counts.verdict.startswith(verdict)
    assert counts.usable is usable
    assert counts.to_json()["verdict"] == counts.verdict


def test_an_empty_text_is_refused(base):
    with pytest.raises(UserError, match="is empty"):
        measure_fit(base, ["", "  "])


def test_special_tokens_keep_their_ids_and_pairs_are_built_as_the_base_builds_them(base, rows):
    vocabulary = train_vocabulary(zulu(), base, rows, size=60, seed=0)
    tokenizer = vocabulary.tokenizer
    assert [tokenizer.convert_tokens_to_ids(first) for first in ("<s>", "<pad>", "</s>", "<unk>")] == [0, 1, 2, 3]
    assert tokenizer.mask_token_id == base.mask_token_id
    assert len(tokenizer) == len(vocabulary.embeddings) <= 60
    assert (tokenizer.pad_token_id, tokenizer.unk_token_id) == (base.pad_token_id, base.unk_token_id)
    first, other = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("umuntu", "abantu"))
    assert tokenizer("umuntu", "abantu")["input_ids"] == [0, *first, 2, 2, *other, 2]
    assert tokenizer.decode(tokenizer("umuntu ngabantu.")["input_ids"], skip_special_tokens=True) == "umuntu ngabantu."
    assert tokenizer(f"umuntu {tokenizer.mask_token}")["input_ids"].count(tokenizer.mask_token_id) == 1
    assert measure_fit(tokenizer, zulu()).unknown_share == 0
    assert measure_fit(tokenizer, zulu()).pieces < measure_fit(base, zulu()).pieces


def test_rows_are_copied_averaged_or_the_mean_of_all(base, rows):
    bias = torch.arange(float(len(base)))
    vocabulary = train_vocabulary(zulu(), base, rows, size=60, seed=0, base_bias=bias)
    known, numbers = base.get_vocab(), vocabulary.tokenizer.get_vocab()
    shared = known.keys() & numbers.keys()
    assert {"<s>", "<pad>", "</s>", "<unk>", "<mask>", "▁the"} <= shared
    for piece in shared:
        assert torch.equal(vocabulary.embeddings[numbers[piece]], rows[known[piece]])
        assert vocabulary.bias[numbers[piece]] == bias[known[piece]]
    assert (vocabulary.copied, vocabulary.averaged) == (len(shared), len(numbers) - len(shared))
    averaged = {
        piece: [token.id for token in base.backend_tokenizer.model.tokenize(piece) if token.id != 3]
        for piece in numbers
    }
    checked = 0
    for piece, parts in averaged.items():
        if piece in known:
            continue
        expected = rows[parts].mean(0) if parts else rows.mean(0)
        assert torch.allclose(vocabulary.embeddings[numbers[piece]], expected, atol=1e-6)
        checked += len(parts) > 1
    assert checked
    assert torch.allclose(vocabulary.embeddings[numbers["ŋ"]], rows.mean(0), atol=1e-6)


@pytest.mark.slow
def test_training_again_in_another_process_gives_the_same_vocabulary(base, rows, tmp_path):
    base.save_pretrained(tmp_path / "base")
    script = (
        "import sys, hashlib, torch; sys.path[:0] = ['tests/new_language']\n"
        "from test_vocabulary import zulu\n"
        "from transformers import AutoTokenizer\n"
        "from xmodctl.new_language.vocabulary import train_vocabulary\n"
        f"base = AutoTokenizer.from_pretrained({str(tmp_path / 'base')!r})\n"
        "rows = torch.randn(len(base), 8, generator=torch.Generator().manual_seed(0))\n"
        "vocabulary = train_vocabulary(zulu(), base, rows, size=60, seed=0)\n"
        "content = vocabulary.tokenizer.backend_tokenizer.to_str().encode() + vocabulary.embeddings.numpy().tobytes()\n"
        "print(hashlib.sha256(content).hexdigest())\n"
    )
    digests = {subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout for _ in range(2)}
    assert len(digests) == 1


def test_a_large_text_is_sampled_depending_on_the_seed(base, rows):
    texts = [f"umuntu{number} ngabantu" for number in range(500)]
    first, again, other = (sample_texts(iter(texts), seed, 1000) for seed in (0, 0, 1))
    assert first == again
    assert first[0] != other[0]
    assert first[1] == 500
    assert 900 < sum(map(len, first[0])) <= 1000
    positions = [texts.index(text) for text in first[0]]
    assert positions == sorted(positions)
    assert min(positions) < 100  # from all over, not the beginning or the end alone
    assert max(positions) > 400
    assert sample_texts(["a" * 5000], 0, 1000) == (["a" * 5000], 1)
    vocabulary = train_vocabulary(iter(texts), base, rows, size=60, seed=0, max_characters=1000)
    assert vocabulary.facts["texts"] == 500
    assert vocabulary.facts["texts_trained_on"] == len(first[0])


def test_too_small_a_size_and_too_little_text_are_refused(base, rows):
    with pytest.raises(UserError, match="is too small: the text has"):
        train_vocabulary(zulu(), base, rows, size=12, seed=0)
    with pytest.raises(UserError, match="there is too little text"):
        train_vocabulary([], base, rows, size=60, seed=0)


def test_a_base_that_does_not_mark_spaces_works_too(rows):
    special = ["[PAD]", "a", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = {word: number for number, word in enumerate([*special, "the", "cat", "um", "##untu"])}
    built = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
    built.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    base = PreTrainedTokenizerFast(
        tokenizer_object=built, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]",
    )  # fmt: skip
    vocabulary = train_vocabulary(zulu(), base, rows[: len(base)], size=60, seed=0)
    numbers = vocabulary.tokenizer.get_vocab()
    assert [numbers[token] for token in special if token != "a"] == [0, 2, 3, 4, 5]
    assert torch.allclose(vocabulary.embeddings[numbers["▁umuntu"]], rows[[8, 9]].mean(0))
