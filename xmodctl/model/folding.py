"""Mixtures of adapters: a weighted sum of what bottlenecks add is what one wider bottleneck adds.

The sum over i of w_i (U_i gelu(D_i x + b_i) + c_i) has the down projections D_i and their biases one below the other,
the up projections w_i U_i side by side, and the bias of all w_i c_i. LayerNorms and the residual are outside of an
adapter, so that a mixture changes nothing about them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from xmodctl.model.building import ADAPTER_TENSORS, adapter_name

Adapter = Mapping[str, Tensor]


def fold(language: str, parts: Sequence[tuple[float, str, Adapter]]) -> dict[str, Tensor]:
    """Return the adapter that adds the weighted sum of what several adapters add.

    Args:
        language: The name of the new adapter.
        parts: The weight, name, and tensors of each; the tensors are named as by `Xmod.adapter`.
    """
    tensors: dict[str, Tensor] = {}
    for layer in range(layers_of(parts[0][2])):
        down, below, up, bias = (
            [adapter[adapter_name(layer, name, tensor)].float() for _, name, adapter in parts]
            for tensor in ADAPTER_TENSORS
        )
        weights = [weight for weight, _, _ in parts]
        folded = (
            torch.cat(down),
            torch.cat(below),
            torch.cat([weight * part for weight, part in zip(weights, up, strict=True)], dim=1),
            torch.stack([weight * part for weight, part in zip(weights, bias, strict=True)]).sum(0),
        )
        tensors |= {
            adapter_name(layer, language, name): value for name, value in zip(ADAPTER_TENSORS, folded, strict=True)
        }
    return tensors


def width_of(adapter: Adapter, language: str) -> int:
    """Return the width of an adapter's bottleneck."""
    return int(adapter[adapter_name(0, language, "dense1.bias")].shape[0])


def widen(adapter: Adapter, language: str, width: int) -> dict[str, Tensor]:
    """Return an adapter with a wider bottleneck that adds the same: the new units are zero."""
    added = width - width_of(adapter, language)
    padding = {"dense1.weight": (0, 0, 0, added), "dense1.bias": (0, added), "dense2.weight": (0, added)}
    return {
        name: functional.pad(tensor, padding[kind]) if added and (kind := _kind(name)) in padding else tensor
        for name, tensor in adapter.items()
    }


def layers_of(adapter: Adapter) -> int:
    """Return how many layers an adapter has tensors of."""
    return len(adapter) // len(ADAPTER_TENSORS)


def _kind(name: str) -> str:
    return ".".join(name.split(".")[-2:])
