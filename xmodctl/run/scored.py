"""What a run's scores are in short. Reads its rows as plain JSON, so that a listing loads nothing heavy."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from xmodctl.core import jsonl
from xmodctl.core.errors import UserError
from xmodctl.core.visible import one_line
from xmodctl.languages import meaning, same
from xmodctl.run.data_sets import data_set_of, short_names

_log = logging.getLogger(__name__)

MOST = 1e300
"""No score is larger; larger whole numbers would not fit into a float."""
OWN = "own"
"""The value of `control` in the rows of scores that are not controls."""


@dataclass(frozen=True)
class Scored:
    """The scores of a run on one split of one data set, each language through the adapter chosen for it."""

    data_set: str  # short
    split: str
    limited: int | None  # rows of each language
    metric: str
    languages: tuple[str, ...]
    source: float | None  # the mean over source languages and seeds, in percent
    transfer: float | None  # the mean over the other languages

    def to_json(self) -> dict[str, Any]:
        """Return the scores as plain JSON values."""
        return asdict(self) | {"languages": list(self.languages)}


def scored(path: Path) -> list[Scored]:
    """Return the scores in a run's file of results, in the order in which they were first measured.

    A file that is damaged is reported in the log and read up to the damage.
    """
    groups: dict[tuple[str, str, int | None], list[Mapping[str, Any]]] = {}
    for row in _rows(path):
        folder = str(row["folder"]) if row.get("folder") else None
        data_set = data_set_of(str(row.get("data", "")), str(row["language"]), str(row.get("task", "")), folder)
        groups.setdefault((data_set, str(row.get("split", "")), row.get("limited")), []).append(row)
    names = short_names(list(dict.fromkeys(data_set for data_set, _, _ in groups)))
    return [_summary(names[data_set], split, limited, rows) for (data_set, split, limited), rows in groups.items()]


def headline(groups: Sequence[Scored]) -> Scored | None:
    """Return the scores that stand for a run: those of whole test data, if it was scored on one such data set."""
    whole = [group for group in groups if group.split == "test" and group.limited is None]
    return whole[0] if len(whole) == 1 else None


def stored_mixtures(path: Path, selection: str) -> list[Mapping[str, Any]]:
    """Return what the rows of a file of results record about mixtures, if a selection of languages names such a one."""
    if "@" not in selection:
        return []
    from xmodctl.adapters.mixtures import check_record

    records = []
    for row in _rows(path):
        if record := row.get("mixture"):
            try:
                check_record(record)
            except ValueError:  # reported where the row is used
                continue
            records.append(record)
    return records


def _rows(path: Path) -> Iterable[Mapping[str, Any]]:
    if not path.exists():
        return
    remedy = "remove that line, and its language is scored again"
    try:
        for number, row in jsonl.read(path, remedy=remedy, append_only=True):
            if not _is_result(row):
                raise UserError(f"{path}:{number} is not a result; {remedy}")
            yield row
    except (UserError, OSError) as error:  # one damaged run does not hide the others
        _log.warning("%s", one_line(str(error)))


def _is_result(row: Mapping[str, Any]) -> bool:
    """Return whether the values of a row that are read here have the types of a result; earlier versions lack some."""
    value, sources = row.get("value"), row.get("source_languages")
    return (
        isinstance(row.get("language"), str)
        and all(isinstance(row.get(name), int | None) for name in ("seed", "limited"))
        and isinstance(row.get("control"), str | None)
        and (sources is None or (isinstance(sources, list) and all(isinstance(source, str) for source in sources)))
        and (not isinstance(value, int | float) or abs(value) < MOST)
    )


def _summary(data_set: str, split: str, limited: int | None, rows: Sequence[Mapping[str, Any]]) -> Scored:
    last: dict[tuple[Any, object], Mapping[str, Any]] = {}
    languages: dict[object, str] = {}
    for row in rows:
        languages.setdefault(meaning(row["language"]), str(row["language"]))
        if row.get("control", OWN) != OWN or not isinstance(row.get("value"), int | float):
            continue
        known = last.setdefault((row.get("seed"), meaning(row["language"])), row)
        if _is_own(row) or row.get("adapter") == known.get("adapter"):
            last[row.get("seed"), meaning(row["language"])] = row
    return Scored(
        data_set=data_set,
        split=split,
        limited=limited,
        metric=str(rows[-1].get("metric", "")),
        languages=tuple(languages.values()),
        source=_mean(row for row in last.values() if _is_source(row)),
        transfer=_mean(row for row in last.values() if not _is_source(row)),
    )


def _is_own(row: Mapping[str, Any]) -> bool:
    """Return whether a row's text went through the adapter of its own language, which stands for the language."""
    return isinstance(row.get("adapter"), str) and same(str(row["adapter"]), str(row["language"]))


def _is_source(row: Mapping[str, Any]) -> bool:
    if row.get("in_source") is None:  # a row of an earlier version
        return any(same(str(row["language"]), str(source)) for source in row.get("source_languages") or ())
    return bool(row["in_source"])


def _mean(rows: Iterable[Mapping[str, Any]]) -> float | None:
    """Return the mean over languages of the mean over seeds."""
    values: dict[object, list[float]] = {}
    for row in rows:
        values.setdefault(meaning(row["language"]), []).append(row["value"])
    return fmean(fmean(each) for each in values.values()) if values else None
