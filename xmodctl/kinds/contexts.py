"""Contexts as tokens: the characters at which an answer made of some tokens begins and ends."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int32]


@dataclass(frozen=True)
class Context:
    """A tokenized context: its ids, and the characters at which an answer made of these tokens begins and ends.

    `starts` and `ends`, of shape (tokens,), are -1 for tokens that no answer begins or ends with: those of blanks, and
    those whose characters are all in the next token too (a lone word mark before a word, a character that became
    several pieces).
    """

    source: str
    ids: Ints
    starts: Ints
    ends: Ints

    @classmethod
    def read(cls, texts: Sequence[str], tokenizer: Any) -> dict[str, Self]:
        """Tokenize each distinct text once."""
        distinct = list(dict.fromkeys(texts))
        encodings = tokenizer(distinct, add_special_tokens=False, verbose=False).encodings
        gaps = _is_byte_level(tokenizer)
        return {text: cls.of(text, encoding, gaps=gaps) for text, encoding in zip(distinct, encodings, strict=True)}

    @classmethod
    def of(cls, text: str, encoding: Any, *, gaps: bool = False) -> Self:
        """Derive where tokens begin and end from the tokenizer's offsets, and correct them around marks and blanks.

        With `gaps`, a character that no token holds belongs to the token after it. Byte-level tokenizers that write a
        space before each word of a split text, and trim offsets, count that space as the word's first letter.
        """
        offsets = np.array(encoding.offsets, dtype=np.int32).reshape(-1, 2)
        starts, ends = offsets[:, 0], offsets[:, 1]
        classes = np.array([_class_of(character) for character in text], dtype=np.int8)
        if gaps and len(ends):
            held = np.maximum.accumulate(np.append(0, ends[:-1]))  # the end of what earlier tokens hold
            starts = np.minimum(starts, _ahead(classes == BLANK)[held])
        following = np.append(starts[1:], len(text))
        # A mark that was composed with its letter belongs to it; the tokenizer's offset may exclude it.
        ends = np.maximum(ends, np.minimum(_ahead(classes == MARK)[ends], following))
        # A word begins after its blank.
        starts, ends = _ahead(classes == BLANK)[starts], _back(classes == BLANK)[ends]
        held_by_next = (following <= starts) & (ends <= np.append(ends[1:], 0))
        # A token such as `）。` ends an answer before the punctuation that ends the clause; not so `▁Inc.`.
        after_letter = np.append(False, classes[:-1] == LETTER)[: len(classes)]
        closed = _back((classes == CLAUSE_END) | ((classes == PERIOD) & ~after_letter))[ends]
        ends = np.where(closed > starts, closed, ends)
        nowhere = (starts >= ends) | held_by_next
        starts, ends = (np.where(nowhere, -1, borders).astype(np.int32) for borders in (starts, ends))
        return cls(text, np.array(encoding.ids, dtype=np.int32), starts, ends)

    def tokens(self, start: int, end: int) -> tuple[int, int] | None:
        """Return the first and the last token that hold characters from `start` to `end`, or None if none do."""
        holding = np.flatnonzero((self.starts >= 0) & (self.starts < end) & (self.ends > start))
        return (int(holding[0]), int(holding[-1])) if len(holding) else None

    def count(self, first: int, last: int) -> int:
        """Return the number of tokens of an answer, as `best_spans` counts them."""
        return int(np.count_nonzero(self.starts[first : last + 1] >= 0))

    def text(self, first: int, last: int) -> str:
        """Return the text from the first token to the last."""
        return self.source[self.starts[first] : self.ends[last]]


def _is_byte_level(tokenizer: Any) -> bool:
    pre_tokenizer = tokenizer.backend_tokenizer.pre_tokenizer
    return pre_tokenizer is not None and b"ByteLevel" in pre_tokenizer.__getstate__()


OTHER, LETTER, BLANK, MARK, PERIOD, CLAUSE_END = range(6)


@lru_cache(maxsize=2**16)
def _class_of(character: str) -> int:
    """Return the class of a character at the border of an answer."""
    if character in ",;:!?…。，、；：！？．،؛؟۔।॥":
        return CLAUSE_END
    if character == ".":
        return PERIOD
    category = unicodedata.category(character)
    if category.startswith("L"):
        return LETTER
    if category.startswith("M"):
        return MARK
    # Joiners are part of words in Persian and in Indic scripts; other invisible characters are not part of any word.
    if character.isspace() or (category == "Cf" and character not in "\u200c\u200d"):
        return BLANK
    return OTHER


def _ahead(skipped: NDArray[np.bool_]) -> Ints:
    """Return for each border between characters the border reached by skipping forward."""
    size = len(skipped)
    targets = np.append(np.where(skipped, size, np.arange(size)), size).astype(np.int32)
    return np.minimum.accumulate(targets[::-1])[::-1]


def _back(skipped: NDArray[np.bool_]) -> Ints:
    """Return for each border between characters the border reached by skipping backward."""
    size = len(skipped)
    return np.append(0, np.maximum.accumulate(np.where(skipped, 0, np.arange(1, size + 1)))).astype(np.int32)
