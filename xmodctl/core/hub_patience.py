"""How long the Hub may take: a time limit on every request, and patience that ends without progress."""

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from xmodctl.core.environment import HUB_TIMEOUT, HUB_VERBOSITY
from xmodctl.core.hub import HubError, classified, silent

Result = TypeVar("Result")


@dataclass(frozen=True)
class Limits:
    """How long the Hub may take, in seconds."""

    preflight: float = 2.0  # for its first answer, if the cache has a copy
    connect: float = 2.0
    read: float = 5.0  # between two packets
    patience: float = 10.0  # without progress; HF_HUB_DOWNLOAD_TIMEOUT can raise it
    least_rate: int = 1024  # bytes a second; less is no progress
    memory: float = 300.0  # how long a failure of the Hub is remembered


LIMITS = Limits()

_PASSING = ("status", "interrupted", "silent")  # failures that may pass in a moment


class Patience:
    """Waits for progress: `seconds` without any end the download."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.progress()

    def progress(self) -> None:
        """Start to wait again."""
        self.since = time.monotonic()
        self.received = 0

    @property
    def left(self) -> float:
        """Return the seconds that are left."""
        return self.seconds - (time.monotonic() - self.since)

    def receive(self, size: int) -> None:
        """Count bytes that had not been received before.

        Raises:
            HubError: They come too slowly.
        """
        self.received += size
        if self.received >= LIMITS.least_rate * self.seconds:
            self.progress()
        elif self.left <= 0:
            status = f"the download stalled: {self.received} bytes in {self.seconds:.0f} seconds"
            raise HubError("slow", status, "run the command again to continue")

    def persist(self, call: Callable[[], Result], *, is_timed: bool = True) -> Result:
        """Call until it succeeds or nothing is left to wait.

        Raises:
            HubError: The last failure.
        """
        pause = 0.5
        while True:
            try:
                with classified():
                    result = within(self.left, call) if is_timed else call()
            except HubError as error:
                wait = max(error.wait, pause)
                if error.kind not in _PASSING or wait >= self.left:
                    raise
                time.sleep(wait)
                pause *= 2
            else:
                self.progress()
                return result


def within(seconds: float, call: Callable[[], Result]) -> Result:
    """Return what `call` returns. It runs in a thread: host names and slow headers have no time limit of their own.

    Raises:
        HubError: It takes too long.
    """
    results: list[Result] = []
    errors: list[BaseException] = []
    given_up = threading.Event()

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:  # noqa: BLE001 (raised again below, in the thread that waits)
            errors.append(error)
        if given_up.is_set():
            for result in results:
                if close := getattr(result, "close", None):
                    close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(max(seconds, 0.01))
    if errors:
        raise errors[0]
    if not results:
        given_up.set()
        raise silent()
    return results[0]


def allowed_seconds(*, has_copy: bool) -> float:
    """Return how long the Hub may make no progress: shortly if the cache has a copy to use instead."""
    return LIMITS.preflight if has_copy else max(LIMITS.patience, read_seconds())


def read_seconds() -> float:
    """Return how long to wait for the next packet; a user with a slow network can raise it."""
    from huggingface_hub import constants

    return float(constants.HF_HUB_DOWNLOAD_TIMEOUT) if HUB_TIMEOUT.value else LIMITS.read


def limit_client() -> None:
    """Give every request of the client a time limit; without one, some of its calls wait forever.

    The client asks for nothing besides: with its telemetry it would first fetch a list of programs that may run it,
    which takes seconds where the Hub is silent.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import disable_progress_bars, get_session, logging  # type: ignore[attr-defined]

    constants.HF_HUB_DISABLE_TELEMETRY = True
    if not HUB_VERBOSITY.value:
        # What fails is reported once, by xmodctl.
        logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    if not sys.stderr.isatty():
        disable_progress_bars()
    session = get_session()
    if _set_time_limits not in session.event_hooks["request"]:
        session.event_hooks = {
            **session.event_hooks, "request": [*session.event_hooks["request"], _set_time_limits]
        }  # fmt: skip


def _set_time_limits(request: Any) -> None:
    limits = {"connect": LIMITS.connect, "read": read_seconds(), "write": 60.0, "pool": 60.0}
    request_limits = request.extensions.get("timeout") or {}
    if request.method not in ("GET", "HEAD"):
        limits["read"] = 60.0  # the Hub works on an upload before it answers
    set_limits = {name: value for name, value in request_limits.items() if value is not None}
    request.extensions["timeout"] = {**limits, **set_limits, "connect": limits["connect"]}
