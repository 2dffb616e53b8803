"""Jobs on one folder: which processes use it, what each of them works on, and how they take turns in writing.

A command that needs a folder for itself holds its `.lock`. Commands that share a folder join its jobs, in `.jobs`: each
holds a lock of its own, and one for each piece of work that it does. The system releases all of them when a process
ends, however it ends, so that another job takes its piece. The last job to leave removes `.jobs`.
"""

import os
import platform
import re
import secrets
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Self, TypeVar

from xmodctl.core.environment import SLURM_JOB
from xmodctl.core.errors import InProgressError, UserError
from xmodctl.core.file_names import fitting_name
from xmodctl.core.files import (
    folder_errors,
    in_use,
    make_parent,
    remove_earlier_leftovers,
    remove_leftovers,
    write_text,
)
from xmodctl.core.locks import HeldLock, InUseError, holding, is_held, remove_unused_lock

T = TypeVar("T")

JOBS, GATE = ".jobs", "gate.lock"

ATTEMPTS = 20
"""How often a folder is made again that another process removes before it is locked."""

_UNSAFE = re.compile(r"[^\w.+-]+")

SHOWN = 5
"""Pieces that a message names."""

JOINING = 2.0
"""Seconds to wait for the `.lock` of a folder: a process that takes it in vain gives it back at once."""


@dataclass(frozen=True)
class Piece(Generic[T]):
    """A part of the work that one job does at a time."""

    name: str  # in messages, and that of its lock
    group: Hashable  # pieces of a group load the same things
    work: T


