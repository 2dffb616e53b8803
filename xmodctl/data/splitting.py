"""The split of a single file into training, validation, and test rows."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from xmodctl.catalog.locations import Split

HELD_OUT: tuple[tuple[Split, float], ...] = (("test", 0.1), ("validation", 0.1))
"""The shares of the rows that are not trained on."""


@dataclass(frozen=True)
class SplittableRow:
    """What decides the split of a row."""

    number: int  # of its line, or its position
    stratum: tuple[str, ...]  # its language and label: each is split in the same proportions
    content: str  # rows with the same content stay together
    id: str = ""  # rows with the same id stay together, such as translations; empty if there is none


def split_rows(rows: Iterable[SplittableRow], seed: int) -> dict[int, Split]:
    """Return the split of each row: 80% train, 10% validation, and 10% test of each stratum.

    Rows with the same content, up to case and spaces, or the same id stay together, in the stratum of the first of
    them. Their order depends on a hash of content and seed alone, so that it is the same on every machine. A stratum
    with few rows has some in training first, then in test, then in validation.
    """
    members: dict[bytes, list[int]] = {}
    stratum_of: dict[bytes, tuple[str, ...]] = {}
    with_id: dict[str, bytes] = {}
    joined = _Joined()
    for row in rows:
        content = " ".join(row.content.casefold().split())
        key = hashlib.blake2b(f"{seed}\0{content}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
        members.setdefault(key, []).append(row.number)
        stratum_of.setdefault(key, row.stratum)
        if row.id:
            joined.join(with_id.setdefault(row.id, key), key)
    groups: dict[bytes, list[int]] = {}
    strata: dict[tuple[str, ...], list[bytes]] = {}
    for key, numbers in members.items():
        first = joined.first(key)
        if first not in groups:
            groups[first] = []
            strata.setdefault(stratum_of[key], []).append(first)
        groups[first] += numbers
    splits: dict[int, Split] = {}
    for keys in strata.values():
        ordered = iter(sorted(keys))
        splits |= dict.fromkeys(groups[next(ordered)], "train")
        total = sum(len(groups[key]) for key in keys)
        for split, share in HELD_OUT:
            wanted = max(1, round(share * total))
            while wanted > 0 and (held_out := next(ordered, None)):
                splits |= dict.fromkeys(groups[held_out], split)
                wanted -= len(groups[held_out])
        for key in ordered:
            splits |= dict.fromkeys(groups[key], "train")
    return splits


class _Joined:
    """Sets of keys that belong together, each named by the first of its keys in their order."""

    def __init__(self) -> None:
        self._parents: dict[bytes, bytes] = {}

    def first(self, key: bytes) -> bytes:
        """Return the first key of a key's set."""
        path = []
        while (parent := self._parents.get(key, key)) != key:
            path.append(key)
            key = parent
        self._parents.update(dict.fromkeys(path, key))
        return key

    def join(self, key: bytes, other: bytes) -> None:
        """Make one set of the sets of two keys."""
        first, second = sorted((self.first(key), self.first(other)))
        if first != second:
            self._parents[second] = first
