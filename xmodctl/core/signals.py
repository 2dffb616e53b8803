"""One run from its plan to its deltas: encodings, model, training, checkpoints. Yields what happens."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


class StopSignals:
    """Whether the user asked to stop; asking twice stops at once."""

    def __init__(self) -> None:
        self.requested = False

    def receive(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Note the first request; let the second one through."""
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True


@contextmanager
def stop_signals() -> Iterator[StopSignals]:
    """Turn Ctrl-C and SIGTERM into a request that the loop honours between two steps."""
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
