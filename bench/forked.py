"""Commands in processes that are forked from one that has imported everything: each takes seconds less."""

import importlib
import os
import pkgutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

_PAUSE = 0.002  # seconds


def preload() -> None:
    """Import what commands import, without using any of it: threads would not survive a fork.

    Commands compute with one thread, whatever number the environment gave when this process started: sums of several
    threads differ by their number.
    """
    import xmodctl

    for name in ("torch", "transformers", "datasets", "safetensors.torch"):
        importlib.import_module(name)
    for module in pkgutil.walk_packages(xmodctl.__path__, "xmodctl."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    importlib.import_module("torch").set_num_threads(1)


class Forked:
    """A command in a forked process, with the part of `subprocess.Popen` that is used here."""

    def __init__(self, words: Sequence[str], environment: Mapping[str, str], errors: Path) -> None:
        """Start it."""
        sys.stdout.flush()
        self.returncode: int | None = None
        self.pid = os.fork()
        if not self.pid:
            os._exit(_run(words, environment, errors))

    def __enter__(self) -> "Forked":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wait()

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None if it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end.

        Raises:
            TimeoutExpired: It still runs.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if end is not None and time.monotonic() >= end:
                raise subprocess.TimeoutExpired("xmodctl", timeout or 0.0)
            time.sleep(_PAUSE)
        return code

    def kill(self) -> None:
        """Kill it."""
        os.kill(self.pid, signal.SIGKILL)


def _run(words: Sequence[str], environment: Mapping[str, str], errors: Path) -> int:
    try:
        os.environ.update(environment)
        tempfile.tempdir = None
        for number, path in ((1, Path(os.devnull)), (2, errors)):
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            os.dup2(file, number)
        sys.argv = ["xmodctl", *words]
        from xmodctl.__main__ import main

        main()
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:  # noqa: BLE001 (it is the end of the process)
        traceback.print_exc()
        return 1
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    return 0
