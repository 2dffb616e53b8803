"""A single file with the rows of all languages and splits, or one per language: which row is of which."""

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
from xmodctl.core.reading import file_and_sheet
from xmodctl.data.layouts import names_split, only_files_of_languages, says_about_data
from xmodctl.data.misnamed import conversion_of, is_annotation
from xmodctl.data.readers import FORMATS, SAVED, format_of, split_of
from xmodctl.data.sources import (
    SPLIT_NAMES,
    DataSource,
    codes_of_language,
    joined_spellings,
    language_columns_of,
    language_in,
)
from xmodctl.data.splitting import SplittableRow, split_rows
from xmodctl.data.tagged_text import Tagging, read_rows
from xmodctl.data.usual_names import SPLIT_COLUMN
from xmodctl.kinds import KINDS
from xmodctl.kinds.labels import written_form
from xmodctl.kinds.rows import Raw
from xmodctl.languages import same
from xmodctl.languages.tags import read as read_language

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
_SPELLINGS = {spelling: split for split, names in SPLIT_NAMES.items() for spelling in names}


@dataclass(frozen=True)
class Contents:
    """What a single file holds."""

    languages: Mapping[str, tuple[Split, ...]]  # as the file spells them; empty if no column gives them
    splits: Mapping[str, Mapping[int, Split]] | None  # real path -> row number -> split; None: of any split
    split_column: str  # empty if no column gives the split

    def splits_of(self, file: Path) -> Mapping[int, Split] | None:
        """Return the split of each row of a file, however its path is written; None: of any split."""
        return None if self.splits is None else self.splits[os.path.realpath(file)]


def is_single(data: Path) -> bool:
    """Return whether local data is a single file, a saved data set, or a folder with one file per language.

    Their rows are of several splits, unlike those of the files in other folders.
    """
    return data.is_file() or bool(format_of(data)) or bool(files_of_languages(data))


def files_of_languages(folder: Path) -> dict[Path, str]:
    """Return the files of a folder with the languages that name them or their folders; nothing if others are there."""
    if not folder.is_dir() or format_of(folder):
        return {}
    paths = [path for path in sorted(folder.iterdir()) if not says_about_data(path)]
    if any(map(is_annotation, paths)):
        return {}
    files = {path: split_of(path) for path in paths if format_of(path)}
    are_languages = all(read_language(name) and not names_split(path) for path, name in files.items())
    if are_languages and not any(path.is_dir() and path not in files for path in paths):
        return files
    return {} if files else only_files_of_languages(folder)


def parts_of(data: Path) -> dict[Path, str]:
    """Return the files of single data, each with the language that names it, or an empty text."""
    return {data: ""} if data.is_file() or format_of(data) else files_of_languages(data)


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
    files = {path: code for path, code in parts_of(file).items() if not code or same(code, language)}
    if len(files) != 1:
        names = ", ".join(path.name for path in files or parts_of(file))
        problem = "several files for" if files else "no file for"
        raise UserError(f"{file} has {problem} the language {language}: it has {names}; rename or add a file")
    (path,) = files
    is_only = len(task.languages) == 1 and same(next(iter(task.languages)), language)
    return DataSource(
        files={path: str(path)},
        origin=str(path),
        language=language,
        split=split,
        columns=dict(task.columns),
        language_columns=() if files[path] else language_columns_of(task),
        language_codes=codes_of_language(contents.languages, language, split),
        language_ends_at=task.language_ends_at,
        single_language=(single_language or is_only) and not task.is_mixed,
        numbered=task.numbered_columns,
        plain_tags=KINDS[task.kind].plain_tags,
        tagged_text=task.tagged_text,
        row_splits=contents.splits_of(path),
    )


def _splits_of(contents: Contents, language: str) -> set[Split]:
    """Return the splits of a language; without a column for it, those of the file."""
    if contents.languages:
        codes = {split: codes_of_language(contents.languages, language, split) for split in SPLITS}
        return {split for split in SPLITS if any(split in contents.languages[code] for code in codes[split])}
    return set(SPLITS) if contents.splits is None else {s for part in contents.splits.values() for s in part.values()}


def coverage(task: Task, file: Path) -> dict[str, tuple[Split, ...]]:
    """Return the languages of the file with their splits; rows without a language are in the task's only one."""
    contents = contents_of(task, file)
    if contents.languages:
        return dict(contents.languages)
    splits = tuple(split for split in SPLITS if split in _splits_of(contents, ""))
    return dict.fromkeys(task.languages, splits) if len(task.languages) == 1 else {}


_Place = tuple[Path, int]
"""A row: its file, and its number there."""
_LAST: dict[str, Contents] = {}
"""The contents of the file that was read last, by its identity and how it is read."""


