"""Lines that are not plain text and would be learned as such: markup, columns, subtitles, codes, tags, JSON."""

import re
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from xmodctl.core.errors import UserError
from xmodctl.core.markup import MARKUP
from xmodctl.core.messages import quoted

REPORTED, REFUSED = 0.01, 0.2
"""The shares of the lines from which on a form is reported, and the text refused."""

_COLUMNS = "columns, separated by tabs"
_FORMS = {
    _COLUMNS: ("\t", re.compile(r"\S ?\t[ \t]*\S")),
    "times of subtitles": (
        ":",
        re.compile(r"\d\d:\d\d[:.,]\d{2,3}(?:[.,]\d{3})? --> |^\s*\[\d{1,2}:\d\d(?:[.:]\d{1,3})?\]"),
    ),
    "codes of USFM or TeX": (
        "\\",
        re.compile(r"(?<!\S)\\[a-z]{1,20}\d?\*?(?=[\s{\[]|$)|\\\+?[a-z]{1,20}\d?\*"),
    ),
    "JSON": ('"', re.compile(r'^\s*\[?\{\s*"(?:[^"\\]|\\.){1,100}"\s*:')),
    "lists or values as programs write them": (
        "\"'",
        re.compile(
            r"""^\s*"(?:[^"\\]|\\.){1,100}"\s*:\s*\S|^\s*"(?:[^"\\]|\\.)*+",$|^\s*\[(["']).*\1\s*\],?$|^- \w+: ["']"""
        ),
    ),
    "entries of PO files": ('"', re.compile(r'^\s*(?:msgid|msgid_plural|msgstr(?:\[\d\])?|msgctxt) "')),
    "columns, separated by commas": (
        '"',
        re.compile(r'^"(?:[^"]|"")*+",(?:"|[^\s",]++,)|^[^\s",]*+,(?:[^\s",]*+,)*+"(?:[^"]|"")*+"(?:,|$)'),
    ),
    "columns, separated by semicolons or |": (";|", re.compile(r"^[^;]*[^;\s];\S[^;]*[^;\s];\S|\S ?\| ?\S")),
    "tags of words": ("/_", re.compile(r"(?:(?:^|\s)\S+[/_][A-Z]{1,6}\$?(?=\s|$)){4}")),
    "pieces of words": ("▁@", re.compile(r"(?:^|\s)▁\w|\w@@ \w")),
}
"""Each with the characters of which every such line has one, and its pattern."""
_SHOWN = 40
"""Characters of a line that a message shows."""
_SENTENCE = 20
"""Characters; a column whose cells are shorter on average holds words or ids, not sentences."""


@dataclass
class TextForms:
    """Counts the lines of a text that are not plain text."""

    _marked: int = 0
    _markup: str = ""  # an example
    _lines: Counter[str] = field(default_factory=Counter)  # by form
    _examples: dict[str, str] = field(default_factory=dict)
    _characters: Counter[int] = field(default_factory=Counter)  # by column

    def add(self, line: str, cleaned: str) -> None:
        """Count a line that is kept.

        Args:
            line: As it is written.
            cleaned: Without control characters.
        """
        if match := MARKUP.search(cleaned):
            self._marked, self._markup = self._marked + 1, self._markup or match[0]
        for name, (marks, pattern) in _FORMS.items():
            if any(mark in line for mark in marks) and pattern.search(line):
                self._lines[name] += 1
                self._examples.setdefault(name, line.strip()[:_SHOWN])
                if name == _COLUMNS:
                    self._characters.update({column: len(cell) for column, cell in enumerate(line.split("\t"), 1)})
                return

    def note(self, sources: Sequence[str], kept: int, *, is_stripped: bool, file: str | None) -> str | None:
        """Return what to know about lines that are not plain text, if there are more than a few.

        Args:
            sources: Where the text is from.
            kept: How many lines it has.
            is_stripped: Whether markup was removed before.
            file: The name of the text, if it is one file of lines that other programs can read.

        Raises:
            UserError: There are too many.
        """
        counts = [("markup", self._marked, self._markup), *((n, c, self._examples[n]) for n, c in self._lines.items())]
        notes = []
        for name, count, example in counts:
            if not count or count < REPORTED * kept:
                continue
            remedy = self._remedy(name, file, is_stripped=is_stripped)
            note = f"{count / kept:.0%} of the lines contain {name}, such as {quoted(example)}; {remedy}"
            if count > REFUSED * kept:
                raise UserError(f"{', '.join(sources)}: {note}")
            notes.append(note)
        return "; ".join(notes) or None

    def _remedy(self, name: str, file: str | None, *, is_stripped: bool) -> str:
        if name == "markup" and not is_stripped:
            return "remove it with --strip-markup"
        if name == "JSON":
            return "name the file FILE.jsonl, and the column of the text with --text-column"
        if name == _COLUMNS:
            ((column, characters),) = self._characters.most_common(1)
            if characters < _SENTENCE * self._lines[name]:
                return "write its sentences as plain text, one per line"
            place = f"; for example: cut -f {column} {shlex.quote(file)} > sentences.txt" if file else ""
            return f"give column {column} alone, which has the longest texts{place}"
        return "save it as plain text"
