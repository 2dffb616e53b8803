"""Output: tables, JSON, text, and notes. Results go to standard output, everything else to standard error.

On a terminal, tables have lines and color; in a pipe or a file, they are plain aligned text.
"""

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from xmodctl.core.json_text import json_text
from xmodctl.core.visible import printable, printable_json

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
        console.print(Text(_cell(sheet.title), style="bold"))
    table = Table(
        box=box.SIMPLE_HEAD if terminal else None,
        pad_edge=terminal,
        padding=(0, 1) if terminal else (0, 2, 0, 0),
        header_style="bold",
    )
    for column in sheet.columns:
        table.add_column(Text(_cell(column)), justify="right" if column in sheet.right else "left", overflow="fold")
    for number, row in enumerate(sheet.rows):
        # A line break in the last column stays within it; in others, it could pass for another row.
        cells = [*map(_cell, row[:-1]), *map(printable, row[-1:])]
        table.add_row(*map(Text, cells), end_section=number in sheet.sections)
    console.print(table)


def show_json(value: Any) -> None:
    """Print one JSON document on standard output."""
    print(printable_json(json_text(value, indent=2)))  # noqa: T201


def show_json_lines(rows: Iterable[Mapping[str, Any]]) -> None:
    """Print one JSON object per line on standard output, at once."""
    sys.stdout.write(printable_json("".join(json_text(row) + "\n" for row in rows)))
    sys.stdout.flush()


def show_parts(parts: Iterable[Iterable[Mapping[str, Any]]]) -> bool:
    """Print rows as JSON as they come, part by part; return whether the reader took all of them."""
    try:
        for rows in parts:
            show_json_lines(rows)
    except BrokenPipeError:  # the reader has read enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def show_text(text: str) -> None:
    """Print text on standard output; invisible characters are shown by their codes."""
    print(printable(text))  # noqa: T201


def note(text: str) -> None:
    """Print something worth knowing on standard error."""
    say(text, console_for(sys.stderr), style="dim")


def warn(text: str) -> None:
    """Print a caution on standard error."""
    say(text, console_for(sys.stderr), mark=("Note:", "yellow"))


def fail(text: str) -> None:
    """Print an error on standard error."""
    say(text, console_for(sys.stderr), mark=("Error:", "bold red"))


def say(text: str, console: Console, *, mark: tuple[str, str] | None = None, style: str = "") -> None:
    """Print a message; its other lines are indented, so that a line break in a name cannot pass for another message.

    Args:
        text: The message.
        console: Where to print it.
        mark: What it begins with, and the style of that.
        style: The style of the text.
    """
    start = Text.assemble(mark, " ") if mark else Text()
    lines = re.sub(r"\n(?=\S)", "\n  ", printable(text))
    console.print(Text.assemble(start, (lines, style)), soft_wrap=True)


def console_for(file: Any) -> Console:
    """Return a console; without a terminal, it prints plain text and never folds lines."""
    console = Console(file=file)
    return console if console.is_terminal else Console(file=file, width=PLAIN_WIDTH, no_color=True)


def _cell(text: str) -> str:
    return printable(text).replace("\n", "<U+000A>")


def sheet(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "", right: Iterable[str] = ()
) -> Sheet:
    """Return a table of text."""
    return Sheet(tuple(columns), tuple(tuple(row) for row in rows), title, frozenset(right))
