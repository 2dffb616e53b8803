"""Checkpoints of an unfinished training: trained tensors, optimizer state and progress.

Tensors are safetensors. A checkpoint folder is written atomically; its manifest has the digest of each file in it. The
last two are kept, so that there is an older one if the newest is damaged.
"""

import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xmodctl.core.blocks import PREFIX, block_digest
from xmodctl.core.files import read_json, sha256_of, whole_folder, write_json
from xmodctl.core.reading import inside
from xmodctl.core.safetensors_io import Tensors, read_tensors, write_tensor_files
from xmodctl.core.schema import validator

if TYPE_CHECKING:
    import torch

KEPT = 2
"""Checkpoints that are kept of a training."""

_TRAINED, _OPTIMIZER, _MANIFEST = "trained.safetensors", "optimizer.safetensors", "manifest.json"
_NAME = re.compile(r"step-([0-9]{1,15})")


@dataclass(frozen=True)
class Progress:
    """How far a training has come: what a continued run needs beside weights and optimizer state."""

    step: int
    total_steps: int
    epoch: float
    world: int  # processes that trained together
    tokens: int | None = None  # of a forward pass at most; None in checkpoints of earlier versions


@dataclass(frozen=True)
class Checkpoint:
    """One saved moment of a training."""

    folder: Path
    progress: Progress

    def tensors(self) -> dict[str, "torch.Tensor"]:
        """Read the trained tensors."""
        return read_tensors(self.folder / _TRAINED)[0]

    def optimizer(self) -> dict[str, "torch.Tensor"]:
        """Read the optimizer's state, named `<parameter>.<state>`."""
        return read_tensors(self.folder / _OPTIMIZER)[0]


def save_checkpoint(folder: Path, progress: Progress, tensors: Tensors, optimizer: Tensors) -> Checkpoint:
    """Save one moment under `folder/step-<n>`."""
    path = folder / f"step-{progress.step}"
    with whole_folder(path) as part:
        digests = write_tensor_files({part / _OPTIMIZER: optimizer, part / _TRAINED: tensors})
        files = {path.name: digest for path, digest in digests.items()}
        write_json(part / _MANIFEST, {"progress": asdict(progress), "files": files})
    return Checkpoint(path, progress)


def remove_others(folder: Path, step: int) -> None:
    """Remove all checkpoints under `folder` but that of `step` and the one before; it takes a second for each GB."""
    kept = [path for number, path in _numbered(folder) if number <= step][:KEPT]
    for _, path in _numbered(folder):
        if path not in kept:
            shutil.rmtree(path)


def remove_newer(folder: Path, step: int) -> None:
    """Remove the checkpoints under `folder` that come after a step."""
    for number, path in _numbered(folder):
        if number > step:
            shutil.rmtree(path)


def checkpoint_steps(folder: Path) -> list[int]:
    """Return the steps of the checkpoints under `folder`, the newest first, without verifying them."""
    return [step for step, _ in _numbered(folder)]


def checkpoints(folder: Path) -> Iterator[tuple[Path, Checkpoint | None]]:
    """Yield the checkpoints under `folder`, the newest first; None for one that does not match its manifest."""
    for step, path in _numbered(folder):
        yield path, _whole(path, step)


def latest_checkpoint(folder: Path) -> Checkpoint | None:
    """Return the newest whole checkpoint under `folder`."""
    return next((checkpoint for _, checkpoint in checkpoints(folder) if checkpoint), None)


def newest_step(folder: Path) -> int:
    """Return the step of the newest checkpoint under `folder`, without verifying it; 0 if there is none."""
    return next(iter(checkpoint_steps(folder)), 0)


def _whole(path: Path, step: int) -> Checkpoint | None:
    """Return a checkpoint whose files are those that its manifest describes."""
    try:
        manifest = read_json(path / _MANIFEST)
        files, progress = manifest["files"], validator(Progress).validate_python(manifest["progress"])
        if set(files) != {_TRAINED, _OPTIMIZER} or progress.step != step:
            return None
        if any(_digest(inside(path, name), digest) != digest for name, digest in files.items()):
            return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return Checkpoint(path, progress)


def _digest(path: Path, like: str) -> str:
    """Return the digest of a file of the same kind as another: earlier versions wrote the sha256."""
    return block_digest(path) if like.startswith(PREFIX) else sha256_of(path)


def _numbered(folder: Path) -> list[tuple[int, Path]]:
    """Return the folders named after a step, the last step first; other names, such as copies, are not checkpoints."""
    named = ((_NAME.fullmatch(path.name), path) for path in folder.glob("step-*"))
    return sorted(((int(match[1]), path) for match, path in named if match and path.is_dir()), reverse=True)
