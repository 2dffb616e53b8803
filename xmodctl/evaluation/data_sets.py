"""Rows by data set: scores of different data are shown and averaged apart."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from xmodctl.evaluation.results import Row
from xmodctl.run.data_sets import short_names


@dataclass(frozen=True)
class DataSetRows:
    """The rows of one or more runs on one data set, in which every language has one content."""

    name: str
    rows: tuple[list[Row], ...]  # of each run, in the order of the runs; empty where a run has none

    @property
    def languages(self) -> list[str]:
        """The languages in the order of scoring."""
        return list(dict.fromkeys(row.language for rows in self.rows for row in rows))


def by_data_set(*runs: Sequence[Row]) -> list[DataSetRows]:
    """Group the rows of runs by data set; the one with the most languages is first.

    Two places hold the same data set if a language has the same content in both. Where a run scored a language on
    several contents of one data set (its file was changed, or other columns were read), the one that most runs have
    stands for the data set, or else the last one, and each of the others is a data set of its own.

    Args:
        runs: The rows of each run, of one split and limit, in the order of scoring.
    """
    place = _places(row for rows in runs for row in rows)
    names = short_names(list(dict.fromkeys(place.values())))
    holders: dict[tuple[str, str], dict[str, set[int]]] = {}  # place and language -> content -> runs, the last first
    for number, rows in enumerate(runs):
        for row in reversed(rows):
            contents = holders.setdefault((place[row.data_set], row.language), {})
            contents.setdefault(row.fingerprint, set()).add(number)
    groups: dict[tuple[str, str, int], tuple[list[Row], ...]] = {}
    for number, rows in enumerate(runs):
        for row in rows:
            where = place[row.data_set]
            contents = holders[where, row.language]
            own = [each for each in sorted(contents, key=lambda each: -len(contents[each])) if number in contents[each]]
            rank = own.index(row.fingerprint)
            key = (where, row.read_as if rank else "", rank)
            groups.setdefault(key, tuple([] for _ in runs))[number].append(row)
    sets = [DataSetRows(_name(names[where], read_as, rank), rows) for (where, read_as, rank), rows in groups.items()]
    return sorted(sets, key=lambda each: -len(each.languages))


def data_names(rows: Sequence[Row]) -> list[str]:
    """Return which data each row is of, in a few words; empty texts if all rows are of one data set."""
    contents: dict[tuple[Any, ...], set[str]] = {}
    for row in rows:
        contents.setdefault(row.key[:-1], set()).add(row.fingerprint)
    names = short_names(list(dict.fromkeys(row.data_set for row in rows)))
    if len(names) < 2 and all(len(each) < 2 for each in contents.values()):
        return [""] * len(rows)
    return [f"{names[row.data_set]} ({row.fingerprint[:8]})" for row in rows]


def _places(rows: Iterable[Row]) -> dict[str, str]:
    """Return the first of the places that hold the same data set, for each place."""
    place: dict[str, str] = {}
    holder: dict[tuple[str, str], str] = {}  # language and fingerprint -> place
    for row in rows:
        first_root = place.setdefault(row.data_set, row.data_set)
        second_root = place[holder.setdefault((row.language, row.fingerprint), first_root)]
        if second_root != first_root:
            place = {name: second_root if first == first_root else first for name, first in place.items()}
    return place


def _name(place: str, read_as: str, rank: int) -> str:
    if not rank:
        return place
    return f"{place}, different content {rank}" + (f", read with {read_as}" if read_as else "")
