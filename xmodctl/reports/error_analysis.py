"""Error analysis: what a run's stored predictions show beyond its scores, one language at a time."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

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
from xmodctl.kinds.breakdown import Confusion, SeedPredictions, Subset, Texts
from xmodctl.kinds.scoring import Predicted
from xmodctl.run.data_sets import folder_of
from xmodctl.run.run import Run

if TYPE_CHECKING:
    from xmodctl.data import Rows
    from xmodctl.reports.parallel_errors import Overlap

AddNote = Callable[[str, str], None]
"""Takes what cannot be shown: (why, of which language)."""


@dataclass(frozen=True)
class SourceRow:
    """The same row of a parallel task in the source language, and what the run predicts there."""

    language: str
    gold: str
    predicted: str  # by most of the seeds
    is_right: bool  # with at least half of the seeds
    wrong_seeds: int
    seeds: int
    texts: Texts


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
    source: SourceRow | None = None  # of a parallel task
    is_wrong_everywhere: bool = False  # in every language of a parallel task


@dataclass(frozen=True)
class ErrorAnalysis:
    """What the predictions of one language show beyond its score."""

    confusion: Confusion | None = None
    parts: tuple[Subset, ...] = ()
    mistakes: tuple[Mistake, ...] = ()  # the worst come first
    overlap: "Overlap | None" = None  # with the errors in the source language, on a parallel task
    lost: tuple[Mistake, ...] = ()  # the worst that are right in the source language
    everywhere: tuple[Mistake, ...] = ()  # of the source language: the worst that are wrong in every language


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
        seeds = self.seeds(rows)
        if not seeds:
            return ErrorAnalysis()
        try:
            return ErrorAnalysis(kind.confusion(task, seeds), kind.parts(task, seeds), self._worst(rows[0], seeds))
        except NOT_OF_THE_TASK as error:
            self.add_note(
                f"the errors are not shown: the predictions do not fit the task ({error!r})", rows[0].language
            )
            return ErrorAnalysis()

    def seeds(self, rows: Sequence[Row]) -> list[SeedPredictions]:
        """Return the predictions of each seed that can be read and was scored on the same examples as the first."""
        task = self.run.plan.task
        scored: list[SeedPredictions] = []
        first = None
        for row in rows:
            try:
                predictions = read_scored(self.run, row)
            except UserError as problem:
                self.add_note(str(problem), f"{row.language} (seed {row.seed})")
                continue
            first = first or row
            if row.fingerprint == first.fingerprint:
                scored.append(SeedPredictions(KINDS[task.kind], task, row.language, predictions, row.metrics))
        return scored

    def worst(self, rows: Sequence[Row], ids: Sequence[str] | None = None) -> tuple[Mistake, ...]:
        """Return the worst errors of one language, at most `most`; with `ids`, only among these examples."""
        return self._worst(rows[0], self.seeds(rows), ids) if self.most else ()

    def _worst(
        self, row: Row, seeds: Sequence[SeedPredictions], ids: Sequence[str] | None = None
    ) -> tuple[Mistake, ...]:
        if not seeds or not self.most:
            return ()
        wrongness = self._wrongness(seeds)
        wanted = None if ids is None else set(ids)
        mean = wrongness.mean(axis=0)
        worst = [
            int(index)
            for index in np.argsort(-mean, kind="stable")
            if mean[index] > 0 and (wanted is None or seeds[0].predictions[index].id in wanted)
        ]
        return self._described(row, seeds, wrongness, worst[: self.most])

    def described(self, rows: Sequence[Row], ids: Sequence[str]) -> tuple[Mistake, ...]:
        """Return examples of one language, right or wrong, with what most seeds predict."""
        seeds = self.seeds(rows)
        if not seeds:
            return ()
        numbers = {row.id: number for number, row in enumerate(seeds[0].predictions)}
        chosen = [numbers[id_] for id_ in ids if id_ in numbers]
        return self._described(rows[0], seeds, self._wrongness(seeds), chosen)

    def _wrongness(self, seeds: Sequence[SeedPredictions]) -> np.ndarray:
        """Return how wrong each seed is on each example, shape (seeds, examples)."""
        task = self.run.plan.task
        return np.stack([KINDS[task.kind].wrongness(task, seed) for seed in seeds])

    def _described(
        self, row: Row, seeds: Sequence[SeedPredictions], wrongness: np.ndarray, chosen: Sequence[int]
    ) -> tuple[Mistake, ...]:
        if not chosen:
            return ()
        task = self.run.plan.task
        examples = self._examples(row, [seeds[0].predictions[index].id for index in chosen])
        mistakes = []
        for index in chosen:
            wrong = [
                seed.predictions[index] for seed, value in zip(seeds, wrongness[:, index], strict=True) if value > 0
            ]
            # Of an error, what the seeds predict that are wrong; of another example, what all predict.
            counted = wrong or [seed.predictions[index] for seed in seeds]
            gold, predicted, texts = KINDS[task.kind].describe_mistake(
                task, counted[0].gold, _most_common(counted), examples.get(counted[0].id)
            )
            mean = float(wrongness[:, index].mean())
            mistakes.append(Mistake(counted[0].id, gold, predicted, len(wrong), len(seeds), mean, texts))
        return tuple(mistakes)

    def _examples(self, row: Row, ids: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        """Return the examples that were scored by their ids; none where the data is missing or has changed."""
        from xmodctl.data import load_examples

        try:
            task, folder = self._reading(row)
            examples, fingerprint_now = load_examples(
                task, row.language, _split(row), ids, folder=folder, limit=row.limited
            )
        except UserError:
            self.add_note(
                "the data cannot be read, so errors are shown without text; give its location with --data", row.language
            )
            return {}
        if fingerprint_now != row.fingerprint:
            self.add_note("the data has changed since it was scored, so errors are shown without text", row.language)
            return {}
        return examples

    def rows_of(self, row: Row) -> "tuple[Rows, Task]":
        """Return all examples that were scored, and the task as they are read.

        Raises:
            UserError: The data is missing, cannot be read, or has changed.
        """
        from xmodctl.data import load_rows

        task, folder = self._reading(row)
        rows = load_rows(task, row.language, _split(row), folder=folder, limit=row.limited)
        if rows.fingerprint != row.fingerprint:
            redo = scoring_command(self.run.folder, row, redo=True)
            raise UserError(f"{rows.origin} has changed since {row.language} was scored; score it again: {redo}")
        return rows, task

    def _reading(self, row: Row) -> tuple[Task, Path | None]:
        """Return the task as the data of a row was read, and where that data is; None is the Hub.

        Raises:
            UserError: It is missing.
        """
        origin = row.data.rpartition("#")[0]
        folder = self.data or _data_folder(origin, row, self.run)
        if folder is None and not _is_on_hub(origin, self.run):
            raise UserError(f"{origin} is missing; give its new location with --data DIR")
        return _task_of(reading(self.run, folder), row), folder


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
