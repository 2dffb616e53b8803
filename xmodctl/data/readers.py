"""Readers of data files: each yields a file's raw rows with their numbers, and records what it cannot read.

Rows are streamed: only the reader of JSON documents holds a whole file. A new format is one more entry in `FORMATS`.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from xmodctl.core.errors import UserError
from xmodctl.core.files import read_json
from xmodctl.core.jsonl import parse_object, unique_object
from xmodctl.core.messages import quoted
from xmodctl.core.mistakes import Mistakes, RowError
from xmodctl.core.reading import check_regular, file_and_sheet, inside
from xmodctl.data.columns import checked_header
from xmodctl.data.conll import conll_rows
from xmodctl.data.delimited import csv_rows, tsv_rows
from xmodctl.data.files import (
    COMPRESSIONS,
    DOCUMENT_REMEDY,
    LARGEST_DOCUMENT,
    REMARKED,
    DataFile,
    Numbered,
    guarded,
    lines_of,
)
from xmodctl.data.labeling_tools import decides_on_one_label
from xmodctl.data.workbooks import workbook_rows
from xmodctl.kinds.rows import Columns

ROWS_AT_A_TIME = 10_000
_PANDAS = "with pandas, to_json(FILE, orient='records', lines=True)"
_NO_VALUE = (ValueError, OverflowError, LookupError)
"""What a table raises whose values Python cannot express, such as text that is not UTF-8 or the year 40,000."""


@dataclass(frozen=True)
class FileFormat:
    """How to read files of one format."""

    rows: Callable[[DataFile], Numbered]
    place: str = "{name}:{number}"  # how messages refer to a row


def read(
    path: Path,
    name: str,
    columns: Columns,
    mistakes: Mistakes,
    *,
    all_columns: bool = False,
    numbered: Mapping[str, int] | None = None,
    plain_tags: bool = False,
    extension: str | None = None,
    needed: Sequence[str] = (),
    all_rows: bool = False,
) -> tuple[DataFile, Numbered]:
    """Return the raw rows of a file in any format of `FORMATS`.

    Args:
        path: The file.
        name: Its name in messages.
        columns: The kind's columns -> the file's.
        mistakes: Collects what cannot be read.
        all_columns: Return columns that `columns` does not name, too.
        numbered: The columns of `tokens` and `tags` in a file without names whose first column counts the words.
        plain_tags: Any text may be the tag of a word.
        extension: The key of `FORMATS`; by default, the file's name decides.
        needed: Further names that must not stand for two columns.
        all_rows: Read what annotators of labeling tools did not accept, too.

    Raises:
        UserError: While iterating: the file cannot be read, is damaged, or changed in the meantime.
    """
    reader = FORMATS[format_of(path) if extension is None else extension]
    file = DataFile(
        path, name, columns, mistakes, all_columns, reader.place, numbered or {}, plain_tags, needed, all_rows
    )
    return file, guarded(file, reader.rows)


def format_of(path: Path) -> str:
    """Return the key of `FORMATS` for a file or a saved data set, or an empty string if there is none."""
    if path.is_dir():
        return SAVED if (path / "state.json").is_file() else ""
    stem = file_and_sheet(path)[0].name.lower()
    for suffix in COMPRESSIONS:
        stem = stem.removesuffix(suffix)
    return next((extension for extension in FORMATS if stem.endswith(extension)), "")


def split_of(path: Path) -> str:
    """Return a data file's name without the extensions of its format and compression."""
    stem = path.name
    for suffix in COMPRESSIONS:
        if stem.lower().endswith(suffix):
            stem = stem[: -len(suffix)]
    return stem.removesuffix("/") if path.is_dir() else stem[: len(stem) - len(format_of(path))]


def _jsonl(file: DataFile) -> Numbered:
    lines = lines_of(file)
    start = list(islice(((number, line) for number, line in lines if line and not line.isspace()), 2))
    if start and is_document(start[0][1], is_whole=len(start) == 1):
        raise UserError(f"{file.name} is one JSON document, not one row per line; give it a name that ends in .json")
    yield from _objects(file, chain(start, lines))


def is_document(first: str, *, is_whole: bool = True) -> bool:
    """Return whether the first line of a file begins a JSON document of all rows, rather than being a row.

    Args:
        first: The line.
        is_whole: No other line follows, as far as is known: a list of texts may then be all rows.
    """
    text = first.strip()
    if text in ("[", "{") or re.match(r"\[\s*\{", text):
        return True
    if not is_whole:
        return False
    try:
        rows = json.loads(text) if text.startswith("[") else None
    except (ValueError, RecursionError):
        return False
    return isinstance(rows, list) and bool(rows) and all(isinstance(row, dict | str) for row in rows)


