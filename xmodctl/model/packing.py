"""The encoder without padding, and of the last layer only what the head reads.

The real tokens of a batch stand in one row (tokens, hidden), samples sorted by language and length. Neighbors of one
length share a call of the attention kernel, which then needs no mask; nothing else cares where a sample ends. Where
only first tokens are read, the last layer computes keys and values for all tokens and the rest of itself for those
alone. The sums are stock's, in another order.

A GPU packs batches whose mask is in the host's memory (`variable_length.py`): one call of its kernel attends in all
samples, whatever their lengths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from xmodctl.model import kernels, parts
from xmodctl.model.routing import Chosen, Grouped, Route, grouped
from xmodctl.model.transfer import copied, host_values

if TYPE_CHECKING:
    from transformers.models.xmod.modeling_xmod import XmodLayer, XmodSelfAttention


@dataclass(frozen=True)
class Bounds:
    """Where the samples of a packed batch begin, as the kernel of a GPU reads it."""

    tokens: Tensor  # (samples + 1,) int32: the first token of each sample, and the number of tokens
    samples: Tensor  # (samples + 1,) int32: 0, 1, ..., the bounds of one query a sample
    longest: int


@dataclass(frozen=True)
class Seeds:
    """The rows of several seeds in one batch: each seed's stay together, and draw its own random numbers."""

    rows: tuple[int, ...]  # of each seed
    drawing: Callable[[int], AbstractContextManager[None]]  # draws the numbers of a seed

    @property
    def of_rows(self) -> NDArray[np.int64]:
        """The number of each row's seed, (rows,)."""
        return np.repeat(np.arange(len(self.rows)), self.rows)


@dataclass(frozen=True)
class Packing:
    """Where the tokens and samples of a padded batch went."""

    shape: tuple[int, int]  # (batch, length) of the padded batch
    tokens: Tensor  # (tokens,) positions in the flattened padded batch
    runs: tuple[tuple[int, int], ...]  # (samples, length) of neighbors of one length
    bounds: Bounds | None  # None where attention is called for each run
    first: Tensor  # (samples,) where each sample starts among the tokens
    back: Tensor  # (samples,) puts samples into the batch's order
    route: Route  # of the tokens
    first_route: Route  # of the samples' first tokens
    part: parts.PackedPart | None  # of a larger batch, which several processes share
    drawing: Sequence[Callable[[], AbstractContextManager[None]]]  # draws the random numbers of each run

    @property
    def of_tokens(self) -> parts.Share | None:
        """The share of tensors of (tokens, hidden); None for a whole batch."""
        return None if self.part is None else self.part.tokens

    @property
    def of_samples(self) -> parts.Share | None:
        """The share of tensors of (samples, hidden); None for a whole batch."""
        return None if self.part is None else self.part.samples


