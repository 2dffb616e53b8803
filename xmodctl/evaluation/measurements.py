"""Measurements: scores with the statistics of every example, resampled together for a report's paired intervals."""

from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError
from xmodctl.evaluation.example_statistics import ExampleStatistics, load_example_statistics
from xmodctl.evaluation.results import ALL, OWN_ADAPTER, WITHOUT_SOURCE, Report, Row, Score, own_rows
from xmodctl.evaluation.scoring_commands import scoring_command
from xmodctl.evaluation.thresholds import threshold_notes
from xmodctl.kinds import KINDS
from xmodctl.kinds.scoring import headline_of_draws
from xmodctl.languages import same
from xmodctl.run.run import Run
from xmodctl.statistics.correlations import FISHER, freedoms_of, widened
from xmodctl.statistics.intervals import WILSON_EFFECTIVE, contrast, mean_interval
from xmodctl.statistics.resampling import RESAMPLES, Scores, by_resamples, resample

Way = tuple[str, str | None, str]
"""A way through a run's model: language of the data, adapter, control."""

Statistics = MutableMapping[tuple[Any, ...], ExampleStatistics]
"""The statistics of a run's rows that are in memory, by `Row.key`."""

MEANS_AND_DIFFERENCES = "Wilson score intervals of means, MOVER intervals of differences; variances by"
"""The method of intervals over several measurements; what follows names the resamples."""

FEW = 2
"""Errors, or correct examples, that are too few for intervals with a coverage of 95%."""

FEW_PAIRS = 15
"""Fewer rows have intervals of correlations whose coverage is above 97%."""

CORRELATIONS = "Fisher z intervals of means, MOVER intervals of differences; variances by"
"""The same of correlations."""


