"""Output: tables, JSON, text, and notes. Results go to standard output, everything else to standard error.

On a terminal, tables have lines and color; in a pipe or a file, they are plain aligned text.
"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from xmodctl.core.json_text import json_text

PLAIN_WIDTH = 1000  # piped tables are never folded


@dataclass(frozen=True)
class Sheet:
    """A table as values: cells are text; numbers stand on the right."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    right: frozenset[str] = frozenset()  # columns of numbers
    sections: frozenset[int] = frozenset()  # a line is drawn after these rows


def show(sheet: Sheet) -> None:
    """Print a table on standard output."""
    draw(sheet, console_for(sys.stdout))


def draw(sheet: Sheet, console: Console) -> None:
    """Draw a table on a console: lines and bold type on a terminal, aligned text elsewhere."""
    terminal = console.is_terminal
    if sheet.title:
        console.print(Text(sheet.title, style="bold"))
    table = Table(
        box=box.SIMPLE_HEAD if terminal else None,
        pad_edge=terminal,
        padding=(0, 1) if terminal else (0, 2, 0, 0),
        header_style="bold",
    )
    for column in sheet.columns:
        table.add_column(column, justify="right" if column in sheet.right else "left", overflow="fold")
    for number, row in enumerate(sheet.rows):
        table.add_row(*(Text(cell) for cell in row), end_section=number in sheet.sections)
    console.print(table)


def show_json(value: Any) -> None:
    """Print one JSON document on standard output."""
    print(json_text(value, indent=2))  # noqa: T201


def show_text(text: str) -> None:
    """Print text as it is on standard output."""
    print(text)  # noqa: T201


def note(text: str) -> None:
    """Print something worth knowing on standard error."""
    console_for(sys.stderr).print(escape(text), style="dim", highlight=False, soft_wrap=True)


def warn(text: str) -> None:
    """Print a caution on standard error."""
    console = console_for(sys.stderr)
    console.print(f"[yellow]Note:[/yellow] {escape(text)}", highlight=False, soft_wrap=True)


def fail(text: str) -> None:
    """Print an error on standard error."""
    console = console_for(sys.stderr)
    console.print(f"[bold red]Error:[/bold red] {escape(text)}", highlight=False, soft_wrap=True)


def console_for(file: Any) -> Console:
    """Return a console; without a terminal, it prints plain text and never folds lines."""
    console = Console(file=file)
    return console if console.is_terminal else Console(file=file, width=PLAIN_WIDTH, no_color=True)


def sheet(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "", right: Iterable[str] = ()
) -> Sheet:
    """Return a table of text."""
    return Sheet(tuple(columns), tuple(tuple(row) for row in rows), title, frozenset(right))