def _objects(file: DataFile, lines: Iterable[tuple[int, str]]) -> Numbered:
    """Read one JSON object per line; blank lines are skipped."""
    unpacking, has_begun = file.unpacking(), False
    for number, line in lines:
        if not line or line.isspace():
            continue
        try:
            written = parse_object(line, file.needed_keys)
            if not has_begun and decides_on_one_label(written):
                unpacking.look_at(_parsed(file))
            has_begun = True
            for row in unpacking.rows(written):
                yield number, row
        except RowError as problem:
            file.mistakes.add(file.at(number), str(problem), *problem.causes)
    file.notes.extend(f"{file.name}: {note}" for note in unpacking.notes)


def _parsed(file: DataFile) -> Iterator[Any]:
    """Yield the objects of a file with one per line; what is none is reported where it is read."""
    for _, line in lines_of(replace(file, mistakes=Mistakes(file.name), notes=[])):
        try:
            yield parse_object(line)
        except RowError:
            continue


def _json(file: DataFile) -> Numbered:
    """Read a JSON document: a list of rows, or an object with one under `data`; or, misnamed, one row per line."""
    lines = lines_of(file)
    start = list(islice(lines, 2))
    if len(start) == 2 and _is_object(start[0][1]):
        yield from _objects(file, chain(start, lines))
        return
    parts, size = list[str](), 0
    for _, line in chain(start, lines):
        parts.append(line)
        size += len(line)
        if size > LARGEST_DOCUMENT:
            raise UserError(
                f"{file.name} is one JSON document of more than {LARGEST_DOCUMENT // 2**20} MiB; {DOCUMENT_REMEDY}"
            )
    text = "\n".join(parts)
    parts.clear()
    if file.mistakes.count:  # a line is missing from the text
        return
    try:
        document = json.loads(text, object_pairs_hook=unique_object(file.needed_keys))
    except RowError as error:
        file.mistakes.add(file.name, str(error))
        return
    except (ValueError, RecursionError) as error:
        line = f":{error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        file.mistakes.add(f"{file.name}{line}", f"this is not JSON ({_json_problem(error)})")
        return
    if isinstance(document, dict) and _holds_columns(document, file):
        raise UserError(f"{file.name} contains one list or object per column; write one object per row: {_PANDAS}")
    rows = document.get("data", [document]) if isinstance(document, dict) else document
    if not isinstance(rows, list):
        raise UserError(
            f"{file.name}: expected a list of rows, or an object with one under `data`, found {quoted(rows)}"
        )
    unpacking = file.unpacking()
    unpacking.look_at(rows)
    unpacked = [part for row in rows for part in unpacking.rows(row)]
    file.notes.extend(f"{file.name}: {note}" for note in unpacking.notes)
    if unpacked and all(isinstance(row, dict) and "paragraphs" in row for row in unpacked):
        unpacked = list(_questions(file, unpacked))
    for position, row in enumerate(unpacked, start=1):
        if isinstance(row, dict):
            yield position, row
        else:
            rule = "a row is a JSON object {...}"
            remedy = f"; {_PANDAS}" if isinstance(row, list) else ""
            reason, cause = f"{rule}, found {quoted(row)}{remedy}", f"{rule}, not a list or a value{remedy}"
            file.mistakes.add(file.at(position), reason, cause)


def _holds_columns(document: Mapping[str, Any], file: DataFile) -> bool:
    """Return whether a document has all values of each column together, as pandas writes them by default."""
    values = list(document.values())
    if len(values) < 2 or "tokens" in file.columns:  # a row of tagged words is two lists
        return False
    if all(isinstance(value, dict) for value in values):
        return all(value.keys() == values[0].keys() for value in values)
    are_lists = all(isinstance(value, list) and len(value) == len(values[0]) > 1 for value in values)
    return are_lists and not any(isinstance(item, dict | list) for value in values for item in value)


def _questions(file: DataFile, articles: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield a row for each question of a document in SQuAD format, with the task's column names."""
    names = {column: str(file.columns.get(column, column)) for column in ("id", "context", "question", "answers")}
    parts = file.columns.get("answers")
    try:
        for article in articles:
            for paragraph in article["paragraphs"]:
                for question in paragraph["qas"]:
                    row = {"context": paragraph["context"], "answers": [], **question}
                    extra = {name: row[name] for name in REMARKED if name in row}
                    named = {name: row[column] for column, name in names.items() if column in row}
                    yield extra | named | (_parted(row["answers"], parts) if isinstance(parts, list) else {})
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{file.name} is not in SQuAD format ({type(error).__name__}: {error}); expected "
            "data[].paragraphs[] with context and qas[], each with id, question and answers"
        ) from error


def _parted(answers: Any, columns: list[str]) -> dict[str, list[Any]]:
    """Return answers as the two columns of a task whose answers are in two: texts, and where they begin."""
    answers = [answers] if isinstance(answers, dict) else answers
    values = [[answer[key] for answer in answers] for key in ("text", "answer_start")]
    return dict(zip(columns, values, strict=True))


def _is_object(line: str) -> bool:
    try:
        parse_object(line)
    except RowError:
        return False
    return True


