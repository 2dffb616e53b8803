"""What other code prints on the terminal: log records, warnings, and tracebacks, with invisible characters shown."""

import logging
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from xmodctl.cli.launching import leave, speak
from xmodctl.core.environment import ExitCode
from xmodctl.core.visible import one_line, printable

NO_CUDA = "CUDA initialization: "
"""How warnings of torch begin that a driver is too old, or that it does not answer."""


class _PrintableRecord(logging.LogRecord):
    """A log record of any library; its message may quote a file."""

    def getMessage(self) -> str:  # noqa: N802 (the library's name)
        return printable(super().getMessage())


@contextmanager
def screened() -> Iterator[None]:
    """Make the log records and warnings of all libraries printable while a command runs."""
    make_record, format_warning = logging.getLogRecordFactory(), warnings.formatwarning

    def format_printable(message: Any, *args: Any, **named: Any) -> str:
        unusable = unusable_gpu(str(message))
        return f"Note: {unusable}\n" if unusable else printable(format_warning(message, *args, **named))

    logging.setLogRecordFactory(_PrintableRecord)
    warnings.formatwarning = format_printable
    try:
        yield
    finally:
        logging.setLogRecordFactory(make_record)
        warnings.formatwarning = format_warning


def unusable_gpu(warning: str) -> str:
    """Return in one sentence what torch warns of if it cannot use a GPU; nothing for other warnings.

    Later ones, of other calls, are ignored then.
    """
    if not warning.startswith(NO_CUDA):
        return ""
    warnings.filterwarnings("ignore", message=NO_CUDA)
    reason = one_line(warning.removeprefix(NO_CUDA).partition(" (Triggered")[0]).rstrip(".")
    remedy = "repair the driver"
    if "driver" in reason and "too old" in reason:
        reason, remedy = reason.partition(". ")[0], "update the driver, or install a torch built for it"
    return f"torch cannot use the GPU of this machine, so the CPU computes ({reason}); to use the GPU, {remedy}"


def print_exception(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the traceback of a bug, in place of `sys.excepthook`."""
    speak()
    stream = sys.__stderr__ or sys.stderr  # torch's hook, which calls this one, collects what goes to the latter
    stream.write(printable("".join(traceback.format_exception(kind, error, trace))))
    stream.flush()
    leave(ExitCode.PARTIAL)
