"""Predictions as files: JSON Lines, CSV, TSV, or Parquet."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmodctl.core.errors import UserError
from xmodctl.core.json_text import json_text
from xmodctl.core.messages import quoted
from xmodctl.core.visible import without_formula

if TYPE_CHECKING:
    import pyarrow as pa

Rows = Iterable[Mapping[str, Any]]

TABLES = (".csv", ".tsv")
NOT_WRITTEN = (".xlsx", ".xls", ".ods", ".arrow", ".feather")


def check_suffix(path: Path) -> None:
    """Refuse a file whose extension names a format that is not written.

    Raises:
        UserError: It is.
    """
    if path.suffix.lower() in NOT_WRITTEN:
        raise UserError(
            f"--out {path}: predictions are written as .jsonl, .csv, .tsv, or .parquet; choose one of these"
        )


def json_lines(rows: Rows) -> str:
    """Return rows as JSON, one per line."""
    return "".join(json_text(row) + "\n" for row in rows)


def write_rows(part: Path, extension: str, parts: Iterable[Rows]) -> None:
    """Write rows to a file in the format of an extension; what precedes a failure is in the file.

    JSON Lines, CSV and TSV are written part by part; a Parquet file, when all rows are known.
    """
    if extension in TABLES:
        _write_table(part, extension, parts)
    elif extension == ".parquet":
        _write_parquet(part, parts)
    else:
        with part.open("w", encoding="utf-8") as file:
            for rows in parts:
                file.write(json_lines(rows))
                file.flush()


def _write_table(part: Path, extension: str, parts: Iterable[Rows]) -> None:
    """Write a table with the columns of the first part; the scores of labels have a column each."""
    with part.open("w", encoding="utf-8", newline="") as file:
        names: list[str] = []
        for rows in parts:
            cells = [dict(_cells(row)) for row in rows]
            if not names:
                names = list(dict.fromkeys(name for row in cells for name in row))
                file.write(_line([without_formula(name) for name in names], extension))
            if others := [name for row in cells for name in row if name not in names]:
                raise UserError(
                    f"later rows have a column `{others[0]}` that earlier ones lack; write to a .jsonl file"
                )
            file.writelines(_line([row.get(name, "") for name in names], extension) for row in cells)
            file.flush()


def _line(cells: Sequence[Any], extension: str) -> str:
    """Return a line: of CSV with quotes where they are needed, of TSV without any, as its readers expect.

    Raises:
        UserError: A cell of TSV has a tab or a line break.
    """
    texts = ["" if cell is None else encodable(str(cell)) for cell in cells]
    if extension == ".csv":
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(texts)
        return line.getvalue()
    if wrong := next((text for text in texts if any(mark in text for mark in "\t\n\r")), None):
        raise UserError(f"{quoted(wrong)} has a tab or a line break, which TSV cannot represent; write to a .csv file")
    return "\t".join(texts) + "\n"


def encodable(value: Any) -> Any:
    """Return a value in whose texts lone surrogates, which UTF-8 cannot hold, are written as JSON does: `\\ud800`."""
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case list():
            return [encodable(item) for item in value]
        case dict():
            return {encodable(key): encodable(item) for key, item in value.items()}
        case _:
            return value


def _cells(row: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in row.items():
        if key == "scores" and isinstance(value, dict):
            yield from _cells(value, "score.")
        elif isinstance(value, list | dict | bool):
            yield prefix + key, without_formula(json_text(value))
        else:
            yield prefix + key, without_formula(value)


def _write_parquet(part: Path, parts: Iterable[Rows]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables: list[pa.Table] = []
    try:
        for rows in parts:
            tables.append(arrow_table(rows))
    finally:
        with arrow_errors():
            table = pa.concat_tables(tables, promote_options="permissive") if tables else pa.table({})
            pq.write_table(table, part)


def arrow_table(rows: Rows) -> "pa.Table":
    """Return rows as a table, with the columns of the first one.

    Raises:
        UserError: A column has values that no type of Parquet holds together, such as numbers and objects.
    """
    import pyarrow as pa

    with arrow_errors():
        return pa.Table.from_pylist([encodable(dict(row)) for row in rows])


@contextmanager
def arrow_errors() -> Iterator[None]:
    """Turn values that Parquet does not hold into one sentence."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OverflowError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"the rows do not fit into one Parquet table ({reason}); write to a .jsonl file") from error
