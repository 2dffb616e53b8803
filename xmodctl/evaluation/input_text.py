"""Lines of text as input of `predict` and `embed`: of a file or of standard input."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from xmodctl.core.errors import UserError
from xmodctl.data.files import open_bytes


@contextmanager
def opened(path: str | Path) -> Iterator[tuple[IO[bytes], str]]:
    """Open a file, or standard input for `-`, and return it with its name in messages."""
    if str(path) == "-":
        yield sys.stdin.buffer, "standard input"
        return
    with open_bytes(Path(path)) as stream:
        yield stream, str(path)


def decoded(stream: Iterable[bytes], name: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank, with their numbers.

    Raises:
        UserError: While iterating: a line is not UTF-8.
    """
    for number, line in enumerate(stream, start=1):
        try:
            text = (line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line).decode().rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise UserError(
                f"{name}:{number}:{error.start + 1}: byte 0x{line[error.start]:02x} is not UTF-8; give UTF-8 text"
            ) from error
        if text and not text.isspace():
            yield number, text


def is_object(line: str) -> bool:
    """Return whether a line is meant as a JSON object: a broken one is not plain text."""
    return line.lstrip().startswith("{")