def _parquet(file: DataFile) -> Numbered:
    import pyarrow
    import pyarrow.parquet

    check_regular(file.path)
    try:
        with pyarrow.parquet.ParquetFile(file.path) as table:
            schema = table.schema_arrow
            names = _class_names(schema.metadata or {})
            checked_header(file, schema.names)
            columns = file.wanted(schema.names)
            number = 0
            for batch in table.iter_batches(batch_size=ROWS_AT_A_TIME, columns=columns):
                for row in _checked(batch).to_pylist():
                    number += 1
                    yield number, _with_names(row, names)
    except (pyarrow.ArrowException, *_NO_VALUE) as error:
        raise UserError(
            f"{file.name} is damaged or is not a Parquet file ({_first_line(error)}); copy it again"
        ) from error


def _arrow(file: DataFile) -> Numbered:
    """Read an Arrow IPC file or stream, such as the `.arrow` files of `datasets`."""
    import pyarrow
    import pyarrow.ipc

    check_regular(file.path)
    try:
        with pyarrow.memory_map(str(file.path)) as source:
            is_file = source.read(6) == b"ARROW1"
            source.seek(0)
            reader = pyarrow.ipc.open_file(source) if is_file else pyarrow.ipc.open_stream(source)
            names = _class_names(reader.schema.metadata or {})
            checked_header(file, reader.schema.names)
            batches = map(reader.get_batch, range(reader.num_record_batches)) if is_file else reader
            number = 0
            for batch in batches:
                for row in _checked(batch.select(file.wanted(reader.schema.names))).to_pylist():
                    number += 1
                    yield number, _with_names(row, names)
    except (pyarrow.ArrowException, *_NO_VALUE) as error:
        raise UserError(
            f"{file.name} is damaged or is not an Arrow file ({_first_line(error)}); copy it again"
        ) from error


def _saved(file: DataFile) -> Numbered:
    """Read a folder that `datasets.Dataset.save_to_disk` wrote."""
    import datasets

    try:
        _check_saved(file)
        table = datasets.load_from_disk(str(file.path))
        names = _class_names(table.features.arrow_schema.metadata or {})
        number = 0
        for batch in table.select_columns(file.wanted(table.column_names)).with_format("arrow").iter(ROWS_AT_A_TIME):
            for row in _checked(batch).to_pylist():
                number += 1
                yield number, _with_names(row, names)
    except OSError:
        raise
    except Exception as error:  # the library checks none of the folder's descriptions
        raise UserError(
            f"{file.name} is damaged or is not a saved data set ({_first_line(error)}); save it again"
        ) from error


def _checked(batch: Any) -> Any:
    """Return a part of a table after a check: offsets that lead out of its buffers would end the process."""
    batch.validate(full=True)
    return batch


def _check_saved(file: DataFile) -> None:
    """Refuse a saved data set that has files other than regular ones, or names files that are not in its folder."""
    for path in file.path.iterdir():
        if not path.is_dir():
            check_regular(path)
    for entry in read_json(file.path / "state.json")["_data_files"]:
        inside(file.path, entry["filename"])


def _class_names(metadata: Mapping[bytes, bytes]) -> dict[str, list[str]]:
    """Return the label names that `datasets` stores for integer columns (its ClassLabel, or a list of them)."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    names = {}
    for column, feature in features.items() if isinstance(features, dict) else ():
        inner = feature[0] if isinstance(feature, list) and feature else feature
        inner = inner.get("feature", inner) if isinstance(inner, dict) else {}
        if isinstance(inner, dict) and inner.get("_type") == "ClassLabel" and isinstance(inner.get("names"), list):
            names[column] = inner["names"]
    return names


def _with_names(row: dict[str, Any], names: Mapping[str, list[str]]) -> dict[str, Any]:
    return {key: _named(value, names.get(key)) for key, value in row.items()} if names else row


def _named(value: Any, names: list[str] | None) -> Any:
    if names is None:
        return value
    if isinstance(value, list):
        return [_named(item, names) for item in value]
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else value


def _json_problem(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg}, column {error.colno}"
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)  # a number with thousands of digits


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


SAVED = "/"  # a folder that `save_to_disk` wrote
FORMATS: dict[str, FileFormat] = {
    ".jsonl": FileFormat(_jsonl),
    ".ndjson": FileFormat(_jsonl),
    ".json": FileFormat(_json, place="{name} row {number}"),
    ".csv": FileFormat(csv_rows),
    ".tsv": FileFormat(tsv_rows),
    ".parquet": FileFormat(_parquet, place="{name} row {number}"),
    ".xlsx": FileFormat(workbook_rows, place="{name} row {number}"),
    ".arrow": FileFormat(_arrow, place="{name} row {number}"),
    ".feather": FileFormat(_arrow, place="{name} row {number}"),
    ".txt": FileFormat(conll_rows),
    ".conll": FileFormat(conll_rows),
    ".conllu": FileFormat(conll_rows),
    ".iob2": FileFormat(conll_rows),
    ".bio": FileFormat(conll_rows),
    SAVED: FileFormat(_saved, place="{name} row {number}"),
}
"""Extension -> how to read files of the format."""
