"""Files: atomic writing, hashes, and the cache folder."""

import errno
import filecmp
import glob
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from xmodctl.core.environment import CACHE, CACHE_HOME
from xmodctl.core.errors import UserError, reason_of
from xmodctl.core.json_text import json_text
from xmodctl.core.locks import remove_entry
from xmodctl.core.reading import check_utf8, open_regular, read_text

DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS})
"""A full disk, or one that must not be written to."""


def cache_folder() -> Path:
    """Return the cache folder: `XMODCTL_CACHE`, else `XDG_CACHE_HOME/xmodctl`, else `~/.cache/xmodctl`."""
    if CACHE.value:
        return Path(CACHE.value).expanduser()
    return Path(CACHE_HOME.value or Path.home() / ".cache") / "xmodctl"


PART = ".part"
"""The suffix of files and folders that are not finished."""

_WRITER = re.compile(r"\.([0-9]{1,9})-([0-9a-f]{6})\.[^.]*\.part$")
_EARLIER_TEXT = re.compile(r"\.text-[a-z0-9_]{8}")
"""Folders of cleaned text as earlier versions named them, without their process, in folders that they had locked."""
_TEXTS = {"training.txt", "held-out.txt"}
_DAY = 24 * 3600  # seconds
_STARTED = time.time() - 1  # file systems may round the time of a change down to a second

