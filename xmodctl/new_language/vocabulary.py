"""A vocabulary and a language: how well the one serves the other, and a new one where it does not."""

import json
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from xmodctl.adapters.vocabulary import NewVocabulary
from xmodctl.core.errors import UserError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor
    from transformers import PreTrainedTokenizerFast

TEXTS_READ = 20_000
"""Texts that `fit` reads at most: shares settle long before."""

CHARACTERS_TRAINED_ON = 20_000_000
"""Characters of text that a tokenizer is trained on at most: more takes memory and minutes, and changes few pieces."""

_TEXTS_AT_A_TIME = 1000
_BLANK = re.compile(r"\s+")
_MARKER = "▁"  # a blank, within a piece
_LONGEST_PIECE = 16  # characters; the trainer's default
_PENALTY = 1e-4  # between the scores that the trainer gives characters it must keep


@dataclass(frozen=True)
class Fit:
    """How a tokenizer cuts a language's text."""

    texts: int
    words: int  # what stands between blanks
    characters: int  # without blanks
    pieces: int
    unknown_characters: int  # hidden behind the unknown piece

    @property
    def pieces_per_word(self) -> float:
        """How many pieces a word is cut into, on average: the tokenizer's fertility."""
        return self.pieces / self.words

    @property
    def pieces_per_character(self) -> float:
        """How many pieces a character takes, on average: 1 where every character is a piece of its own."""
        return self.pieces / self.characters

    @property
    def unknown_share(self) -> float:
        """The share of characters that the vocabulary cannot write, between 0 and 1."""
        return self.unknown_characters / self.characters

    @property
    def spaced(self) -> bool:
        """Whether blanks stand between the language's words."""
        return self.characters / self.words < _LONGEST_WORDS

    @property
    def usable(self) -> bool:
        """Whether an adapter alone is likely to be enough."""
        return self.unknown_share < _MANY_UNKNOWN and not self._shattered

    @property
    def verdict(self) -> str:
        """What the numbers mean, in a sentence."""
        if self.unknown_share >= _MANY_UNKNOWN:
            return (
                f"not usable: {self.unknown_share:.1%} of the characters are unknown to this vocabulary, so the model "
                "cannot see them; use --vocabulary new"
            )
        if self._shattered:
            cut = f"a word is cut into {self.pieces_per_word:.1f} pieces" if self.spaced else "hardly a piece is longer"
            return (
                f"poor: {cut} ({self.pieces_per_character:.2f} a character), almost letter by letter; "
                "--vocabulary new is likely to serve the language better"
            )
        if self.spaced and self.pieces_per_word > _MANY_PIECES:
            return (
                f"usable: a word is cut into {self.pieces_per_word:.1f} pieces, more than in languages the vocabulary "
                "was made for; keep it, or try --vocabulary new where there is much text"
            )
        told = (
            f"{self.pieces_per_word:.1f} pieces a word"
            if self.spaced
            else f"{self.pieces_per_character:.2f} pieces a character"
        )
        return f"good: {told}, as in languages the vocabulary was made for; keep it"

    @property
    def _shattered(self) -> bool:
        return self.spaced and self.pieces_per_character > _LETTER_BY_LETTER

    def to_json(self) -> dict[str, Any]:
        """Return the measurements and what they mean as plain JSON values."""
        return {
            "texts": self.texts,
            "words": self.words,
            "characters": self.characters,
            "pieces": self.pieces,
            "pieces_per_word": self.pieces_per_word,
            "pieces_per_character": self.pieces_per_character,
            "unknown_share": self.unknown_share,
            "usable": self.usable,
            "verdict": self.verdict,
        }


# Measured by `fit`: XLM-R's vocabulary cuts seventeen languages that it was made for into 1.4 to 2.3 pieces a word and
# 0.32 to 0.43 a character, Chinese into 0.75 a character, and Zulu, which it was not made for, into 2.9 a word.
_MANY_UNKNOWN = 0.01
_LETTER_BY_LETTER = 0.6
_MANY_PIECES = 2.4
_LONGEST_WORDS = 15  # characters a word, on average: more stands between blanks only where they end sentences


