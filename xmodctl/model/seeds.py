"""Models of several seeds in one pass: what is frozen is computed once for all, what trains by each seed's own weights.

The rows of all seeds form one batch, sorted by seed, which the encoder's frozen modules compute as any other. In the
place of modules that train, there are others that know where each seed's rows are. On CPUs, where rows are packed, one
seed's product follows the other. On accelerators, where every seed has a part of the same padded shape, the weights are
stacked, (seeds, out, in), and one batched product computes all. The heads get each seed's rows alone.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from xmodctl.model import kernels
from xmodctl.model.engine import Xmod
from xmodctl.model.modules import RoutedModel, routed
from xmodctl.model.packing import Seeds, pack
from xmodctl.model.routing import Chosen, Uniform, route
from xmodctl.model.transfer import host_values

Inputs = Mapping[str, Tensor]


class Streams:
    """The random numbers of several seeds: each draws what it draws when it trains alone, on a CPU.

    Args:
        states: The state of torch's generator at which each seed begins.
    """

    def __init__(self, states: Sequence[Tensor]) -> None:
        self.states = list(states)

    @contextmanager
    def of(self, seed: int) -> Iterator[None]:
        """Draw a seed's numbers in a block; seeds count from 0."""
        torch.set_rng_state(self.states[seed])
        try:
            yield
        finally:
            self.states[seed] = torch.get_rng_state()


@dataclass
class Pass:
    """What the present pass computes: how many rows and tokens each seed has, and whose random numbers are drawn."""

    sizes: dict[int, tuple[int, ...]] = field(default_factory=dict)  # of a tensor of so many rows -> of each seed
    streams: Streams | None = None  # None: all seeds draw from one

    def parts(self, tensor: Tensor) -> tuple[tuple[Tensor, ...], int]:
        """Return each seed's part of a tensor (rows, ...) or (1, rows, ...), and the dimension that is divided."""
        dimension = 0 if len(tensor) in self.sizes else 1
        return torch.split(tensor, list(self.sizes[tensor.shape[dimension]]), dimension), dimension

    def drawing(self, seed: int) -> AbstractContextManager[None]:
        """Return a context that draws the numbers of a seed."""
        return nullcontext() if self.streams is None else self.streams.of(seed)

    def of_each(self, members: Iterable[nn.Module], tensor: Tensor) -> Tensor:
        """Return what each seed's module makes of its part."""
        parts, dimension = self.parts(tensor)
        results = [member(part) for member, part in zip(members, parts, strict=True) if part.shape[dimension]]
        return torch.cat(results, dimension)


class Stack:
    """A parameter of all seeds in one tensor, (seeds, ...), of which each seed's parameter is a view."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self.parameters = parameters
        self.tensor = torch.stack([parameter.detach() for parameter in parameters]).requires_grad_()
        for parameter, own in zip(parameters, self.tensor.detach(), strict=True):
            parameter.data = own

    def give_gradients(self) -> None:
        """Give each seed's parameter its part of the gradient."""
        if self.tensor.grad is not None:
            for parameter, own in zip(self.parameters, self.tensor.grad, strict=True):
                parameter.grad = own
            self.tensor.grad = None


class OwnModules(nn.Module):
    """Modules of one kind, one for each seed; a seed's rows go through its own."""

    def __init__(self, members: Sequence[nn.Module], now: Pass) -> None:
        super().__init__()
        self.members, self.now = nn.ModuleList(members), now
        self.stacks: dict[str, Stack] = {}

    def stack(self) -> list[Stack]:
        """Stack the parameters from now on, for parts of one shape, and return the stacks."""
        names = dict(self.members[0].named_parameters())
        self.stacks = {
            name: Stack([member.get_parameter(name) for member in self.members])
            for name, parameter in names.items()
            if parameter.requires_grad
        }
        return list(self.stacks.values())

    def stacked(self, name: str) -> Tensor:
        """Return a parameter of all seeds, (seeds, ...)."""
        return self.stacks[name].tensor

    def forward(self, tensor: Tensor) -> Tensor:
        """Return what the modules make of a tensor."""
        return self.now.of_each(self.members, tensor)


class OwnLinear(OwnModules):
    """A linear layer of each seed."""

    def forward(self, tensor: Tensor) -> Tensor:
        """Return x W^T + b with each seed's weights."""
        if not self.stacks:
            return super().forward(tensor)
        weight, bias = self.stacked("weight"), self.stacked("bias")
        rows = tensor.reshape(len(weight), -1, tensor.shape[-1])
        return torch.baddbmm(bias[:, None], rows, weight.transpose(1, 2)).view(*tensor.shape[:-1], -1)

    def gelu(self, tensor: Tensor) -> Tensor:
        """Return GELU(x W^T + b)."""
        return functional.gelu(self(tensor))


