"""Reading files that others may have written: regular files only, of bounded size, that stay in their folder."""

import errno
import os
import re
import stat
from io import BufferedReader
from pathlib import Path, PurePosixPath, PureWindowsPath

from xmodctl.core.errors import UserError

LARGEST_JSON = 2**25
"""Bytes; descriptions, manifests and plans have far fewer, and a value takes up to 25 times its text in memory."""

_WITH_SHEET = re.compile(r"(.+\.xlsx):([^/\\:?*\[\]]+)", re.IGNORECASE)
"""A workbook and one of its sheets, whose name cannot have the other characters."""

_NOT_REGULAR = "it is not a regular file but a folder, a pipe, a socket, or a device"


class OutsideFolderError(ValueError):
    """A name that a file gives leads out of the folder that it belongs to; the message shows the name."""


def file_and_sheet(path: str | Path) -> tuple[Path, str]:
    """Return the file that a path names, and the sheet: `book.xlsx:Tickets` is a sheet of a workbook.

    The sheet is empty if the path names none, or if there is a file of that name.
    """
    match = _WITH_SHEET.fullmatch(str(path))
    return (Path(match[1]), match[2]) if match and not os.path.exists(path) else (Path(path), "")


def check_regular(path: str | Path) -> None:
    """Refuse what is not a regular file: a pipe would never end, and reading a device can have effects.

    Raises:
        OSError: There is no such file, or it is not regular.
    """
    _refuse_irregular(os.stat(path), path)


def check_file(path: Path) -> None:
    """Refuse a folder, a pipe, or a device in the place of a file that a command writes.

    Raises:
        UserError: It is one.
    """
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is not a regular file; move it away, and run the command again")


def check_utf8(path: str | Path) -> None:
    """Refuse a path that is not UTF-8, which the libraries that read tensors and tokenizers cannot open.

    Raises:
        UserError: It is not.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        text = f"the path {path} is not valid UTF-8, so models in it cannot be read; rename it, or choose another one"
        raise UserError(text) from error


def open_regular(path: str | Path) -> BufferedReader:
    """Open a regular file to read its bytes; never waits for a writer.

    Raises:
        OSError: It cannot be read, or is not regular.
    """

    def opener(name: str, flags: int) -> int:
        descriptor = os.open(name, flags | getattr(os, "O_NONBLOCK", 0))
        try:
            _refuse_irregular(os.fstat(descriptor), path)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    return open(path, "rb", opener=opener)


def read_text(path: str | Path, *, most: int = LARGEST_JSON, encoding: str = "utf-8") -> str:
    """Return the text of a regular file.

    Args:
        path: The file.
        most: Bytes; a larger file is refused.
        encoding: Its encoding.

    Raises:
        OSError: It cannot be read, is not regular, or is too large.
        UnicodeDecodeError: It is in another encoding.
    """
    with open_regular(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it has more than {most / 2**20:g} MiB", str(path))
    return content.decode(encoding)


def inside(folder: Path, name: object, *, links: bool = False) -> Path:
    """Return the path of a file or folder that a file names relative to `folder`.

    Args:
        folder: The folder that the name must not leave.
        name: What the file gives as the name.
        links: Whether a link may lead out of the folder, as all files in the Hub's cache do.

    Raises:
        OutsideFolderError: It is no name, is absolute, contains `..`, or is a link that leads out of the folder.
    """
    if not isinstance(name, str) or not _is_relative(name):
        raise OutsideFolderError(f"{name!r} is not the name of a file within {folder}")
    path = folder / name
    if not links:
        try:
            leaves = not path.resolve().is_relative_to(folder.resolve())
        except (OSError, RuntimeError):  # links that go around in a circle
            leaves = True
        if leaves:
            raise OutsideFolderError(f"{name!r} is a link that leads out of {folder}")
    return path


def _is_relative(name: str) -> bool:
    """Return whether a name stays below the folder that it is relative to, on any operating system."""
    try:
        os.fsencode(name)
    except UnicodeEncodeError:  # a lone surrogate
        return False
    paths = PurePosixPath(name), PureWindowsPath(name)
    return (
        "\0" not in name
        and bool(paths[0].parts)
        and not any(path.anchor or ".." in path.parts for path in paths)
        and len(name) <= 4096
    )


def _refuse_irregular(status: os.stat_result, path: str | Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, _NOT_REGULAR, str(path))