def pack(
    attention_mask: Tensor,
    route: Chosen,
    languages: Sequence[str],
    device: torch.device | None = None,
    seeds: Seeds | None = None,
) -> Packing | None:
    """Return the packing of a batch padded on the right, or None for any other mask.

    Args:
        attention_mask: (batch, length); one in the host's memory costs no wait for the device.
        route: That of the batch.
        languages: What the route's ids count.
        device: The device of the batch; by default, that of the mask.
        seeds: Whose rows these are, if those of several; they are sorted by seed first.
    """
    device = attention_mask.device if device is None else device
    real = real_tokens(attention_mask)
    rows, width = real.shape
    lengths = real.sum(1)
    if not lengths.all() or (real != (np.arange(width) < lengths[:, None])).any():
        return None
    ids = np.zeros((rows, 1), dtype=np.int64)
    if isinstance(route, Grouped):
        ids = host_values(route.ids).reshape(rows, -1)
    spoken = ids[:, 0]
    owners = np.zeros(rows, dtype=np.int64) if seeds is None else seeds.of_rows
    order = np.argsort((owners * len(languages) + spoken) * (width + 1) + lengths, kind="stable")
    lengths = lengths[order]
    ends = lengths.cumsum()
    first = ends - lengths
    tokens = np.repeat(order * width - first, lengths) + np.arange(lengths.sum())
    part = None if (current := parts.current_part()) is None else current.packed()
    runs, drawing = _runs(lengths, owners[order], part, seeds)
    first_route: Chosen = route
    if isinstance(route, Grouped):
        names = tuple(languages)
        first_route = grouped(torch.from_numpy(spoken[order]), names, device)
        of_tokens = np.broadcast_to(ids, (rows, width)).reshape(-1)[tokens]
        route = grouped(torch.from_numpy(of_tokens), names, device)

    def from_host(values: NDArray[np.integer]) -> Tensor:
        return copied(torch.from_numpy(values), device)

    bounds = None
    if has_kernel(device):
        begins = np.concatenate([[0], ends]).astype(np.int32)
        bounds = Bounds(from_host(begins), from_host(np.arange(rows + 1, dtype=np.int32)), int(lengths.max(initial=0)))
    return Packing(
        shape=(rows, width),
        tokens=from_host(tokens),
        runs=runs,
        bounds=bounds,
        first=from_host(first),
        back=from_host(np.argsort(order)),
        route=route,
        first_route=first_route,
        part=part,
        drawing=drawing,
    )


def _runs(
    lengths: NDArray[np.int64], owners: NDArray[np.int64], part: parts.PackedPart | None, seeds: Seeds | None
) -> tuple[tuple[tuple[int, int], ...], tuple[Callable[[], AbstractContextManager[None]], ...]]:
    """Return the runs of sorted samples, as (samples, length), and what draws the random numbers of each."""
    if part is not None:  # of the whole batch: its runs may stand between samples of one length
        runs = tuple((len(own), length) for _, length, own in part.runs if len(own))
        return runs, (nullcontext,) * len(runs)
    same = [(len(list(run)), *key) for key, run in groupby(zip(lengths.tolist(), owners.tolist(), strict=True))]
    drawing = tuple(nullcontext if seeds is None else partial(seeds.drawing, owner) for _, _, owner in same)
    return tuple((samples, length) for samples, length, _ in same), drawing


def real_tokens(attention_mask: Tensor) -> NDArray[np.bool_]:
    """Return where a mask is not zero: there are tokens."""
    real: NDArray[np.bool_] = (attention_mask != 0).cpu().numpy()
    return real


def has_kernel(device: torch.device) -> bool:
    """Return whether one call attends in samples of different lengths; on a CPU, that takes one for each length."""
    return device.type != "cpu"


def encode(layers: Sequence[XmodLayer], hidden: Tensor, packing: Packing, *, first: bool) -> Tensor:
    """Return what the layers make of embeddings (tokens, hidden), unpacked.

    That is (batch, 1, hidden) if only the `first` token of each sample is wanted, else (batch, length, hidden) with
    zeros where there is padding.
    """
    with parts.dropping(packing.of_tokens):
        for layer in layers[:-1]:
            hidden = _layer(layer, hidden, packing, first=False)
    with parts.dropping(packing.of_samples if first else packing.of_tokens):
        hidden = _layer(layers[-1], hidden, packing, first=first)
    if first:
        return hidden.index_select(0, packing.back)[:, None]
    rows, width = packing.shape
    padded = hidden.new_zeros(rows * width, hidden.shape[1]).index_copy(0, packing.tokens, hidden)
    return padded.view(rows, width, -1)