@dataclass(frozen=True)
class Jobs:
    """The jobs on a folder, of which this process is one."""

    folder: Path
    own: Path | None  # the lock of this job; None: this process has the folder for itself, or can only read it

    @property
    def place(self) -> Path:
        """The folder of locks."""
        return self.folder / JOBS

    @property
    def is_shared(self) -> bool:
        """Whether other jobs can use the folder."""
        return self.own is not None

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Wait for the turn to write files that jobs share; to be held for a moment only."""
        if self.own is None:
            yield
            return
        gate = self.place / GATE
        make_parent(gate)
        with holding(gate):
            yield

    def others(self) -> list[str]:
        """Return what the other jobs are; to be called while `writing`."""
        return [_described(path) for path in _living(self.folder) if path != self.own]

    def refuse_others(self, option: str) -> None:
        """Refuse what would delete the work of other jobs; to be called while `writing`.

        Raises:
            UserError: There are other jobs.
        """
        if others := self.others():
            raise UserError(
                f"{self.folder} is in use by another xmodctl process ({'; '.join(others)}), and {option} deletes its "
                "work; wait for it, or repeat the command without that option to share the work"
            )

    def note_first(self, name: str, value: int) -> int:
        """Return the value that a file of the folder has; if there is none, this job is the first, and writes it.

        The file stays, whatever happens to the jobs, until one `forgets` it.
        """
        if self.own is None:
            return value
        path = self.folder / name
        with self.writing():
            if not path.exists():
                write_text(path, str(value))
            return int(path.read_text())

    def forget(self, name: str) -> None:
        """Remove what the first job has noted, unless other jobs use it; to be called while `writing`."""
        if not self.others():
            (self.folder / name).unlink(missing_ok=True)

    @contextmanager
    def claim(self, name: str, *, wait: bool = False) -> Iterator[bool]:
        """Yield whether this job may do a piece; no other job can, until the block ends.

        Args:
            name: The piece's.
            wait: Whether to wait for another job that does it.
        """
        if self.own is None:
            yield True
            return
        path = self._lock_of(name)
        make_parent(path)
        with ExitStack() as stack:
            try:
                stack.enter_context(holding(path, wait=wait))
            except InUseError:
                yield False
                return
            path.with_suffix(".by").write_text(_this_process())
            yield True

    def share(self, pieces: Sequence[Piece[T]], do: Callable[[T], None], *, wait: bool = False) -> list[Piece[T]]:
        """Do the pieces that no other job is doing, until there is none.

        First, groups that another job is busy with are passed over, because they would be loaded twice.

        Args:
            pieces: In the order of one job.
            do: Does a piece; does nothing if it is done.
            wait: Whether to wait for the pieces of other jobs, and to do those that they leave undone.

        Returns:
            The pieces that other jobs hold; some may be done by now.
        """
        waiting, passing = list(pieces), True
        while waiting:
            held: list[Piece[T]] = []
            for piece in waiting:
                if passing and any(piece.group == other.group for other in held):
                    held.append(piece)
                    continue
                with self.claim(piece.name) as is_free:
                    if is_free:
                        do(piece.work)
                    else:
                        held.append(piece)
            if not passing and len(held) == len(waiting):
                if not wait:
                    break
                with self.claim(held[0].name, wait=True):
                    pass
            waiting, passing = held, False
        return waiting

    def in_progress(self, pieces: Sequence[Piece[T]], result: object = None) -> InProgressError:
        """Return the error that says which pieces other jobs are doing, and who they are."""
        names = [f"{piece.name} ({_described(self._lock_of(piece.name))})" for piece in pieces]
        shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else "")
        subject = "one part is" if len(names) == 1 else f"{len(names)} parts are"
        return InProgressError(
            f"nothing else is free: {subject} being done by other jobs: {shown}; repeat the command later, or add "
            "--wait to end when everything is done",
            result,
        )

    def _lock_of(self, name: str) -> Path:
        return self.place / f"{fitting_name(_UNSAFE.sub('-', name))}.lock"


@contextmanager
def joined(folder: Path) -> Iterator[Jobs]:
    """Join the jobs on a folder; it is left when the block ends, or the process, however it ends.

    Folders that were created for this and stayed empty are removed, as is the lock where nothing else was written.

    Raises:
        UserError: Another process has the folder for itself.
    """
    with ExitStack() as stack:
        jobs, before = _attempt(_try_join, folder, stack)
        try:
            with in_use(folder):
                yield jobs
        finally:
            with suppress(OSError):
                if jobs.place.exists():
                    _leave(jobs)
                with suppress(InUseError), holding(folder / ".lock", wait=False) as lock:
                    before.restore(folder, lock)


@contextmanager
def joined_unless_read_only(folder: Path, *, alone: bool = False) -> Iterator[Jobs]:
    """Join the jobs on a folder; one on a disk that is read-only can only be shown, and needs no lock.

    Args:
        folder: The folder.
        alone: Have it for this process alone.

    Raises:
        UserError: Another process has the folder for itself, or uses it although this one wants it alone.
    """
    if is_read_only(folder):
        yield Jobs(folder, None)
    elif alone:
        with locked(folder):
            yield Jobs(folder, None)
    else:
        with joined(folder) as jobs:
            yield jobs


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Have a folder for this process alone; the lock ends with the process, however it ends.

    Folders that were created for this and stayed empty are removed, as is the lock where nothing else was written.

    Raises:
        UserError: Another process uses it.
    """
    with ExitStack() as stack:
        lock, before = _attempt(_try_lock, folder, stack)
        try:
            _remove_leftovers(folder)
            with in_use(folder):
                yield
        finally:
            with suppress(OSError):
                before.restore(folder, lock)


def is_read_only(folder: Path) -> bool:
    """Return whether a folder exists and this process cannot write to it."""
    return folder.is_dir() and not os.access(folder, os.W_OK)


def is_in_use(folder: Path) -> bool:
    """Return whether a process uses a folder now, alone or with others."""
    return is_held(folder / ".lock") or has_jobs(folder)


def has_jobs(folder: Path) -> bool:
    """Return whether jobs share a folder now; none can join while its `.lock` is held."""
    return bool(_living(folder))


