"""Stored predictions as numbers: what each example brings to a score, read back without a model."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np

from xmodctl.catalog.task import Task
from xmodctl.core import jsonl
from xmodctl.core.errors import UserError
from xmodctl.core.files import cache_folder, prune, sha256_of, whole_file
from xmodctl.core.safetensors_io import DamagedFileError, read_arrays, write_arrays
from xmodctl.core.versions import versions
from xmodctl.evaluation.results import Row
from xmodctl.kinds import KINDS
from xmodctl.kinds.scoring import Predicted
from xmodctl.statistics.resampling import bootstrap

REDO = "score its language again with eval-transfer --on-exists redo"

AS_STORED = "as stored"

CACHE_BYTES = 2**28
"""Kept outcomes are held below this, looked at once a process; what was not used for longest goes first."""


@dataclass(frozen=True)
class Outcomes:
    """One measurement example by example, in the order of the examples' ids."""

    statistics: np.ndarray  # (examples, counts), as the kind's `statistics` returns them
    ids: str  # sha256 of the ids: equal where the examples are called the same
    gold: str  # sha256 of the ids with their right answers: equal where the examples are the same

    @classmethod
    def of(cls, predictions: Sequence[Predicted], statistics: np.ndarray) -> Self:
        """Put what predictions were judged to be in the order of their ids."""
        order = sorted(range(len(predictions)), key=lambda number: predictions[number].id)
        ids = [predictions[number].id for number in order]
        gold = [predictions[number].gold for number in order]
        return cls(statistics[order], _digest(ids), _digest([ids, gold]))

    @classmethod
    def judged(cls, predictions: Sequence[Predicted], task: Task, language: str) -> Self:
        """Judge predictions by the rules of their task."""
        gold, said = [one.gold for one in predictions], [one.prediction for one in predictions]
        return cls.of(predictions, KINDS[task.kind].statistics(gold, said, task, language))

    def metrics(self, task: Task) -> dict[str, float]:
        """Return every metric of the kind, in percent."""
        metrics = KINDS[task.kind].metrics(self.statistics.sum(axis=0), task)
        return {name: float(value) for name, value in metrics.items()}


def load_outcomes(folder: Path, row: Row, task: Task) -> Outcomes:
    """Return the outcomes behind a row of a run's results; they are kept by content, as judging text takes its time.

    Raises:
        UserError: The predictions are missing, or are not those that the row was made from.
    """
    path = folder / row.predictions
    if not path.exists():
        raise UserError(f"{path} is missing; score {row.language} again: {again(folder, row)}")
    if sha256_of(path) != row.predictions_sha256:
        raise UserError(
            f"{path} was changed after it was scored (its sha256 is not that of its row in results.jsonl); "
            f"bring it back, or score {row.language} again: {again(folder, row, redo=True)}"
        )
    if (kept := _load(_place(row, task))) is not None:
        return kept
    outcomes = Outcomes.judged(read_predictions(path), task, row.language)
    keep_outcomes(outcomes, row, task)
    return outcomes


def read_predictions(path: Path) -> list[Predicted]:
    """Read a file of predictions.

    Raises:
        UserError: It holds something else.
    """
    found: dict[str, Predicted] = {}
    for number, value in jsonl.read(path, remedy=REDO):
        try:
            one = Predicted(**value)
        except TypeError as error:
            raise UserError(f"{path}:{number} is not a prediction; {REDO}") from error
        if one.id in found:
            raise UserError(f"{path}:{number} has the id {one.id} of an earlier line; {REDO}")
        found[one.id] = one
    if not found:
        raise UserError(f"{path} holds 0 rows; {REDO}")
    return list(found.values())


