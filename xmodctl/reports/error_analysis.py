"""Error analysis: what a run's stored predictions show beyond its scores, one language at a time."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from xmodctl.catalog.locations import Split
from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError
from xmodctl.core.files import sha256_of
from xmodctl.core.schema import parse_override
from xmodctl.evaluation.evaluate import reading
from xmodctl.evaluation.example_statistics import NOT_OF_THE_TASK, read_predictions
from xmodctl.evaluation.results import Row
from xmodctl.evaluation.scoring_commands import scoring_command, settings_of
from xmodctl.kinds import KINDS
from xmodctl.kinds.breakdown import Confusion, Part, SeedPredictions, Texts
from xmodctl.kinds.scoring import Predicted
from xmodctl.run.data_sets import folder_of
from xmodctl.run.run import Run

AddNote = Callable[[str, str], None]
"""Takes what cannot be shown: (why, of which language)."""


@dataclass(frozen=True)
class Mistake:
    """An example that the model got wrong."""

    id: str
    gold: str
    predicted: str  # by most of the seeds that got it wrong
    wrong_seeds: int
    seeds: int
    wrongness: float  # how wrong the prediction is, weighted by the model's confidence; mean over seeds
    texts: Texts  # empty where the data is not available


@dataclass(frozen=True)
class ErrorAnalysis:
    """What the predictions of one language show beyond its score."""

    confusion: Confusion | None = None
    parts: tuple[Part, ...] = ()
    mistakes: tuple[Mistake, ...] = ()  # the worst come first


@dataclass(frozen=True)
class ErrorAnalyzer:
    """Analyses the errors of one run."""

    run: Run
    data: Path | None  # where the data is now, if not where it was when it was scored
    most: int  # mistakes per language
    add_note: AddNote

    def analyze(self, rows: Sequence[Row]) -> ErrorAnalysis:
        """Analyze one language; `rows` are its result rows, one per seed."""
        task = self.run.plan.task
        kind = KINDS[task.kind]
        scored: list[tuple[Row, SeedPredictions]] = []
        for row in rows:
            try:
                predictions = read_scored(self.run, row)
            except UserError as problem:
                self.add_note(str(problem), f"{row.language} (seed {row.seed})")
                continue
            scored.append((row, SeedPredictions(kind, task, row.language, predictions, row.metrics)))
        if not scored:
            return ErrorAnalysis()
        first, _ = scored[0]
        # Seeds that were scored on other examples than the first cannot be combined with it.
        seeds = [predictions for row, predictions in scored if _fingerprint(row) == _fingerprint(first)]
        try:
            return ErrorAnalysis(
                kind.confusion(task, seeds), kind.parts(task, seeds), self._mistakes(first, seeds) if self.most else ()
            )
        except NOT_OF_THE_TASK as error:
            self.add_note(f"the errors are not shown: the predictions do not fit the task ({error!r})", first.language)
            return ErrorAnalysis()

    def _mistakes(self, row: Row, seeds: Sequence[SeedPredictions]) -> tuple[Mistake, ...]:
        task = self.run.plan.task
        kind = KINDS[task.kind]
        wrongness = np.stack([kind.wrongness(task, seed) for seed in seeds])  # (seeds, examples)
        mean = wrongness.mean(axis=0)
        worst = [int(index) for index in np.argsort(-mean, kind="stable")[: self.most] if mean[index] > 0]
        examples = self._examples(row, [seeds[0].predictions[index].id for index in worst])
        mistakes = []
        for index in worst:
            wrong = [
                seed.predictions[index] for seed, value in zip(seeds, wrongness[:, index], strict=True) if value > 0
            ]
            gold, predicted, texts = kind.describe_mistake(
                task, wrong[0].gold, _most_common(wrong), examples.get(wrong[0].id)
            )
            mistakes.append(Mistake(wrong[0].id, gold, predicted, len(wrong), len(seeds), float(mean[index]), texts))
        return tuple(mistakes)

    def _examples(self, row: Row, ids: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        """Return the examples that were scored by their ids; none where the data is missing or has changed."""
        from xmodctl.data import load_examples

        origin, _, fingerprint = row.data.rpartition("#")
        folder = self.data or _data_folder(origin, row, self.run)
        try:
            if folder is None and not _is_on_hub(origin, self.run):
                raise UserError(f"{origin} is missing")
            task, split = _task_of(reading(self.run, folder), row), _split(row)
            examples, fingerprint_now = load_examples(task, row.language, split, ids, folder=folder, limit=row.limited)
        except UserError:
            self.add_note(
                "the data cannot be read, so errors are shown without text; say where it is with --data", row.language
            )
            return {}
        if fingerprint_now != fingerprint:
            self.add_note("the data has changed since it was scored, so errors are shown without text", row.language)
            return {}
        return examples


def read_scored(run: Run, row: Row) -> list[Predicted]:
    """Read the predictions that a row was scored from.

    Raises:
        UserError: They are missing, or are not those that were scored.
    """
    path = row.predictions_in(run.folder)
    if not path.exists():
        raise UserError(f"the predictions are missing; score again with: {scoring_command(run.folder, row)}")
    redo = scoring_command(run.folder, row, redo=True)
    if sha256_of(path) != row.predictions_sha256:
        raise UserError(f"the predictions were changed after they were scored; score again with: {redo}")
    return read_predictions(path, remedy=f"score again with: {redo}")


def _most_common(predictions: Sequence[Predicted]) -> Any:
    """Return the prediction of most seeds; predictions may be lists, so their JSON is compared."""
    written, _ = Counter(json.dumps(row.prediction) for row in predictions).most_common(1)[0]
    return json.loads(written)


def _split(row: Row) -> Split:
    for split in get_args(Split):
        if split == row.split:
            return split  # type: ignore[no-any-return]
    raise UserError(f"{row.split} is not a split")


def _fingerprint(row: Row) -> str:
    return row.data.rpartition("#")[2]


def _task_of(run: Run, row: Row) -> Task:
    """Return the task as the data of a row was read."""
    return run.with_task(dict(map(parse_override, settings_of(row.read_as))), origin=row.predictions).plan.task


def _data_folder(origin: str, row: Row, run: Run) -> Path | None:
    """Return the data folder that a file came from: DIR of DIR/<language>/<split>.<ext>, or of DIR/<split>.<ext>."""
    if row.folder and Path(row.folder).exists():
        return Path(row.folder)
    if Path(origin).exists() and (place := folder_of(row.data, row.language)):
        return Path(place)
    folder = Path(run.plan.data) if run.plan.data else None
    return folder if folder and folder.exists() else None


def _is_on_hub(origin: str, run: Run) -> bool:
    """Return whether rows came from the Hub: then they are in its cache, or can be downloaded."""
    evaluation = run.plan.task.evaluation
    locations = evaluation.locations if evaluation else ()
    return any(origin.startswith(f"{location.repository}@") for location in locations)
