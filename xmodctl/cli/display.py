"""Everything that is drawn: tables, progress, notes. Results go to standard output, the rest to standard error.

On a terminal: colour, bars, boxes. Piped: plain aligned text, and a line now and then instead of a bar.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from xmodctl.core import events
from xmodctl.evaluation.results import MAJORITY_BASELINE

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
    draw(sheet, _console(sys.stdout))


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
    print(json.dumps(value, indent=2, ensure_ascii=False))  # noqa: T201


def show_text(text: str) -> None:
    """Print text as it is on standard output."""
    print(text)  # noqa: T201


def note(text: str) -> None:
    """Tell something on standard error."""
    _console(sys.stderr).print(escape(text), style="dim", highlight=False, soft_wrap=True)


def warn(text: str) -> None:
    """Tell something that may be wrong."""
    console = _console(sys.stderr)
    console.print(f"[yellow]Note:[/yellow] {escape(text)}", highlight=False, soft_wrap=True)


def fail(text: str) -> None:
    """Tell what the user can mend."""
    console = _console(sys.stderr)
    console.print(f"[bold red]Error:[/bold red] {escape(text)}", highlight=False, soft_wrap=True)


class Bar(AbstractContextManager["Bar"]):
    """A progress bar on standard error, with lines above it; on what is no terminal, the lines alone."""

    def __init__(self, told: str) -> None:
        self.console = _console(sys.stderr)
        self.bar = _progress(self.console, TextColumn(told))
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
        self.bar.console.print(escape(text), highlight=False, soft_wrap=True)


class TrainingProgress(Bar):
    """Draws a fine-tuning's events as they come."""

    def __init__(self) -> None:
        super().__init__("loss {task.fields[loss]}  lr {task.fields[rate]}  {task.fields[speed]} ex/s")
        self.speed = Speed()
        self.steps_told = 0

    def show(self, event: events.Event) -> None:
        """Draw one event."""
        match event:
            case events.DataEncoded():
                self.say(
                    (f"{event.stage}: " if event.stage else "")
                    + f"{event.rows:,} training rows, {event.tokens:,} tokens"
                    + (f", {event.truncated:,} rows cut to the recipe's length" if event.truncated else "")
                    + (f"; {event.validation_rows:,} validation rows" if event.validation_rows else "")
                )
                for told in event.notes:
                    self.say(told)
            case events.SeedStarted():
                where = (
                    f"resuming at step {event.resumed_at:,} of {event.total_steps:,} (epoch {event.epoch:.1f})"
                    if event.resumed_at
                    else f"fresh run of {event.total_steps:,} steps"
                )
                share = 100 * event.trainable / event.parameters
                name = f"seed {event.seed}" + (f", {event.stage}" if event.stage else "")
                if self.task is not None:  # the stage before is done
                    self.bar.remove_task(self.task)
                self.steps_told = 0
                if event.languages:
                    told = ", ".join(f"{count:,} of {language}" for language, count in event.languages)
                    self.say(f"{name}: an epoch takes {told}")
                self.say(
                    f"{name}: {where}; {event.trainable / 1e6:.1f} M of "
                    f"{event.parameters / 1e6:.1f} M parameters train ({share:.0f} %)"
                )
                self.task = self.bar.add_task(
                    name, total=event.total_steps, completed=event.resumed_at,
                    loss="-", rate="-", speed="-",
                )  # fmt: skip
            case events.StepTaken():
                self.step(event)
            case events.Validated():
                each = "; ".join(f"{language} {value:.1f}" for language, value in event.values.items())
                self.say(
                    f"epoch {event.epoch:.3g}: {event.metric} {event.value:.1f} on the source's validation data"
                    + (f" (the mean of {each})" if each else "")
                    + f"; {MAJORITY_BASELINE} {event.baseline:.1f}"
                )
            case events.SeedFinished():
                if self.task is not None:
                    self.bar.remove_task(self.task)
                    self.task = None
                if event.known:
                    self.say(f"seed {event.seed}: already trained")

    def step(self, step: events.StepTaken) -> None:
        """Move the bar; where there is none, say something every tenth of the way."""
        loss, speed = self.speed.add(step)
        fields: dict[str, Any] = {"loss": f"{loss:.3f}", "rate": f"{step.learning_rate:.1e}", "speed": f"{speed:.1f}"}
        if self.task is not None:
            self.bar.update(self.task, completed=step.step, **fields)
        tenth = 10 * step.step // step.total_steps
        if not self.console.is_terminal and tenth > self.steps_told:
            self.steps_told = tenth
            left = (step.total_steps - step.step) * self.speed.seconds_a_step
            self.say(
                f"step {step.step:,} of {step.total_steps:,}, loss {loss:.3f}, learning rate {step.learning_rate:.1e}, "
                f"{speed:.1f} examples/s, {duration(left)} left"
            )


class Speed:
    """Running means of loss and speed, as a person reads them: recent, but not jumpy."""

    def __init__(self, memory: float = 0.95) -> None:
        self.memory = memory
        self.weight = self.loss = self.examples = self.seconds = 0.0

    def add(self, step: events.StepTaken) -> tuple[float, float]:
        """Take a step in; return the mean loss and examples a second."""
        self.weight = self.memory * self.weight + 1
        self.loss = self.memory * self.loss + step.loss
        self.examples = self.memory * self.examples + step.examples
        self.seconds = self.memory * self.seconds + step.seconds
        return self.loss / self.weight, self.examples / self.seconds

    @property
    def seconds_a_step(self) -> float:
        """Mean seconds of a step."""
        return self.seconds / self.weight


class SweepProgress(Bar):
    """Draws the progress of a sweep."""

    def __init__(self) -> None:
        super().__init__("{task.fields[state]}")

    def show(self, event: events.Event) -> None:
        """Draw one event."""
        match event:
            case events.ModelLoading():
                self.say(f"Loading {event.model} ...")
            case events.LanguageStarted():
                for text in event.notes if event.control == "own" else ():
                    self.say(f"{event.language}: {text}")
                name = f"{event.language}{_through(event.language, event.adapter)}"
                self.task = self.bar.add_task(name, total=event.examples, state="")
            case events.BatchScored():
                if self.task is not None:
                    self.bar.advance(self.task, event.examples)
            case events.LanguageScored():
                if self.task is not None:
                    self.bar.remove_task(self.task)
                    self.task = None
                known = " (scored before)" if event.known else f" in {duration(event.seconds)}"
                through = _through(event.language, event.adapter)
                self.say(f"{event.language}{through}: {event.metric} {event.value:.1f}{known}")
            case events.LanguageFailed():
                self.say(f"{event.language}: failed: {event.reason}")


def _through(language: str, adapter: str | None) -> str:
    return f" through {adapter or 'no adapter'}" if adapter != language else ""


def _progress(console: Console, *told: TextColumn) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        *told,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _console(file: Any) -> Console:
    console = Console(file=file)
    return console if console.is_terminal else Console(file=file, width=PLAIN_WIDTH, no_color=True)


def duration(seconds: float) -> str:
    """Return a duration as people write it."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02} min"


def size(count: float) -> str:
    """Return a count of bytes as people write it."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def sheet(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "", right: Iterable[str] = ()
) -> Sheet:
    """Return a table of text."""
    return Sheet(tuple(columns), tuple(tuple(row) for row in rows), title, frozenset(right))
