"""Signals that ask a process to stop: honored at once, except while something is being saved.

Files are written whole or not at all, so that work can be stopped between any two instructions. Where several changes
belong together, such as an optimizer step and its log, `deferred` lets them finish first.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from types import FrameType
from typing import NoReturn

from xmodctl.core.environment import ExitCode

STOPPING = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGXCPU")
    if hasattr(signal, name)
)
"""Ctrl-C; what `kill` and schedulers send; a closed terminal; SLURM's `--signal`; a limit on CPU time."""

NO_SIGNAL = 10**6
"""More than the number of any signal."""

STOPPED = (ExitCode.INTERRUPTED, ExitCode.TERMINATED)
"""What a command exits with that a signal stopped: after Ctrl-C, and after any other signal."""

ECHO = 0.25
"""Seconds in which a second signal is the same request: a scheduler may signal a process and its group."""

_RETRY = 0.01
"""Seconds until a signal is sent again that Python could not turn into an exception."""

_active: "StopSignals | None" = None


class Interrupted(KeyboardInterrupt):
    """A signal stopped the work; everything done so far is saved, and the same command resumes it."""

    def __init__(self, where: str = "") -> None:
        self.where = where
        super().__init__(f"stopped{where and ' '}{where}; run the same command again to resume")


class StopSignals:
    """Turns signals into `Interrupted`; a second signal is not deferred.

    Args:
        acknowledge: Is called within the handler with the first signal's number.
    """

    def __init__(self, acknowledge: Callable[[int], None] = lambda _: None) -> None:
        self.acknowledge = acknowledge
        self.requested: int | None = None
        self.received_at = 0.0
        self.depth = 0
        self.is_adopted = False
        self.has_begun_again = False

    def receive(self, number: int, frame: FrameType | None = None) -> None:  # noqa: ARG002
        """Handle a signal."""
        if self.requested is not None:
            if self.is_adopted:  # all processes are signaled, and this one's signal comes last
                self.is_adopted, self.received_at = False, monotonic()
                return
            if monotonic() - self.received_at > ECHO:
                raise KeyboardInterrupt
            return
        self.requested, self.received_at = number, monotonic()
        self.acknowledge(number)
        if not self.depth:
            raise Interrupted

    def adopt(self, number: int) -> None:
        """Take a signal for one's own that another process received, unless this one received any."""
        if self.requested is None:
            self.requested, self.is_adopted = number, True
            self.acknowledge(number)

    def lost(self, number: int) -> None:
        """Send a signal again, whose exception Python has ignored, as it does in `__del__` and in callbacks of C."""
        self.received_at = 0.0
        again = threading.Timer(_RETRY, os.kill, (os.getpid(), number))
        again.daemon = True
        again.start()

    @property
    def exit_code(self) -> int:
        """What a command that was stopped exits with."""
        return exit_code(self.requested)


def begun_again() -> None:
    """Note that what was to be done again has begun: what is there now is continued after a stop."""
    if _active is not None:
        _active.has_begun_again = True


def exit_code(number: int | None) -> int:
    """Return what a command exits with that a signal stopped: 130 after Ctrl-C, else 143, as after SIGTERM."""
    return STOPPED[0] if number in (None, signal.SIGINT) else STOPPED[1]


def end_process(code: int) -> NoReturn:
    """End the process now: taking torch's modules apart, which Python does at its end, can take seconds.

    What is in memory only is lost: everything that is to be kept is on disk by then.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def exit_on_signals() -> None:
    """End the process at once on a signal: for its start, when there is nothing to save yet."""

    def leave(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        os.write(2, f"{signal.Signals(number).name} received, stopped\n".encode())
        os._exit(exit_code(number))

    for number in STOPPING:
        if signal.getsignal(number) not in (signal.SIG_IGN, None):
            signal.signal(number, leave)


@contextmanager
def stop_signals(
    acknowledge: Callable[[int], None] = lambda _: None, numbers: tuple[int, ...] = STOPPING[:2]
) -> Iterator[StopSignals]:
    """Handle signals in a block; within another such block, and outside the main thread, nothing changes.

    Args:
        acknowledge: Is called within the handler with the first signal's number.
        numbers: The signals. One that the process ignores, as SIGHUP under `nohup`, is still ignored.
    """
    global _active  # noqa: PLW0603 (handlers belong to the process)
    if _active is not None or threading.current_thread() is not threading.main_thread():
        yield _active or StopSignals()
        return
    stop = _active = StopSignals(acknowledge)
    before = {
        number: signal.signal(number, stop.receive)
        for number in numbers
        if signal.getsignal(number) not in (signal.SIG_IGN, None)
    }
    unraisable = sys.unraisablehook

    def resend(problem: "sys.UnraisableHookArgs") -> None:
        if isinstance(problem.exc_value, KeyboardInterrupt) and stop.requested is not None:
            stop.lost(stop.requested)
        else:
            unraisable(problem)

    sys.unraisablehook = resend
    try:
        yield stop
    finally:
        _active, sys.unraisablehook = None, unraisable
        for number, handler in before.items():
            signal.signal(number, handler)


def requested() -> int | None:
    """Return the signal that asked this process to stop, and that is deferred; None if there is none."""
    return _active.requested if _active else None


def adopt(number: int) -> None:
    """Take a signal for this process's own that another one received: both exit with the same code."""
    if _active:
        _active.adopt(number)


@contextmanager
def deferred() -> Iterator[None]:
    """Let the block finish before a signal is honored, unless the signal comes twice.

    Raises:
        Interrupted: A signal came in the block.
    """
    stop = _active
    if stop is None:
        yield
        return
    stop.depth += 1
    try:
        yield
    finally:
        stop.depth -= 1
    if stop.requested is not None and not stop.depth:
        raise Interrupted
