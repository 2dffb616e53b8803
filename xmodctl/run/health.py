"""Whether the files of a run's folder are what was written, and how to recover what is not."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from xmodctl.core import jsonl
from xmodctl.core.errors import UserError
from xmodctl.core.safetensors_io import DamagedFileError
from xmodctl.run.checkpoints import checkpoints
from xmodctl.run.deltas import UNSEALED_FORMAT, check_delta
from xmodctl.run.folder import Folder, resuming
from xmodctl.run.run import Run

Health = Literal["whole", "unverified", "unfinished", "damaged"]


@dataclass(frozen=True)
class FileState:
    """The state of one file or folder within a run's folder."""

    path: str  # relative to the run's folder
    state: Health
    detail: str = ""
    remedy: str = ""  # a command, or what to do

    def to_json(self) -> dict[str, Any]:
        """Return the finding as plain JSON values."""
        return asdict(self)


def seed_findings(run: Run) -> Iterator[FileState]:
    """Yield the state of what each seed of a run has on disk."""
    for seed in run.seeds:
        delta = run.delta(seed)
        if delta.exists():
            yield _delta_finding(run, delta, seed)
        else:
            yield FileState(_within(run, delta), "unfinished", "not finished", run.recovery(seed))
        yield from log_findings(run, run.seed_folder(seed) / "metrics.jsonl", finished=delta.exists(), seed=seed)
        for folder in (run.seed_folder(seed), *sorted(run.seed_folder(seed).glob("stage-*"))):
            yield from checkpoint_findings(run, folder / "checkpoints", seed)


def _delta_finding(run: Run, delta: Path, seed: int) -> FileState:
    path = _within(run, delta)
    try:
        if check_delta(delta).get("format") == UNSEALED_FORMAT:
            return FileState(path, "unverified", "of an older version, without a sha256")
    except (DamagedFileError, OSError) as error:
        return FileState(path, "damaged", str(error), run.recovery(seed))
    return FileState(path, "whole")


def checkpoint_findings(run: Folder, folder: Path, seed: int) -> Iterator[FileState]:
    """Yield the state of the checkpoints of a training."""
    for path, checkpoint in checkpoints(folder):
        if checkpoint:
            yield FileState(_within(run, path), "whole", f"resumes at step {checkpoint.progress.step:,}")
        else:
            remedy = resuming(run.folder, seed)
            yield FileState(_within(run, path), "damaged", "does not match its manifest; it is passed over", remedy)


def log_findings(run: Folder, path: Path, *, finished: bool, seed: int) -> Iterator[FileState]:
    """Yield the state of a training's log, if there is one."""
    if not path.exists():
        return
    try:
        for number, value in jsonl.read(path, remedy="", append_only=True):
            if not isinstance(value.get("step"), int):
                raise UserError(f"{path}:{number} is not a line of a training log")
    except UserError as error:
        remedy = "remove that line" if finished else resuming(run.folder, seed)
        yield FileState(_within(run, path), "damaged", str(error).removesuffix("; "), remedy)
    else:
        yield FileState(_within(run, path), "whole")


def _within(run: Folder, path: Path) -> str:
    return str(path.relative_to(run.folder))
