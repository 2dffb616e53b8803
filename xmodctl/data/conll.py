"""Files of words and tags in columns, one word per line: CoNLL-2003, IOB2, PAN-X, CoNLL-U, and UNER."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from xmodctl.core.errors import UserError
from xmodctl.core.messages import quoted
from xmodctl.data.files import DataFile, Numbered, lines_of

Line = tuple[int, list[str]]
"""A line's number and its fields."""

SAMPLE = 10
"""Sentences that are looked at to find out what the columns hold."""

CONLL_U, UPOS = 10, 4
"""The columns of CoNLL-U, and the one with the universal part of speech."""

_TAG = re.compile(r"[Oo]|[BIESLU]-.+")
_SEVERAL_OR_NO_WORDS = re.compile(r"[0-9]+[-.][0-9]+")  # CoNLL-U: `2-3` is one text for two words, `2.1` an empty node


def conll_rows(file: DataFile) -> Numbered:
    """Read words and tags in columns, one word per line, with an empty line or `-DOCSTART-` between sentences.

    Words are in the first column and tags in the last, or in the column (from 1) that the task maps `tokens` or `tags`
    to. Columns are separated by tabs if the line has one, else by spaces. A row's number is the line of its first word.

    Raises:
        UserError: While iterating: the task has no tags, or they are in a different column from the one to be read.
    """
    if "tags" not in file.columns:
        raise UserError(
            f"{file.name} is read as words and tags in columns, but the task has {', '.join(file.columns)}; "
            f"rename it to {Path(file.name).stem}.csv if it is a table, or save it as CSV or JSON Lines"
        )
    groups = _groups(file)
    head, width = _head(groups)
    if not width:
        return
    sentences = _sentences(file, chain(head, groups), width)
    sample = list(islice(sentences, SAMPLE))
    layout = _layout(file, sample, width)
    names = str(file.columns["tokens"]), str(file.columns["tags"])
    for lines in chain(sample, sentences):
        words = layout.words(lines)
        if words:
            tokens = [fields[layout.tokens - 1] for _, fields in words]
            tags = [fields[layout.tags - 1].strip() for _, fields in words]
            yield words[0][0], dict(zip(names, (tokens, tags), strict=True))


@dataclass(frozen=True)
class _Layout:
    """The columns of words and tags, counted from 1."""

    tokens: int
    tags: int

    def words(self, lines: list[Line]) -> list[Line]:
        """Return the lines that are words: CoNLL-U's other lines are known by their ids, if a column has ids.

        `6-4` and `2.5` in the column of the words are words.
        """
        if self.tokens == 1:
            return lines
        words = [line for line in lines if not _SEVERAL_OR_NO_WORDS.fullmatch(line[1][0])]
        has_ids = all(fields[0].isascii() and fields[0].isdigit() for _, fields in words)
        return words if has_ids and words else lines


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


def _head(groups: Iterator[list[_Text]]) -> tuple[list[list[_Text]], int]:
    """Return the groups up to the first line that cannot be a comment, and its number of columns."""
    head: list[list[_Text]] = []
    for group in groups:
        head.append(group)
        for line in group:
            if not line.text.startswith("#"):
                return head, len(line.fields)
    return head, max((len(line.fields) for group in head for line in group if is_tag(line.fields[-1])), default=0)


def _sentences(file: DataFile, groups: Iterator[list[_Text]], width: int) -> Iterator[list[Line]]:
    """Yield sentences without comments; a line with another number of columns is a mistake."""
    for group in groups:
        lines: list[Line] = []
        begun = False
        for line in group:
            fields = line.fields
            if not begun and line.text.startswith("#") and not _is_word(file, line.text, fields, width):
                continue
            begun = True
            if problem := _column_problem(file, fields, width):
                file.mistakes.add(file.at(line.number), *problem)
            else:
                lines.append((line.number, fields))
        if lines:
            yield lines