def fit(tokenizer: "PreTrainedTokenizerFast", texts: Iterable[str]) -> Fit:
    """Measure how a tokenizer cuts texts; of many, the first `TEXTS_READ`.

    Raises:
        UserError: The texts hold no character.
    """
    backend: Tokenizer = tokenizer.backend_tokenizer
    unknown = tokenizer.unk_token_id
    read = words = characters = pieces = lost = 0
    for batch in _batches(texts, TEXTS_READ):
        for text, encoding in zip(batch, backend.encode_batch(batch, add_special_tokens=False), strict=True):
            read += 1
            words += len(text.split())
            characters += len(_BLANK.sub("", text))
            pieces += len(encoding.ids)
            lost += sum(
                len(_BLANK.sub("", text[start:end]))
                for number, (start, end) in zip(encoding.ids, encoding.offsets, strict=True)
                if number == unknown
            )
    if not characters:
        raise UserError("the text to judge the vocabulary by is empty; give text of the language")
    return Fit(read, words, characters, pieces, lost)


def train_vocabulary(
    texts: Iterable[str],
    base_tokenizer: "PreTrainedTokenizerFast",
    base_embeddings: "Tensor",
    *,
    size: int,
    seed: int,
    base_bias: "Tensor | None" = None,
) -> NewVocabulary:
    """Train a Unigram tokenizer on texts, and start its embeddings from those of the base.

    A piece that the base has too copies its row, as in Pfeiffer et al., UNKs Everywhere (EMNLP 2021) and SwissBERT
    (Vamvas et al., 2023). Any other starts as the mean of the rows of the pieces into which the base cuts it, as in
    Gee et al., Fast Vocabulary Transfer (EMNLP 2022, industry track); where the base knows none of its characters, as
    the mean of all rows. The same text, size and seed give the same vocabulary.

    Args:
        texts: the language's.
        base_tokenizer: the base model's; its special tokens keep their ids, its normaliser is used.
        base_embeddings: the base's word embeddings, (pieces, hidden).
        size: how many pieces, special tokens included; less where the text has not that many.
        seed: of the sample that is drawn from more than `CHARACTERS_TRAINED_ON`.
        base_bias: the bias of the base's masked-LM head, (pieces,); treated as the embeddings are.

    Raises:
        UserError: The text is too little for a vocabulary, or the size too small for its characters.
    """
    sample, total = _sample(texts, seed)
    tokenizer = _trained(sample, base_tokenizer, size)
    numbers = tokenizer.get_vocab()
    pieces = sorted(numbers, key=numbers.__getitem__)
    known = base_tokenizer.get_vocab()
    sources = [[known[piece]] if piece in known else _cut(piece, base_tokenizer) for piece in pieces]
    copied = sum(piece in known for piece in pieces)
    return NewVocabulary(
        tokenizer=_wrapped(tokenizer, base_tokenizer),
        embeddings=_means(base_embeddings[: len(base_tokenizer)], sources),
        bias=None if base_bias is None else _means(base_bias[: len(base_tokenizer), None], sources)[:, 0],
        copied=copied,
        averaged=len(pieces) - copied,
        facts={"size": len(pieces), "texts": total, "texts_trained_on": len(sample), "seed": seed},
    )


def _sample(texts: Iterable[str], seed: int) -> tuple[list[str], int]:
    """Return texts drawn evenly, of at most `CHARACTERS_TRAINED_ON` together unless one alone is longer; and how many.

    Each text draws a number, and those with the lowest stay.
    """
    draw = random.Random(seed)  # noqa: S311 - a sample, not a secret
    kept: list[tuple[float, int, str]] = []
    total = characters = 0
    for text in texts:
        total += 1
        characters += len(text)
        heappush(kept, (-draw.random(), total, text))
        while characters > CHARACTERS_TRAINED_ON and len(kept) > 1:
            characters -= len(heappop(kept)[2])
    return [text for _, _, text in sorted(kept, key=lambda one: one[1])], total


