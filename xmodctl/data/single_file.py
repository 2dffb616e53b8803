"""A single file with the rows of all languages and splits: which row is of which."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, Self

from xmodctl.catalog.locations import Split
from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError
from xmodctl.core.messages import listed, quoted
from xmodctl.core.mistakes import Mistakes
from xmodctl.data.readers import FORMATS, SAVED, format_of
from xmodctl.data.sources import SPLIT_NAMES, DataSource, joined_spellings, language_in
from xmodctl.data.splitting import SplittableRow, split_rows
from xmodctl.data.tagged_text import Tagging, read_rows
from xmodctl.data.usual_names import LANGUAGE_COLUMNS, SPLIT_COLUMN
from xmodctl.kinds import KINDS
from xmodctl.kinds.labels import written_form
from xmodctl.kinds.rows import Raw
from xmodctl.languages import same

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
_SPELLINGS = {spelling: split for split, names in SPLIT_NAMES.items() for spelling in names} | {
    "training": "train",
    "testing": "test",
}


@dataclass(frozen=True)
class Contents:
    """What a single file holds."""

    languages: Mapping[str, tuple[Split, ...]]  # as the file spells them; empty if no column gives them
    splits: Mapping[int, Split] | None  # of each row, by its number; None: all rows are of any split
    split_column: str  # empty if no column gives the split


def is_single(data: Path) -> bool:
    """Return whether local data is a single file, or a saved data set, and not a folder of files."""
    return data.is_file() or bool(format_of(data))


def find(task: Task, file: Path, language: str, split: Split, *, single_language: bool) -> DataSource:
    """Return how to read the rows of one language and split.

    Raises:
        UserError: The file cannot be read, or has no such split.
    """
    contents = contents_of(task, file)
    have = [name for name in SPLITS if name in _splits_of(contents, language)]
    if have and split not in have:
        by = f"column `{contents.split_column}`" if contents.split_column else "divided by their texts"
        raise UserError(
            f"{file} has no {split} rows in {language}; it has {' and '.join(have)} rows ({by}); add rows, or give a "
            f"folder with {language}/train, {language}/validation and {language}/test"
        )
    is_only = len(task.languages) == 1 and same(next(iter(task.languages)), language)
    return DataSource(
        files={file: str(file)},
        origin=str(file),
        language=language,
        split=split,
        columns=dict(task.columns),
        language_columns=(task.language_column,) if task.language_column else LANGUAGE_COLUMNS,
        language_ends_at=task.language_ends_at,
        single_language=single_language or is_only,
        numbered=task.numbered_columns,
        plain_tags=KINDS[task.kind].plain_tags,
        tagged_text=task.tagged_text,
        row_splits=contents.splits,
    )


def _splits_of(contents: Contents, language: str) -> set[Split]:
    """Return the splits of a language; without a column for it, those of the file."""
    if contents.languages:
        return {s for code, splits in contents.languages.items() if same(code, language) for s in splits}
    return set(SPLITS if contents.splits is None else contents.splits.values())


def coverage(task: Task, file: Path) -> dict[str, tuple[Split, ...]]:
    """Return the languages of the file with their splits; rows without a language are in the task's only one."""
    contents = contents_of(task, file)
    if contents.languages:
        return dict(contents.languages)
    splits = tuple(split for split in SPLITS if split in _splits_of(contents, ""))
    return dict.fromkeys(task.languages, splits) if len(task.languages) == 1 else {}


_LAST: dict[str, Contents] = {}
"""The contents of the file that was read last, by its identity and how it is read."""


def check_format(file: Path) -> None:
    """Refuse a file in a format that is not read.

    Raises:
        UserError: It is.
    """
    if not format_of(file):
        formats = ", ".join(extension for extension in FORMATS if extension != SAVED)
        raise UserError(f"--data {file}: the extension of a data file is {formats}; save it as CSV or JSON Lines")


def contents_of(task: Task, file: Path) -> Contents:
    """Return what a file holds; that of the last one is kept.

    Raises:
        UserError: The file cannot be read, or the split of a row is none.
    """
    check_format(file)
    try:
        status = file.stat()
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror or error}") from error
    reading = (task.columns, task.language_column, task.language_ends_at, task.split_column, task.kind)
    dividing = (task.split_seed, task.split_rule)
    key = json.dumps([os.path.realpath(file), status.st_size, status.st_mtime_ns, reading, dividing])
    if key not in _LAST:
        contents = _read(task, file)
        _LAST.clear()
        _LAST[key] = contents
    return _LAST[key]


