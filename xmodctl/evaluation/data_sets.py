"""Rows by data set: scores of different data are shown and averaged apart."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from xmodctl.evaluation.results import Row
from xmodctl.languages import meaning
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

    A score is one of every data set that has the same rows, such as two folders with the same English test file.
    Folders of which no language has different contents, and one has the same, are one data set.

    Where a run scored a language on several contents of one data set (its file was changed, or other columns were
    read), the one that most runs have stands for the data set, or else the last one, and each of the others is a data
    set of its own; so is, of one content, each package of the same adapter but the last one.

    Each language has one spelling in a data set: that of its first row.

    Args:
        runs: The rows of each run, of one split and limit, in the order of scoring.
    """
    roots = _roots([row for rows in runs for row in rows])
    names = short_names(list(dict.fromkeys(roots.values())))
    members = [(number, row, root) for number, rows in enumerate(runs) for row, root in _members(rows, runs, roots)]
    contents, packages = _Variants(), _Variants()
    for number, row, root in reversed(members):
        contents.add((root, meaning(row.language)), row.fingerprint, number)
        packages.add((root, row.fingerprint, *row.key[1:-2]), row.package, number)
    groups: dict[tuple[str, str, int, str], tuple[list[Row], ...]] = {}
    spelling: dict[tuple[Any, ...], str] = {}
    for number, row, root in members:
        rank = contents.rank((root, meaning(row.language)), row.fingerprint, number)
        is_last = not packages.rank((root, row.fingerprint, *row.key[1:-2]), row.package, number)
        key = (root, row.read_as if rank else "", rank, "" if is_last else f"{row.adapter} {(row.package or '')[:12]}")
        language = spelling.setdefault((key, meaning(row.language)), row.language)
        groups.setdefault(key, tuple([] for _ in runs))[number].append(replace(row, language=language))
    sets = [DataSetRows(_name(names[key[0]], *key[1:]), rows) for key, rows in groups.items()]
    return sorted(sets, key=lambda each: -len(each.languages))


class _Variants:
    """What a run may have of several of, such as contents of one language, and which runs have each; the last first."""

    def __init__(self) -> None:
        self._runs: dict[tuple[Any, ...], dict[str | None, set[int]]] = {}

    def add(self, place: tuple[Any, ...], variant: str | None, run: int) -> None:
        """Add a variant that a run has."""
        self._runs.setdefault(place, {}).setdefault(variant, set()).add(run)

    def rank(self, place: tuple[Any, ...], variant: str | None, run: int) -> int:
        """Return the place of a variant among those of a run: 0 is the one that most runs have, or the last one."""
        runs = self._runs[place]
        return [each for each in sorted(runs, key=lambda each: -len(runs[each])) if run in runs[each]].index(variant)


def data_names(rows: Sequence[Row]) -> list[str]:
    """Return which data each row is of, in a few words; empty texts if all rows are of one data set."""
    contents: dict[tuple[Any, ...], set[str]] = {}
    for row in rows:
        contents.setdefault(row.key[:-1], set()).add(row.fingerprint)
    names = short_names(list(dict.fromkeys(row.data_set for row in rows)))
    if len(names) < 2 and all(len(each) < 2 for each in contents.values()):
        return [""] * len(rows)
    return [f"{names[row.data_set]} ({row.fingerprint[:8]})" for row in rows]


Contents = dict[object, set[str]]
"""Language, however it is spelled -> fingerprints."""


def _contents(rows: Iterable[Row]) -> dict[str, Contents]:
    """Return what each data set contains."""
    contents: dict[str, Contents] = {}
    for row in rows:
        for data_set in (row.data_set, *row.also_in):
            contents.setdefault(data_set, {}).setdefault(meaning(row.language), set()).add(row.fingerprint)
    return contents


def _roots(rows: Sequence[Row]) -> dict[str, str]:
    """Return, for each data set, the first one that is the same: a language has one content in both, and none two."""
    merged: dict[str, Contents] = {}
    roots = {}
    for data_set, contents in _contents(rows).items():
        root = next((other for other, known in merged.items() if _are_same(known, contents)), data_set)
        roots[data_set] = root
        for language, fingerprints in contents.items():
            merged.setdefault(root, {}).setdefault(language, set()).update(fingerprints)
    return roots


def _are_same(first: Contents, second: Contents) -> bool:
    """Return whether two data sets have languages in common, and the same content of each of these."""
    shared = first.keys() & second.keys()
    return bool(shared) and all(first[language] & second[language] for language in shared)


def _members(rows: Sequence[Row], runs: Sequence[Sequence[Row]], roots: Mapping[str, str]) -> Iterator[tuple[Row, str]]:
    """Yield each row of a run with each data set that it is of: its own ones, and those that other rows show to be."""
    contents: dict[str, Contents] = {}
    for data_set, known in _contents(row for each in runs for row in each).items():
        for language, fingerprints in known.items():
            contents.setdefault(roots[data_set], {}).setdefault(language, set()).update(fingerprints)
    for row in rows:
        language = meaning(row.language)
        own = dict.fromkeys(roots[data_set] for data_set in (row.data_set, *row.also_in))
        others = [root for root in contents if row.fingerprint in contents[root].get(language, ())]
        yield from ((row, root) for root in dict.fromkeys([*own, *others]))


def _name(place: str, read_as: str, rank: int, package: str) -> str:
    parts = [f"different content {rank}" if rank else "", f"read with {read_as}" if read_as else ""]
    parts.append(f"package {package}" if package else "")
    return ", ".join([place, *filter(None, parts)])
