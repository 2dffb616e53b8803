"""Ctrl-C and SIGTERM as a request that long work honors at its next safe point."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """The user stopped the work; everything done so far is saved, and the same command resumes it."""

    def __init__(self, where: str) -> None:
        super().__init__(f"stopped {where}; run the same command again to resume")


class StopSignals:
    """Whether the user asked to stop; asking twice stops at once."""

    def __init__(self) -> None:
        self.requested = False

    def receive(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Record the first request; let the second one through."""
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True

    def check_interrupt(self, where: str) -> None:
        """Stop here if the user asked for it.

        Args:
            where: Completes "stopped ...", such as "before the adapter was trained".

        Raises:
            Interrupted: The user asked to stop.
        """
        if self.requested:
            raise Interrupted(where)


@contextmanager
def stop_signals() -> Iterator[StopSignals]:
    """Turn Ctrl-C and SIGTERM into a request that is checked at safe points, such as between two steps."""
    import threading

    stop = StopSignals()
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield stop
        return
    before = {number: signal.signal(number, stop.receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
