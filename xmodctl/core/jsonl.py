"""JSON lines: the only reader, writer and appender of files with one JSON object per line.

The rule for torn lines: a process that dies while it appends leaves a last line without its newline. In an append-only
file, such a line is skipped when the file is read and cut off before the next line is appended. Any other line that is
not a JSON object is an error that names the file and the line.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from xmodctl.core.errors import UserError
from xmodctl.core.files import make_parent, whole_file
from xmodctl.core.json_text import json_text
from xmodctl.core.messages import quoted
from xmodctl.core.mistakes import RowError
from xmodctl.core.reading import check_regular, open_regular

LONGEST_LINE = 2**26
"""Bytes; a longer line is no row that a model can be given."""

_BLOCK = 2**20
"""Bytes of lines that are parsed in one call, which is faster than a call per line."""


def unique_object(needed: Collection[str]) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    """Return a hook for `json.loads` that refuses an object with one of the needed keys twice.

    The hook raises RowError. Of other keys that are repeated, the last one counts, as usual.
    """

    def checked_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            counts = Counter(key for key, _ in pairs)
            if twice := [key for key in needed if counts[key] > 1]:
                raise RowError(f"an object has {quoted(twice[0])} {counts[twice[0]]} times; keep only the right one")
        return value

    return checked_object


def parse_object(line: str | bytes, needed: Collection[str] = ()) -> dict[str, Any]:
    """Parse one line.

    Args:
        line: The line.
        needed: Keys that no object in it may have twice.

    Raises:
        RowError: It is not a JSON object, or has a needed key twice; the message says why, without the place.
    """
    try:
        value = json.loads(line, object_pairs_hook=unique_object(needed)) if needed else json.loads(line)
    except UnicodeDecodeError as error:
        raise RowError(f"byte {error.start + 1} of the line is not UTF-8", "bytes that are not UTF-8") from error
    except json.JSONDecodeError as error:
        ending = line.rstrip()[-1:]
        cut = "" if ending in ("}", "]", b"}", b"]") else "; the line seems truncated"
        raise RowError(f"this is not JSON ({error.msg}, column {error.colno}){cut}") from error
    except RecursionError as error:
        raise RowError("this is not JSON (nested too deeply)") from error
    except ValueError as error:  # a number with thousands of digits
        raise RowError(f"this is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise RowError(f"a row is a JSON object {{...}}, found {quoted(value)}")
    return value


def read(path: str | Path, *, remedy: str, append_only: bool = False) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each object of a file with its line number, from 1; blank lines are skipped.

    The file is streamed: about a mebibyte of it is in memory at a time.

    Args:
        path: The file.
        remedy: What the user can do about a damaged line; ends the message.
        append_only: Whether lines are appended to the file over time, so that its last line may be torn.

    Raises:
        UserError: A line is not a JSON object.
    """
    path = Path(path)
    with open_regular(path) as file:
        number = 0
        for lines in _blocks(file):
            if len(lines[-1]) > LONGEST_LINE:
                raise UserError(
                    f"{path}:{number + len(lines)}: the line is longer than {LONGEST_LINE // 2**20} MiB; {remedy}"
                )
            values = _parse_together(lines)
            for index, line in enumerate(lines):
                number += 1
                if values is not None:
                    yield number, values[index]
                    continue
                if not line.strip():
                    continue
                try:
                    yield number, parse_object(line.rstrip(b"\r\n"))
                except RowError as problem:
                    if append_only and not line.endswith(b"\n"):
                        return
                    raise UserError(f"{path}:{number}: {problem}; {remedy}") from problem


def write(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one object per line, atomically: readers see the old file or the complete new one."""
    with whole_file(Path(path)) as part, part.open("w", encoding="utf-8", newline="\n") as file:
        for row in rows:
            file.write(json_text(row) + "\n")


def append(path: str | Path, row: Mapping[str, Any], *, durable: bool = True) -> None:
    """Append one object; a torn last line is cut off first.

    Args:
        path: The file; its folder is made if it is missing.
        row: The object.
        durable: Whether to wait until the line is on the disk.
    """
    path = Path(path)
    make_parent(path)
    if path.exists():
        check_regular(path)
    with path.open("ab+") as file:
        _cut_torn_line(file)
        file.write(json_text(row).encode() + b"\n")
        if durable:
            file.flush()
            os.fsync(file.fileno())


def _blocks(file: IO[bytes]) -> Iterator[list[bytes]]:
    """Yield the lines of a file, about a mebibyte at a time; a line that is too long is cut and is the last one."""
    lines: list[bytes] = []
    size = 0
    while line := file.readline(LONGEST_LINE + 1):
        lines.append(line)
        size += len(line)
        if size >= _BLOCK or len(line) > LONGEST_LINE:
            yield lines
            lines, size = [], 0
    if lines:
        yield lines


def _parse_together(lines: list[bytes]) -> list[dict[str, Any]] | None:
    """Return the objects of lines that each hold exactly one; None where a line needs to be parsed by itself."""
    try:  # each line in brackets of its own, so that an object cannot extend over two lines
        values = json.loads(b"[[" + b"],[".join(lines) + b"]]")
    except (ValueError, RecursionError):
        return None
    if len(values) != len(lines) or any(len(value) != 1 or type(value[0]) is not dict for value in values):
        return None
    return [value[0] for value in values]


def _cut_torn_line(file: IO[bytes]) -> None:
    """Truncate a file after its last newline; only its end is read."""
    end = start = file.seek(0, os.SEEK_END)
    while start:
        before = max(0, start - 2**16)
        file.seek(before)
        newline = file.read(start - before).rfind(b"\n")
        if newline >= 0:
            start = before + newline + 1
            break
        start = before
    if start < end:
        file.truncate(start)
