"""What a run keeps: checkpoints to continue from, and the delta, the trained tensors and nothing of the base model.

Weights and optimiser state are safetensors. A checkpoint folder appears whole or not at all, and its manifest tells
the sha256 of each file in it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


Tensors = Mapping[str, "torch.Tensor"]


def _save(tensors: Tensors, path: Path, metadata: dict[str, str]) -> None:
    from safetensors.torch import save_file

    save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, path, metadata=metadata)


def _load(path: Path) -> dict[str, "torch.Tensor"]:
    from safetensors.torch import load_file

    return load_file(path)