def _layer(layer: XmodLayer, hidden: Tensor, packing: Packing, *, first: bool) -> Tensor:
    attention, before = layer.attention, layer.pre_norm
    normed = attention.output.LayerNorm(hidden) if before else hidden
    keys, values = attention.self.key(normed), attention.self.value(normed)
    if first:
        residual = hidden.index_select(0, packing.first)
        normed = normed.index_select(0, packing.first) if before else residual
    else:
        residual = hidden
    attended = _attend(attention.self, attention.self.query(normed), keys, values, packing, first=first)
    hidden = attention.output(attended, residual)
    if not before:
        hidden = attention.output.LayerNorm(hidden)
    normed = layer.output.LayerNorm(hidden) if before else hidden
    route = packing.first_route if first else packing.route
    hidden = layer.output(layer.intermediate(normed), hidden, route)
    out: Tensor = hidden if before else layer.output.LayerNorm(hidden)
    return out


def _attend(
    attention: XmodSelfAttention, queries: Tensor, keys: Tensor, values: Tensor, packing: Packing, *, first: bool
) -> Tensor:
    """Attend within each sample: queries (tokens or samples, hidden), keys and values (tokens, hidden)."""
    if packing.bounds is not None:
        return _attend_at_once(attention, queries, keys, values, packing.bounds, first=first)
    tokens = [samples * length for samples, length in packing.runs]
    queried = [samples for samples, _ in packing.runs] if first else tokens
    heads = (attention.num_attention_heads, attention.attention_head_size)
    share = attention.dropout.p if attention.training else 0.0
    shares = _shares_of_runs(packing, heads[0], queries if share else None, first=first)
    attended = []
    split = (torch.split(queries, queried), torch.split(keys, tokens), torch.split(values, tokens))
    for (samples, _), drawing, *tensors in zip(packing.runs, packing.drawing, *split, strict=True):
        run = (tensor.view(samples, -1, *heads).transpose(1, 2) for tensor in tensors)
        with drawing():
            attended.append(_attend_run(*run, share=share, own=next(shares)))
    next(shares, None)  # draws for what follows the last run
    return attended[0] if len(attended) == 1 else torch.cat(attended)


def _attend_at_once(
    attention: XmodSelfAttention, queries: Tensor, keys: Tensor, values: Tensor, bounds: Bounds, *, first: bool
) -> Tensor:
    """Attend within each sample in one call, which has no dropout; operands are bf16 or fp16."""
    from torch.nn.attention.varlen import varlen_attn

    assert not (attention.training and attention.dropout.p), "dropout of attention weights"
    heads = (attention.num_attention_heads, attention.attention_head_size)
    query, key, value = (tensor.view(-1, *heads) for tensor in (queries, keys, values))
    queried, longest = (bounds.samples, 1) if first else (bounds.tokens, bounds.longest)
    attended = varlen_attn(query, key, value, queried, bounds.tokens, longest, bounds.longest)
    assert isinstance(attended, Tensor)  # it returns more where asked to
    return attended.flatten(1)


def _shares_of_runs(
    packing: Packing, heads: int, dropped: Tensor | None, *, first: bool
) -> Iterator[parts.Share | None]:
    """Yield the share of each run's attention weights; between them, draw those of runs that others compute.

    `dropped` has the type of what is dropped; None where nothing is.
    """
    if packing.part is None:
        yield from (None for _ in packing.runs)
        return
    for samples, length, own in packing.part.runs:
        if len(own):
            yield parts.Share(samples * heads, (own[:, None] * heads + torch.arange(heads)).reshape(-1))
        elif dropped is not None and kernels.is_fp32_cpu(dropped):
            kernels.skip_attention(samples, heads, 1 if first else length, length)


def _attend_run(query: Tensor, key: Tensor, value: Tensor, *, share: float, own: parts.Share | None) -> Tensor:
    """Attend in samples of one length: (samples, heads, length, size) each, result (samples x queries, hidden)."""
    if share > 0.0 and kernels.is_fp32_cpu(query):
        attended = kernels.attention_with_dropout(query, key, value, share, own)
    else:
        attended = functional.scaled_dot_product_attention(query, key, value, dropout_p=share)
    return attended.to(query.dtype).transpose(1, 2).reshape(-1, query.shape[1] * query.shape[3])
