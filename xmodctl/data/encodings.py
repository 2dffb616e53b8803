"""Encoded rows as flat arrays, cached on disk by the content they were made from."""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from xmodctl.files import cache_folder, prune, whole_file

_log = logging.getLogger(__name__)

LAYOUT = 2
"""Version of what is kept: of the file, and of what goes into it. Another one is made anew."""

CACHE_BYTES = 4 * 2**30
"""The cache is kept below this; what was not used for longest goes first."""


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


def cached(key_parts: Mapping[str, str], make: Callable[[], Encoded]) -> Encoded:
    """Return what `make` returned for these parts the last time, or make and keep it.

    One safetensors file an encoding lies in the cache folder, named by the sha256 of the parts; a damaged one is made
    again. Processes that want the same one wait for each other. Where nothing can be written, nothing is kept.
    """
    folder = cache_folder() / "encodings"
    parts = json.dumps({**key_parts, "layout": LAYOUT}, sort_keys=True)
    path = folder / f"{hashlib.sha256(parts.encode()).hexdigest()}.safetensors"
    with _locked(path):
        if (found := _load(path)) is not None:
            return found
        made = make()
        try:
            _save(made, path)
            prune(folder, CACHE_BYTES, keep=path)
        except OSError as error:
            _log.warning("encodings are not kept in %s: %s", folder, error)
        return made


def _load(path: Path) -> Encoded | None:
    """Return a kept encoding, or None if there is none or it is damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            facts = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
        if facts.get("sha256") != _digest(arrays):
            return None
        os.utime(path)  # used now: the last to be pruned
    except (SafetensorError, OSError):
        return None
    offsets = arrays["offsets"]
    return Encoded(
        input_ids=Ragged(arrays["input_ids"], offsets),
        rows=arrays["rows"],
        scalars={name: values for group, name, values in _grouped(arrays) if group == "scalars"},
        ragged={name: Ragged(values, offsets) for group, name, values in _grouped(arrays) if group == "ragged"},
        places={name: Ragged(values, offsets) for group, name, values in _grouped(arrays) if group == "places"},
        counts=json.loads(facts["counts"]),
        choices=json.loads(facts["choices"]),
    )


def _save(encoded: Encoded, path: Path) -> None:
    from safetensors.numpy import save_file

    arrays = {
        "offsets": encoded.input_ids.offsets,
        "input_ids": encoded.input_ids.values,
        "rows": encoded.rows,
        **{f"scalars.{name}": values for name, values in encoded.scalars.items()},
        **{f"ragged.{name}": one.values for name, one in encoded.ragged.items()},
        **{f"places.{name}": one.values for name, one in encoded.places.items()},
    }
    arrays = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
    with whole_file(path) as part:
        facts = {"counts": json.dumps(encoded.counts), "choices": json.dumps(encoded.choices)}
        save_file(arrays, part, metadata={"sha256": _digest(arrays), **facts})


def _grouped(arrays: Mapping[str, NDArray[Any]]) -> Iterator[tuple[str, str, NDArray[Any]]]:
    for key, values in arrays.items():
        group, _, name = key.partition(".")
        yield group, name, values


def _digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for name, values in sorted(arrays.items()):
        digest.update(f"{name} {values.dtype} {values.shape}\n".encode())
        digest.update(values.view(np.uint8).data if values.size else b"")
    return digest.hexdigest()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of one encoding, where the folder can hold a lock at all."""
    from filelock import FileLock

    lock = FileLock(path.with_suffix(".lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        _log.warning("encodings are not kept in %s: %s", path.parent, error)
        yield
        return
    try:
        yield
    finally:
        lock.release()