def _is_word(file: DataFile, text: str, fields: list[str], width: int) -> bool:
    """Return whether a line that begins with `#` before the first word of a sentence is a word, not a comment.

    Plain tags are known by the tab before them, or by being in uppercase.
    """
    tags = _number(file, "tags") or width
    if len(fields) != width or tags > width or _number(file, "tokens") not in (None, 1):
        return False
    tag = fields[tags - 1]
    return is_tag(tag) or (file.plain_tags and ("\t" in text or tag.isupper()))


def _layout(file: DataFile, sample: Sequence[Sequence[Line]], width: int) -> _Layout:
    """Return the columns to read.

    Raises:
        UserError: They do not hold what the task says, and others do.
    """
    tokens, tags = _number(file, "tokens"), _number(file, "tags")
    if not sample:
        return _Layout(tokens or 1, tags or width)
    lines = [fields for sentence in sample for _, fields in sentence]
    place = file.at(sample[0][0][0])
    numbered = tokens is None and width > 2 and len(lines) > 1 and all(map(_counts_words, sample))
    if numbered and tags is None and file.numbered and max(file.numbered.values()) <= width:
        return _Layout(file.numbered["tokens"], file.numbered["tags"])
    if file.plain_tags:
        return _plain_layout(tokens, tags, width, place, numbered=numbered)
    words = 2 if numbered else tokens or 1
    candidates = [
        column for column in range(1, width + 1) if column != words and all(is_tag(row[column - 1]) for row in lines)
    ]
    likely = " and ".join(map(str, candidates))
    looks = f"column {likely} looks" if len(candidates) == 1 else f"columns {likely} look"
    number = candidates[0] if len(candidates) == 1 else "NUMBER"
    if numbered:
        tags_column = f", and {looks} like tags" if candidates else ""
        raise UserError(
            f"{place}: the first column counts the words of each sentence{tags_column} (columns are counted from 1); "
            f"name the columns with --set columns.tokens=2 --set columns.tags={tags or number}"
        )
    column = tags or width
    if column != words and not candidates and all(is_tag(row[words - 1]) for row in lines):
        candidates, looks = [words], f"column {words} looks"
        other = column if width == 2 else "NUMBER"
        number = f"{words} --set columns.tokens={other}"
    share = sum(is_tag(row[column - 1]) for row in lines) / len(lines)
    if candidates and column not in candidates and share < 0.5:
        raise UserError(
            f"{place}: column {column}, which is read as tags, contains {quoted(lines[0][column - 1])}, and {looks} "
            f"like tags (columns are counted from 1); name it with --set columns.tags={number}"
        )
    return _Layout(words, column)


def _plain_layout(tokens: int | None, tags: int | None, width: int, place: str, *, numbered: bool) -> _Layout:
    """Return the columns of words with plain tags: UPOS in CoNLL-U, or else the last column.

    Raises:
        UserError: The first column counts the words, and the file is not CoNLL-U.
    """
    if not numbered:
        return _Layout(tokens or 1, tags or width)
    if tags is None and width != CONLL_U:
        raise UserError(
            f"{place}: the first column counts the words of each sentence (columns are counted from 1); name the "
            f"columns with --set columns.tokens=2 --set columns.tags={width}"
        )
    return _Layout(2, tags or UPOS)


def _counts_words(lines: Sequence[Line]) -> bool:
    """Return whether the first column counts the words of a sentence from 1."""
    ids = [fields[0] for _, fields in lines if not _SEVERAL_OR_NO_WORDS.fullmatch(fields[0])]
    return bool(ids) and ids == [str(number) for number in range(1, len(ids) + 1)]


def is_tag(field: str) -> bool:
    """Return whether a field looks like a tag."""
    return _TAG.fullmatch(field.strip()) is not None


def _number(file: DataFile, column: str) -> int | None:
    """Return the number that the task gives for a column; without one, the column has its usual place."""
    name = str(file.columns[column])
    return int(name) if name.isascii() and name.isdigit() and int(name) else None


def _column_problem(file: DataFile, fields: list[str], width: int) -> tuple[str, str] | None:
    """Return what is wrong with the number of columns of a line, and the same for all such lines."""
    needed = max(_number(file, column) or 1 for column in ("tokens", "tags"))
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
