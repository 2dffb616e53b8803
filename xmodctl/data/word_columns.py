"""Which columns of a file of tagged words hold the words and their tags."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from xmodctl.core.errors import UserError
from xmodctl.core.messages import quoted
from xmodctl.data.files import DataFile

Line = tuple[int, list[str]]
"""A line's number and its fields."""

CONLL_U, UPOS = 10, 4
"""The columns of CoNLL-U, and the one with the universal part of speech."""

_TAG = re.compile(r"[Oo]|[BIESLU]-.+")
_SEVERAL_OR_NO_WORDS = re.compile(r"[0-9]+[-.][0-9]+")  # CoNLL-U: `2-3` is one text for two words, `2.1` an empty node
_COUNTED = re.compile(r"(.*?)([0-9]+)\D?", re.DOTALL)  # `3`, `T3`, `2-3`, and `3.`
_WORDS = ("word", "words", "token", "tokens", "form")
_TAGS = ("tag", "tags", "label", "labels")
_ENTITY_TAGS = ("ner", "ner_tag", "ner_tags", "iob", "iob2", "bio", "entity", "entities")
_PLAIN_TAGS = ("upos", "pos", "pos_tag", "pos_tags", "xpos")
"""What headers of such files call their columns."""


@dataclass(frozen=True)
class Layout:
    """The columns of words and tags, counted from 1."""

    tokens: int
    tags: int
    has_header: bool = False  # the first line of the file has the names of columns

    def words(self, lines: list[Line]) -> list[Line]:
        """Return the lines that are words: CoNLL-U's other lines are known by their ids, if a column has ids.

        `6-4` and `2.5` in the column of the words are words.
        """
        if self.tokens == 1:
            return lines
        words = [line for line in lines if not _SEVERAL_OR_NO_WORDS.fullmatch(line[1][0])]
        has_ids = all(is_number(fields[0]) for _, fields in words)
        return words if has_ids and words else lines


def is_tag(field: str) -> bool:
    """Return whether a field looks like a tag."""
    return _TAG.fullmatch(field.strip()) is not None


def number_of(file: DataFile, column: str) -> int | None:
    """Return the number that the task gives for a column; without one, the column has its usual place."""
    name = str(file.columns[column])
    return int(name) if name.isascii() and name.isdigit() and int(name) else None


def layout_of(file: DataFile, sample: Sequence[Sequence[Line]], width: int) -> Layout:
    """Return the columns to read.

    Args:
        file: The file.
        sample: Its first sentences.
        width: Its number of columns.

    Raises:
        UserError: They do not hold what the task says, and others do.
    """
    tokens, tags = number_of(file, "tokens"), number_of(file, "tags")
    if not sample:
        return Layout(tokens or 1, tags or width)
    if (named := _named_columns(file, sample)) and tokens is None and tags is None:
        first, *others = sample
        rest = [sentence for sentence in (first[1:], *others) if sentence]
        layout = _checked(file, rest, width, *named) if rest else Layout(*named)
        return Layout(layout.tokens, layout.tags, has_header=True)
    return _checked(file, sample, width, tokens, tags)


def _named_columns(file: DataFile, sample: Sequence[Sequence[Line]]) -> tuple[int, int] | None:
    """Return the columns of words and tags by the names in the first line, or None if that is a word with its tag."""
    (_, header), *rest = (line for sentence in sample for line in sentence)
    names = [name.strip().casefold().replace(" ", "_").replace("-", "_") for name in header]
    words = [names.index(name) for name in (str(file.columns["tokens"]), *_WORDS) if name in names]
    preferred = _PLAIN_TAGS if file.plain_tags else _ENTITY_TAGS
    wanted = (str(file.columns["tags"]), *preferred, *_TAGS, *_PLAIN_TAGS, *_ENTITY_TAGS)
    tags = [names.index(name) for name in wanted if name in names and names.index(name) not in words[:1]]
    if not words or not tags or any(fields[tags[0]] == header[tags[0]] for _, fields in rest):
        return None
    return words[0] + 1, tags[0] + 1


