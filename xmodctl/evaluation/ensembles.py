"""`xmodctl score --ensemble` as a function: the stored predictions of several models as one, without a model."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError
from xmodctl.core.requests import command
from xmodctl.evaluation.compared_rows import common_data_sets, refuse_different_tasks, rows_in_common
from xmodctl.evaluation.example_statistics import (
    NOT_OF_THE_TASK,
    ExampleStatistics,
    load_example_statistics,
    read_predictions,
)
from xmodctl.evaluation.requests import EnsembleRequest
from xmodctl.evaluation.results import Row, own_rows
from xmodctl.evaluation.scoring_commands import scoring_command
from xmodctl.kinds import KINDS
from xmodctl.kinds.scoring import Predicted, headline_of_draws
from xmodctl.run.loading import find_run
from xmodctl.run.run import Run
from xmodctl.statistics.correlations import freedoms_of, widened
from xmodctl.statistics.intervals import contrast
from xmodctl.statistics.resampling import Scores, resample
from xmodctl.statistics.significance import TEST_RESAMPLES


@dataclass(frozen=True)
class EnsembleScore:
    """An ensemble against the mean score of its members, in one language or as a mean over languages."""

    language: str | None  # None: the mean over languages
    n: int
    models: int
    members: float  # mean score of the members, percent
    ensemble: float  # percent
    difference: float  # points
    ci_low: float
    ci_high: float

    def to_json(self) -> dict[str, Any]:
        """Return the score as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Ensemble:
    """The scores of an ensemble on one data set, and what you should know about them."""

    metric: str
    rule: str  # what the ensemble predicts
    scores: tuple[EnsembleScore, ...]
    notes: tuple[str, ...]
    task: str
    split: str
    limited: int | None  # rows of each language, where --limit was given
    runs: tuple[str, ...]

    @property
    def heading(self) -> str:
        """What was scored."""
        limited = f", LIMITED to {self.limited:,} rows per language" if self.limited else ""
        return f"{self.task}, {self.split}: {self.metric} in percent, {' + '.join(self.runs)}{limited}"

    def to_json(self) -> dict[str, Any]:
        """Return the ensemble as plain JSON values."""
        return asdict(self)


@command(EnsembleRequest)
def ensemble(request: EnsembleRequest) -> Ensemble:
    """Score the seeds of one or several runs as one model, from their stored predictions and without a model.

    How predictions become one depends on the kind of task: classifiers predict the answer with the highest mean
    probability, and `Ensemble.rule` says it of each.

    Each difference from the mean score of the members has a 95% interval, paired by example; it is about these
    members, and does not include the variance between trainings.

    Raises:
        UserError: The kind of task has no ensembles, there are fewer than two models, or their predictions are
            missing, changed, or of other rows.
    """
    runs = [find_run(run) for run in request.run_list]
    if len(runs) > 1:
        refuse_different_tasks(runs)
    task = runs[0].plan.task
    kind = KINDS[task.kind]
    if not kind.ensemble_rule:
        raise UserError(
            f"{task.name} is {task.kind}, which has no ensembles, because its predictions name only the nearest texts"
        )
    stored, notes = rows_in_common(runs, request.split)
    chosen, *others = common_data_sets(runs, stored)[0]
    notes = [*notes, *(f"{each.name} is not shown; {chosen.name} has more languages" for each in others)]
    by_run = [own_rows(rows) for rows in chosen.rows]
    languages = [language for language in by_run[0] if all(language in rows for rows in by_run)]
    notes += [f"{language} is skipped, because not every run was scored on it" for rows in by_run for language in rows
              if language not in languages]  # fmt: skip
    if not languages:
        each = "; ".join(f"{run.folder}: {', '.join(rows)}" for run, rows in zip(runs, by_run, strict=True))
        raise UserError(f"no language was scored by every run ({each}); score one with all of them")
    both = []
    for language in languages:
        models = [(run, row) for run, rows in zip(runs, by_run, strict=True) for row in rows[language]]
        adapters = list(dict.fromkeys(row.adapter or "none" for _, row in models))
        if len(adapters) > 1:
            notes.append(f"{language} went through different adapters: {', '.join(adapters)}")
        both.append(_scores_of(models))
    scores = [_compared(language, *pair) for language, pair in zip(languages, both, strict=True)]
    if len({score.models for score in scores}) > 1:
        notes.append("there is no mean over languages, because not every language was scored with the same models")
    elif len(scores) > 1:
        members, combined, sizes = zip(*both, strict=True)
        scores.append(_compared(None, Scores.mean(members), Scores.mean(combined), sizes[0]))
    return Ensemble(
        task.headline, kind.ensemble_rule, tuple(scores), tuple(dict.fromkeys(notes)), task.name, request.split,
        chosen.rows[0][0].limited, tuple(str(run.folder) for run in runs),
    )  # fmt: skip


