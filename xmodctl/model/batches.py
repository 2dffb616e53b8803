"""Batches: which units go through the device together, and their tensors. Lengths alone decide."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xmodctl.core.encoded import Encoded, Ragged

if TYPE_CHECKING:
    import torch

MEGABATCH = 50
"""Batches that are shuffled together and then sorted by length: 97% of a batch's tokens are then real ones."""

IGNORED = -100
"""The label of a position that has none, as `torch.nn.CrossEntropyLoss` ignores it."""

FIXED_LENGTHS = (32, 48, *(size for power in range(6, 13) for size in (2**power, 3 * 2 ** (power - 1))), 8192)
"""Lengths that compiled batches are padded to, up to the largest `max_length`: 32, 48, 64, 96, ..."""

Lengths = NDArray[np.integer[Any]] | Sequence[int]


def sampled(groups: NDArray[np.integer[Any]], *, alpha: float, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return the units of one epoch, in order: as many as there are, each group with its share of them.

    A group's share is proportional to its size to the power of `alpha` (temperature sampling with temperature 1/alpha,
    Lample and Conneau 2019, arXiv 1901.07291, section 3.1); with 1, every unit comes once. A group's units are used
    in one shuffled round after another, so that over several epochs none comes twice as often as another. The choice
    depends on `seed` and `epoch` alone.
    """
    sizes = np.bincount(groups)
    chosen = []
    for group, (size, count) in enumerate(zip(sizes.tolist(), _shares(sizes, alpha).tolist(), strict=True)):
        if count:
            begin, end = epoch * count, (epoch + 1) * count
            rounds = range(begin // size, -(-end // size))
            order = np.concatenate(
                [np.random.default_rng([seed, group, number]).permutation(size) for number in rounds]
            )
            chosen.append(np.flatnonzero(groups == group)[order[begin - rounds[0] * size : end - rounds[0] * size]])
    return np.sort(np.concatenate(chosen)) if chosen else np.arange(0)


def _shares(sizes: NDArray[np.int64], alpha: float) -> NDArray[np.int64]:
    """Divide as many units as there are among groups, to the largest remainders."""
    weights = np.where(sizes > 0, sizes.astype(np.float64) ** alpha, 0.0)
    exact = sizes.sum() * weights / max(1.0, weights.sum())
    counts: NDArray[np.int64] = np.floor(exact + 1e-9).astype(np.int64)
    counts[np.argsort(counts - exact, kind="stable")[: sizes.sum() - counts.sum()]] += 1
    return counts


def training_batches(
    lengths: Lengths,
    *,
    batch_size: int,
    tokens_per_step: int,
    seed: int,
    epoch: int,
    choices: Lengths | None = None,
    fixed_shapes: bool = False,
    real: Lengths | None = None,
) -> list[list[NDArray[np.int64]]]:
    """Return one epoch: a list of optimizer batches, each a list of micro-batches of unit indices.

    Every unit comes exactly once. The batches depend on `seed` and `epoch` alone. Padded to its longest unit, a
    micro-batch holds at most `tokens_per_step` tokens; a longer unit is a micro-batch of its own. Units with different
    numbers of `choices` never share a micro-batch, so that no choice is padding. With `fixed_shapes`, that is so after
    a micro-batch was padded to the next of a few shapes. With the `real` tokens of each unit, micro-batches have no
    padding, and hold that many of these. The batches are the same either way.
    """
    assert batch_size > 0
    sizes, groups = _sizes_and_groups(lengths, choices)
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(sizes))
    megabatch = np.arange(len(order)) // (batch_size * MEGABATCH)
    order = order[np.lexsort((-sizes[order], groups[order], megabatch))]
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    shuffled = random.permutation(len(batches))
    if real is not None:
        tokens = np.asarray(real, dtype=np.int64)
        return [list(_cut_packed(batches[index], tokens, groups, tokens_per_step)) for index in shuffled]
    padded = groups * padded_length(-(-sizes // groups)) if fixed_shapes else sizes
    return [list(_cut(batches[index], padded, groups, tokens_per_step, fixed=fixed_shapes)) for index in shuffled]


def evaluation_batches(
    lengths: Lengths, *, tokens_per_step: int, choices: Lengths | None = None
) -> list[NDArray[np.int64]]:
    """Return batches of unit indices sorted by length, longest first, so that a batch that is too large fails at once.

    Every unit comes exactly once. Padded, a batch holds at most `tokens_per_step` tokens, or a single unit; all units
    of a batch have the same number of `choices`.
    """
    sizes, groups = _sizes_and_groups(lengths, choices)
    order = np.lexsort((-sizes, groups))
    return list(_cut(order, sizes, groups, tokens_per_step))


def _sizes_and_groups(lengths: Lengths, choices: Lengths | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    sizes = np.asarray(lengths, dtype=np.int64)
    return sizes, np.ones_like(sizes) if choices is None else np.asarray(choices, dtype=np.int64)


def padded_length(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the lengths that a compiled batch is padded to, of texts of some lengths."""
    fixed = np.asarray(FIXED_LENGTHS)
    return fixed[np.searchsorted(fixed[:-1], lengths)]


