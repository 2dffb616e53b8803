"""The columns that local data has, and which of them gives the language of a row if no usual name does."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from xmodctl.catalog.locations import Split
from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError
from xmodctl.core.messages import listed, shell_setting
from xmodctl.core.mistakes import Mistakes
from xmodctl.data.delimited import delimiter_of
from xmodctl.data.files import Numbered
from xmodctl.data.readers import format_of, read
from xmodctl.data.single_file import split_in
from xmodctl.data.usual_names import names_a_country, usual_language_columns, usual_split_columns
from xmodctl.kinds import KINDS
from xmodctl.kinds.label_sets import BITS
from xmodctl.kinds.labels import written_form
from xmodctl.kinds.rows import Raw
from xmodctl.languages import same
from xmodctl.languages.tags import meaning
from xmodctl.languages.tags import read as read_language

_NAME = re.compile(r"[^\W\d][\w./-]*([ _][^\W\d][\w./-]*)?")
_VALUE = re.compile(r"[+-]?[\d.,]+|[\[{].*|.{30,}|(\S+\s+){3,}.*", re.DOTALL)
"""What is no name of a column: a number, a list, or a long text."""
LONGEST_CODE = 12
"""Characters; longer cells of a row are no codes of languages."""
_KEYS_IN_ROWS = (".json", ".jsonl", ".ndjson")
"""Formats in which each row has the names of its columns, so that a row may lack some."""


def all_columns(path: Path, rows: Iterable[Raw]) -> Raw | None:
    """Return the first row of a file, with the columns that only later rows have; None if there are no rows."""
    header: dict[str, Any] | None = None
    for row in rows:
        if header is None:
            header = dict(row)
        header |= {name: value for name, value in row.items() if header.get(name) is None}
        if format_of(path) not in _KEYS_IN_ROWS:
            break
    return header


def needed_columns(task: Task) -> dict[str, str | list[str]]:
    """Return the task's columns, and the kind's own names for those that are looked for."""
    return {**{name: name for name in task.missing}, **task.columns}


def first_row(task: Task, path: Path) -> Raw:
    """Return the first row, with the columns that only later rows have.

    Raises:
        UserError: There is none.
    """
    mistakes = Mistakes(str(path))
    if first := all_columns(path, (raw for _, raw in rows_of(task, path, mistakes))):
        return first
    mistakes.raise_any()
    if format_of(path) in (".csv", ".tsv"):
        header = example_header(task, delimiter=delimiter_of(path))
        raise UserError(f"{path} contains no rows; give a header line, such as {header}, and rows after it")
    raise UserError(f"{path} contains no rows; a row is an object, such as one with {example_header(task)}")


def rows_of(task: Task, path: Path, mistakes: Mistakes) -> Numbered:
    """Return the raw rows of a file, with all columns."""
    return read(
        path,
        str(path),
        needed_columns(task),
        mistakes,
        all_columns=True,
        numbered=task.numbered_columns,
        plain_tags=KINDS[task.kind].plain_tags,
    )[1]


def example_header(task: Task, fields: Sequence[str] = (), delimiter: str = ",") -> str:
    """Return a header line for a file without one.

    Args:
        task: The task.
        fields: The first row, if that is known and has what the kind needs; each field then gets a name.
        delimiter: What separates the fields.
    """
    names = [name for name in needed_columns(task) if name != "id"]
    needed = [name for name in names if task.missing.get(name) != "optional"]
    header = _names_of_fields(task, needed, fields) if len(fields) >= len(needed) else [*names, "language"]
    return f"{listed(header)}, separated by tabs" if delimiter == "\t" else delimiter.join(header)


def _names_of_fields(task: Task, needed: Sequence[str], fields: Sequence[str]) -> list[str]:
    """Return a name for each field of a row: that of the language for what is one, and what the kind needs."""
    names = [f"column{number}" for number in range(1, len(fields) + 1)]
    free = [*range(len(fields))]
    languages = [place for place in free if _is_code(fields[place])]
    if languages and len(fields) > len(needed):
        names[languages[-1]] = "language"
        free.remove(languages[-1])
    wanted = [*needed]
    if "choices" in needed and len(free) > len(needed):
        first = ["question"] if len(free) > len(needed) + 1 else []
        letters = [chr(ord("A") + number) for number in range(len(free) - len(first) - len(needed) + 1)]
        wanted = [*first, *(name for column in needed for name in (letters if column == "choices" else [column]))]
    elif needed == ["text", KINDS[task.kind].gold_column]:  # the text is the longest field, and its label is near
        text = max(free, key=lambda place: len(fields[place]))
        free = [text, next((place for place in free if place > text), max(set(free) - {text}))]
    for place, name in zip(free, wanted, strict=False):
        names[place] = name
    return names


def names_or_values(fields: Sequence[str]) -> Literal["names", "values", "unclear"]:
    """Return whether the first line of a table seems to have the names of columns, or the values of a row."""
    if all(map(_NAME.fullmatch, fields)):
        return "unclear" if any(map(_is_code, fields)) else "names"
    return "values" if any(_is_code(field) or _VALUE.fullmatch(field) for field in fields) else "unclear"


def _is_code(field: str) -> bool:
    return 1 < len(field) < LONGEST_CODE and read_language(field) is not None


def language_column(task: Task, first: Raw, path: Path, used: Collection[str], languages: Sequence[str]) -> str:
    """Return the column that gives the language of a row, or an empty text: by its name, else by what it holds.

    Raises:
        UserError: Several columns may.
    """
    if task.is_mixed:
        return ""
    free = [name for name in first if name not in used]
    candidates = usual_language_columns(free) or _holding_languages(task, first, path, free, languages)
    if len(candidates) > 1:
        raise UserError(
            f"{path}: several columns may give the language of a row: {listed(candidates)}; name it with "
            f"--lang-column {candidates[0]}"
        )
    return candidates[0] if candidates else ""


def _holding_languages(task: Task, first: Raw, path: Path, free: Sequence[str], languages: Sequence[str]) -> list[str]:
    """Return the columns that hold several languages, among them one to train in, and nothing else in any row."""
    candidates = [name for name in free if not names_a_country(name) and is_language(first[name])]
    held: dict[str, set[object]] = {name: set() for name in candidates}
    trained: set[str] = set()
    for _, raw in rows_of(task, path, Mistakes(str(path))) if candidates else ():
        for name in [*held]:
            code = raw.get(name)
            if not is_language(code):
                del held[name]
            elif (key := meaning(str(code))) not in held[name]:
                held[name].add(key)
                trained |= {name} if any(same(str(code), language) for language in languages) else set()
        if not held:
            break
    return [name for name, codes in held.items() if len(codes) > 1 and name in trained]


def split_column(task: Task, first: Raw, path: Path, used: Collection[str]) -> str:
    """Return the column that gives the split of a row, or an empty text: by its name, else by what all rows hold.

    Raises:
        UserError: Several columns may.
    """
    free = [name for name in first if name not in used]
    candidates = usual_split_columns(free) or _holding_splits(task, first, path, free)
    if len(candidates) > 1:
        raise UserError(
            f"{path}: several columns may give the split of a row: {listed(candidates)}; name it with "
            f"{shell_setting('split_column', candidates[0])}"
        )
    return candidates[0] if candidates else ""


def _holding_splits(task: Task, first: Raw, path: Path, free: Sequence[str]) -> list[str]:
    """Return the columns that hold splits, among them that for training, and nothing else in any row."""
    held: dict[str, set[Split | None]] = {name: set() for name in free if split_in(first[name])}
    for _, raw in rows_of(task, path, Mistakes(str(path))) if held else ():
        for name, splits in held.items():
            splits.add(split_in(raw.get(name)))
    return [name for name, splits in held.items() if None not in splits and "train" in splits and len(splits) > 1]


def is_language(cell: object) -> bool:
    """Return whether a cell is the code or the name of a language; a letter alone is rather a label."""
    return isinstance(cell, str) and len(cell) > 1 and read_language(cell) is not None


def flag_columns(task: Task, first: Raw, path: Path, free: Sequence[str]) -> list[str]:
    """Return the columns that say in most rows whether a row has a label; others are numbers that begin with 0 or 1."""
    names = [name for name in free if _is_flag(first[name])]
    counts, rows = Counter[str](), 0
    for _, raw in rows_of(task, path, Mistakes(str(path))) if len(names) > 1 else ():
        rows += 1
        counts.update(name for name in names if _is_flag(raw.get(name)))
    return [name for name in names if counts[name] > rows / 2]


def _is_flag(cell: Any) -> bool:
    return (written_form(cell) or "").casefold() in BITS
