"""What other code prints on the terminal: log records, warnings, and tracebacks, with invisible characters shown."""

import logging
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from xmodctl.cli.launching import speak
from xmodctl.core.visible import printable


class _PrintableRecord(logging.LogRecord):
    """A log record of any library; its message may quote a file."""

    def getMessage(self) -> str:  # noqa: N802 (the library's name)
        return printable(super().getMessage())


@contextmanager
def screened() -> Iterator[None]:
    """Make the log records and warnings of all libraries printable while a command runs."""
    make_record, format_warning = logging.getLogRecordFactory(), warnings.formatwarning

    def format_printable(*args: Any, **named: Any) -> str:
        return printable(format_warning(*args, **named))

    logging.setLogRecordFactory(_PrintableRecord)
    warnings.formatwarning = format_printable
    try:
        yield
    finally:
        logging.setLogRecordFactory(make_record)
        warnings.formatwarning = format_warning


def print_exception(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print the traceback of a bug, in place of `sys.excepthook`."""
    speak()
    sys.stderr.write(printable("".join(traceback.format_exception(kind, error, trace))))
