"""Files of words and tags in columns, one word per line: CoNLL-2003, IOB2, PAN-X, CoNLL-U, and UNER."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, dropwhile, islice
from pathlib import Path

from xmodctl.core.errors import UserError
from xmodctl.core.messages import ReadingNote, quoted
from xmodctl.core.mistakes import Mistakes
from xmodctl.data.files import DataFile, Numbered, lines_of
from xmodctl.data.word_columns import Line, is_number, is_tag, layout_of, number_of

SAMPLE = 10
"""Sentences that are looked at to find out what the columns hold."""
LONG = 1000
"""Words; a file of one sentence that is longer rather lacks the empty lines between sentences."""


def conll_rows(file: DataFile) -> Numbered:
    """Read words and tags in columns, one word per line, with an empty line or `-DOCSTART-` between sentences.

    Words are in the first column and tags in the last, or in the column (from 1) that the task maps `tokens` or `tags`
    to, or in those that a header names. Columns are separated by tabs if the line has one, else by spaces. A row's
    number is the line of its first word.

    Raises:
        UserError: While iterating: the task has no tags, or they are in a different column from the one to be read.
    """
    if "tags" not in file.columns:
        raise UserError(
            f"{file.name} is read as words and tags in columns, but the task has {', '.join(file.columns)}; "
            f"rename it to {Path(file.name).stem}.csv if it is a table, or save it as CSV or JSON Lines"
        )
    groups = _groups(file)
    head, shape = _head(file, groups)
    if not shape.width:
        return
    sentences = _sentences(file, chain(head, groups), shape)
    sample = list(islice(sentences, SAMPLE))
    layout = layout_of(file, sample, shape.width)
    if layout.has_header:
        names = ", ".join(map(quoted, (sample[0][0][1][layout.tokens - 1], sample[0][0][1][layout.tags - 1])))
        note = f"{file.name}: the first line has the names of columns ({names}), and is not read as a word"
        file.notes.append(ReadingNote(note))
        sample[0] = sample[0][1:]
    if len(sample) == 1 and len(sample[0]) > LONG:
        file.notes.append(f"{file.name} is one sentence of {len(sample[0]):,} words; an empty line ends a sentence")
    columns = str(file.columns["tokens"]), str(file.columns["tags"])
    for lines in chain(sample, sentences):
        words = layout.words(lines)
        if words:
            tokens = [fields[layout.tokens - 1] for _, fields in words]
            tags = [fields[layout.tags - 1].strip() for _, fields in words]
            yield words[0][0], dict(zip(columns, (tokens, tags), strict=True))


@dataclass(frozen=True)
class _Text:
    """A line that is not split yet."""

    number: int
    text: str

    @property
    def fields(self) -> list[str]:
        """Its columns. Words may contain blanks other than the space, such as the one in `10 000`."""
        if "\t" in self.text:
            return self.text.split("\t")
        fields = [field for field in self.text.split(" ") if field]
        return fields if len(fields) > 1 else self.text.split()


def _groups(file: DataFile) -> Iterator[list[_Text]]:
    """Yield the lines between empty lines and `-DOCSTART-` lines."""
    group: list[_Text] = []
    for number, text in lines_of(file):
        if text and not text.isspace() and "-DOCSTART-" not in text.split()[:2]:
            group.append(_Text(number, text))
        elif group:
            yield group
            group = []
    if group:
        yield group


@dataclass(frozen=True)
class _Shape:
    """What the lines of a file have in common."""

    file: DataFile
    width: int  # columns
    has_tabs: bool

    def is_word(self, line: _Text) -> bool:
        """Return whether a line that begins with `#` before the first word of a sentence is a word, not a comment.

        It has the columns of the file, and a tag. Plain tags are known from other lines, by the tab before them, or by
        being in uppercase.
        """
        tags = number_of(self.file, "tags") or self.width
        fields = line.fields
        if len(fields) != self.width or tags > self.width or self.has_tabs != ("\t" in line.text):
            return False
        if number_of(self.file, "tokens") not in (None, 1):
            return False
        tag = fields[tags - 1].strip()
        if not (self.file.plain_tags or is_tag(tag)):
            return False
        may_be = not self.file.plain_tags or self.has_tabs or tag.isupper()
        types, has_numbers = self._other_lines
        type_ = self._type(tag)
        return not has_numbers and (type_ in types or (may_be and not _is_no_type(type_, types)))

    @cached_property
    def _other_lines(self) -> tuple[frozenset[str], bool]:
        """The types of the tags in lines that are certainly words, and whether all of these begin with numbers."""
        file = replace(self.file, mistakes=Mistakes(self.file.name), notes=[])
        tags = number_of(file, "tags") or self.width
        types, words, numbers = set[str](), 0, 0
        for group in _groups(file):
            for line in dropwhile(lambda line: line.text.startswith("#"), group):
                fields = line.fields
                if len(fields) == self.width:
                    types.add(self._type(fields[tags - 1].strip()))
                    words += 1
                    numbers += is_number(fields[0][:1])
        return frozenset(types), numbers == words > 2 and self.width > 2

    def _type(self, tag: str) -> str:
        return tag if self.file.plain_tags else tag[2:]


def _is_no_type(type_: str, types: frozenset[str]) -> bool:
    """Return whether what no other word has as its type is rather text or an id: `12`, `domain=en`, `mail` of E-mail.

    `#` may be the only word of a type, such as SYM.
    """
    is_other_case = type_.islower() and bool(types) and not any(map(str.islower, types))
    return "=" in type_ or any(map(str.isdigit, type_)) or is_other_case


def _head(file: DataFile, groups: Iterator[list[_Text]]) -> tuple[list[list[_Text]], _Shape]:
    """Return the groups up to the first line that cannot be a comment, and its shape."""
    head: list[list[_Text]] = []
    for group in groups:
        head.append(group)
        for line in group:
            if not line.text.startswith("#"):
                return head, _Shape(file, len(line.fields), "\t" in line.text)
    width = max((len(line.fields) for group in head for line in group if is_tag(line.fields[-1])), default=0)
    return head, _Shape(file, width, has_tabs=False)


def _sentences(file: DataFile, groups: Iterator[list[_Text]], shape: _Shape) -> Iterator[list[Line]]:
    """Yield sentences without comments; a line with another number of columns is a mistake."""
    for group in groups:
        lines: list[Line] = []
        begun = False
        for line in group:
            if not begun and line.text.startswith("#") and not shape.is_word(line):
                continue
            begun = True
            if problem := _column_problem(file, line.fields, shape.width):
                file.mistakes.add(file.at(line.number), *problem)
            else:
                lines.append((line.number, line.fields))
        if lines:
            yield lines


def _column_problem(file: DataFile, fields: list[str], width: int) -> tuple[str, str] | None:
    """Return what is wrong with the number of columns of a line, and the same for all such lines."""
    needed = max(number_of(file, column) or 1 for column in ("tokens", "tags"))
    if len(fields) != width:
        problem = f"the line has {len(fields)} columns, the lines before it {width}"
        return problem, problem
    if width < 2:
        problem = "the line has one column{}; expected a word and its tag"
        return problem.format(f", {quoted(fields[0])}"), problem.format("")
    if width < needed:
        problem = f"the line has {width} columns, the task needs column {needed}"
        return problem, problem
    return None