def _scores_of(models: Sequence[tuple[Run, Row]]) -> tuple[Scores, Scores, int]:
    """Return the mean score of models, the score of their ensemble, both resampled together, and how many they are.

    Raises:
        UserError: There are too few, or their predictions do not fit together.
    """
    run, first = models[0]
    if len(models) < 2:
        raise UserError(
            f"{run.folder} has one seed scored on {first.language}, and an ensemble needs two models; name another run "
            "with --with DIR, or train and score more seeds with xmodctl finetune --seeds 1,2,3"
        )
    task, kind = run.plan.task, KINDS[run.plan.task.kind]
    tables = [load_example_statistics(each.folder, row, task) for each, row in models]
    for (each, row), table in zip(models[1:], tables[1:], strict=True):
        if table.gold != tables[0].gold:
            raise UserError(
                f"{first.language}: {run.folder}, seed {first.seed}, and {each.folder}, seed {row.seed}, were not "
                f"scored on the same rows; score them again: {scoring_command(each.folder, row, redo=True)}"
            )
    tables.append(ExampleStatistics.computed(_combined(models), task, first.language))
    stream = tables[0].ids if task.parallel else f"{first.language} {tables[0].ids}"
    counts, of_draws = [table.counts for table in tables], headline_of_draws(kind, task)

    def metric(totals: np.ndarray) -> np.ndarray:
        return kind.metrics(totals, task)[task.headline]

    drawn = resample(counts, metric, stream=stream, resamples=TEST_RESAMPLES, of_draws=of_draws)
    observed = np.array([table.metrics(task)[task.headline] for table in tables])
    examples = {stream: len(tables[0].counts)}
    if is_correlation := kind.headlines[task.headline].is_correlation:
        drawn = widened(drawn, observed, len(tables[0].counts), freedoms_of(counts, metric, of_draws))
    members = Scores(tuple(range(len(models))), observed[:-1], drawn[:, :-1], examples, is_correlation)
    return members.as_one(), Scores((0,), observed[-1:], drawn[:, -1:], examples, is_correlation), len(models)


def _combined(models: Sequence[tuple[Run, Row]]) -> list[Predicted]:
    """Return what the ensemble of models predicts for each row.

    Raises:
        UserError: Stored predictions lack what the kind's rule needs.
    """
    files, remedies = [], []
    for run, row in models:
        remedies.append(f"score {row.language} again: {scoring_command(run.folder, row, redo=True)}")
        path = row.predictions_in(run.folder)
        files.append({each.id: each for each in read_predictions(path, remedy=remedies[-1])})
    run, first = models[0]
    task = _with_mean_threshold(run.plan.task, [row for _, row in models])
    combined = []
    for name, prediction in files[0].items():
        try:
            answer, scores = KINDS[task.kind].combined([predictions[name] for predictions in files], task)
        except NOT_OF_THE_TASK as error:
            raise UserError(
                f"{first.language}: the stored predictions have no ensemble, because they do not have the scores that "
                f"it needs ({error}); {'; '.join(dict.fromkeys(remedies))}"
            ) from error
        combined.append(Predicted(name, prediction.gold, answer, scores))
    return combined


def _with_mean_threshold(task: Task, rows: Sequence[Row]) -> Task:
    """Return the task with the mean of the thresholds by which the rows were scored, where the kind has one."""
    thresholds = [row.threshold for row in rows if row.threshold is not None]
    return task.model_copy(update={"threshold": sum(thresholds) / len(thresholds)}) if thresholds else task


def _compared(language: str | None, members: Scores, combined: Scores, models: int) -> EnsembleScore:
    low, high = contrast(combined, members, paired=True).interval()
    difference = combined.value - members.value
    return EnsembleScore(language, members.count, models, members.value, combined.value, difference, low, high)
