"""Texts longer than the model takes: overlapping windows, each within the tokenizer's special tokens."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class Frame:
    """The special tokens before, between, and after the texts of a sequence."""

    gaps: tuple[list[int], ...]

    @classmethod
    def of(cls, tokenizer: Any, *, texts: int) -> Self:
        """Read them from an encoded example of one or two texts."""
        encoding = tokenizer(*["a"] * texts).encodings[0]
        gaps: list[list[int]] = [[] for _ in range(texts + 1)]
        begun = 0
        for id_, text in zip(encoding.ids, encoding.sequence_ids, strict=True):
            if text is None:
                gaps[begun].append(id_)
            else:
                begun = text + 1
        return cls(tuple(gaps))

    @property
    def size(self) -> int:
        """The number of special tokens."""
        return sum(map(len, self.gaps))


def windows(tokens: int, room: int, *, overlap: int) -> Iterator[tuple[int, int]]:
    """Yield the windows of at most `room` tokens that cover `tokens` tokens; neighbors share `overlap` at most.

    The overlap is at most half the room, so that windows always advance.
    """
    assert room > 0
    shared = min(overlap, room // 2)
    begin = 0
    while True:
        end = min(begin + room, tokens)
        yield begin, end
        if end == tokens:
            return
        begin = end - shared
