"""How scores look in a notebook: a plain HTML table, and a pandas data frame."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas

NUMBER = 'style="text-align: right"'


def html_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], notes: Sequence[str] = ()) -> str:
    """Return a table as HTML that needs no style sheet; cells that begin with a digit or a sign stand on the right."""
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    below = "".join(f"<p>{escape(note)}</p>" for note in notes)
    return f"<p><b>{escape(title)}</b></p><table><tr>{head}</tr>{body}</table>{below}"


def data_frame(rows: Iterable[Mapping[str, Any]]) -> "pandas.DataFrame":
    """Return rows as a pandas data frame."""
    import pandas

    return pandas.DataFrame(list(rows))


def _cell(text: str) -> str:
    right = f" {NUMBER}" if text[:1] in tuple("0123456789+-") and text else ""
    return f"<td{right}>{escape(text)}</td>"
