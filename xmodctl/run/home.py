"""Where runs are, if no option says so: `runs/`, or the folder that the command line's defaults name."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

_folder: ContextVar[Path] = ContextVar("folder of runs", default=Path("runs"))


def runs_folder() -> Path:
    """Return the folder where commands create runs and look for them."""
    return _folder.get()


@contextmanager
def runs_in(folder: Path) -> Iterator[None]:
    """Let runs be in another folder within the block."""
    token = _folder.set(folder)
    try:
        yield
    finally:
        _folder.reset(token)