def padded_rows(rows: int) -> int:
    """Return how many rows a compiled batch is padded to: the next power of two."""
    return 1 << (rows - 1).bit_length()


def _cut(
    units: NDArray[np.int64], lengths: NDArray[np.int64], groups: NDArray[np.int64], tokens: int, *, fixed: bool = False
) -> Iterator[NDArray[np.int64]]:
    """Cut units, longest first within each group, into runs of one group whose padded size is at most `tokens`.

    With `fixed`, a run has at most a power of two of units, so that few rows are padding.
    """
    for run in _of_one_group(units, groups):
        start = 0
        while start < len(run):
            fitting = max(1, tokens // max(1, int(lengths[run[start]])))
            if fixed:
                fitting = 1 << (fitting.bit_length() - 1)
            yield run[start : start + fitting]
            start += fitting


def _cut_packed(
    units: NDArray[np.int64], lengths: NDArray[np.int64], groups: NDArray[np.int64], tokens: int
) -> Iterator[NDArray[np.int64]]:
    """Cut units into runs of one group that have at most `tokens` tokens together."""
    for run in _of_one_group(units, groups):
        ends, start = np.cumsum(lengths[run]), 0
        while start < len(run):
            before = int(ends[start - 1]) if start else 0
            end = max(start + 1, int(np.searchsorted(ends, before + tokens, side="right")))
            yield run[start:end]
            start = end


def _of_one_group(units: NDArray[np.int64], groups: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Split units, which are sorted by group, into those of each group."""
    return np.split(units, np.flatnonzero(np.diff(groups[units])) + 1)


def features_of(encoded: Encoded, indices: NDArray[np.integer[Any]] | Sequence[int]) -> NDArray[np.int64]:
    """Return the rows of `input_ids` of some units: one for each choice, of which all units have the same number."""
    first = encoded.first[np.asarray(indices, dtype=np.int64)]
    if not encoded.choices:
        return first
    (choices,) = set(encoded.sizes[indices].tolist())
    features: NDArray[np.int64] = (first[:, None] + np.arange(choices)).reshape(-1)
    return features


def collate(
    encoded: Encoded, indices: NDArray[np.integer[Any]] | Sequence[int], *, pad_id: int
) -> "dict[str, torch.Tensor]":
    """Return the tensors of some units: int64, except fractional scalars, which are float32.

    `input_ids` (n, longest), padded on the right with `pad_id`; `attention_mask` (n, longest), 1 for tokens and 0 for
    padding; each scalar (n,), or (n, labels); each ragged (n, longest), padded with -100. If units have choices, there
    is a second dimension for them, (n, choices, longest), and a scalar is that of a unit's first choice.
    """
    import torch

    first, features = encoded.first[np.asarray(indices, dtype=np.int64)], features_of(encoded, indices)
    shape = (len(first), len(features) // max(1, len(first))) if encoded.choices else first.shape
    input_ids, mask = _padded(encoded.input_ids, features, pad_id)
    arrays = {"input_ids": input_ids, "attention_mask": mask.astype(np.int64)}
    arrays |= {name: _padded(ragged, features, IGNORED)[0] for name, ragged in encoded.ragged.items()}
    arrays = {name: values.reshape(*shape, mask.shape[1]) for name, values in arrays.items()}
    arrays |= {name: values[first] for name, values in encoded.scalars.items()}
    return {
        name: torch.from_numpy(values.astype(np.float32 if values.dtype.kind == "f" else np.int64))
        for name, values in arrays.items()
    }


def _padded(rows: Ragged, chosen: NDArray[np.int64], filler: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the chosen rows as a matrix, and where it holds values."""
    lengths = rows.lengths[chosen]
    mask = np.arange(lengths.max(initial=0)) < lengths[:, None]
    matrix = np.full(mask.shape, filler, dtype=np.int64)
    if len(chosen):
        matrix[mask] = np.concatenate([rows[index] for index in chosen])
    return matrix, mask
