"""Says what a command loads before the imports that this takes, which last seconds."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from xmodctl.core.environment import is_started_by_xmodctl

NEWEST_RUN = "the newest run"

_announced: ContextVar[list[str]] = ContextVar("announced")


@contextmanager
def announcing() -> Iterator[None]:
    """Remember within the block what the command has said that it loads."""
    token = _announced.set([])
    try:
        yield
    finally:
        _announced.reset(token)


def say_loading(name: object) -> None:
    """Print what the command is about to load.

    Every command that loads a model or a tokenizer calls this before its first import, with what the user named: the
    model, or the run.
    """
    if not is_started_by_xmodctl():  # the process that started this one has said so
        _print(str(name))
    _announced.get([]).append(str(name))


def draw_loading(name: str) -> None:
    """Print that a model is being loaded, unless the command has just said so."""
    announced = _announced.get([])
    if name in announced:
        announced.remove(name)
    else:
        _print(name)


def _print(name: str) -> None:
    from xmodctl.cli.display import note

    note(f"Loading {name} ...")
