"""Draws what the functions behind commands tell: a listener for `xmodctl.evaluation.evaluate`."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any

from xmodctl.core.events import ModelLoading, Notice, RunOpened

if TYPE_CHECKING:
    from xmodctl.cli.display import SweepProgress, TrainingProgress


class Drawing(AbstractContextManager["Drawing"]):
    """Notes as they come; a progress bar from the first event of the work on, so that no download is drawn over."""

    def __init__(self, make: "Callable[[], TrainingProgress | SweepProgress]") -> None:
        self.make = make
        self.progress: Any = None
        self.held = ExitStack()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.held.close()

    def __call__(self, event: Any) -> None:
        """Draw one event."""
        from xmodctl.cli import display

        match event:
            case Notice(text, caution):
                (display.warn if caution else display.note)(text)
            case ModelLoading(model):
                display.note(f"loading {model} ...")
            case RunOpened(folder, title, languages, model, recipe):
                display.note(f"{title} in {', '.join(languages)}, {model}, recipe {recipe}: {folder}")
            case _:
                if self.progress is None:
                    self.progress = self.held.enter_context(self.make())
                self.progress.show(event)