_in_use: dict[object, tuple[Path, tuple[int, int]]] = {}  # use -> a folder that this process uses, its device and inode


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Let no file be written in a folder that is deleted, moved or replaced while the block works in it."""
    folder, use = folder.absolute(), object()  # a use of its own, because other threads may use the folder, too
    _in_use[use] = folder, _inode(folder) or (0, 0)
    try:
        yield
    finally:
        del _in_use[use]


def make_parent(path: Path) -> None:
    """Make the folder of a file that is to be written, if it does not exist.

    Raises:
        UserError: It is in a folder that was `in_use` and is gone: a new one would lack all that the old one had.
    """
    absolute = path.absolute()
    for folder, inode in dict(list(_in_use.values())).items():  # other threads may add some
        if absolute.is_relative_to(folder) and _inode(folder) != inode:
            raise UserError(
                f"{folder} was deleted, moved, or replaced while this command worked in it, so nothing more is "
                "written; restore it to continue, or start over: run the same command again"
            )
    path.parent.mkdir(parents=True, exist_ok=True)


def _inode(folder: Path) -> tuple[int, int] | None:
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it replaces `path` atomically when the block ends without an error."""
    make_parent(path)
    remove_leftovers(path.parent, f".{glob.escape(path.name)}.*{PART}")
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=part_prefix(path.name), suffix=PART)
    os.close(handle)
    part = Path(name)
    try:
        with _errors_of_libraries(path):
            yield part
        with part.open("rb") as written:
            os.fsync(written.fileno())
        mask = os.umask(0)
        os.umask(mask)
        part.chmod(0o666 & ~mask)  # mkstemp creates private files; a result is as readable as any other file
        part.replace(path)
        _sync_folder(path.parent)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path, *, keep: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; it replaces `path` in one step when the block ends without an error.

    Args:
        path: The folder to write.
        keep: Whether files in `path` stay: the block must then have written the same ones.

    Raises:
        UserError: `keep`, and `path` contains other files; or the path is not UTF-8.
    """
    check_utf8(path)
    path = Path(os.path.realpath(path)) if path.is_symlink() else path  # the link stays, and its folder is written
    make_parent(path)
    remove_leftovers(path.parent, f".{glob.escape(path.name)}.*{PART}")
    part = Path(tempfile.mkdtemp(dir=path.parent, prefix=part_prefix(path.name), suffix=PART))
    try:
        with _errors_of_libraries(path):
            yield part
        mask = os.umask(0)
        os.umask(mask)
        part.chmod(0o777 & ~mask)
        if keep and path.exists() and any(path.iterdir()):
            _refuse_other(path, part)
            return
        if path.exists():
            shutil.rmtree(path)
        part.replace(path)
        _sync_folder(path.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _refuse_other(path: Path, part: Path) -> None:
    """Refuse a folder that does not hold the same files as another one."""
    names, own = ({file.relative_to(folder) for file in folder.rglob("*")} for folder in (path, part))
    if foreign := sorted(names - own) or sorted(own - names):
        raise UserError(
            f"{path} is not an empty folder, and {foreign[0]} "
            f"{'in it is not of this command' if foreign[0] in names else 'is not in it'}; choose another folder"
        )
    if differing := [name for name in sorted(own) if (part / name).is_file() and not _same(path / name, part / name)]:
        raise UserError(
            f"{path} is not an empty folder, and {differing[0]} in it differs from what this command writes; choose "
            f"another folder, or remove this one: {shlex.join(['rm', '-r', str(path)])}"
        )


def _same(path: Path, other: Path) -> bool:
    return path.is_file() and filecmp.cmp(path, other, shallow=False)


@contextmanager
def _errors_of_libraries(path: Path) -> Iterator[None]:
    """Raise a failure of the operating system that a Rust library states in its own error, as tokenizers does."""
    try:
        yield
    except Exception as error:
        stated = None if isinstance(error, OSError | UserError) else re.search(r"\(os error (\d+)\)", str(error))
        if stated is None:
            raise
        raise OSError(int(stated[1]), os.strerror(int(stated[1])), str(path)) from error


def part_prefix(name: str) -> str:
    """Return how the name of an unfinished file begins: it says which process on which machine writes it."""
    return f".{name}.{os.getpid()}-{_machine()}."


def _machine() -> str:
    """Return where a number of a process is of one process: a machine, since its start, and a container.

    Containers may share a host name; each has a space of process numbers of its own.
    """
    parts = [platform.node()]
    with suppress(OSError):  # not on Linux
        parts += [Path("/proc/sys/kernel/random/boot_id").read_text(), os.readlink("/proc/self/ns/pid")]
    return hashlib.sha256("\n".join(parts).encode(errors="surrogateescape")).hexdigest()[:6]


def remove_leftovers(folder: Path, pattern: str = f"**/.*{PART}") -> None:
    """Remove unfinished files and folders whose process is gone; those of other machines after a day.

    Args:
        folder: Where they are.
        pattern: Their names, as `Path.glob` takes it.
    """
    for path in list(folder.glob(pattern)):
        if _is_leftover(path):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(OSError):
                    path.unlink()


def remove_earlier_leftovers(folder: Path) -> None:
    """Remove texts that earlier versions have left in a folder; this process holds its lock, so their process is gone.

    Args:
        folder: The folder of a run.
    """
    for path in folder.glob(".text-*"):
        if _EARLIER_TEXT.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
            files = {file.name for file in path.rglob("*") if not file.is_dir()}
            if files <= _TEXTS:
                shutil.rmtree(path, ignore_errors=True)


def _is_leftover(path: Path) -> bool:
    match = _WRITER.search(path.name)
    try:
        changed = path.lstat().st_mtime
        if match and match[2] == _machine():
            process = int(match[1])  # in a container that is started again, this process may have the same number
            return changed < _STARTED if process == os.getpid() else not _is_running(process)
        return time.time() - changed > _DAY
    except OSError:
        return False


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's
        return True
    return True


@contextmanager
def disk_errors(target: Path) -> Iterator[None]:
    """Turn a full or read-only disk into one sentence.

    Raises:
        UserError: `target` cannot be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_ERRORS and not _is_near(error.filename, target):
            raise
        raise UserError(f"cannot write {target}: {error.strerror}; free some space or choose another place") from error


def _is_near(name: object, target: Path) -> bool:
    """Return whether an error is about a file in the folder of `target`, or in one that is to hold it."""
    if not isinstance(name, str):
        return False
    return Path(name).is_relative_to(target.parent) or target.is_relative_to(name)