class OwnLayerNorm(OwnModules):
    """A LayerNorm of each seed."""

    def forward(self, tensor: Tensor) -> Tensor:
        """Return the normalized tensor with each seed's scale and shift."""
        first = self.members[0]
        assert isinstance(first, nn.LayerNorm)
        if not self.stacks:
            return super().forward(tensor)
        scale, shift = self.stacked("weight"), self.stacked("bias")
        normed = functional.layer_norm(tensor, first.normalized_shape, eps=first.eps)
        rows = normed.reshape(len(scale), -1, tensor.shape[-1])
        return torch.addcmul(shift[:, None], rows, scale[:, None]).view(tensor.shape)


class OwnDropout(kernels.Dropout):
    """Dropout that draws each seed's own random numbers."""

    def __init__(self, share: float, now: Pass) -> None:
        super().__init__(share)
        self.now = now

    def forward(self, x: Tensor) -> Tensor:
        """Return x with a share of its elements zero and the others scaled up; x itself when not training."""
        if not self.training or self.p == 0.0 or self.now.streams is None:
            return super().forward(x)
        parts, dimension = self.now.parts(x)
        results = []
        for seed, part in enumerate(parts):
            with self.now.drawing(seed):
                results.append(super().forward(part))
        return torch.cat(results, dimension)

    def plus(self, x: Tensor, residual: Tensor) -> Tensor:
        """Return the residual and the dropped x together."""
        if not self.training or self.p == 0.0 or self.now.streams is None:
            return super().plus(x, residual)
        results = []
        for seed, (part, added) in enumerate(zip(self.now.parts(x)[0], self.now.parts(residual)[0], strict=True)):
            with self.now.drawing(seed):
                results.append(super().plus(part, added))
        return torch.cat(results)


def in_one(modules: Sequence[nn.Module], now: Pass) -> nn.Module:
    """Return a module that computes those of all seeds: shared where nothing trains, else each seed's own."""
    first = modules[0]
    trains = any(parameter.requires_grad for parameter in first.parameters())
    if not trains and not any(isinstance(part, nn.Dropout) for part in first.modules()):
        return first
    match first:
        case nn.Linear():
            return OwnLinear(modules, now)
        case nn.LayerNorm():
            return OwnLayerNorm(modules, now)
        case nn.Embedding():
            return OwnModules(modules, now)
        case nn.Dropout():
            return OwnDropout(first.p, now)
    return _with(first, {name: in_one([each.get_submodule(name) for each in modules], now) for name in _names(first)})


def _names(module: nn.Module) -> list[str]:
    return [name for name, _ in module.named_children()]


def _with(module: nn.Module, children: Mapping[str, nn.Module]) -> nn.Module:
    """Return a module with other children; its own do not change."""
    changed = copy.copy(module)
    changed._modules = dict(children)
    return changed


