"""Draws events on the terminal: the listener that the commands give to the functions they call."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Protocol, Self

from xmodctl.core.events import (
    Event,
    LanguageFailed,
    LanguageScored,
    LanguageStarted,
    Listener,
    ModelLoading,
    Notice,
    RunOpened,
)

NOTICES = Notice | ModelLoading | RunOpened


class ProgressDisplay(Protocol):
    """A progress display; it is entered before its first event."""

    def __enter__(self) -> Self:
        """Start drawing."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove what is drawn."""
        ...

    def show(self, event: Event) -> None:
        """Draw one event."""
        ...


class Drawing(AbstractContextManager["Drawing"]):
    """Notices as they come, and a progress display from the first other event on, so that no download draws over it."""

    def __init__(self, make_progress: Callable[[], ProgressDisplay]) -> None:
        self.make_progress = make_progress
        self.progress: ProgressDisplay | None = None
        self.stack = ExitStack()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stack.close()

    def __call__(self, event: Event) -> None:
        """Draw one event."""
        if isinstance(event, NOTICES):
            draw_notice(event)
            return
        if self.progress is None:
            self.progress = self.make_progress()
            self.stack.enter_context(self.progress)
        self.progress.show(event)


def draw_notice(event: Event) -> None:
    """Print an event that is not progress; ignore the others."""
    from xmodctl.cli import display
    from xmodctl.cli.loading import draw_loading

    match event:
        case Notice(text, caution):
            (display.warn if caution else display.note)(text)
        case ModelLoading(model):
            draw_loading(model)
        case RunOpened(folder, title, languages, model, recipe):
            display.note(f"{title} in {', '.join(languages)}, {model}, recipe {recipe}: {folder}")


def draw_training_and_sweep(displays: ExitStack) -> Listener:
    """Return a listener that draws the training, then the sweep; the first display closes when the second opens."""
    from xmodctl.cli.sweep_progress import SweepProgress
    from xmodctl.cli.training_progress import TrainingProgress

    draw = displays.enter_context(Drawing(TrainingProgress))
    is_training = True

    def listen(event: Event) -> None:
        nonlocal draw, is_training
        if is_training and isinstance(event, LanguageStarted | LanguageScored | LanguageFailed):
            displays.close()
            draw, is_training = displays.enter_context(Drawing(SweepProgress)), False
        draw(event)

    return listen
