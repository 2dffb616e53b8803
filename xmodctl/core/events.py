"""The commands as functions: fine-tune, evaluate, load. The command line draws what these tell their listener."""

import inspect
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Told:
    """Something a user should know; a caution is what may be other than meant."""

    text: str
    caution: bool = False


@dataclass(frozen=True)
class Opened:
    """The run's folder is there and locked; training begins or goes on."""

    folder: Path
    title: str  # of the task
    languages: tuple[str, ...]  # adapters trained through
    model: str
    recipe: str


Listener = Callable[[Any], None]
"""Is given each event as it happens."""


def warn(event: Any) -> None:
    """Turn cautions into Python warnings, at the caller's line; other events are for those who listen."""
    if isinstance(event, Told) and event.caution:
        level, frame = 1, inspect.currentframe()
        while frame and frame.f_code.co_filename.startswith(f"{Path(__file__).parents[1]}{os.sep}"):
            level, frame = level + 1, frame.f_back
        warnings.warn(event.text, stacklevel=level)
