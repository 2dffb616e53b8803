"""A progress bar with lines above it; without a terminal, the lines alone."""

import sys
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from xmodctl.cli.display import console_for, say
from xmodctl.cli.output import current_output
from xmodctl.core.visible import one_line


class Bar(AbstractContextManager["Bar"]):
    """A progress bar on standard error, with lines above it; on what is no terminal, the lines alone."""

    def __init__(self, text: str) -> None:
        self.console = console_for(sys.stderr)
        self.bar = _progress(self.console, TextColumn(text, markup=False))
        self.task: TaskID | None = None

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        say(text, self.bar.console)


class _Name(ProgressColumn):
    """What a bar is for; it may come from a file."""

    def render(self, task: Task) -> Text:
        return Text(one_line(task.description))


def _progress(console: Console, *text: TextColumn) -> Progress:
    return Progress(
        _Name(),
        BarColumn(),
        MofNCompleteColumn(),
        *text,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal or current_output().quiet,
    )


def duration(seconds: float) -> str:
    """Return a duration as people write it."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"