def check_format(file: Path) -> None:
    """Refuse a file in a format that is not read.

    Raises:
        UserError: It is.
    """
    if not format_of(file):
        formats = ", ".join(extension for extension in FORMATS if extension != SAVED)
        if conversion := conversion_of(file):
            raise UserError(f"--data {file}: {conversion}")
        remedy = (
            "save it as CSV or JSON Lines" if file.suffix else f"rename it, such as to {file.name}.csv if it is CSV"
        )
        raise UserError(f"--data {file}: the extension of a data file is {formats}; {remedy}")


def contents_of(task: Task, file: Path) -> Contents:
    """Return what a file holds; that of the last one is kept.

    Raises:
        UserError: The file cannot be read, or the split of a row is none.
    """
    parts = parts_of(file)
    for part in parts or {file: ""}:
        check_format(part)
    try:
        identities = [
            (os.path.realpath(part), status.st_size, status.st_mtime_ns)
            for part in parts
            for status in [file_and_sheet(part)[0].stat()]
        ]
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror or error}") from error
    reading = (task.columns, task.language_column, task.language_ends_at, task.split_column, task.kind)
    dividing = (task.split_seed, task.split_rule)
    key = json.dumps([identities, reading, dividing])
    if key not in _LAST:
        contents = _read(task, parts)
        _LAST.clear()
        _LAST[key] = contents
    return _LAST[key]


def _read(task: Task, parts: Mapping[Path, str]) -> Contents:
    languages: dict[_Place, str] = {}
    splits: dict[Path, dict[int, Split]] = {file: {} for file in parts}
    undivided: dict[_Place, _Undivided] = {}
    split_columns = {
        file: _read_part(task, file, code, languages, splits[file], undivided) for file, code in parts.items()
    }
    for (file, _), (row, split) in zip(undivided, _divided(task, list(undivided.values())), strict=True):
        splits[file][row.number] = split
    has_splits = any(splits.values())
    if any(split_columns.values()) and (without := [file for file in parts if not split_columns[file]]):
        raise UserError(f"{without[0]} has no split column, but other files do; add it to all of them")
    covered: dict[str, set[Split]] = {}
    spelling = joined_spellings(Counter(languages.values()))
    for (file, number), language in languages.items():
        covered.setdefault(spelling[language], set()).update([splits[file][number]] if has_splits else SPLITS)
    ordered = {language: tuple(split for split in SPLITS if split in covered[language]) for language in sorted(covered)}
    of_rows = {os.path.realpath(file): rows for file, rows in splits.items()} if has_splits else None
    return Contents(ordered, of_rows, next(filter(None, split_columns.values()), ""))


def _divided(task: Task, rows: Sequence["_Undivided"]) -> Iterator[tuple["_Undivided", Split]]:
    """Yield rows of all files with their splits."""
    if rows and task.split_seed is not None:
        numbered = [row._replace(number=position) for position, row in enumerate(rows)]
        splits = split_rows(_splittable(numbered), task.split_seed)
        yield from ((row, splits[position]) for position, row in enumerate(rows))


def _read_part(
    task: Task,
    file: Path,
    code: str,
    languages: dict["_Place", str],
    splits: dict[int, Split],
    undivided: dict["_Place", "_Undivided"],
) -> str:
    """Read the languages and splits of the rows of a file, and return the column of the split, if it has one.

    Raises:
        UserError: The file cannot be read, or the split of a row is none.
    """
    mistakes = Mistakes(str(file))
    rows = _rows(task, file, mistakes)
    first = next(rows, None)
    if first is None:
        mistakes.raise_any()
        raise UserError(f"{file} contains no rows; a row needs {', '.join(_needed(task))}")
    columns = language_columns_of(task)
    language_column = task.language_column or next((name for name in columns if name in first[1]), "")
    split_column = task.split_column or (SPLIT_COLUMN if SPLIT_COLUMN in first[1] else "")
    for number, raw in chain([first], rows):
        cell = raw.get(language_column) if language_column else None  # pandas calls the column of its index ""
        if language := code or language_in(cell, task.language_ends_at):
            languages[file, number] = language
        if split_column:
            if split := split_in(raw.get(split_column)):
                splits[number] = split
            else:
                expected = f"expected {listed(_SPELLINGS)}"
                reason = f"`{split_column}` is {quoted(raw.get(split_column))}; {expected}"
                mistakes.add(f"{file}:{number}", reason, f"`{split_column}` is no split; {expected}")
        elif task.split_seed is not None:
            undivided[file, number] = _Undivided.of(task, number, raw, language or "")
    if split_column:
        mistakes.raise_any(_without_split(split_column))
    return split_column


def _without_split(column: str) -> str:
    return f"\nCorrect these rows, or rename the column `{column}` if it does not contain the split"


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


def split_in(cell: Any) -> Split | None:
    """Return the split that a cell names, or None."""
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
