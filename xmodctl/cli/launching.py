"""Commands in several processes: starting them, and which of them prints."""

import os
import signal
import sys
from threading import Thread
from time import sleep
from typing import Any

import typer

from xmodctl.core.environment import RANK, RUN_ID, is_one_of_several, is_started_by_xmodctl

PATIENCE = 3.0
"""Seconds that a process waits with its message: if the first process has the same, all end before."""

EARLY_PATIENCE = 25.0
"""Seconds, if `--processes` started it and it has not met the others yet: then the first process comes to the same
message, but on a busy machine it may be far behind."""

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


def silence_follower() -> None:
    """Let what this process prints go nowhere, except its last message, unless it is the first or the only one."""
    if not is_follower():
        return
    sys.stdout.flush()
    sys.stderr.flush()
    _errors.append(os.dup(2))
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1)
    os.dup2(sink, 2)
    os.close(sink)


def speak() -> None:
    """Let the last message of a silent process be seen, if it still runs after a moment."""
    while _errors:
        sleep(_patience())
        os.dup2(_errors.pop(), 2)


def _patience() -> float:
    from xmodctl.training.world import has_met

    return EARLY_PATIENCE if is_started_by_xmodctl() and not has_met() else PATIENCE


_errors: list[int] = []
"""Where a silent process printed errors before."""
