"""Scores example by example, resampled together: the paired intervals of a report."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError
from xmodctl.evaluation.example_statistics import Outcomes, again, load_outcomes
from xmodctl.evaluation.results import ALL, OWN_ADAPTER, WITHOUT_SOURCE, Report, Row, Score, own_rows
from xmodctl.kinds import KINDS
from xmodctl.languages import same
from xmodctl.run.run import Run
from xmodctl.statistics.resampling import RESAMPLES, Scores, by_examples, percentiles, redraw, resample

Key = tuple[str, str | None, str]  # language, adapter, control


@dataclass(frozen=True)
class Measurement:
    """What the seeds of one run score in one language through one adapter."""

    run: Run
    rows: tuple[Row, ...]  # one a seed, in the order of the seeds
    outcomes: tuple[Outcomes, ...]  # likewise

    @classmethod
    def load(cls, run: Run, rows: Sequence[Row]) -> Self:
        """Read the predictions behind rows.

        Raises:
            UserError: They are missing or changed, or the seeds were scored on different examples.
        """
        rows = sorted(rows, key=lambda row: row.seed)
        for row in rows:
            if not row.n:
                raise UserError(f"{row.language} was scored on 0 rows in {run.folder}: {again(run.folder, row)}")
        found = cls(run, tuple(rows), tuple(load_outcomes(run.folder, row, run.plan.task) for row in rows))
        for row, outcomes in zip(found.rows, found.outcomes, strict=True):
            if outcomes.gold != found.outcomes[0].gold:
                raise UserError(
                    f"in {run.folder}, {row.language} was scored on other examples with seed {row.seed} than with seed "
                    f"{rows[0].seed}; score it again: {again(run.folder, row, redo=True)}"
                )
        return found

    @property
    def language(self) -> str:
        """The language of the data."""
        return self.rows[0].language

    @property
    def adapter(self) -> str | None:
        """The adapter it went through."""
        return self.rows[0].adapter

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds in order."""
        return tuple(row.seed for row in self.rows)

    @property
    def task(self) -> Task:
        """What was measured."""
        return self.run.plan.task

    @property
    def n(self) -> int:
        """How many examples there are."""
        return len(self.outcomes[0].statistics)

    @property
    def stream(self) -> str:
        """What names its resamples: equal where the examples are, in a parallel task also across languages."""
        ids = self.outcomes[0].ids
        return ids if self.task.parallel else f"{self.language} {ids}"

    def metric(self, totals: np.ndarray) -> np.ndarray:
        """Return the headline metric, in percent, from summed statistics."""
        return KINDS[self.task.kind].metrics(totals, self.task)[self.task.headline]


def resampled(measurements: Sequence[Measurement], *, seed: int, resamples: int) -> list[Scores]:
    """Return the scores of each measurement under resamples of examples, drawn together where these are the same."""
    groups: dict[str, list[int]] = {}
    for number, one in enumerate(measurements):
        groups.setdefault(one.stream, []).append(number)
    scores: dict[int, Scores] = {}
    for stream, numbers in groups.items():
        tables = [outcomes.statistics for number in numbers for outcomes in measurements[number].outcomes]
        drawn = resample(tables, measurements[0].metric, stream=stream, seed=seed, resamples=resamples)
        last = 0
        for number in numbers:
            one = measurements[number]
            first, last = last, last + len(one.rows)
            observed = [float(one.metric(outcomes.statistics.sum(axis=0))) for outcomes in one.outcomes]
            scores[number] = Scores(one.seeds, np.array(observed), drawn[:, first:last])
    return [scores[number] for number in range(len(measurements))]


def method(measurements: Sequence[Measurement], *, seed: int, resamples: int) -> str:
    """Say how intervals over several measurements come about."""
    told = by_examples(resamples, seed)
    streams = {one.language: one.stream for one in measurements}
    apart = len(set(streams.values()))
    if len(streams) > 1 and apart == 1:
        told += "; examples drawn by id, the same in every language"
    elif len(streams) > 1 and not measurements[0].task.parallel:
        told += "; examples drawn in each language by itself, as the task is not parallel"
    elif len(streams) > 1:
        told += f"; examples drawn by id in {apart} groups of languages, as their ids differ"
    return told + over_seeds(max(len(one.seeds) for one in measurements))


def over_seeds(count: int) -> str:
    """Say how an interval accounts for seeds."""
    return f"; the variance between {count} seeds by Student's t" if count > 1 else ""


