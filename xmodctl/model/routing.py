"""Which adapters a batch goes through, and the end of a layer, which calls only these instead of all in turn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from transformers.activations import GELUActivation
from transformers.models.xmod.modeling_xmod import XmodAdapter, XmodIntermediate, XmodOutput, XmodSelfOutput

from xmodctl.core.errors import UserError
from xmodctl.model import kernels
from xmodctl.model.stacked import AdapterStack, Stacked
from xmodctl.model.transfer import copied, host_values


@dataclass(frozen=True)
class Uniform:
    """The whole batch goes through one language's adapters, or through none."""

    language: str | None


@dataclass(frozen=True)
class Grouped:
    """Rows go through the adapters of several languages; rows are samples, or tokens.

    `order` sorts the rows by language and `inverse` puts them back; both are None for rows that are sorted already.
    """

    ids: Tensor  # as given: (rows,), or (batch, length) where rows are tokens
    languages: tuple[str, ...]  # those present, in the order of their ids
    sizes: tuple[int, ...]  # how many rows each has
    order: Tensor | None
    inverse: Tensor | None


Chosen = Uniform | Grouped
"""What the language ids of a batch name."""
Route = Chosen | Stacked


class RoutedOutput(XmodOutput):  # type: ignore[misc]
    """The end of a layer: dense, residual, and the adapters that the route names.

    `active` is the language of batches without `lang_ids`. None means no adapter: the adapter's term is omitted from
    the sum and everything around it stays. In the base geometry that is LayerNorm(LayerNorm(h)), because the layer's
    own LayerNorm stands before the adapter too; in the large one it is h itself. Stock X-MOD gives the same for an
    adapter whose second layer is zero.
    """

    active: str | None = None
    chosen: bool = False  # whether a language has been chosen for batches without `lang_ids`
    stack: AdapterStack | None = None  # of all adapters in memory, for routes that need it

    def forward(self, hidden_states: Tensor, input_tensor: Tensor, lang_ids: Route) -> Tensor:
        """Return the layer's output before its last LayerNorm."""
        return self.lang_adapter(lang_ids, kernels.linear_plus(self.dense, self.dropout, hidden_states, input_tensor))

    def lang_adapter(self, lang_ids: Route, hidden_states: Tensor) -> Tensor:
        """Add the adapters' output to `hidden_states` (batch, length, hidden); `lang_ids` is the route."""
        residual: Tensor = hidden_states
        if self.adapter_layer_norm is not None:
            hidden_states = self.adapter_layer_norm(hidden_states)
        elif self.adapter_reuse_layer_norm:
            hidden_states = self.LayerNorm(hidden_states)
        if self.ln_before_adapter:
            residual = hidden_states
        if isinstance(lang_ids, Uniform):
            if lang_ids.language is None:
                return residual
            adapted: Tensor = self.adapter_modules[lang_ids.language](hidden_states)
        elif isinstance(lang_ids, Stacked):
            assert self.stack is not None
            adapted = self.stack(hidden_states, lang_ids)
        else:
            adapted = self._grouped(lang_ids, hidden_states)
        # Out of place and by type promotion: under autocast the adapter's output is narrower than the residual.
        summed: Tensor = self.dropout.plus(adapted, residual)
        return summed

    def _grouped(self, route: Grouped, hidden_states: Tensor) -> Tensor:
        per_token = route.ids.dim() == 2
        rows = hidden_states.flatten(0, 1) if per_token else hidden_states
        if route.order is not None:
            rows = rows.index_select(0, route.order)
        parts = torch.split(rows, list(route.sizes))
        adapted = torch.cat(
            [self.adapter_modules[name](part) for name, part in zip(route.languages, parts, strict=True)]
        )
        if route.inverse is not None:
            adapted = adapted.index_select(0, route.inverse)
        return adapted.view(*hidden_states.shape[:-1], -1) if per_token else adapted


class RoutedSelfOutput(XmodSelfOutput):  # type: ignore[misc]
    """The end of attention: dense and residual."""

    def forward(self, hidden_states: Tensor, input_tensor: Tensor) -> Tensor:
        """Return the sum of both."""
        return kernels.linear_plus(self.dense, self.dropout, hidden_states, input_tensor)


class Intermediate(XmodIntermediate):  # type: ignore[misc]
    """The feed-forward's wide half, with GELU."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Return (..., intermediate)."""
        wide: Tensor = self.dense.gelu(hidden_states)
        return wide


class Adapter(XmodAdapter):  # type: ignore[misc]
    """One language's bottleneck, with GELU."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Return what the language adds: (..., hidden)."""
        added: Tensor = self.dense2(self.dense1.gelu(hidden_states))
        return added


def prepare(module: nn.Module) -> None:
    """Replace the parts of a stock model by those of this module and by fast kernels; parameters stay the same."""
    kernels.install_fast_kernels(module)
    for part in module.modules():
        if type(part) is XmodOutput:
            part.__class__ = RoutedOutput
        elif type(part) is XmodSelfOutput:
            part.__class__ = RoutedSelfOutput
        elif type(part) is XmodIntermediate and isinstance(part.intermediate_act_fn, GELUActivation):
            part.__class__ = Intermediate
        elif type(part) is XmodAdapter and isinstance(part.adapter_act_fn, GELUActivation):
            part.__class__ = Adapter


def route(
    lang_ids: Tensor, shape: tuple[int, ...] | None, languages: tuple[str, ...], device: torch.device | None = None
) -> Chosen:
    """Turn language ids into the route of a batch of `shape` (batch, length); ids count `languages`.

    Ids in the host's memory cost no wait for `device`, which the batch is on.

    Raises:
        UserError: an id is of no resident language, or the ids' type or shape does not fit the batch.
    """
    if lang_ids.dtype not in {torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8}:
        raise UserError(f"lang_ids must be whole numbers, not {lang_ids.dtype}: make them with `ids([...])`")
    allowed = {(), (1,)} | ({shape[:1], shape} if shape else set())
    if tuple(lang_ids.shape) not in allowed:
        raise UserError(
            f"lang_ids have the shape {tuple(lang_ids.shape)}, but a batch of {shape} takes one id, "
            "one per sample (batch,), or one per token (batch, length)"
        )
    numbers = host_values(lang_ids)
    if (wrong := numbers[(numbers < 0) | (numbers >= len(languages))]).size:
        raise UserError(
            f"lang_ids contain {wrong[0]}, but ids go from 0 to {len(languages) - 1} "
            f"({', '.join(languages)}): make them with `ids([...])`"
        )
    return grouped(lang_ids, languages, device)


def grouped(ids: Tensor, languages: tuple[str, ...], device: torch.device | None = None) -> Chosen:
    """Return the route of rows with these ids, (rows,) or (batch, length), which are on `device`: that of the ids."""
    device = ids.device if device is None else device
    flat = host_values(ids).reshape(-1)
    present, sizes = np.unique(flat, return_counts=True)
    if len(present) == 1:
        return Uniform(languages[present[0]])
    order = None if (flat[:-1] <= flat[1:]).all() else np.argsort(flat, kind="stable")
    return Grouped(
        ids=ids,
        languages=tuple(languages[number] for number in present),
        sizes=tuple(sizes.tolist()),
        order=None if order is None else copied(torch.from_numpy(order), device),
        inverse=None if order is None else copied(torch.from_numpy(np.argsort(order)), device),
    )