def keep_outcomes(outcomes: Outcomes, row: Row, task: Task) -> None:
    """Keep what was judged, so that a report need not judge it again; where nothing can be written, nothing is."""
    statistics = outcomes.statistics
    if np.issubdtype(statistics.dtype, np.integer):
        statistics = statistics.astype(np.min_scalar_type(int(statistics.max(initial=0))))
    statistics = np.ascontiguousarray(statistics)
    facts = {"ids": outcomes.ids, "gold": outcomes.gold, "sha256": hashlib.sha256(statistics.data).hexdigest()}
    try:
        with whole_file(_place(row, task)) as part:
            write_arrays(part, {"statistics": statistics}, facts)
        _prune_once(_place(row, task).parent)
    except OSError:
        return


@cache
def _prune_once(folder: Path) -> None:
    prune(folder, CACHE_BYTES)


@dataclass(frozen=True)
class Rescored:
    """A row of results beside what its stored predictions score now."""

    row: Row
    found: Row | None  # the row as it would be written now; None where predictions cannot be read
    problem: str = ""  # what is wrong with the predictions, else nothing

    @property
    def state(self) -> str:
        """What to call it: as stored, differs, edited (the predictions were), or unreadable."""
        if self.found is None:
            return "unreadable"
        if self.problem:
            return "edited"
        then, now = ({**row.metrics, "value": row.value, "n": row.n} for row in (self.row, self.found))
        # Sums of the same numbers in another order differ in their last digits.
        same = then.keys() == now.keys() and all(abs(value - now[name]) <= 1e-6 for name, value in then.items())
        return AS_STORED if same else "differs"


def rescore(folder: Path, row: Row, task: Task) -> Rescored:
    """Score the predictions behind a row again; nothing kept from earlier is used, but what is found is kept."""
    path = folder / row.predictions
    if not path.exists():
        return Rescored(row, None, f"{path} is missing; {again(folder, row)} makes it again")
    edited = sha256_of(path) != row.predictions_sha256
    try:
        outcomes = Outcomes.judged(read_predictions(path), task, row.language)
    except UserError as error:
        return Rescored(row, None, str(error))
    except (LookupError, TypeError, ValueError) as error:  # a label that the task does not have, and the like
        return Rescored(row, None, f"{path} holds what {task.name} cannot judge ({error!r}); {REDO}")
    metrics = outcomes.metrics(task)
    interval = bootstrap(outcomes.statistics, lambda totals: KINDS[task.kind].metrics(totals, task)[task.headline])
    found = replace(
        row,
        n=len(outcomes.statistics),
        metric=task.headline,
        value=metrics[task.headline],
        metrics=metrics,
        ci_low=interval.low,
        ci_high=interval.high,
        ci_method=interval.method,
        predictions_sha256=sha256_of(path),
        tool=versions()["xmodctl"],
    )
    if not edited:
        keep_outcomes(outcomes, found, task)
    return Rescored(row, found, f"{path} was changed after it was scored" if edited else "")


def again(folder: Path, row: Row, *, redo: bool = False) -> str:
    """Return the command that makes a row again."""
    through = f"{row.language}={row.adapter}" if row.control == "own" else row.language
    words = f"xmodctl eval-transfer --run {folder} --langs {through} --split {row.split}"
    words += f" --controls {row.control}" if row.control != "own" else ""
    words += f" --limit {row.limited}" if row.limited else ""
    return words + (" --on-exists redo" if redo else "")


def _place(row: Row, task: Task) -> Path:
    """Return where outcomes are kept: named by all that they follow from, the version that judges included."""
    judged_by = [versions()["xmodctl"], task.kind, task.labels, task.metric_rules, row.language]
    return cache_folder() / "outcomes" / f"{_digest([row.predictions_sha256, judged_by])}.safetensors"


def _load(path: Path) -> Outcomes | None:
    """Return kept outcomes, or None if there are none or the file is damaged."""
    try:
        arrays, facts = read_arrays(path)
        statistics = arrays["statistics"]
        os.utime(path)  # used now: the last to be pruned
    except (DamagedFileError, KeyError, OSError):
        return None
    if facts.get("sha256") != hashlib.sha256(statistics.data).hexdigest():
        return None
    return Outcomes(statistics, facts["ids"], facts["gold"])


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode()).hexdigest()
