"""Data files while they are read: opened, decompressed, decoded, and watched for changes and damage."""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from xmodctl.core.errors import UserError
from xmodctl.core.mistakes import Mistakes
from xmodctl.data.sources import Columns, names_of

Raw = Mapping[str, Any]
Numbered = Iterator[tuple[int, Raw]]
"""Raw rows, each with its line (from 1) where the format has lines, else its position (from 1)."""


@dataclass(frozen=True)
class File:
    """One file being read: where it lies, what messages call it, and where its mistakes go."""

    path: Path
    name: str
    columns: Columns  # the kind's columns -> the file's, for formats that do not name their columns
    mistakes: Mistakes
    all_columns: bool  # columns that `columns` does not name are looked at, too
    place: str  # how a message names a row

    @property
    def has_lines(self) -> bool:
        """Whether a row is a line, as it is not in a JSON document."""
        return ".json" not in self.path.suffixes

    def at(self, number: int) -> str:
        """Return the place of row `number` as messages name it."""
        return self.place.format(name=self.name, number=number)

    def wanted(self, there: Sequence[str]) -> list[str]:
        """Return which of a table's columns to read: all of them where one is missing, to tell what there is."""
        wanted = names_of(self.columns)
        return list(there) if self.all_columns or not set(wanted) <= set(there) else wanted


def guarded(file: File, rows: Callable[[File], Numbered]) -> Numbered:
    """Read a file with every failure of the disk or the compression told in a sentence.

    Raises:
        UserError: While iterating: the file cannot be read, is damaged, or changed meanwhile.
    """
    try:
        before = _identity(file.path)
        yield from rows(file)
        after = _identity(file.path)
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise UserError(f"{file.name} is damaged or cut off ({error}); copy or download it again") from error
    except OSError as error:
        raise UserError(f"cannot read {file.name}: {error.strerror or error}") from error
    if before != after:
        raise UserError(f"{file.name} changed while it was being read; run the command again when it is complete")


def _identity(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


COMPRESSIONS = (".gz", ".xz", ".bz2", ".zst")
"""Endings that may follow a format's own."""


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file, decompressed as its name's ending says."""
    match path.suffix.lower():
        case ".gz":
            return cast(IO[bytes], gzip.open(path))
        case ".xz":
            return lzma.open(path)
        case ".bz2":
            return bz2.open(path)
        case ".zst":
            import pyarrow

            return io.BufferedReader(pyarrow.input_stream(str(path), compression="zstd"))
        case _:
            return path.open("rb")


def lines_of(file: File) -> Iterator[tuple[int, str]]:
    """Yield each line's number and its text without the line end; a line that is not UTF-8 is a mistake."""
    empty = True
    with open_bytes(file.path) as stream:
        for number, line in enumerate(stream, start=1):
            empty = False
            if number == 1:
                if line.startswith((b"\xff\xfe", b"\xfe\xff")):
                    raise UserError(f"{file.name} is UTF-16 text; save it as UTF-8")
                if b"\0" in line:
                    raise UserError(f"{file.name} holds zero bytes: it is UTF-16 or no text; save it as UTF-8 text")
                if b"\r" in line.rstrip(b"\r\n") and file.has_lines:
                    raise UserError(f"{file.name} ends its lines with CR alone; save it with line ends LF or CRLF")
                line = line.removeprefix(b"\xef\xbb\xbf")  # noqa: PLW2901
            try:
                yield number, line.decode("utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                seen = f"byte 0x{line[error.start]:02x} is not UTF-8; save the file as UTF-8"
                if error.reason == "unexpected end of data" and not line.endswith(b"\n"):
                    seen = "the file is cut off within a character; copy or download it again"
                file.mistakes.add(f"{file.at(number)}:{error.start + 1}", seen)
    if empty:
        raise UserError(f"{file.name} is empty; it should hold rows")
