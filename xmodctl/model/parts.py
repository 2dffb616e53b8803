"""Dropout in a part of a batch: the part draws what the whole batch draws, and keeps its own share.

Several processes that share a batch by rows then drop exactly what one process drops.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from xmodctl.core.encoded import Encoded
from xmodctl.model.batches import features_of

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Share:
    """The share that a part has of one dimension of a tensor."""

    size: int  # of the whole batch's tensor
    index: Tensor  # (own,) places of the part's elements
    dimension: int = 0
    width: int | None = None  # of the whole batch's rows; None where the tensor has no padding

    def draw_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the shape of the whole batch's tensor, given that of the part's."""
        whole = list(shape)
        whole[self.dimension] = self.size
        if self.width is not None and len(whole) > 2:
            whole[1] = self.width
        return tuple(whole)

    def of(self, drawn: Tensor, shape: Sequence[int]) -> Tensor:
        """Return the part's share of what was drawn for the whole batch; it has the given shape."""
        own = drawn.index_select(self.dimension, self.index)
        return own[:, : shape[1]] if self.width is not None and len(shape) > 2 else own


@dataclass(frozen=True)
class Part:
    """The rows of a padded batch that this process computes."""

    rows: Tensor  # (own rows,) int64, ascending: their numbers in the batch
    lengths: Tensor  # (rows of the batch,) their tokens
    languages: Tensor  # (rows of the batch,) the ids of their languages; zeros for a single one

    @classmethod
    def of(cls, encoded: Encoded, units: NDArray[np.int64], own: NDArray[np.int64]) -> Part:
        """Return the part of the batch of `units` that has the units `own`; if there are none, that of the first."""
        import torch

        features = features_of(encoded, units)
        owned = np.flatnonzero(np.isin(features, features_of(encoded, own if len(own) else units[:1])))
        ids = encoded.scalars.get("lang_ids")
        languages = np.zeros_like(features) if ids is None else ids[features]
        values = (owned, encoded.input_ids.lengths[features], languages)
        return cls(*(torch.from_numpy(np.asarray(each, dtype=np.int64)) for each in values))

    @property
    def of_rows(self) -> Share:
        """The share of tensors of (rows, hidden) or (rows, length, hidden)."""
        return Share(len(self.lengths), self.rows, width=int(self.lengths.max()))

    def packed(self) -> PackedPart:
        """Return the shares of tensors without padding, whose samples are sorted by language and length."""
        import torch

        order = torch.argsort(self.languages * (int(self.lengths.max()) + 1) + self.lengths, stable=True)
        is_own = torch.zeros(len(order), dtype=torch.bool)
        is_own[self.rows] = True
        is_own, lengths = is_own[order], self.lengths[order]
        runs, places, begin = torch.unique_consecutive(lengths, return_counts=True), [], 0
        for length, samples in zip(*(values.tolist() for values in runs), strict=True):
            places.append((samples, length, torch.nonzero(is_own[begin : begin + samples])[:, 0]))
            begin += samples
        return PackedPart(
            tokens=Share(int(lengths.sum()), torch.nonzero(is_own.repeat_interleave(lengths))[:, 0]),
            samples=Share(len(order), torch.nonzero(is_own)[:, 0]),
            runs=tuple(places),
        )


@dataclass(frozen=True)
class PackedPart:
    """The shares of a part of tensors without padding."""

    tokens: Share
    samples: Share
    runs: tuple[tuple[int, int, Tensor], ...]  # (samples, length, places of own samples) of neighbors of one length


_part: Part | None = None
_share: Share | None = None


def current_part() -> Part | None:
    """Return the part of a batch that is computed now; None for a whole batch."""
    return _part


def current_share() -> Share | None:
    """Return the share of the tensor that is dropped now; None for all of it."""
    return _share


@contextmanager
def computing(part: Part | None) -> Iterator[None]:
    """Compute a part of a batch in a block, also in its backward pass; None is a whole batch."""
    global _part  # noqa: PLW0603 (one batch is computed at a time)
    _part = part
    try:
        with dropping(None if part is None else part.of_rows):
            yield
    finally:
        _part = None


@contextmanager
def dropping(share: Share | None) -> Iterator[None]:
    """Draw dropout in a block for tensors of which the part has this share."""
    global _share  # noqa: PLW0603 (one batch is computed at a time)
    before, _share = _share, share
    try:
        yield
    finally:
        _share = before
