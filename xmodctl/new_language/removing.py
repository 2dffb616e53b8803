"""`runs rm`: removes runs, and folders of added languages, but no file that xmodctl did not write."""

import shlex
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from xmodctl.core.arguments import as_paths
from xmodctl.core.errors import UserError
from xmodctl.core.files import remove_leftovers
from xmodctl.core.locks import InUseError, holding
from xmodctl.core.messages import listed
from xmodctl.core.requests import command
from xmodctl.new_language.language_run import LanguageRun
from xmodctl.run.folder import Folder
from xmodctl.run.jobs import clear, has_jobs, is_in_use, is_read_only
from xmodctl.run.listing import size_of
from xmodctl.run.run import Run

KINDS: tuple[type[Folder], ...] = (Run, LanguageRun)

PREFIX = ".removing-"
"""Begins the name of a run's file while the run is being removed: from then on, the folder is no run."""


@dataclass(frozen=True)
class RemoveRunsRequest:
    """Which runs to remove.

    Args:
        runs: One or several folders of runs, or of added languages.
        dry_run: Whether to remove nothing.
    """

    runs: str | Path | Sequence[str | Path]
    dry_run: bool = False


@dataclass(frozen=True)
class RemovedRun:
    """A run that was removed, or would be."""

    run: str  # its folder
    size: int  # bytes that are freed
    kept: tuple[str, ...]  # files in its folder that xmodctl did not write, and that stay

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self) | {"kept": list(self.kept)}


@command(RemoveRunsRequest)
def remove_runs(request: RemoveRunsRequest) -> list[RemovedRun]:
    """Remove runs, or folders of added languages: what xmodctl wrote in them. Nothing is removed if one is refused.

    Files that xmodctl did not write stay, and so do links to folders and what they lead to. If the removal is stopped,
    the folder no longer counts as a run; remove it again to finish.

    Returns:
        What was removed of each run, or would be.

    Raises:
        UserError: A folder holds no run, is a link, is in use, or cannot be written.
    """
    folders = list(dict.fromkeys(Path(run).expanduser() for run in as_paths(request.runs)))
    kinds = {folder: _kind(folder) for folder in folders}
    removed = [_described(kind, folder) for folder, kind in kinds.items()]
    if not request.dry_run:
        for folder, kind in kinds.items():
            _remove(kind, folder)
    return removed


def _kind(folder: Path) -> type[Folder]:
    """Return what a folder holds.

    Raises:
        UserError: It cannot be removed.
    """
    if folder.is_symlink():
        raise UserError(f"{folder} is a link; name the folder that it leads to: {folder.resolve()}")
    kind = next(
        (kind for kind in KINDS if (folder / kind.FILE).is_file() or (folder / f"{PREFIX}{kind.FILE}").is_file()), None
    )
    if kind is None:
        raise UserError(f"{folder} is not a run (it has no {Run.FILE}); `xmodctl runs` lists the runs")
    if is_read_only(folder):
        raise UserError(f"{folder} cannot be written; to remove it, first run: chmod u+w {shlex.quote(str(folder))}")
    if is_in_use(folder):
        raise UserError(_in_use(folder))
    return kind


def _in_use(folder: Path) -> str:
    return f"{folder} is in use by another xmodctl process; wait for it or stop it, then run the same command again"


def _described(kind: type[Folder], folder: Path) -> RemovedRun:
    kept = [name for name in kind.kept(folder) if folder / name not in _owned(kind, folder)]
    outside = {folder / name for name in kept}
    size = size_of(folder) - sum(path.lstat().st_size for path in outside)
    return RemovedRun(str(folder), size, tuple(kept))


def _owned(kind: type[Folder], folder: Path) -> list[Path]:
    """Return what xmodctl wrote in a folder, but for its own file; nothing that is behind a link."""
    own = {folder / kind.FILE}
    return [
        path
        for path in sorted(kind.written_paths(folder) - own)
        if not any(parent.is_symlink() for parent in path.parents if folder in parent.parents)
    ]


def _remove(kind: type[Folder], folder: Path) -> None:
    mark = folder / f"{PREFIX}{kind.FILE}"
    try:
        with holding(folder / ".lock", wait=False) as lock:
            if has_jobs(folder):
                raise UserError(_in_use(folder))
            clear(folder)
            if (folder / kind.FILE).exists():
                (folder / kind.FILE).replace(mark)
            remove_leftovers(folder)
            for path in _owned(kind, folder):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
            for path in sorted(folder.rglob("*"), key=lambda path: -len(path.parts)):
                if path.is_dir() and not path.is_symlink():
                    with suppress(OSError):  # a file that stays is in it
                        path.rmdir()
            mark.unlink()
            lock.remove()
    except InUseError:
        raise UserError(_in_use(folder)) from None
    except OSError as error:
        raise UserError(
            f"cannot remove {error.filename or folder}: {error.strerror}; change its permissions, then run the same "
            "command again"
        ) from error
    with suppress(OSError):
        folder.rmdir()


def kept_text(removed: RemovedRun) -> str:
    """Return the sentence about the files that stay."""
    return (
        f"{removed.run} still contains files that xmodctl did not write: {listed(removed.kept)}" if removed.kept else ""
    )
