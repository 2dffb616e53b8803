"""The columns that local data has, and which of them gives the language of a row if no usual name does."""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from xmodctl.catalog.locations import Split
from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError
from xmodctl.core.messages import listed, shell_setting
from xmodctl.core.mistakes import Mistakes
from xmodctl.data.files import Numbered
from xmodctl.data.readers import format_of, read
from xmodctl.data.single_file import split_in
from xmodctl.data.usual_names import names_a_country, usual_language_columns, usual_split_columns
from xmodctl.kinds import KINDS
from xmodctl.kinds.rows import Raw
from xmodctl.languages import same
from xmodctl.languages.tags import meaning
from xmodctl.languages.tags import read as read_language

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
        raise UserError(
            f"{path} contains no rows; give a header line, such as {example_header(task)}, and rows after it"
        )
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


def example_header(task: Task, fields: int = 0) -> str:
    """Return a header line: with `fields` names if that is known and the kind has as many, else with all names."""
    names = [name for name in needed_columns(task) if name != "id"]
    needed = [name for name in names if task.missing.get(name) != "optional"]
    if "choices" in needed and fields > len(needed) + 1:
        first = ["question"] if fields > len(needed) + 2 else []
        letters = [chr(ord("A") + number) for number in range(fields - len(first) - len(needed))]
        needed = [*first, *(name for column in needed for name in (letters if column == "choices" else [column]))]
    return ",".join([*(needed if len(needed) + 1 == fields else names), "language"])


def language_column(task: Task, first: Raw, path: Path, used: Collection[str], languages: Sequence[str]) -> str:
    """Return the column that gives the language of a row, or an empty text: by its name, else by what it holds.

    Raises:
        UserError: Several columns may.
    """
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
    candidates = [name for name in free if not names_a_country(name) and _is_language(first[name])]
    held: dict[str, set[object]] = {name: set() for name in candidates}
    trained: set[str] = set()
    for _, raw in rows_of(task, path, Mistakes(str(path))) if candidates else ():
        for name in [*held]:
            code = raw.get(name)
            if not _is_language(code):
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


def _is_language(cell: object) -> bool:
    return isinstance(cell, str) and read_language(cell) is not None
