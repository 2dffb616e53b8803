"""How well a vocabulary fits a language: how many pieces it cuts words into, and which characters it lacks."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from xmodctl.core.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from xmodctl.data.texts import Corpus

MAX_TEXTS = 20_000
"""Texts that `measure_fit` reads at most: the ratios converge long before."""

FIT_TEXTS = 2_000
"""Texts of a corpus that its fit is measured on."""

_TEXTS_PER_BATCH = 1000
_WHITESPACE = re.compile(r"\s+")

# Measured by `measure_fit`: XLM-R's vocabulary cuts seventeen of its pre-training languages into 1.4 to 2.3 pieces per
# word and 0.32 to 0.43 per character, Chinese into 0.75 per character, and Zulu, which it was not trained on, into 2.9
# per word.
_MANY_UNKNOWN = 0.01
_MOST_UNKNOWN = 0.5
_CHARACTER_LEVEL = 0.6  # pieces per character
_MANY_PIECES = 2.4  # per word
_LONGEST_WORDS = 15  # mean characters per word; more means that spaces do not separate words


@dataclass(frozen=True)
class VocabularyFit:
    """How a tokenizer segments a language's text."""

    texts: int
    words: int  # separated by whitespace
    characters: int  # without whitespace
    pieces: int
    unknown_characters: int  # covered by the unknown piece

    @property
    def pieces_per_word(self) -> float:
        """The mean number of pieces per word: the tokenizer's fertility."""
        return self.pieces / self.words

    @property
    def pieces_per_character(self) -> float:
        """The mean number of pieces per character: 1 if every character is its own piece."""
        return self.pieces / self.characters

    @property
    def unknown_share(self) -> float:
        """The share of characters that the vocabulary cannot represent, between 0 and 1."""
        return self.unknown_characters / self.characters

    @property
    def is_spaced(self) -> bool:
        """Whether spaces separate the language's words."""
        return self.characters / self.words < _LONGEST_WORDS

    @property
    def usable(self) -> bool:
        """Whether an adapter alone is likely to be enough."""
        return self.unknown_share < _MANY_UNKNOWN and not self._is_character_level

    def check_known(self, name: str, *, remedy: str = "") -> None:
        """Refuse a text that an adapter alone cannot learn: most of what it would predict is where spaces are.

        Args:
            name: Where the text is from.
            remedy: What else the command offers than other text.

        Raises:
            UserError: Most characters are unknown.
        """
        if self.unknown_share > _MOST_UNKNOWN:
            raise UserError(
                f"{name}: {self.unknown_share:.1%} of the characters are unknown to the model's vocabulary, so the "
                f"model cannot see them; {remedy and f'{remedy}, or '}give text in a script that the vocabulary has"
            )

    @property
    def verdict(self) -> str:
        """What the numbers mean, in one sentence."""
        if self.unknown_share >= _MANY_UNKNOWN:
            return (
                f"not usable: {self.unknown_share:.1%} of the characters are unknown to this vocabulary, so the model "
                "cannot see them; use --vocabulary new"
            )
        if self._is_character_level:
            return (
                f"poor: {self.pieces_per_word:.1f} pieces per word ({self.pieces_per_character:.2f} per character), "
                "almost one per character; --vocabulary new is likely to suit the language better"
            )
        if self.is_spaced and self.pieces_per_word > _MANY_PIECES:
            return (
                f"usable: {self.pieces_per_word:.1f} pieces per word, more than in the languages that the vocabulary "
                "was trained on; keep it, or try --vocabulary new if you have much text"
            )
        ratio = (
            f"{self.pieces_per_word:.1f} pieces per word"
            if self.is_spaced
            else f"{self.pieces_per_character:.2f} pieces per character"
        )
        return f"good: {ratio}, as in the languages that the vocabulary was trained on; keep it"

    @property
    def _is_character_level(self) -> bool:
        return self.is_spaced and self.pieces_per_character > _CHARACTER_LEVEL

    def to_json(self) -> dict[str, Any]:
        """Return the measurements and the verdict as plain JSON values."""
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


def measure_fit(tokenizer: "PreTrainedTokenizerFast", texts: Iterable[str]) -> VocabularyFit:
    """Measure how a tokenizer segments texts, the first `MAX_TEXTS` of them.

    Raises:
        UserError: The texts contain no character.
    """
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()  # tokenizer.json may hold both, and transformers sets them with each of its own calls
    backend.no_padding()
    count = words = characters = pieces = unknown = 0
    for batch in _batches(islice(texts, MAX_TEXTS)):
        for text, encoding in zip(batch, backend.encode_batch(batch, add_special_tokens=False), strict=True):
            count += 1
            words += len(text.split())
            characters += _length(text)
            pieces += len(encoding.ids)
            unknown += sum(
                _length(text[start:end])
                for piece, (start, end) in zip(encoding.ids, encoding.offsets, strict=True)
                if piece == tokenizer.unk_token_id
            )
    if not characters:
        raise UserError("the text to measure the vocabulary on is empty; give text in the language")
    return VocabularyFit(count, words, characters, pieces, unknown)


def check_corpus(tokenizer: "PreTrainedTokenizerFast", corpus: "Corpus", *, remedy: str = "") -> None:
    """Refuse text of which a model could only predict where spaces are.

    Args:
        tokenizer: The model's.
        corpus: The text.
        remedy: What else the command offers than other text.

    Raises:
        UserError: The vocabulary lacks most of its characters.
    """
    measure_fit(tokenizer, corpus.sample(FIT_TEXTS)).check_known(", ".join(corpus.origins), remedy=remedy)


def _length(text: str) -> int:
    """Return the number of characters without whitespace."""
    return len(_WHITESPACE.sub("", text))


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    remaining = iter(texts)
    while batch := list(islice(remaining, _TEXTS_PER_BATCH)):
        yield batch
