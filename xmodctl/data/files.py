"""Data files while they are read: opened, decompressed, decoded, and checked for changes and damage."""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO, NamedTuple, cast

from xmodctl.core.errors import UserError
from xmodctl.core.jsonl import LONGEST_LINE
from xmodctl.core.messages import ReadingNote
from xmodctl.core.mistakes import Mistakes
from xmodctl.core.reading import check_regular, file_and_sheet, open_regular
from xmodctl.data.labeling_tools import Unpacking
from xmodctl.data.sources import names_of
from xmodctl.data.usual_names import LANGUAGE_COLUMNS
from xmodctl.data.utf16 import NOTE, as_utf8, is_recoded
from xmodctl.kinds.rows import Columns, Raw

Numbered = Iterator[tuple[int, Raw]]
"""Raw rows, each with its line if the format has lines, else its position; both count from 1."""


REMARKED = ("is_impossible",)
"""Columns that no task names and that are read where they exist, because they may contradict others."""
LARGEST_DOCUMENT = 2**28
"""Bytes; a JSON document is held in memory as a whole, in about ten times its size."""
DOCUMENT_REMEDY = "convert it to JSON Lines, one row per line, in a file whose name ends in .jsonl"
INNER_KEYS = ("text", "answer_start", "label", "data", "paragraphs", "qas", "answers", *REMARKED)
"""Keys that are read, too: those within columns or documents, and those that may contradict others."""


@dataclass(frozen=True)
class DataFile:
    """A file being read: its path, its name in messages, and where its mistakes go."""

    path: Path
    name: str
    columns: Columns  # the kind's columns -> the file's, for formats without column names
    mistakes: Mistakes
    all_columns: bool  # read columns that `columns` does not name, too
    place: str  # how messages refer to a row: a format string of `name` and `number`
    numbered: Mapping[str, int] = field(default_factory=dict)  # `tokens` and `tags` if the first column counts words
    plain_tags: bool = False  # any text may be a tag
    needed: Sequence[str] = ()  # further names that must not stand for two columns
    all_rows: bool = False  # read what annotators of labeling tools did not accept, too
    notes: list[str] = field(default_factory=list)  # what the user should know about how it is read

    @property
    def has_lines(self) -> bool:
        """Whether each row is a line; in a JSON document it is not."""
        return ".json" not in self.path.suffixes

    def at(self, number: int) -> str:
        """Return the place of row `number` for messages."""
        return self.place.format(name=self.name, number=number)

    def unpacking(self) -> Unpacking:
        """Return what unpacks the rows that labeling tools wrote."""
        return Unpacking(self.columns, self.plain_tags, self.all_rows)

    def wanted(self, available: Sequence[str]) -> list[str]:
        """Return which of a table's columns to read: all of them if one is missing, so that a message can list them."""
        wanted = names_of(self.columns)
        if self.all_columns or not set(wanted) <= set(available):
            return list(available)
        return [*wanted, *(name for name in REMARKED if name in available and name not in wanted)]

    @cached_property
    def needed_columns(self) -> tuple[str, ...]:
        """The names that must not stand for two columns."""
        return (*names_of(self.columns), *self.needed, *(LANGUAGE_COLUMNS if self.all_columns else ()))

    @cached_property
    def needed_keys(self) -> tuple[str, ...]:
        """The names that must not stand for two values of one JSON object."""
        return (*self.needed_columns, *INNER_KEYS)


def guarded(file: DataFile, rows: Callable[[DataFile], Numbered]) -> Numbered:
    """Read a file, and turn each failure of the disk or the compression into one sentence.

    Raises:
        UserError: While iterating: the file cannot be read, is damaged, or changed in the meantime.
    """
    try:
        before = _identity(file.path)
        yield from rows(file)
        after = _identity(file.path)
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise UserError(f"{file.name} is damaged or truncated ({error}); copy or download it again") from error
    except OSError as error:
        raise UserError(f"cannot read {file.name}: {error.strerror or error}") from error
    if before != after:
        raise UserError(f"{file.name} changed while it was being read; run the command again once it is complete")


