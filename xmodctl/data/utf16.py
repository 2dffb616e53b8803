"""Text files in UTF-16, such as "Unicode text" from a spreadsheet, read as if they were in UTF-8."""

import codecs
import io
from pathlib import Path
from typing import IO, Any

from xmodctl.core.errors import UserError

NOTE = "the file is in UTF-16 and is read as such"
"""What the user should know about a file that was recoded."""

_MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_CHUNK = 2**16  # bytes read at a time
_SAMPLE = 8  # bytes; four characters that every header and every JSON document begins with are ASCII


def as_utf8(stream: Any, path: Path) -> IO[bytes]:
    """Return a stream of UTF-8 for one of UTF-16, with or without its mark, and any other stream as it is.

    Args:
        stream: A stream of bytes with `peek`.
        path: Its file, for messages.

    Raises:
        UserError: While reading: what should be UTF-16 is not.
    """
    start = stream.peek(_SAMPLE)[:_SAMPLE]
    encoding = _MARKS.get(start[:2]) or _without_mark(start)
    recoded: IO[bytes] = io.BufferedReader(_Recoded(stream, encoding, path)) if encoding else stream
    return recoded


def is_recoded(stream: IO[bytes]) -> bool:
    """Return whether a stream of `as_utf8` is a file in UTF-16."""
    return isinstance(getattr(stream, "raw", None), _Recoded)


def _without_mark(start: bytes) -> str:
    """Return the encoding of a text of ASCII characters without a mark, or an empty string if it is another one."""
    halves = {"utf-16-le": (start[::2], start[1::2]), "utf-16-be": (start[1::2], start[::2])}
    for encoding, (low, high) in halves.items():
        if len(high) > 1 and low.isascii() and min(low) >= ord("\t") and not any(high):
            return encoding
    return ""


class _Recoded(io.RawIOBase):
    """The text of a stream in another encoding, as UTF-8."""

    def __init__(self, stream: IO[bytes], encoding: str, path: Path) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._path = path
        self._rest = b""
        self._is_complete = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest and not self._is_complete:
            chunk = self._stream.read(_CHUNK)
            self._is_complete = not chunk
            try:
                self._rest = self._decoder.decode(chunk, final=not chunk).encode()
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{self._path} is damaged or truncated: not all of it is UTF-16 text ({error.reason}); copy or "
                    "download it again, or save it as UTF-8"
                ) from error
        view = memoryview(buffer)
        count = min(len(view), len(self._rest))
        view[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def close(self) -> None:
        self._stream.close()
        super().close()