def _trained(texts: Sequence[str], base: "PreTrainedTokenizerFast", size: int) -> "Tokenizer":
    """Return a Unigram tokenizer of `size` pieces, the base's special tokens under their own ids where they fit."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    special = _special_ids(base)

    def around(model: Any) -> Tokenizer:
        built = Tokenizer(model)
        if (normaliser := base.backend_tokenizer.normalizer) is not None:
            built.normalizer = normaliser
        built.pre_tokenizer = pre_tokenizers.Metaspace(replacement=_MARKER, prepend_scheme="always")
        built.decoder = decoders.Metaspace(replacement=_MARKER, prepend_scheme="always")
        return built

    unknown: str = base.unk_token
    characters = {character for text in texts for character in text if not character.isspace()}
    room = size - len(special)
    if room <= len(characters):
        raise UserError(
            f"a vocabulary of {size:,} pieces is too small: the text has {len(characters):,} characters; "
            "choose a larger size"
        )
    trainer = trainers.UnigramTrainer(
        vocab_size=room + 1,  # the trainer counts its unknown piece, which is one of `special`
        special_tokens=[unknown],
        unk_token=unknown,
        max_piece_length=_LONGEST_PIECE,
        show_progress=False,
    )
    trained = around(models.Unigram())
    trained.train_from_iterator(texts, trainer)
    learnt = json.loads(trained.to_str())["model"]["vocab"]
    pieces = _settled([(piece, score) for piece, score in learnt if piece not in special])
    if not pieces:
        raise UserError("the text is too little to train a vocabulary on; give more, or use --vocabulary keep")
    placed = _placed(pieces, special)
    number = next(place for place, (piece, _) in enumerate(placed) if piece == unknown)
    # Built anew: the trained one remembers its unknown piece under another number.
    finished = around(models.Unigram(placed, unk_id=number, byte_fallback=False))
    finished.add_special_tokens([base.added_tokens_decoder[one] for one in sorted(special.values())])
    if base.backend_tokenizer.post_processor is not None:
        finished.post_processor = base.backend_tokenizer.post_processor
    assert {token: finished.token_to_id(token) for token, _ in placed} == {
        token: place for place, (token, _) in enumerate(placed)
    }
    return finished


def _special_ids(base: "PreTrainedTokenizerFast") -> dict[str, int]:
    named = {token: base.convert_tokens_to_ids(token) for token in base.all_special_tokens}
    for needed in ("pad_token", "unk_token", "mask_token"):
        if getattr(base, needed) is None:
            raise UserError(f"the model's tokenizer has no {needed}; a vocabulary of its own needs one")
    return named


def _settled(learnt: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """Return pieces and scores without what depends on the order in which the trainer's threads summed.

    Scores are rounded far above the sums' last digits. Characters that must be in the vocabulary and did not earn it
    get the lowest score plus a penalty each, in an order that changes from training to training: here, in their own.
    """
    lowest = min((score for _, score in learnt), default=0.0)
    single = [piece for piece, _ in learnt if len(piece) == 1]
    forced = sorted(
        piece for piece, score in learnt if len(piece) == 1 and score <= lowest + _PENALTY * (len(single) + 1)
    )
    scores = dict(learnt) | {piece: lowest + _PENALTY * (number + 1) for number, piece in enumerate(forced)}
    rounded = [(piece, round(score, 6)) for piece, score in scores.items()]
    return sorted(rounded, key=lambda pair: (-pair[1], pair[0]))


def _placed(pieces: Sequence[tuple[str, float]], special: Mapping[str, int]) -> list[tuple[str, float]]:
    """Return the pieces with each special token under its own id; those whose id lies beyond the end stand last."""
    placed: list[tuple[str, float]] = []
    used = 0
    for token, number in sorted(special.items(), key=lambda pair: pair[1]):
        before = pieces[used : used + number - len(placed)]
        used += len(before)
        placed += [*before, (token, 0.0)]
    return [*placed, *pieces[used:]]


def _wrapped(tokenizer: "Tokenizer", base: "PreTrainedTokenizerFast") -> "PreTrainedTokenizerFast":
    from transformers import PreTrainedTokenizerFast

    names = ("bos_token", "eos_token", "cls_token", "sep_token", "pad_token", "unk_token", "mask_token")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=base.model_max_length,
        padding_side="right",
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
        **{name: getattr(base, name) for name in names if getattr(base, name) is not None},
    )


def _cut(piece: str, base: "PreTrainedTokenizerFast") -> list[int]:
    """Return the base's pieces into which it cuts the text of a piece that it does not have; none if it knows none."""
    backend = base.backend_tokenizer
    if _marks_blanks(backend):
        found = [token.id for token in backend.model.tokenize(piece)]  # as it stands: no blank in front of it
    else:
        found = backend.encode(piece.replace(_MARKER, " "), add_special_tokens=False).ids
    return [number for number in found if number != base.unk_token_id]


def _marks_blanks(tokenizer: "Tokenizer") -> bool:
    from tokenizers.pre_tokenizers import Metaspace

    return isinstance(tokenizer.pre_tokenizer, Metaspace)


def _means(rows: "Tensor", sources: Sequence[Sequence[int]]) -> "Tensor":
    """Return the mean of some rows for each list of their numbers; of all rows for an empty one."""
    import torch

    usual = rows.float().mean(0)
    return torch.stack([rows[list(ids)].float().mean(0) if ids else usual for ids in sources])


def _batches(texts: Iterable[str], most: int) -> Iterable[list[str]]:
    batch: list[str] = []
    for number, text in enumerate(texts):
        if number == most:
            break
        batch.append(text)
        if len(batch) == _TEXTS_AT_A_TIME:
            yield batch
            batch = []
    if batch:
        yield batch
