"""Files in the formats of training data as input of `predict`: a header or a tag is never labeled as text."""

import csv
from pathlib import Path

from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError
from xmodctl.data.readers import format_of, is_document
from xmodctl.data.sources import names_of
from xmodctl.data.word_columns import is_tag

LINES = (".jsonl", ".ndjson", ".txt")
"""Extensions whose files are read line by line: JSON objects, or plain text."""


def table_extension(path: str | Path, format_: str | None) -> str:
    """Return the extension of the format of training data that a file is read by, or an empty string for lines.

    Raises:
        UserError: Standard input is read line by line, and `format_` is another format.
    """
    if format_ in ("text", "jsonl"):
        return ""
    if str(path) == "-":
        if format_ is not None:
            raise UserError(f"--format {format_} reads a file, not standard input; give the file's name")
        return ""
    if format_ is not None:
        return f".{format_}"
    extension = format_of(Path(path))
    return "" if extension in LINES else extension


def line_format(path: str | Path, format_: str | None) -> str | None:
    """Return the format of the lines of a file, or None where the first line decides."""
    is_jsonl = format_ is None and str(path) != "-" and format_of(Path(path)) in (".jsonl", ".ndjson")
    return "jsonl" if is_jsonl else format_


def refuse_document(first: str, name: str) -> None:
    """Refuse text whose first line begins a JSON document of all rows: its lines are no rows.

    Raises:
        UserError: It does.
    """
    if is_document(first):
        remedy = "write one row per line" if name == "standard input" else "give the file with --format json"
        problem = f"{name} is one JSON document, not one row per line"
        raise UserError(f"{problem}; {remedy}, or, if it is text, add --format text")


def refuse_table(first: str, place: str, task: Task) -> None:
    """Refuse plain text whose first line is the header of a table, or a word with its tag.

    Raises:
        UserError: It is.
    """
    columns = {*names_of(task.columns), *task.columns}
    for format_, separator in (("csv", ","), ("tsv", "\t")):
        fields = [field.strip() for field in next(csv.reader([first], delimiter=separator), [])]
        if (fields and fields[0] in columns and set(fields) <= columns) or len(columns.intersection(fields)) > 1:
            raise UserError(
                f"{place} is the header of a table ({first[:60]}), not text; give the file with --format {format_}, "
                "or, if it is text, add --format text"
            )
    words = first.split()
    if "tags" in task.columns and len(words) > 1 and is_tag(words[-1]) and words[-1] in task.labels:
        raise UserError(
            f"{place} is a word with its tag {words[-1]}, not a text; give the file with --format conll, or, if it is "
            "text, add --format text"
        )
