"""Rows to predict: what one line of input becomes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from xmodctl.kinds.rows import Columns, cell, read_text


@dataclass(frozen=True)
class InputRow:
    """One line of input as a row in the kind's columns, and what is known about it besides."""

    id: Any  # the row's own, else the line's number
    row: Mapping[str, Any]
    offsets: tuple[tuple[int, int], ...] = ()  # of each word in `text`: its first character, and the one after its last
    text: str = ""  # the text that entities' offsets count in
    adapter: str = ""  # the adapter that the row goes through
    written: Mapping[str, Any] = field(default_factory=dict)  # columns of the input to write, too


def text_input(line: str, row_id: Any) -> InputRow:
    """Return the row of a single text.

    Raises:
        RowError: The text is empty.
    """
    return InputRow(row_id, {"text": read_text({"text": line}, "text")})


def joined_texts(raw: Mapping[str, Any], columns: Columns, wanted: Sequence[str]) -> dict[str, str]:
    """Return the text of each wanted column that the task has; texts of several data columns are joined by a space.

    Args:
        raw: The JSON object.
        columns: The kind's columns -> the columns of the task's data.
        wanted: The kind's columns to read.

    Raises:
        RowError: A column is missing or holds no text.
    """
    texts = {}
    for column in (name for name in wanted if name in columns):
        names = columns[column]
        parts = names if column not in raw and not isinstance(names, str) else [name_in_row(raw, column, columns)]
        texts[column] = " ".join(read_text(raw, name) for name in parts)
    return texts


def name_in_row(raw: Mapping[str, Any], column: str, columns: Columns) -> str:
    """Return what a row calls a column: the kind's name for it, or the name in the task's data.

    Raises:
        RowError: The row has neither.
    """
    name = columns[column]
    if column not in raw and isinstance(name, str) and name in raw:
        return name
    cell(raw, column)  # refuses a row that has neither
    return column
