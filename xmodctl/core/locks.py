"""Locks between processes, and the one rule for their files.

A lock is a file that one process holds at a time; the system releases it when the process ends, however it ends. Only
the process that holds a lock removes its file, while it still holds it. A process that has opened the removed file in
the meantime holds nothing that others would see: `filelock` notices this (the file has no name any more) and opens the
file again, and so must code that locks in another way (`has_name`).
"""

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_log = logging.getLogger(__name__)


class InUseError(Exception):
    """Another process holds a lock."""


@dataclass(frozen=True)
class HeldLock:
    """A lock that this process holds."""

    path: Path

    def remove(self) -> None:
        """Remove the lock's file; to be called last, when nothing that the lock guards is used any more."""
        with suppress(OSError):
            self.path.unlink()


@contextmanager
def holding(path: Path, *, wait: bool | float = True) -> Iterator[HeldLock]:
    """Hold a lock; its file stays, unless it is removed in the meantime.

    Args:
        path: The lock's file, in an existing folder.
        wait: Whether to wait for another process that holds it, or for how many seconds.

    Raises:
        InUseError: Another process holds the lock, and this one does not wait any longer.
        OSError: The file cannot be made or opened.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        lock.acquire(timeout=-1 if wait is True else float(wait))
    except Timeout:
        raise InUseError(str(path)) from None
    try:
        yield HeldLock(path)
    finally:
        lock.release()


def is_held(path: Path) -> bool:
    """Return whether a process holds a lock now. No file is made."""
    if not path.exists():
        return False
    try:
        with holding(path, wait=False):
            return False
    except InUseError:
        return True


def has_name(descriptor: int, path: Path) -> bool:
    """Return whether the file that a descriptor has open is still the one with that name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False


def lock_of(entry: Path) -> Path:
    """Return the lock that the writer of a file or folder in the cache holds."""
    match entry.parent.name:
        case "mini":
            return entry.with_name(f".{entry.name}.lock")
        case "converted":
            return entry.with_name(f"{entry.name}.lock")
        case _:
            return entry.with_suffix(".lock")


@contextmanager
def caching(entry: Path) -> Iterator[None]:
    """Hold the lock of a file in the cache while it is read or made; without a lock if the cache cannot be written."""
    with ExitStack() as stack:
        try:
            entry.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(holding(lock_of(entry)))
        except OSError as error:
            _log.warning("nothing is cached in %s: %s", entry.parent, error)
        yield


def remove_entry(entry: Path) -> bool:
    """Remove a file or folder of the cache and its lock; return False if a process is writing it.

    Raises:
        OSError: It cannot be removed.
    """
    try:
        with holding(lock_of(entry), wait=False) as lock:
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink(missing_ok=True)
            lock.remove()
    except InUseError:
        return False
    return True


def remove_unused_lock(path: Path) -> None:
    """Remove the file of a lock unless a process holds it."""
    with suppress(InUseError, OSError), holding(path, wait=False) as lock:
        lock.remove()
