"""Example statistics: what each example contributes to a score, from stored predictions and without a model."""

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
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
from xmodctl.evaluation.scoring_commands import scoring_command
from xmodctl.kinds import KINDS
from xmodctl.kinds.scoring import Predicted

NOT_OF_THE_TASK = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What a kind raises for predictions that its task cannot have, such as a label that it lacks."""

_log = logging.getLogger(__name__)

LAYOUT = 3
"""Version of the cache files. Files of another version are made again."""

CACHE_BYTES = 2**28
"""The cache is pruned to this size once per process; what has not been used for longest goes first."""


@dataclass(frozen=True)
class ExampleStatistics:
    """The statistics of each example of one score, in the order of the examples' ids."""

    counts: np.ndarray  # (examples, counts), as the kind's `statistics` returns them
    ids: str  # sha256 of the ids: equal where the examples have the same names
    gold: str  # sha256 of the ids with their gold answers: equal where the examples are the same

    @classmethod
    def of(cls, predictions: Sequence[Predicted], statistics: np.ndarray) -> Self:
        """Order the statistics of predictions by their ids."""
        order = sorted(range(len(predictions)), key=lambda number: predictions[number].id)
        ids = [predictions[number].id for number in order]
        gold = [predictions[number].gold for number in order]
        return cls(statistics[order], _digest(ids), _digest([ids, gold]))

    @classmethod
    def computed(cls, predictions: Sequence[Predicted], task: Task, language: str) -> Self:
        """Compute the statistics of predictions by the rules of their task."""
        gold, predicted = [row.gold for row in predictions], [row.prediction for row in predictions]
        return cls.of(predictions, KINDS[task.kind].statistics(gold, predicted, task, language))

    def metrics(self, task: Task) -> dict[str, float]:
        """Return every metric of the kind, in percent."""
        metrics = KINDS[task.kind].metrics(self.counts.sum(axis=0), task)
        return {name: float(value) for name, value in metrics.items()}


def load_example_statistics(folder: Path, row: Row, task: Task) -> ExampleStatistics:
    """Return the statistics behind a row of a run's results; they are cached, because comparing text takes time.

    Raises:
        UserError: The predictions are missing, or are not those that the row was computed from.
    """
    path = row.predictions_in(folder)
    if not path.exists():
        raise UserError(f"{path} is missing; score {row.language} again: {scoring_command(folder, row)}")
    if sha256_of(path) != row.predictions_sha256:
        raise UserError(
            f"{path} was changed after it was scored (its sha256 differs from that of its row in results.jsonl); "
            f"restore it, or score {row.language} again: {scoring_command(folder, row, redo=True)}"
        )
    if (cached := _read_cache(cache_path(row, task))) is not None:
        return cached
    remedy = f"score {row.language} again: {scoring_command(folder, row, redo=True)}"
    statistics = statistics_of(path, row, task, remedy=remedy)
    cache_example_statistics(statistics, row, task)
    return statistics


def statistics_of(path: Path, row: Row, task: Task, *, remedy: str) -> ExampleStatistics:
    """Compute the statistics of a file of predictions.

    Raises:
        UserError: It holds something else, or predictions that the task does not have.
    """
    predictions = read_predictions(path, remedy=remedy)
    try:
        return ExampleStatistics.computed(predictions, task, row.language)
    except NOT_OF_THE_TASK as error:
        raise UserError(f"{path} contains predictions that {task.name} cannot score ({error!r}); {remedy}") from error


def read_predictions(path: Path, *, remedy: str) -> list[Predicted]:
    """Read a file of predictions; `remedy` says in messages how to make it again.

    Raises:
        UserError: It holds something else.
    """
    predictions: dict[str, Predicted] = {}
    for number, value in jsonl.read(path, remedy=remedy):
        try:
            prediction = Predicted(**value)
        except TypeError as error:
            raise UserError(f"{path}:{number} is not a prediction; {remedy}") from error
        if not isinstance(prediction.id, str) or not isinstance(prediction.scores, list | tuple):
            raise UserError(f"{path}:{number} is not a prediction; {remedy}")
        if prediction.id in predictions:
            raise UserError(f"{path}:{number} has the id {prediction.id} of an earlier line; {remedy}")
        predictions[prediction.id] = prediction
    if not predictions:
        raise UserError(f"{path} contains 0 rows; {remedy}")
    return list(predictions.values())


def cache_example_statistics(computed: ExampleStatistics, row: Row, task: Task) -> None:
    """Cache statistics, so that reports need not compute them again; a warning says if the cache cannot be written."""
    statistics = computed.counts
    if np.issubdtype(statistics.dtype, np.integer):
        statistics = statistics.astype(np.min_scalar_type(int(statistics.max(initial=0))))
    statistics = np.ascontiguousarray(statistics)
    facts = {"ids": computed.ids, "gold": computed.gold}
    path = cache_path(row, task)
    try:
        with whole_file(path) as part:
            write_arrays(part, {"statistics": statistics}, facts, sealed=True)
        _prune_once(path.parent)
    except OSError as error:
        _warn_once(path.parent, error.strerror or str(error))


@cache
def _warn_once(folder: Path, reason: str) -> None:
    _log.warning("example statistics are not cached in %s: %s", folder, reason)


@cache
def _prune_once(folder: Path) -> None:
    prune(folder, CACHE_BYTES)


def cache_path(row: Row, task: Task) -> Path:
    """Return where the statistics of a row are cached: named by all that they depend on, this version included."""
    rules = [LAYOUT, versions()["xmodctl"], task.kind, task.labels, task.metric_rules, row.language]
    return cache_folder() / "outcomes" / f"{_digest([row.predictions_sha256, rules])}.safetensors"


def _read_cache(path: Path) -> ExampleStatistics | None:
    """Return cached statistics, or None if there are none or the file is damaged."""
    try:
        arrays, facts = read_arrays(path, sealed=True)
        cached = ExampleStatistics(arrays["statistics"], facts["ids"], facts["gold"])
        os.utime(path)  # used now: the last to be pruned
    except (DamagedFileError, KeyError) as error:
        _log.warning("the example statistics in the cache are computed again: %s", error)
        return None
    except OSError:
        return None
    return cached


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass")).hexdigest()
