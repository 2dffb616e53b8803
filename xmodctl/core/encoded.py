"""Encoded rows as flat arrays: token ids and what goes with them."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

BLANKS = ("▁", "Ġ")
"""How SentencePiece and byte-level vocabularies mark the space before a word."""


@dataclass(frozen=True)
class Ragged:
    """Rows of different lengths, concatenated in a flat array."""

    values: NDArray[Any]
    bounds: NDArray[np.int64]  # (rows + 1,): row i is values[bounds[i]:bounds[i + 1]]

    @classmethod
    def of(cls, rows: Iterable[Sequence[int] | NDArray[Any]], dtype: DTypeLike = np.int32) -> "Ragged":
        """Concatenate rows."""
        rows = list(rows)
        bounds = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum([len(row) for row in rows], out=bounds[1:])
        if rows and isinstance(rows[0], np.ndarray):
            return cls(np.concatenate(rows).astype(dtype, copy=False), bounds)
        return cls(np.fromiter(chain.from_iterable(rows), dtype=dtype, count=int(bounds[-1])), bounds)

    @classmethod
    def joined(cls, parts: Sequence["Ragged"]) -> "Ragged":
        """Return the rows of all parts, in order."""
        starts = np.cumsum([0, *(len(part.values) for part in parts)])
        bounds = [part.bounds[:-1] + start for part, start in zip(parts, starts, strict=False)]
        return cls(np.concatenate([part.values for part in parts]), np.concatenate([*bounds, starts[-1:]]))

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __getitem__(self, index: int) -> NDArray[Any]:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        return self.values[self.bounds[index] : self.bounds[index + 1]]

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self[index] for index in range(len(self)))

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The length of each row."""
        return np.diff(self.bounds)


@dataclass(frozen=True)
class Encoded:
    """The result of a kind's `encode`: features, each a sequence of token ids.

    `rows[i]` is the row that feature i comes from; the features of a row are contiguous, and rows are in order.
    A unit is what batches consist of: one feature, or all features of a row if they are its `choices`.
    """

    input_ids: Ragged
    rows: NDArray[np.int64]
    scalars: dict[str, NDArray[Any]] = field(default_factory=dict)  # one per feature, or a row of several: "labels"
    ragged: dict[str, Ragged] = field(default_factory=dict)  # one per token: "labels", -100 for none
    offsets: dict[str, Ragged] = field(default_factory=dict)  # one per token, for `decode` alone: its place in the row
    counts: dict[str, int] = field(default_factory=dict)  # "truncated": features that were cut
    choices: bool = False  # the features of a row are the choices that the model decides between

    def __post_init__(self) -> None:
        features = len(self.input_ids)
        assert len(self.rows) == features
        assert all(len(values) == features for values in self.scalars.values())
        per_token = [*self.ragged.values(), *self.offsets.values()]
        assert all(np.array_equal(values.bounds, self.input_ids.bounds) for values in per_token)

    @classmethod
    def joined(cls, parts: Sequence["Encoded"]) -> "Encoded":
        """Return the features of all parts, in order, with their rows numbered consecutively and without `offsets`.

        All parts are of the same kind of task, so they have the same scalars and ragged columns.
        """
        first = np.cumsum([0, *(int(part.rows[-1]) + 1 if len(part.rows) else 0 for part in parts)])
        return cls(
            input_ids=Ragged.joined([part.input_ids for part in parts]),
            rows=np.concatenate([part.rows + start for part, start in zip(parts, first, strict=False)]),
            scalars={name: np.concatenate([part.scalars[name] for part in parts]) for name in parts[0].scalars},
            ragged={name: Ragged.joined([part.ragged[name] for part in parts]) for name in parts[0].ragged},
            counts={name: sum(part.counts[name] for part in parts) for name in parts[0].counts},
            choices=parts[0].choices,
        )

    def evenly_spaced(self, count: int) -> NDArray[np.int64]:
        """Return the numbers of at most `count` units, evenly spaced from the first one on."""
        return np.arange(0, len(self), max(1, len(self) // count))[:count]

    def __len__(self) -> int:
        """Return the number of units."""
        return len(self.first) - 1

    @cached_property
    def first(self) -> NDArray[np.int64]:
        """The first feature of each unit, then the number of features: unit i is `first[i]:first[i + 1]`."""
        starts = np.arange(len(self.rows))
        if self.choices:
            starts = starts[np.diff(self.rows, prepend=-1) != 0]
        return np.append(starts, len(self.rows))

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """The number of features of each unit: its choices, or 1."""
        return np.diff(self.first)

    @cached_property
    def tokens(self) -> NDArray[np.int64]:
        """The number of tokens of each unit."""
        return np.diff(self.input_ids.bounds[self.first])

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """The number of tokens of each unit if its choices are padded to the longest of them."""
        lengths = self.input_ids.lengths
        return self.sizes * np.maximum.reduceat(lengths, self.first[:-1]) if len(lengths) else lengths
