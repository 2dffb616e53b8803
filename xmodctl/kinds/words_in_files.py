"""Words as they are in files: with a language before each of them, as PAN-X was first published, or one per row."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from xmodctl.core.messages import listed

_PREFIX = re.compile(r"(?:[a-z]{2,3}(?:-[a-z]+)*|simple):(?=.)", re.IGNORECASE)  # the Wikipedia that a word is from
_SHARE = 0.5
"""Of the words of a file; where fewer begin with a prefix, they only look like it."""


_MANY = 20
"""Rows; as many sentences rarely have one word each."""


class WordsInFiles:
    """The words of files: prefixes of languages are removed where every word of a file has one (`en:Oslo`)."""

    def __init__(self) -> None:
        self._lengths = Counter[int]()
        self._is_removed = False
        self._removed: dict[str, None] = {}
        self._kept: list[str] = []

    def begin(self, first: Sequence[str], again: Callable[[], Iterable[Sequence[str]]]) -> None:
        """Look for prefixes in a file.

        Args:
            first: The words of its first row.
            again: Returns the words of all of its rows; called only if the first row has a prefix.
        """
        self._is_removed = False
        if not any(map(_PREFIX.match, first)):
            return
        prefixes = Counter[str]()
        count = 0
        for words in again():
            count += len(words)
            prefixes.update(match[0] for word in words if (match := _PREFIX.match(word)))
        self._is_removed = prefixes.total() == count > 1
        if self._is_removed:
            self._removed |= dict.fromkeys(prefixes)
        elif prefixes.total() >= max(2, _SHARE * count):
            shown = listed(f"`{prefix}`" for prefix, _ in prefixes.most_common(3))
            self._kept.append(
                f"{prefixes.total():,} of {count:,} words begin with a language, such as {shown}, which is read as "
                "part of the word; write it before all words of the file, so that it is removed, or before none"
            )

    def read(self, words: list[str]) -> list[str]:
        """Return the words of a row of the file that was begun last without their prefixes."""
        self._lengths[len(words)] += 1
        return [_PREFIX.sub("", word, count=1) for word in words] if self._is_removed else words

    def notes(self) -> list[str]:
        """Say which prefixes were removed, where only some words have one, and whether rows are no sentences."""
        removed, notes = [*self._removed], [*self._kept]
        if removed:
            prefix = listed(f"`{each}`" for each in removed)
            prefix = prefix if len(removed) == 1 else f"a language ({prefix})"
            notes.append(f"every word begins with {prefix}, which is removed")
        if [*self._lengths] == [1] and self._lengths[1] >= _MANY:
            notes.append("every row has one word; if rows are the words of sentences, write one sentence per row")
        return notes


def words_of(value: object) -> list[str]:
    """Return a list of words, and an empty list for anything else."""
    return value if isinstance(value, list) and all(isinstance(word, str) for word in value) else []