def _attempt(take: Callable[[Path, ExitStack], T], folder: Path, stack: ExitStack) -> T:
    """Take a folder; again, if another process has removed it in the meantime, because it stayed empty."""
    with folder_errors(folder):
        for _ in range(ATTEMPTS - 1):
            with suppress(FileNotFoundError):
                return take(folder, stack)
        return take(folder, stack)


@dataclass(frozen=True)
class _Before:
    """What there was before a process came to a folder."""

    created: Sequence[Path]  # the folder and its parents that did not exist
    names: frozenset[str]  # what it contained

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Make a folder, if it does not exist."""
        created = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        return cls(created, frozenset() if created else frozenset(path.name for path in folder.iterdir()))

    def restore(self, folder: Path, lock: HeldLock) -> None:
        """Remove the lock and the folders that this process has made, if nothing else was made there."""
        left = {path.name for path in folder.iterdir()} - {lock.path.name}
        if left == self.names:  # a lock that was there before stays
            lock.remove()
            for path in self.created:
                path.rmdir()


def _try_lock(folder: Path, stack: ExitStack) -> tuple[HeldLock, _Before]:
    before = _Before.of(folder)
    try:
        lock = stack.enter_context(holding(folder / ".lock", wait=False))
    except InUseError:
        raise _in_use_by(folder, []) from None
    if others := _living(folder):  # none can join while this process holds the lock
        stack.close()
        raise _in_use_by(folder, list(map(_described, others)))
    clear(folder)
    return lock, before


def _try_join(folder: Path, stack: ExitStack) -> tuple[Jobs, _Before]:
    before = _Before.of(folder)
    place = folder / JOBS
    place.mkdir(exist_ok=True)
    own = place / f"job-{os.getpid()}-{secrets.token_hex(3)}.lock"
    with holding(place / GATE):
        try:
            with holding(folder / ".lock", wait=JOINING):
                _remove_leftovers(folder)
                for path in place.glob("job-*.lock"):
                    remove_unused_lock(path)
                stack.enter_context(holding(own))
        except InUseError:
            if not _living(folder):
                clear(folder)
            raise _in_use_by(folder, []) from None
        own.with_suffix(".by").write_text(_this_process())
    return Jobs(folder, own), before


def _leave(jobs: Jobs) -> None:
    """Remove the lock of a job, and everything about jobs if it is the last one."""
    assert jobs.own is not None
    with holding(jobs.place / GATE):
        jobs.own.with_suffix(".by").unlink(missing_ok=True)
        jobs.own.unlink(missing_ok=True)
        if not _living(jobs.folder):
            clear(jobs.folder)


def clear(folder: Path) -> None:
    """Remove the locks of jobs, none of which lives; the gate last, because a job that waits for it finds it gone."""
    place = folder / JOBS
    for path in sorted(place.glob("*"), key=lambda path: path.name == GATE):
        path.unlink(missing_ok=True)
    with suppress(OSError):  # another job is joining
        place.rmdir()


def _remove_leftovers(folder: Path) -> None:
    remove_leftovers(folder)
    remove_earlier_leftovers(folder)


def _living(folder: Path) -> list[Path]:
    """Return the locks of the jobs whose processes live."""
    return [path for path in sorted((folder / JOBS).glob("job-*.lock")) if is_held(path)]


def _described(lock: Path) -> str:
    """Return which process holds a lock."""
    try:
        return lock.with_suffix(".by").read_text() or "another job"
    except OSError:
        return "another job"


def _this_process() -> str:
    slurm = f"SLURM job {SLURM_JOB.value}, " if SLURM_JOB.value else ""
    return f"{slurm}process {os.getpid()} on {platform.node() or 'this machine'}"


def _in_use_by(folder: Path, others: Sequence[str]) -> UserError:
    who = f" ({'; '.join(others)})" if others else ""
    return UserError(
        f"{folder} is in use by another xmodctl process{who}; wait for it, or choose another folder with --out"
    )
