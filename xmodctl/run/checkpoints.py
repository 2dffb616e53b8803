"""Checkpoints of an unfinished training: trained tensors, optimizer state and progress.

Tensors are safetensors. A checkpoint folder is written atomically; its manifest has the sha256 of each file in it.
"""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xmodctl.core.files import sha256_of, whole_folder, write_json
from xmodctl.core.safetensors_io import Tensors, read_tensors, write_tensors

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Progress:
    """How far a training has come: what a continued run needs beside weights and optimizer state."""

    step: int
    total_steps: int
    epoch: float
    world: int  # processes: another number would see other batches


@dataclass(frozen=True)
class Checkpoint:
    """One saved moment of a training."""

    folder: Path
    progress: Progress

    def tensors(self) -> dict[str, "torch.Tensor"]:
        """Read the trained tensors."""
        return read_tensors(self.folder / "trained.safetensors")[0]

    def optimizer(self) -> dict[str, "torch.Tensor"]:
        """Read the optimizer's state, named `<parameter>.<state>`."""
        return read_tensors(self.folder / "optimizer.safetensors")[0]


def save_checkpoint(folder: Path, progress: Progress, tensors: Tensors, optimizer: Tensors) -> Checkpoint:
    """Save one moment under `folder/step-<n>`, then remove the older ones: there is always a whole one."""
    path = folder / f"step-{progress.step}"
    with whole_folder(path) as part:
        write_tensors(part / "trained.safetensors", tensors)
        write_tensors(part / "optimizer.safetensors", optimizer)
        files = {file.name: sha256_of(file) for file in sorted(part.iterdir())}
        write_json(part / "manifest.json", {"progress": asdict(progress), "files": files})
    for older in folder.glob("step-*"):
        if older != path:
            shutil.rmtree(older)
    return Checkpoint(path, progress)


def latest_checkpoint(folder: Path) -> Checkpoint | None:
    """Return the newest whole checkpoint under `folder`; one whose files do not match its manifest is passed over."""
    for path in sorted(folder.glob("step-*"), key=lambda path: int(path.name.removeprefix("step-")), reverse=True):
        try:
            manifest = json.loads((path / "manifest.json").read_text())
        except (OSError, json.JSONDecodeError):
            continue
        files: dict[str, str] = manifest["files"]
        if all((path / name).exists() and sha256_of(path / name) == digest for name, digest in files.items()):
            return Checkpoint(path, Progress(**manifest["progress"]))
    return None
