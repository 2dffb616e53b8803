"""Commands in several processes: starting them, and which of them prints."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from time import sleep
from typing import TYPE_CHECKING, Any

import typer

from xmodctl.core.environment import RANK, RUN_ID, ExitCode, is_one_of_several, is_started_by_xmodctl
from xmodctl.core.errors import LostProcessError
from xmodctl.core.signals import STOPPED, Interrupted, end_process

if TYPE_CHECKING:
    from xmodctl.training.partners import Partners

PATIENCE = 3.0
"""Seconds that a process waits before it ends in silence, or with a message that the first process may have, too: its
launcher ends all when one has ended."""

PAUSE = 0.5
"""Seconds after which a process looks again whether its launcher lives."""


def launch_unless_launched(ctx: Any, processes: int) -> None:
    """Run the command in several processes and exit with their exit code, unless this is one of them.

    Raises:
        UserError: A launcher started another number of processes, or one of them was killed.
    """
    from xmodctl.cli.group import ARGUMENTS
    from xmodctl.training.launching import is_launched, launch

    if processes > 1 and not is_launched(processes):
        raise typer.Exit(launch(ctx.meta[ARGUMENTS], processes))


def is_follower() -> bool:
    """Return whether this process is one of several, and not the first."""
    return is_one_of_several() and RANK.value not in ("", "0")


def end_with_launcher() -> None:
    """If `--processes` started this process, stop it like SIGTERM when the command that did so is killed."""
    if is_started_by_xmodctl():
        Thread(target=_watch, args=(int(RUN_ID.value.rpartition("-")[2]),), daemon=True).start()


def _watch(launcher: int) -> None:
    while os.getppid() == launcher:
        sleep(PAUSE)
    os.kill(os.getpid(), signal.SIGTERM)


def meet_others() -> None:
    """Meet the other processes, if a launcher started several: from here on, one that fails ends all of them.

    Raises:
        UserError: They do not meet.
        LostProcessError: They do not, and another process says why.
    """
    global _partners  # noqa: PLW0603 (they belong to the process)
    if _partners is not None or not is_one_of_several():
        return
    silence_follower()
    from xmodctl.training.meeting import launched_as, meet
    from xmodctl.training.partners import Partners

    rank, size = launched_as()
    if size == 1:
        return
    _partners = Partners(rank, size, meet(rank, size), _silence, _say)
    _partners.listen()


@contextmanager
def ending_together() -> Iterator[None]:
    """End like the others where messages to them fail."""
    try:
        yield
    except LostProcessError as error:
        code: int = ExitCode.FIXABLE if _partners is None else _partners.lose(str(error))
        if code in STOPPED:
            raise Interrupted from error
        raise typer.Exit(code) from error


def leave(code: int) -> None:
    """If this is one of several processes that have met, say that it ends, and end it."""
    if _partners is not None:
        _partners.leave(code)
        end_process(code)


def silence_follower() -> None:
    """Let what this process prints go nowhere, except its last message, unless it is the first or the only one."""
    if is_follower():
        _silence()


def _silence() -> None:
    if _errors:
        return
    if sys.stderr.isatty():
        os.write(2, b"\r\x1b[2K\x1b[?25h")  # a bar may have hidden the cursor
    sys.stdout.flush()
    sys.stderr.flush()
    _errors.append(os.dup(2))
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    os.close(sink)


def speak(code: int = ExitCode.FIXABLE) -> None:
    """Let the last message of a process be seen, or end it in silence if another one says why all end.

    Args:
        code: The exit code.
    """
    if _partners is not None and not _partners.may_speak(code):
        sleep(PATIENCE)
        _partners.end()
    if _errors and _partners is None:
        sleep(PATIENCE)
    _be_heard()


def _be_heard() -> None:
    while _errors:
        os.dup2(_errors.pop(), 2)


def _say(text: str) -> None:
    from xmodctl.cli.display import fail

    _be_heard()
    fail(text)


_errors: list[int] = []
"""Where a silent process printed errors before."""

_partners: "Partners | None" = None
"""The other processes, if there are any and this one has met them."""