def with_intervals(report: Report, run: Run, rows: Sequence[Row], *, seed: int = 0) -> Report:
    """Return a report with the intervals that need predictions: over seeds, of gaps, of averages.

    What cannot be had, because predictions are missing or languages have other seeds, is told in the report's notes.
    The average over languages with an adapter of their own is added where it is not that over all.

    Args:
        report: The report.
        run: The run it is of.
        rows: The rows it was made from.
        seed: The same seed gives the same intervals.
    """
    measured, notes = _load(run, rows)
    if not measured:
        return replace(report, notes=(*report.notes, *notes))
    scores = dict(zip(measured, resampled([*measured.values()], seed=seed, resamples=RESAMPLES), strict=True))
    if len({one.seeds for one in scores.values()}) > 1:
        notes.append("not every language was scored with every seed: gaps and averages over such have no interval")
    chosen = {language: _key(found[0]) for language, found in own_rows(rows).items()}

    def mean(languages: Iterable[str]) -> Scores | None:
        found = [scores.get(chosen[language]) for language in languages]
        there = [one for one in found if one is not None]
        return Scores.mean(there) if there and len(there) == len(found) and _agree(*there) else None

    source = mean(one.language for one in report.scores if one.is_source)
    averages, members = _averages(report, run.plan.task, chosen)
    averages_ci = {
        name: percentiles(redraw(found, seed=seed))
        for name, languages in members.items()
        if (found := mean(languages)) is not None
    }
    others = mean(members.get(WITHOUT_SOURCE, ()))
    return replace(
        report,
        scores=tuple(_with_intervals(one, scores.get(_key(one)), source, seed) for one in report.scores),
        averages=averages,
        averages_ci=averages_ci,
        gap_ci=percentiles(redraw(source - others, seed=seed))
        if source and others and _agree(source, others)
        else None,
        ci_method=method([*measured.values()], seed=seed, resamples=RESAMPLES),
        notes=(*report.notes, *notes),
    )


def _load(run: Run, rows: Sequence[Row]) -> tuple[dict[Key, Measurement], list[str]]:
    """Return the measurements that can be read, and what is wrong with the others."""
    measured, notes = {}, []
    for key, found in by_way(rows).items():
        try:
            measured[key] = Measurement.load(run, found)
        except UserError as problem:
            notes.append(f"{problem} (until then its gap and the averages have no interval)")
    return measured, notes


def _with_intervals(score: Score, found: Scores | None, source: Scores | None, seed: int) -> Score:
    if found is None:
        return score
    if len(found.seeds) > 1:
        low, high = percentiles(redraw(found, seed=seed))
        told = by_examples(RESAMPLES, seed) + over_seeds(len(found.seeds))
        score = replace(score, ci_low=low, ci_high=high, ci_method=told)
    if source is not None and score.gap is not None and _agree(source, found):
        score = replace(score, gap_ci=percentiles(redraw(source - found, seed=seed)))
    return score


def _averages(report: Report, task: Task, chosen: Mapping[str, Key]) -> tuple[dict[str, float], dict[str, list[str]]]:
    """Return the report's averages with that over languages with an adapter of their own, and who is in each."""
    sources = {one.language for one in report.scores if one.is_source}
    groups = {
        ALL: list(chosen),
        WITHOUT_SOURCE: [language for language in chosen if language not in sources],
        OWN_ADAPTER: [language for language, (_, adapter, _) in chosen.items() if has_own(language, adapter, task)],
    }
    averages = dict(report.averages)
    means = {_key(one): one.mean for one in report.scores}
    if averages and 0 < len(groups[OWN_ADAPTER]) < len(chosen):
        own = [means[chosen[language]] for language in groups[OWN_ADAPTER]]
        averages[OWN_ADAPTER] = sum(own) / len(own)
    return averages, {name: groups[name] for name in averages}


def by_way(rows: Iterable[Row]) -> dict[Key, list[Row]]:
    """Return rows that differ in their seed alone together."""
    ways: dict[Key, list[Row]] = {}
    for row in rows:
        ways.setdefault(_key(row), []).append(row)
    return ways


def has_own(language: str, adapter: str | None, task: Task) -> bool:
    """Say whether an adapter is that of the data's own language."""
    meant = task.languages.get(language) or language
    return adapter is not None and (same(adapter, language) or same(adapter, meant))


def _agree(*several: Scores) -> bool:
    return len({one.seeds for one in several}) == 1


def _key(one: Row | Score) -> Key:
    return (one.language, one.adapter, one.control)