def _checked(
    file: DataFile, sample: Sequence[Sequence[Line]], width: int, tokens: int | None, tags: int | None
) -> Layout:
    lines = [fields for sentence in sample for _, fields in sentence]
    place = file.at(sample[0][0][0])
    index = _index(sample, 1) if tokens is None and width > 2 and len(lines) > 1 else ""
    words = next((column for column in range(2, width) if not _index(sample, column)), 2) if index else tokens or 1
    if index and tags is None and file.numbered and max(file.numbered.values()) <= width:
        return Layout(file.numbered["tokens"], file.numbered["tags"])
    if file.plain_tags:
        return _plain_layout(words, tags, width, place, index)
    candidates = [
        column for column in range(1, width + 1) if column != words and all(is_tag(row[column - 1]) for row in lines)
    ]
    likely = " and ".join(map(str, candidates))
    looks = f"column {likely} looks" if len(candidates) == 1 else f"columns {likely} look"
    number = candidates[0] if len(candidates) == 1 else "NUMBER"
    if index:
        tags_column = f", and {looks} like tags" if candidates else ""
        raise UserError(
            f"{place}: the first column {index}{tags_column} (columns are counted from 1); "
            f"name the columns with --set columns.tokens={words} --set columns.tags={tags or number}"
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
    return Layout(words, column)


def _plain_layout(words: int, tags: int | None, width: int, place: str, index: str) -> Layout:
    """Return the columns of words with plain tags: UPOS in CoNLL-U, or else the last column.

    Raises:
        UserError: The first column has no words, and the file is not CoNLL-U.
    """
    if not index:
        return Layout(words, tags or width)
    if tags is None and width != CONLL_U:
        raise UserError(
            f"{place}: the first column {index} (columns are counted from 1); name the columns with "
            f"--set columns.tokens={words} --set columns.tags={width}"
        )
    return Layout(2, tags or UPOS)


def _index(sample: Sequence[Sequence[Line]], column: int) -> str:
    """Return what a column has in place of words, or an empty string if it may have words.

    It counts words (`1`, `T1`, `1-1`; from any number, in each sentence or in the file), or it has numbers, or what is
    the same in all lines of a sentence, such as the sentence's number.
    """
    ids = [_ids([fields[column - 1] for _, fields in sentence]) for sentence in sample]
    if all(each == [str(number) for number in range(1, len(each) + 1)] for each in ids):
        return "counts the words of each sentence"
    if all(map(is_number, (field for each in ids for field in each))):
        return "has numbers, not words"
    lines = sum(map(len, ids))
    long = [each for each in ids if len(each) > 1]
    if lines > 2 and long and all(map(_counts, ids)):
        return "counts the words"
    if len(long) > 1 and 2 * len(long) >= len(ids) and all(len({*each}) == 1 for each in ids):
        return "is the same in all lines of a sentence"
    return ""


def _ids(fields: Sequence[str]) -> Sequence[str]:
    """Return fields without the ids of several or no words that CoNLL-U has beside numbers."""
    plain = [field for field in fields if not _SEVERAL_OR_NO_WORDS.fullmatch(field)]
    return plain if plain and all(map(is_number, plain)) else fields


def _counts(fields: Sequence[str]) -> bool:
    """Return whether fields end in numbers that follow each other, after the same text."""
    matches = [match for field in fields if (match := _COUNTED.fullmatch(field))]
    begin = int(matches[0][2]) if matches else 0
    return len(matches) == len(fields) and all(
        match[1] == matches[0][1] and int(match[2]) == begin + place for place, match in enumerate(matches)
    )


def is_number(field: str) -> bool:
    """Return whether a field has nothing but digits."""
    return field.isascii() and field.isdigit()