def _read(task: Task, file: Path) -> Contents:
    mistakes = Mistakes(str(file))
    rows = _rows(task, file, mistakes)
    first = next(rows, None)
    if first is None:
        mistakes.raise_any()
        raise UserError(f"{file} contains no rows; a row needs {', '.join(_needed(task))}")
    columns = [task.language_column] if task.language_column else [*LANGUAGE_COLUMNS]
    language_column = next((column for column in columns if column in first[1]), "")
    split_column = task.split_column or (SPLIT_COLUMN if SPLIT_COLUMN in first[1] else "")
    languages: dict[int, str] = {}
    splits: dict[int, Split] = {}
    undivided: list[_Undivided] = []
    for number, raw in chain([first], rows):
        if language := language_in(raw.get(language_column), task.language_ends_at):
            languages[number] = language
        if split_column:
            if split := _split_in(raw.get(split_column)):
                splits[number] = split
            else:
                reason = f"`{split_column}` is {quoted(raw.get(split_column))}; expected {listed(_SPELLINGS)}"
                mistakes.add(f"{file}:{number}", reason)
        elif task.split_seed is not None:
            undivided.append(_Undivided.of(task, number, raw, language or ""))
    if split_column:
        mistakes.raise_any(_without_split(split_column))
    elif task.split_seed is not None:
        splits = split_rows(_splittable(undivided), task.split_seed)
    covered: dict[str, set[Split]] = {}
    spelling = joined_spellings(Counter(languages.values()))
    for number, language in languages.items():
        covered.setdefault(spelling[language], set()).update([splits[number]] if splits else SPLITS)
    ordered = {language: tuple(split for split in SPLITS if split in covered[language]) for language in sorted(covered)}
    return Contents(ordered, splits or None, split_column)


def _without_split(column: str) -> str:
    return f"\nCorrect these rows, or rename the column `{column}` if it is not that of the split"


def _rows(task: Task, file: Path, mistakes: Mistakes) -> Iterator[tuple[int, Raw]]:
    return read_rows(
        file,
        str(file),
        task.columns,
        mistakes,
        all_columns=True,
        numbered=task.numbered_columns,
        plain_tags=KINDS[task.kind].plain_tags,
        tagging=Tagging.of(task.tagged_text, task.columns),
    )[1]


def _needed(task: Task) -> list[str]:
    return [str(column) for column in task.columns.values()] or [*KINDS[task.kind].required]


def _split_in(cell: Any) -> Split | None:
    return _SPELLINGS.get(cell.strip().casefold()) if isinstance(cell, str) else None


class _Undivided(NamedTuple):
    """What the split of a row is derived from."""

    number: int
    language: str
    labels: Sequence[str]
    content: str
    id: str

    @classmethod
    def of(cls, task: Task, number: int, raw: Raw, language: str) -> Self:
        """Take it from a raw row, by the split rule of the task."""
        column = task.columns.get(KINDS[task.kind].gold_column)
        value = raw.get(column) if isinstance(column, str) else None
        if task.split_rule == 1:
            return cls(number, language, _label_as_text(task, value), _content(task, raw), "")
        id_ = raw.get(column) if isinstance(column := task.columns.get("id"), str) else None
        return cls(number, language, KINDS[task.kind].gold_names(value), _content(task, raw), written_form(id_) or "")


def _label_as_text(task: Task, value: Any) -> list[str]:
    """Return a gold cell that is text or a number, by the first split rule."""
    is_label = KINDS[task.kind].needs_labels and isinstance(value, str | int) and not isinstance(value, bool)
    return [str(value).strip()] if is_label else []


def _splittable(rows: Sequence[_Undivided]) -> Iterator[SplittableRow]:
    """Yield each row with its language and its rarest label as the stratum, and its id if languages share ids."""
    counts = Counter(label for row in rows for label in row.labels)
    are_shared = _share_ids(rows)
    for row in rows:
        label = min(row.labels, key=lambda name: (counts[name], name), default="")
        yield SplittableRow(row.number, (row.language, label), row.content, row.id if are_shared else "")


def _share_ids(rows: Sequence[_Undivided]) -> bool:
    """Return whether rows of several languages share ids, as translations do, and rows of one language never do."""
    languages: dict[str, set[str]] = {}
    for row in rows:
        with_id = languages.setdefault(row.id, set())
        if row.id and row.language in with_id:
            return False
        with_id.add(row.language)
    return any(id_ and len(codes) > 1 for id_, codes in languages.items())


def _content(task: Task, raw: Raw) -> str:
    """Return what rows that stay together have in common."""
    kind = KINDS[task.kind]
    columns = [column for column in kind.kept_together if column in task.columns][:1] or kind.input_columns(task)
    names = [name for column in columns for name in _names(task.columns[column])]
    values = [raw.get(name) for name in names]
    return values[0] if len(values) == 1 and isinstance(values[0], str) else json.dumps(values, default=str)


def _names(column: str | list[str]) -> list[str]:
    return [column] if isinstance(column, str) else column