class SeedModels:
    """The models of several seeds, whose encoders compute a batch of each in one pass.

    Args:
        models: Of one base, frozen alike, on one device. Their frozen weights become those of the first.
    """

    def __init__(self, models: Sequence[Xmod]) -> None:
        self.models, self.now = models, Pass()
        share_frozen([model.module for model in models])
        self.bodies = [routed(model.module) for model in models]
        first = self.bodies[0]
        self.packs = models[0].device.type in first.packs_on
        layers = in_one([body.encoder.layer for body in self.bodies], self.now)
        children = {
            "embeddings": in_one([body.embeddings for body in self.bodies], self.now),
            "encoder": _with(first.encoder, {"layer": layers}),
        }
        body = _with(first, children)
        assert isinstance(body, RoutedModel)
        self.body = body.train()
        own = [] if self.packs else [part for part in layers.modules() if isinstance(part, OwnModules)]
        self.stacks = [stack for part in own for stack in part.stack()]

    def losses(self, batches: Sequence[Inputs | None], streams: Streams | None) -> dict[int, Tensor]:
        """Return the mean loss of each seed's batch, by the number of the seed.

        Args:
            batches: What `collate` returns, on the device, for each seed; None for one that has no batch. Ids of
                languages are in the host's memory.
            streams: The random numbers of each seed; None if all draw from one.
        """
        self.now.streams, losses = streams, {}
        try:
            self._encode(batches)
            for seed, (model, inputs) in enumerate(zip(self.models, batches, strict=True)):
                if inputs is not None:
                    with self.now.drawing(seed):
                        losses[seed] = model.module(**inputs).loss
        finally:
            for body in self.bodies:
                body.encoded = None
        return losses

    def _encode(self, batches: Sequence[Inputs | None]) -> None:
        """Encode the batches; each model then reads its own in place of what its encoder would make of it."""
        self.body.train()
        shapes = [None if inputs is None else _flat(inputs["input_ids"]).shape for inputs in batches]
        rows, width = (max(shape[place] for shape in shapes if shape is not None) for place in range(2))
        sizes = [rows if not self.packs else 0 if shape is None else shape[0] for shape in shapes]
        ids = self._joined("input_ids", batches, sizes, width, filler=self.body.config.pad_token_id)
        mask = self._joined("attention_mask", batches, sizes, width, filler=0)
        chosen: Chosen
        if any(inputs and "lang_ids" in inputs for inputs in batches):
            chosen = route(joined_ids(batches, sizes), tuple(ids.shape), self._languages, ids.device)
        else:
            chosen = Uniform(self.models[0].active)
        hidden = self._packed(ids, mask, chosen, sizes) if self.packs else self._padded(ids, mask, chosen, sizes)
        for body, shape, part in zip(self.bodies, shapes, torch.split(hidden, sizes), strict=True):
            if shape is not None:
                body.encoded = part[: shape[0], : shape[1]]

    def _packed(self, ids: Tensor, mask: Tensor, chosen: Chosen, sizes: Sequence[int]) -> Tensor:
        packing = pack(mask, chosen, self._languages, seeds=Seeds(tuple(sizes), self.now.drawing))
        assert packing is not None, "batches are padded on the right"
        tokens = tuple(int(part.sum()) for part in torch.split(mask, list(sizes)))
        self.now.sizes = {sum(sizes): tuple(sizes), sum(tokens): tokens}
        hidden: Tensor = self.body.encode_packed(ids, packing, {})
        return hidden

    def _padded(self, ids: Tensor, mask: Tensor, chosen: Chosen, sizes: Sequence[int]) -> Tensor:
        mask.narrow(1, 0, 1).fill_(1)  # attention to nothing is not defined
        self.now.sizes = {len(ids): tuple(sizes)}
        hidden: Tensor = self.body.encode(ids, mask, chosen, chosen)
        return hidden

    def _joined(
        self, name: str, batches: Sequence[Inputs | None], sizes: Sequence[int], width: int, *, filler: int
    ) -> Tensor:
        """Return the rows of all seeds, padded to one width, (rows, width)."""
        parts = []
        for inputs, size in zip(batches, sizes, strict=True):
            rows = None if inputs is None else _flat(inputs[name])
            if rows is not None:
                parts.append(functional.pad(rows, (0, width - rows.shape[1], 0, size - len(rows)), value=filler))
            elif size:
                parts.append(torch.full((size, width), filler, device=self.models[0].device))
        return torch.cat(parts)

    @property
    def _languages(self) -> tuple[str, ...]:
        return self.models[0].languages

    def zero_gradients(self) -> None:
        """Forget the gradients that were not given to the models."""
        for stack in self.stacks:
            stack.tensor.grad = None

    def give_gradients(self) -> None:
        """Give the parameters of each model their gradients."""
        for stack in self.stacks:
            stack.give_gradients()


def share_frozen(modules: Sequence[nn.Module]) -> None:
    """Make the frozen parameters of modules those of the first, so that they are in memory once."""
    first = dict(modules[0].named_parameters())
    for module in modules[1:]:
        for name, parameter in module.named_parameters():
            if not parameter.requires_grad:
                parameter.data = first[name].data


def joined_ids(batches: Sequence[Inputs | None], sizes: Sequence[int]) -> Tensor:
    """Return the ids of the languages of all seeds' rows, in the host's memory.

    Args:
        batches: Those of each seed, with `lang_ids` in the host's memory.
        sizes: Rows of each seed; rows of padding, after its own, go through any adapter.
    """
    ids = []
    for inputs, size in zip(batches, sizes, strict=True):
        own = np.zeros(0, dtype=np.int64)
        if inputs is not None:
            own = host_values(inputs["lang_ids"]).repeat(inputs["input_ids"].shape[1:-1].numel())
        ids.append(np.pad(own, (0, size - len(own))))
    return torch.from_numpy(np.concatenate(ids))


def _flat(tensor: Tensor) -> Tensor:
    """Return the rows of a batch: each choice is one."""
    return tensor.flatten(0, -2)