def _identity(path: Path) -> tuple[int, int, int]:
    status = file_and_sheet(path)[0].stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


class Compression(NamedTuple):
    """A form of compressed files."""

    name: str
    extension: str
    magic: bytes  # how its files begin
    program: str  # which prints their content


COMPRESSED = (
    Compression("gzip", ".gz", b"\x1f\x8b", "zcat"),
    Compression("xz", ".xz", b"\xfd7zXZ", "xzcat"),
    Compression("bzip2", ".bz2", b"BZh", "bzcat"),
    Compression("zstd", ".zst", b"\x28\xb5\x2f\xfd", "zstdcat"),
)
COMPRESSIONS = tuple(each.extension for each in COMPRESSED)
"""Extensions that may follow a format's own."""


def open_bytes(path: Path) -> IO[bytes]:
    """Open a regular text file, decompress it according to its extension, and recode UTF-16 as UTF-8."""
    return as_utf8(_decompressed(path), path)


def _decompressed(path: Path) -> IO[bytes]:
    check_regular(path)
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
            return open_regular(path)


_MAGIC = {
    b"PK\x03\x04": "an Excel workbook or a ZIP archive; give a workbook a name that ends in .xlsx, unpack an archive",
    b"\xd0\xcf\x11\xe0": "a file of an old Office program; save it as CSV in UTF-8",
    **{each.magic: f"compressed with {each.name}; give it a name that ends in {each.extension}" for each in COMPRESSED},
    b"PAR1": "a Parquet file; give it a name that ends in .parquet",
    b"ARROW1": "an Arrow file; give it a name that ends in .arrow",
    b"#FORMAT=WebAnno": "in the format of WebAnno and INCEpTION, which is not read; export the annotations as CoNLL "
    "2002 (entities) or CoNLL-U (parts of speech)",
    b"%PDF-": "a PDF document; save its content as CSV in UTF-8",
}
"""How files begin that are no text, and what is said of them."""


def lines_of(file: DataFile) -> Iterator[tuple[int, str]]:
    """Yield each line's number and text, without the line end; a line that is not text is a mistake."""
    empty = True
    with open_bytes(file.path) as stream:
        longest = LONGEST_LINE if file.has_lines else LARGEST_DOCUMENT
        for number, line in enumerate(iter(lambda: stream.readline(longest + 1), b""), start=1):
            empty = False
            if len(line) > longest:
                remedy = "write one row per line" if file.has_lines else DOCUMENT_REMEDY
                raise UserError(f"{file.name}: line {number} is longer than {longest // 2**20} MiB; {remedy}")
            if number == 1:
                if kind := next((kind for magic, kind in _MAGIC.items() if line.startswith(magic)), None):
                    raise UserError(f"{file.name} is {kind}")
                if is_recoded(stream):
                    file.notes.append(ReadingNote(f"{file.name}: {NOTE}"))
                if b"\0" in line:
                    raise UserError(f"{file.name} contains zero bytes, so it is not text in UTF-8; save it as UTF-8")
                if b"\r" in line.rstrip(b"\r\n") and file.has_lines:
                    raise UserError(f"{file.name} ends its lines with CR alone; save it with LF or CRLF line endings")
                line = line.removeprefix(b"\xef\xbb\xbf")  # noqa: PLW2901
            try:
                yield number, line.decode("utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                cause = "bytes that are not UTF-8; save the file as UTF-8"
                seen = f"byte 0x{line[error.start]:02x} is not UTF-8; save the file as UTF-8"
                if error.reason == "unexpected end of data" and not line.endswith(b"\n"):
                    seen = cause = "the file ends in the middle of a character; copy or download it again"
                file.mistakes.add(f"{file.at(number)}:{error.start + 1}", seen, cause)
    if empty:
        raise UserError(f"{file.name} is empty; expected rows")
