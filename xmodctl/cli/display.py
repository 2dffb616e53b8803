"""Output: tables, JSON, text, and notes. Results go to standard output, everything else to standard error.

On a terminal, tables have lines and color, and messages wrap between words; in a pipe or a file, both are plain text.
"""

import os
import re
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from xmodctl.cli.output import current_output
from xmodctl.core.environment import COLUMNS
from xmodctl.core.json_text import json_text
from xmodctl.core.visible import printable, printable_json

PLAIN_WIDTH = 1000
"""The width of tables in a pipe, which are not folded unless the environment variable `COLUMNS` sets another width."""

UNBROKEN = re.compile(
    r"(?<![\w/.-])(?:(?:(?:xmodctl|pip|mv|mkdir|rm) |sed -|python -|export [A-Z_]+=)[^;()\n]*[^\s;()]"
    r"|--[\w-]+ [^\s;()]+)"
)
"""Commands and options with their values, in which no line is broken, so that they can be copied."""

FEWEST = 7
"""Characters of a column of words that is folded so that numbers are not."""

JOINT = "\ue000"
"""Stands for a space in which no line is broken."""


@dataclass(frozen=True)
class Sheet:
    """A table as values: cells are text; numbers stand on the right.

    On a terminal that a table does not fit, the first of `narrower` that fits is drawn in its place, or else the last.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    right: frozenset[str] = frozenset()  # columns of numbers
    sections: frozenset[int] = frozenset()  # a line is drawn after these rows
    narrower: tuple["Sheet", ...] = ()  # the same with less in it, the widest first

    def without(self, *columns: str) -> "Sheet":
        """Return the table without columns."""
        kept = [number for number, column in enumerate(self.columns) if column not in columns]
        rows = tuple(tuple(row[number] for number in kept) for row in self.rows)
        return replace(self, columns=tuple(self.columns[number] for number in kept), rows=rows)


def show(sheet: Sheet) -> None:
    """Print a table on standard output."""
    draw(sheet, console_for(sys.stdout))


def draw(sheet: Sheet, console: Console) -> None:
    """Draw a table on a console: lines and bold type on a terminal, aligned text elsewhere."""
    if sheet.title:
        console.print(Text(_cell(sheet.title), style="bold"))
    for candidate in (sheet, *sheet.narrower):
        table = _table(candidate, width=console.width, is_terminal=console.is_terminal)
        unlimited = console.options.update(max_width=PLAIN_WIDTH)
        if Measurement.get(console, unlimited, table).maximum <= console.width:
            break
    console.print(table)


def _table(sheet: Sheet, *, width: int, is_terminal: bool) -> Table:
    numbers = [
        max(map(cell_len, (*(row[place] for row in sheet.rows), *name.split())), default=0)
        for place, name in enumerate(sheet.columns)
        if name in sheet.right
    ]
    # Words are folded before numbers, if that leaves room for words.
    whole = sum(numbers) + 2 * len(sheet.columns) + FEWEST * (len(sheet.columns) - len(numbers)) <= width
    table = Table(
        box=box.SIMPLE_HEAD if is_terminal else None,
        pad_edge=False,
        padding=(0, 1, 0, 0) if is_terminal else (0, 2, 0, 0),
        show_edge=not is_terminal,
        header_style="bold",
    )
    for number, column in enumerate(sheet.columns):
        header = _cell(column)
        if is_terminal:
            header = _folded(header, max((cell_len(row[number]) for row in sheet.rows), default=0))
        table.add_column(Text(header), justify="right" if column in sheet.right else "left", overflow="fold")
        table.columns[-1].no_wrap = whole and column in sheet.right
    for number, row in enumerate(sheet.rows):
        # A line break in the last column stays within it; in others, it could pass for another row.
        cells = [*map(_cell, row[:-1]), *map(printable, row[-1:])]
        table.add_row(*map(Text, cells), end_section=number in sheet.sections)
    return table


def _folded(header: str, width: int) -> str:
    """Return a header in lines no wider than the cells below it, but with whole words."""
    return "\n".join(textwrap.wrap(header, max(width, *map(len, header.split()), 1), break_on_hyphens=False))


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


def show_paragraph(text: str) -> None:
    """Print sentences on standard output; on a terminal, lines break between words."""
    show_text(_fitted(text, console_for(sys.stdout)))


def note(text: str, *, always: bool = False) -> None:
    """Print something worth knowing on standard error; with `always`, even if the output is quiet."""
    say(text, console_for(sys.stderr), style="dim", always=always)


def detail(text: str) -> None:
    """Print something on standard error that only `-v` shows."""
    if current_output().verbose:
        note(text)


def verbatim(text: str) -> None:
    """Print lines to be copied on standard error, as they are."""
    print(printable(text), file=sys.stderr)  # noqa: T201


def warn(text: str) -> None:
    """Print a caution on standard error."""
    say(text, console_for(sys.stderr), mark=("Note:", "yellow"))


def fail(text: str) -> None:
    """Print an error on standard error."""
    say(text, console_for(sys.stderr), mark=("Error:", "bold red"), always=True)


def say(
    text: str, console: Console, *, mark: tuple[str, str] | None = None, style: str = "", always: bool = False
) -> None:
    """Print a message; its other lines are indented, so that a line break in a name cannot pass for another message.

    Args:
        text: The message.
        console: Where to print it.
        mark: What it begins with, and the style of that.
        style: The style of the text.
        always: Whether to print it even if the output is quiet.
    """
    output = current_output()
    output.write(f"{mark[0]} {text}" if mark else text)
    if output.quiet and not always:
        return
    start = Text.assemble(mark, " ") if mark else Text()
    lines = re.sub(r"\n(?=\S)", "\n  ", printable(_from_here(text)))
    lines = _fitted(lines, console, taken=len(start))
    console.print(Text.assemble(start, (lines, style)), soft_wrap=True)


def _fitted(text: str, console: Console, *, taken: int = 0) -> str:
    """Return text in lines that fit a terminal, or the width in `COLUMNS`; without either, the text itself."""
    is_limited = console.is_terminal or console.width < PLAIN_WIDTH
    return wrapped(text, console.width, taken=taken) if is_limited else text


def _from_here(text: str) -> str:
    """Return a message with paths in the current folder as a user writes them there; the log keeps them complete."""
    try:
        folder = os.getcwd()
    except OSError:  # it is gone
        return text
    return text if folder == os.sep else re.sub(rf"(?<![\w/.~-]){re.escape(folder + os.sep)}(?=[\w.])", "", text)


def wrapped(text: str, width: int, *, taken: int = 0) -> str:
    """Return text in lines that break between words, but within commands only where one is wider than the terminal.

    A command is then broken before options, in the way in which a shell joins its lines again.

    Args:
        text: Lines of text; spaces that a line begins with are kept.
        width: Of the terminal, in columns.
        taken: Columns of the first line that are in use.
    """
    lines = []
    for number, line in enumerate(UNBROKEN.sub(lambda match: match[0].replace(" ", JOINT), text).split("\n")):
        wrapper = textwrap.TextWrapper(
            width=max(width, 20), initial_indent=" " * (0 if number else taken), break_long_words=False,
            break_on_hyphens=False, drop_whitespace=True, replace_whitespace=False,
        )  # fmt: skip
        parts = wrapper.wrap(line) or [""]
        parts[0] = parts[0] if number else parts[0][taken:]
        lines += [line for part in parts for line in _continued(part, max(width, 20))]
    return "\n".join(lines).replace(JOINT, " ")


def _continued(part: str, width: int) -> list[str]:
    """Return a line; if a command in it is too wide, in lines that end in a backslash, so that it can be copied."""
    if len(part) <= width:
        return [part]
    lines = [""]
    for piece in re.split(f"{JOINT}(?=--)", part):
        together = f"{lines[-1]}{JOINT}{piece}" if lines[-1] else piece
        is_quoted = any(lines[-1].count(mark) % 2 for mark in "'\"")
        if not lines[-1] or is_quoted or len(together) + len(" \\") <= width:
            lines[-1] = together
        else:
            lines.append(f"  {piece}")
    return [*(f"{line} \\" for line in lines[:-1]), lines[-1]]


def console_for(file: Any) -> Console:
    """Return a console; without a terminal, it prints plain text and folds lines only at the width in `COLUMNS`."""
    console = Console(file=file)
    if console.is_terminal:
        return console
    columns = COLUMNS.value
    return Console(
        file=file, width=int(columns) if columns.isdecimal() and int(columns) else PLAIN_WIDTH, no_color=True
    )


def _cell(text: str) -> str:
    return printable(text).replace("\n", "<U+000A>")


def sheet(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "", right: Iterable[str] = ()
) -> Sheet:
    """Return a table of text."""
    return Sheet(tuple(columns), tuple(tuple(row) for row in rows), title, frozenset(right))