@contextmanager
def folder_errors(folder: Path) -> Iterator[None]:
    """Turn every failure of making or opening a folder for results into one sentence.

    Raises:
        UserError: The folder cannot be used.
    """
    check_utf8(folder)
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot use the folder {folder}: {reason_of(error)}; choose another one, such as --out DIR"
        ) from error


def check_empty(folder: str | Path, *, unless: str = "") -> None:
    """Refuse to write a new folder where there is something already.

    Args:
        folder: The folder.
        unless: The name of a file; a folder with it may be what the same command has written.

    Raises:
        UserError: `folder` is a file, or a folder that is not empty.
    """
    folder = Path(folder)
    if unless and (folder / unless).is_file():
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is not an empty folder; choose another one")


def check_can_write(path: Path, option: str, *, is_folder: bool = False) -> None:
    """Refuse a file that cannot be written, before what it is to hold is computed.

    Args:
        path: The file; its folder need not exist.
        option: The option that names it.
        is_folder: Whether it is a folder that is to be written.

    Raises:
        UserError: It is a folder, or nothing can be written where it is to be.
    """
    try:
        if path.is_dir() and not is_folder:
            raise UserError(f"{option} {path} is a folder; name a file in it")
        place = next(folder for folder in path.absolute().parents if os.path.lexists(folder))
        entry = path.absolute().relative_to(place).parts[0]  # whoever writes it removes what is left of this, too
        remove_leftovers(place, f".{glob.escape(entry)}.*{PART}")
        with tempfile.TemporaryDirectory(dir=place, prefix=part_prefix(entry), suffix=PART):
            pass
    except OSError as error:
        raise UserError(f"cannot write {option} {path}: {reason_of(error)}; choose another file") from error


def write_text(path: Path, text: str) -> None:
    """Write `text` atomically: readers see the old file or the complete new one; lone surrogates become escapes."""
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    write_text(path, json_text(value, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """Return the value in a JSON file.

    Raises:
        OSError: It cannot be read, is not a regular file, or is too large.
        ValueError: It is not JSON in UTF-8, or is nested too deeply.
    """
    try:
        return json.loads(read_text(path))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def sha256_of(path: Path) -> str:
    """Return the sha256 of a regular file's bytes, in hexadecimal."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remembered_digest(file: Path, compute: Callable[[Path], str] = sha256_of, purpose: str = "") -> str:
    """Return a digest of a file, computed once until the file's size or modification time changes.

    The cache folder remembers it; if the cache cannot be written, this only costs time.

    Args:
        file: The file.
        compute: Computes the digest.
        purpose: Keeps different digests of a file apart.
    """
    file = file.resolve()
    status = file.stat()
    state = [status.st_size, status.st_mtime_ns]
    name = hashlib.sha256(f"{file}{purpose and chr(10)}{purpose}".encode(errors="surrogateescape")).hexdigest()
    memory = cache_folder() / "hashes" / f"{name}.json"
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        record = read_json(memory)
        if record["state"] == state:
            return str(record["sha256"])
    digest = compute(file)
    if any(part.endswith(PART) for part in file.parts):  # it will have another name
        return digest
    with suppress(OSError):
        write_json(memory, {"file": str(file), "state": state, "sha256": digest})
    return digest


def prune(folder: Path, limit: int, *, keep: Path | None = None) -> None:
    """Remove the least recently used files of a cache until it holds at most `limit` bytes.

    Args:
        folder: A folder of the cache.
        limit: Bytes.
        keep: Stays. So does every file whose lock another process holds.
    """
    files = sorted((file.stat().st_mtime, file.stat().st_size, file) for file in folder.glob("*.safetensors"))
    excess = sum(size for _, size, _ in files) - limit
    for _, size, file in files:
        if excess <= 0:
            return
        if file != keep and remove_entry(file):
            excess -= size


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
