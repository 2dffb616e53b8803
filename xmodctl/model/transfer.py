"""Batches on their way to a device and results on their way back: nothing waits for an accelerator before it must."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

    from xmodctl.model.engine import Xmod
    from xmodctl.model.precision import Precision

HOST = ("lang_ids",)
"""Inputs that stay in the host's memory: their values decide which modules are called, and with which shapes."""

Item = TypeVar("Item")


def mask_on_host(model: "Xmod", precision: "Precision") -> tuple[str, ...]:
    """Return the name of the mask where batches are packed on an accelerator: the mask then stays in the host's memory.

    A model that asks for it on a device that cannot do it, or in another precision, is computed with padding.
    """
    from xmodctl.model.variable_length import missing_for_packing

    packs = model.variable_length and not missing_for_packing(model.device, model.module.config.to_dict(), precision)
    return ("attention_mask",) if packs else ()


def on_device(
    batch: "Mapping[str, torch.Tensor]", device: "torch.device", *, host: Iterable[str] = HOST
) -> "dict[str, torch.Tensor]":
    """Return the tensors of a batch on a device; the copy runs while the device still computes the batch before.

    Args:
        batch: What `collate` returns.
        device: The device of the model.
        host: The names of tensors that stay where they are.
    """
    stays = frozenset(host)
    return {name: tensor if name in stays else copied(tensor, device) for name, tensor in batch.items()}


def copied(tensor: "torch.Tensor", device: "torch.device") -> "torch.Tensor":
    """Return a tensor on a device. CUDA copies pinned memory of the host without waiting."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = pinned(tensor)
    return tensor.to(device, non_blocking=True)


def host_values(tensor: "torch.Tensor") -> "NDArray[np.int64]":
    """Return the values of a tensor of whole numbers; those of a tensor in the host's memory cost no wait."""
    values: NDArray[np.int64] = (tensor if tensor.device.type == "cpu" else tensor.cpu()).numpy()
    return values


def pinned(tensor: "torch.Tensor") -> "torch.Tensor":
    """Return a tensor of the host in memory that CUDA can read by itself."""
    return tensor.pin_memory()


def one_behind(items: Iterable[Item], device: "torch.device") -> Iterator[Item]:
    """Yield each item after the next one was made, so that an accelerator computes while results are read.

    On the CPU, each comes at once.
    """
    if device.type == "cpu":
        yield from items
        return
    waiting: list[Item] = []
    for item in items:
        waiting.append(item)
        if len(waiting) > 1:
            yield waiting.pop(0)
    yield from waiting


def own_gradients(parameters: "Iterable[torch.nn.Parameter]") -> None:
    """Copy the gradients of a compiled step on CUDA: the next one may write to the same memory."""
    for parameter in parameters:
        if parameter.grad is not None and parameter.is_cuda:
            parameter.grad = parameter.grad.clone()
