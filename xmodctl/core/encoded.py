"""Encoded rows as flat arrays, cached on disk by the content they were made from."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


@dataclass(frozen=True)
class Ragged:
    """Rows of different lengths, one after the other in a flat array."""

    values: NDArray[Any]
    offsets: NDArray[np.int64]  # (rows + 1,): row i is values[offsets[i]:offsets[i + 1]]

    @classmethod
    def of(cls, rows: Iterable[Sequence[int] | NDArray[Any]], dtype: DTypeLike = np.int32) -> "Ragged":
        """Lay rows out flat."""
        rows = list(rows)
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        if rows and isinstance(rows[0], np.ndarray):
            return cls(np.concatenate(rows).astype(dtype, copy=False), offsets)
        return cls(np.fromiter(chain.from_iterable(rows), dtype=dtype, count=int(offsets[-1])), offsets)

    @classmethod
    def joined(cls, parts: Sequence["Ragged"]) -> "Ragged":
        """Put the rows of several one after the other."""
        starts = np.cumsum([0, *(len(one.values) for one in parts)])
        offsets = [one.offsets[:-1] + start for one, start in zip(parts, starts, strict=False)]
        return cls(np.concatenate([one.values for one in parts]), np.concatenate([*offsets, starts[-1:]]))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> NDArray[Any]:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self[index] for index in range(len(self)))

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The length of each row."""
        return np.diff(self.offsets)


@dataclass(frozen=True)
class Encoded:
    """What a kind's `encode` makes of rows: features, each a sequence of token ids.

    `rows[i]` is the row that feature i comes from; the features of a row are contiguous, and rows are in order.
    A unit is what batches are made of: one feature, or all the features of a row where they are its `choices`.
    """

    input_ids: Ragged
    rows: NDArray[np.int64]
    scalars: dict[str, NDArray[Any]] = field(default_factory=dict)  # one a feature: "labels", "start_positions"
    ragged: dict[str, Ragged] = field(default_factory=dict)  # one a token: "labels", -100 where there is none
    places: dict[str, Ragged] = field(default_factory=dict)  # one a token, for `decode` alone: where it stands in a row
    counts: dict[str, int] = field(default_factory=dict)  # "truncated": features that were cut
    choices: bool = False  # the features of a row are choices between which the model decides in one go

    def __post_init__(self) -> None:
        features = len(self.input_ids)
        assert len(self.rows) == features
        assert all(len(values) == features for values in self.scalars.values())
        a_token = [*self.ragged.values(), *self.places.values()]
        assert all(np.array_equal(one.offsets, self.input_ids.offsets) for one in a_token)

    @classmethod
    def joined(cls, parts: Sequence["Encoded"]) -> "Encoded":
        """Put the features of several one after the other, their rows counted on; `places`, for `decode`, are left out.

        All are of one kind, so that they have the same scalars and ragged columns.
        """
        first = np.cumsum([0, *(int(one.rows[-1]) + 1 if len(one.rows) else 0 for one in parts)])
        return cls(
            input_ids=Ragged.joined([one.input_ids for one in parts]),
            rows=np.concatenate([one.rows + start for one, start in zip(parts, first, strict=False)]),
            scalars={name: np.concatenate([one.scalars[name] for one in parts]) for name in parts[0].scalars},
            ragged={name: Ragged.joined([one.ragged[name] for one in parts]) for name in parts[0].ragged},
            counts={name: sum(one.counts[name] for one in parts) for name in parts[0].counts},
            choices=parts[0].choices,
        )

    def __len__(self) -> int:
        """Return the number of units."""
        return len(self.first) - 1

    @cached_property
    def first(self) -> NDArray[np.int64]:
        """The first feature of each unit, and the number of features: unit i is `first[i]` to `first[i + 1]`."""
        starts = np.arange(len(self.rows))
        if self.choices:
            starts = starts[np.diff(self.rows, prepend=-1) != 0]
        return np.append(starts, len(self.rows))

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """The features of each unit: how many choices it has, else 1."""
        return np.diff(self.first)

    @cached_property
    def tokens(self) -> NDArray[np.int64]:
        """The tokens of each unit."""
        return np.diff(self.input_ids.offsets[self.first])

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """The tokens of each unit with its choices padded to the longest of them."""
        lengths = self.input_ids.lengths
        return self.sizes * np.maximum.reduceat(lengths, self.first[:-1]) if len(lengths) else lengths
