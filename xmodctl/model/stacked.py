"""Frozen adapters of several languages in one stack: a product over all of them in place of one for each language.

How many rows each language has is then a value on the device, so that batches of any mixture share a compiled graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from xmodctl.model.transfer import copied


@dataclass(frozen=True)
class Stacked:
    """The route of rows that are sorted by language; languages count as the adapters are stacked."""

    ids: Tensor  # (rows,) int64, ascending: the language of each row
    ends: Tensor  # (languages,) int32: where the rows of each language end, or their tokens

    def of_tokens(self, length: int) -> Stacked:
        """Return the route of rows that have so many tokens each."""
        return replace(self, ends=self.ends * length)


@dataclass(frozen=True)
class SortedRows:
    """The places of a batch's rows among rows that are sorted by language."""

    order: Tensor  # (rows,) int64: sorts the rows
    places: Tensor  # (rows of the batch,) int64: where each of them went
    route: Stacked

    @classmethod
    def of(cls, ids: NDArray[np.int64], rows: int, languages: int, device: torch.device) -> SortedRows:
        """Sort a batch, which is padded with rows of the last language.

        Args:
            ids: The language of each row of the batch, (rows of the batch,).
            rows: Rows of the padded batch.
            languages: How many adapters are stacked.
            device: The device of the batch.
        """
        padded = np.full(rows, languages - 1)
        padded[: len(ids)] = ids
        order = np.argsort(padded, kind="stable")
        ends = np.cumsum(np.bincount(padded, minlength=languages)).astype(np.int32)
        values = (order, np.argsort(order)[: len(ids)], padded[order], ends)
        on_device = [copied(torch.from_numpy(value), device) for value in values]
        return cls(on_device[0], on_device[1], Stacked(on_device[2], on_device[3]))


@dataclass(frozen=True)
class AdapterStack:
    """The adapters of one layer, in the order of their ids: the weights and biases of both linear layers."""

    weights: tuple[Tensor, Tensor]  # (languages, out, in)
    biases: tuple[Tensor, Tensor]  # (languages, out)

    @classmethod
    def of(cls, adapters: Iterable[Any]) -> AdapterStack:
        """Stack frozen adapters of one shape; their parameters become views of the stack, so none is stored twice."""
        modules = tuple(adapters)
        layers = ([module.dense1 for module in modules], [module.dense2 for module in modules])
        first, second = ((_stacked(layer, "weight"), _stacked(layer, "bias")) for layer in layers)
        return cls((first[0], second[0]), (first[1], second[1]))

    def __call__(self, hidden: Tensor, route: Stacked) -> Tensor:
        """Return what the adapters add to rows, (rows, hidden) or (rows, length, hidden)."""
        narrow = functional.gelu(self._linear(hidden, 0, route))
        return self._linear(narrow, 1, route)

    def _linear(self, hidden: Tensor, number: int, route: Stacked) -> Tensor:
        weights = self.weights[number]
        product = grouped_product(hidden.flatten(0, -2).to(weights.dtype), weights, route.ends)
        bias = self.biases[number].index_select(0, route.ids)
        return product.view(*hidden.shape[:-1], -1) + (bias if hidden.dim() == 2 else bias.unsqueeze(1))


def _stacked(layers: Sequence[nn.Module], name: str) -> Tensor:
    parameters = [layer.get_parameter(name) for layer in layers]
    stack = torch.stack([parameter.detach() for parameter in parameters])
    for parameter, part in zip(parameters, stack, strict=True):
        parameter.data = part
    return stack


def grouped_product(rows: Tensor, weights: Tensor, ends: Tensor) -> Tensor:
    """Return the products of consecutive groups of rows, each with its own weights.

    CUDA computes bf16 in one call; elsewhere, groups are computed one after the other.

    Args:
        rows: (rows, in).
        weights: (groups, out, in), which do not train.
        ends: (groups,) int32: where each group of rows ends. A group may be empty, and the last one ends with the rows.

    Returns:
        (rows, out).
    """
    if rows.is_cuda and rows.dtype == torch.bfloat16:
        return functional.grouped_mm(rows, weights.transpose(1, 2), offs=ends)
    product: Tensor = product_of_each_group(rows, weights, ends)
    return product


@torch.library.custom_op("xmodctl::product_of_each_group", mutates_args=())
def product_of_each_group(rows: Tensor, weights: Tensor, ends: Tensor) -> Tensor:
    """Return what `grouped_product` returns; the sizes of the groups must be in the host's memory."""
    bounds = [0, *ends.tolist()]
    groups = zip(bounds, bounds[1:], weights, strict=False)
    return torch.cat([functional.linear(rows[begin:end], own) for begin, end, own in groups])


@product_of_each_group.register_fake
def _(rows: Tensor, weights: Tensor, ends: Tensor) -> Tensor:  # noqa: ARG001
    return rows.new_empty(len(rows), weights.shape[1])


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:  # noqa: ARG001
    ctx.save_for_backward(*inputs[1:])


def _gradient(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
    weights, ends = ctx.saved_tensors
    return product_of_each_group(gradient.contiguous(), weights.transpose(1, 2).contiguous(), ends), None, None


product_of_each_group.register_autograd(_gradient, setup_context=_keep)