@dataclass(frozen=True)
class Measurement:
    """The scores of all seeds of a run in one language through one adapter, example by example."""

    run: Run
    rows: tuple[Row, ...]  # one per seed, in the order of the seeds
    statistics: tuple[ExampleStatistics, ...]  # of the same seeds

    @classmethod
    def load(cls, run: Run, rows: Sequence[Row], known: Statistics | None = None) -> Self:
        """Read the predictions behind rows.

        Args:
            run: The run.
            rows: Its rows in one language through one adapter.
            known: Statistics that are in memory; those that are read are added.

        Raises:
            UserError: Predictions are missing or changed, or the seeds were scored on different examples.
        """
        rows = sorted(rows, key=lambda row: row.seed)
        for row in rows:
            if not row.n:
                raise UserError(
                    f"{row.language} was scored on 0 rows in {run.folder}; score it again: "
                    f"{scoring_command(run.folder, row)}"
                )
        known = {} if known is None else known
        for row in rows:
            if row.key not in known:
                known[row.key] = load_example_statistics(run.folder, row, run.plan.task)
            if known[row.key].gold != known[rows[0].key].gold:
                raise UserError(
                    f"in {run.folder}, {row.language} was scored on different examples with seed {row.seed} than with "
                    "seed "
                    f"{rows[0].seed}; score it again: {scoring_command(run.folder, row, redo=True)}"
                )
        return cls(run, tuple(rows), tuple(known[row.key] for row in rows))

    @property
    def language(self) -> str:
        """The language of the data."""
        return self.rows[0].language

    @property
    def adapter(self) -> str | None:
        """The adapter that ran."""
        return self.rows[0].adapter

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds in order."""
        return tuple(row.seed for row in self.rows)

    @property
    def task(self) -> Task:
        """The task of the run."""
        return self.run.plan.task

    @property
    def n(self) -> int:
        """The number of examples."""
        return len(self.statistics[0].counts)

    @property
    def stream(self) -> str:
        """The name of its resamples: equal for equal examples, and in a parallel task across languages too."""
        ids = self.statistics[0].ids
        return ids if self.task.parallel else f"{self.language} {ids}"

    def score_notes(self) -> list[str]:
        """Return what a reader of the scores must know about them."""
        kind, seeds = KINDS[self.task.kind], zip(self.seeds, self.statistics, strict=True)
        notes = [(seed, note) for seed, statistics in seeds for note in kind.score_notes(statistics.counts, self.task)]
        place = f"{self.language} through {self.adapter or 'no adapter'}"
        return [f"{place}, seed {seed}: {note}" for seed, note in notes]

    @property
    def is_correlation(self) -> bool:
        """Whether the headline metric is a correlation."""
        return KINDS[self.task.kind].headlines[self.task.headline].is_correlation

    def metric(self, totals: np.ndarray) -> np.ndarray:
        """Return the headline metric, in percent, from summed statistics of shape (..., counts)."""
        return KINDS[self.task.kind].metrics(totals, self.task)[self.task.headline]


def resampled(measurements: Sequence[Measurement], *, seed: int, resamples: int) -> list[Scores]:
    """Return the scores of each measurement under resamples of examples, drawn together where examples are the same."""
    groups: dict[str, list[int]] = {}
    for number, measurement in enumerate(measurements):
        groups.setdefault(measurement.stream, []).append(number)
    scores: dict[int, Scores] = {}
    for stream, numbers in groups.items():
        tables = [statistics.counts for number in numbers for statistics in measurements[number].statistics]
        of_draws = headline_of_draws(KINDS[measurements[0].task.kind], measurements[0].task)
        drawn = resample(
            tables, measurements[0].metric, stream=stream, seed=seed, resamples=resamples, of_draws=of_draws
        )
        last = 0
        for number in numbers:
            measurement = measurements[number]
            first, last = last, last + len(measurement.rows)
            observed = np.array([float(measurement.metric(table.sum(axis=0))) for table in tables[first:last]])
            own, is_correlation = drawn[:, first:last], measurement.is_correlation
            if is_correlation:
                freedoms = freedoms_of(tables[first:last], measurement.metric, of_draws)
                own = widened(own, observed, measurement.n, freedoms)
            scores[number] = Scores(measurement.seeds, observed, own, {stream: measurement.n}, is_correlation)
    return [scores[number] for number in range(len(measurements))]


def method(measurements: Sequence[Measurement], *, seed: int, resamples: int, of_seeds: bool = True) -> str:
    """Describe how intervals over several measurements are computed, with the variance between seeds or without."""
    means = CORRELATIONS if measurements[0].is_correlation else MEANS_AND_DIFFERENCES
    text = f"{means} {by_resamples(resamples, seed)}"
    streams = {measurement.language: measurement.stream for measurement in measurements}
    groups = len(set(streams.values()))
    if len(streams) > 1 and groups == 1:
        text += "; examples drawn by id, the same in every language"
    elif len(streams) > 1 and not measurements[0].task.parallel:
        text += "; examples drawn separately in each language, because the task is not parallel"
    elif len(streams) > 1:
        text += f"; examples drawn by id in {groups} groups of languages, because their ids differ"
    return text + over_seeds(max(len(measurement.seeds) for measurement in measurements) if of_seeds else 1)


def over_seeds(count: int) -> str:
    """Describe how an interval accounts for seeds."""
    return f"; the variance between {count} seeds by Student's t" if count > 1 else ""


def coverage_notes(scores: Sequence[Scores]) -> list[str]:
    """Return notes on scores whose intervals cannot cover the true value in 95% of cases (`docs/statistics.md`)."""
    notes = []
    if any(len(each.seeds) == 2 for each in scores):
        notes.append(
            "two seeds say little about the variation between seeds: intervals are wider than necessary; train with "
            "three seeds or more"
        )
    if any(not each.is_correlation and each.from_the_edge <= FEW for each in scores):
        notes.append(
            f"some scores are within {FEW} examples of 0 or 100%: their intervals are only approximate; score more "
            "examples"
        )
    if any(each.is_correlation and each.count < FEW_PAIRS for each in scores):
        notes.append(
            f"intervals of correlations of fewer than {FEW_PAIRS} rows are wider than necessary; score more rows"
        )
    return notes


def with_intervals(
    report: Report, run: Run, rows: Sequence[Row], *, known: Statistics | None = None, seed: int = 0
) -> Report:
    """Return a report with the intervals that need predictions: over seeds, of gaps, of averages.

    The report's notes say which intervals are missing, because predictions are missing or seeds differ between
    languages. The average over languages with an adapter of their own is added if it differs from that over all.

    Args:
        report: The report.
        run: The run that it is about.
        rows: The rows that it was made from.
        known: Statistics that are in memory; those that are read are added.
        seed: The same seed gives the same intervals.
    """
    measurements, problems = _load(run, rows, {} if known is None else known)
    notes = [*threshold_notes(run, rows), *problems]
    if not measurements:
        return replace(report, notes=(*report.notes, *notes))
    drawn = resampled([*measurements.values()], seed=seed, resamples=RESAMPLES)
    scores = dict(zip(measurements, drawn, strict=True))
    if len({each.seeds for each in drawn}) > 1:
        notes.append("not every language was scored with every seed: the affected gaps and averages have no interval")
    for measurement in measurements.values():
        notes += measurement.score_notes()
    notes += coverage_notes(drawn)
    chosen = {language: _way(language_rows[0]) for language, language_rows in own_rows(rows).items()}
    source = _mean_scores(scores, [chosen[score.language] for score in report.scores if score.is_source])
    averages, members = _averages(report, run.plan.task, chosen)
    means = {name: _mean_scores(scores, [chosen[language] for language in members[name]]) for name in members}
    others = means.get(WITHOUT_SOURCE)
    return replace(
        report,
        scores=tuple(_with_intervals(score, scores.get(_way(score)), source, seed) for score in report.scores),
        averages=averages,
        averages_ci={name: mean_interval(mean) for name, mean in means.items() if mean is not None},
        gap_ci=contrast(source, others, paired=True).interval()
        if source and others and source.seeds == others.seeds
        else None,
        ci_method=method([*measurements.values()], seed=seed, resamples=RESAMPLES),
        notes=(*report.notes, *notes),
    )


def _load(run: Run, rows: Sequence[Row], known: Statistics) -> tuple[dict[Way, Measurement], list[str]]:
    """Return the measurements that can be read, and a note for each of the others."""
    measurements, notes = {}, []
    for way, way_rows in by_way(rows).items():
        try:
            measurements[way] = Measurement.load(run, way_rows, known)
        except UserError as problem:
            notes.append(f"{problem} (until then, its gap and the averages have no interval)")
    return measurements, notes


def _mean_scores(scores: Mapping[Way, Scores], ways: Sequence[Way]) -> Scores | None:
    """Return the mean over ways, or None if one is missing or they have different seeds."""
    available = [scores[way] for way in ways if way in scores]
    if not available or len(available) < len(ways) or len({each.seeds for each in available}) > 1:
        return None
    return Scores.mean(available)


def _with_intervals(score: Score, scores: Scores | None, source: Scores | None, seed: int) -> Score:
    if scores is None:
        return score
    if len(scores.seeds) > 1:
        low, high = mean_interval(scores)
        interval = FISHER if scores.is_correlation else WILSON_EFFECTIVE
        ci_method = f"{interval} {by_resamples(RESAMPLES, seed)}{over_seeds(len(scores.seeds))}"
        score = replace(score, ci_low=low, ci_high=high, ci_method=ci_method)
    if source is not None and score.gap is not None and source.seeds == scores.seeds:
        score = replace(score, gap_ci=contrast(source, scores, paired=True).interval())
    return score


def _averages(report: Report, task: Task, chosen: Mapping[str, Way]) -> tuple[dict[str, float], dict[str, list[str]]]:
    """Return the averages with that over languages with an adapter of their own, and the languages in each."""
    sources = {score.language for score in report.scores if score.is_source}
    groups = {
        ALL: list(chosen),
        WITHOUT_SOURCE: [language for language in chosen if language not in sources],
        OWN_ADAPTER: [language for language, (_, adapter, _) in chosen.items() if has_own(language, adapter, task)],
    }
    averages = dict(report.averages)
    means = {_way(score): score.mean for score in report.scores}
    if averages and 0 < len(groups[OWN_ADAPTER]) < len(chosen):
        own = [means[chosen[language]] for language in groups[OWN_ADAPTER]]
        averages[OWN_ADAPTER] = sum(own) / len(own)
    return averages, {name: groups[name] for name in averages}


def by_way(rows: Iterable[Row]) -> dict[Way, list[Row]]:
    """Group rows that differ only in their seed."""
    ways: dict[Way, list[Row]] = {}
    for row in rows:
        ways.setdefault(_way(row), []).append(row)
    return ways


def has_own(language: str, adapter: str | None, task: Task) -> bool:
    """Return whether an adapter is that of the data's own language."""
    return adapter is not None and (same(adapter, language) or same(adapter, task.language_of(language)))


def _way(scored: Row | Score) -> Way:
    return (scored.language, scored.adapter, scored.control)
