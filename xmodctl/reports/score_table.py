"""The score table: one value, computed once from a study or a run's report, that every format renders."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Self

from xmodctl.evaluation.results import ALL, OWN_ADAPTER, WITHOUT_SOURCE
from xmodctl.reports.language import Language

if TYPE_CHECKING:
    from xmodctl.evaluation.results import Report, Score
    from xmodctl.reports.study import Average, Study, StudyRun

Interval = tuple[float, float]
"""The ends of a 95% interval."""


BRIEF_MEANS = {ALL: "mean, all", WITHOUT_SOURCE: "mean, no source", OWN_ADAPTER: "mean, own adapter"}
"""The heads of averages where there is little room."""


@dataclass(frozen=True)
class Cell:
    """One run's score in one row of the table."""

    value: float  # percent, mean over seeds
    spread: float | None = None  # sample standard deviation over seeds, points; None for one seed
    interval: Interval | None = None  # of the value, percent
    gap: float | None = None  # the source's score minus this one, points
    gap_interval: Interval | None = None

    @classmethod
    def of_score(cls, score: "Score") -> Self:
        """Return the cell of a language's score."""
        return cls(score.mean, score.spread, (score.ci_low, score.ci_high), score.gap, score.gap_ci)


@dataclass(frozen=True)
class ScoreRow:
    """One language; in the table of a single report, one language through one adapter."""

    language: Language
    adapters: tuple[str, ...]  # those that ran, over all columns; `none` is no adapter
    control: str  # own, source, or none
    n: int  # examples
    baseline: float  # majority baseline, percent
    is_source: bool
    shots: int  # examples of the language that were trained on, besides those of the source
    cells: tuple[Cell | None, ...]  # one per column; None where a run has not scored the language

    @property
    def role(self) -> str:
        """What a table says beside the language: `source`, `5 shots`, or nothing."""
        return "source" if self.is_source else f"{self.shots} shots" if self.shots else ""


@dataclass(frozen=True)
class AverageRow:
    """An unweighted mean over languages."""

    name: str
    languages: int | None  # how many; None where a report does not say
    cells: tuple[Cell | None, ...]  # one per column

    @property
    def title(self) -> str:
        """The row's head."""
        return f"mean, {self.name}"


@dataclass(frozen=True)
class RunColumn:
    """One run in the table."""

    name: str
    sources: tuple[str, ...]  # languages that the run was trained in; none if vectors were scored without training
    seeds: tuple[int, ...]
    model: str = ""
    recipe: str = ""
    has_gaps: bool = True  # False where only values are shown

    def training(self, between: str) -> str:
        """Return what the run was trained in, with this between languages."""
        return f"trained in {between.join(self.sources)}" if self.sources else "without training"


@dataclass(frozen=True)
class ScoreTable:
    """Scores by language and run, their averages, and what a reader needs to know about them."""

    task: str  # the task's name
    title: str  # of the task, as papers print it
    split: str
    metric: str
    limited: int | None  # --limit, where scores are of the first rows only
    columns: tuple[RunColumn, ...]
    rows: tuple[ScoreRow, ...]
    averages: tuple[AverageRow, ...]
    methods: tuple[str, ...]  # how the intervals of scores were computed
    paired_methods: tuple[str, ...]  # how those of gaps and averages were computed
    notes: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()  # runs that are not shown, and why
    data_set: str = ""  # which one, if there are scores on several

    @classmethod
    def of_study(cls, study: "Study") -> Self:
        """Return the table of a study: one row per language, relatives together, and one column per run."""
        rows = []
        for language in study.languages:
            scores = [run.score(language.code) for run in study.runs]
            if any(scores):  # controls alone have no row
                rows.append(_row(language, scores))
        return cls(
            task=study.task.name,
            title=study.task.title,
            split=study.split,
            metric=study.metric,
            limited=study.limited,
            columns=tuple(run.column for run in study.runs),
            rows=tuple(rows),
            averages=tuple(_average(average, study.runs) for average in study.averages),
            methods=_distinct(score.ci_method for run in study.runs for score in run.report.scores),
            paired_methods=_distinct(run.report.ci_method for run in study.runs),
            notes=study.notes,
            skipped=study.skipped,
            data_set=study.data_set,
        )

    @classmethod
    def of_report(cls, report: "Report", *, title: str = "", all_seeds: "Report | None" = None) -> Self:
        """Return the table of one run's report: one row per language, adapter, and control, in the order of scoring.

        Args:
            report: The report.
            title: The task's title; by default its name.
            all_seeds: The report over all seeds of the run, where `report` is of one seed: its means get a column.
        """
        columns = [RunColumn(report.run, report.source_languages, report.seeds)]
        means: dict[Key, Cell | None] = {}
        if all_seeds is not None:
            means = {_key(score): Cell(score.mean, score.spread) for score in all_seeds.scores}
            name = f"mean of {len(all_seeds.seeds)} seeds"
            columns.append(RunColumn(name, report.source_languages, all_seeds.seeds, has_gaps=False))
        others: list[Cell | None] = [None] * (len(columns) - 1)
        averages = []
        for name, value in report.averages.items():
            gap = (report.gap, report.gap_ci) if name == WITHOUT_SOURCE else (None, None)
            averages.append(AverageRow(name, None, (Cell(value, None, report.averages_ci.get(name), *gap), *others)))
        return cls(
            task=report.task,
            title=title or report.task,
            split=report.split,
            metric=report.metric,
            limited=report.limited,
            columns=tuple(columns),
            rows=tuple(
                _row(Language(score.language), [score], [means.get(_key(score))] if all_seeds else [])
                for score in report.scores
            ),
            averages=tuple(averages),
            methods=_distinct(score.ci_method for score in report.scores),
            paired_methods=_distinct([report.ci_method]),
            notes=report.notes,
            data_set=report.data_set,
        )

    @property
    def on_data(self) -> str:
        """What a title says about the data set, if there are scores on several."""
        return f", data set {self.data_set}" if self.data_set else ""

    @property
    def families(self) -> Iterator[tuple[str, list[ScoreRow]]]:
        """The rows by language family."""
        for family, rows in groupby(self.rows, lambda row: row.language.family):
            yield family, list(rows)

    @property
    def common_baseline(self) -> float | None:
        """The majority baseline, in percent, if it is the same in every row to the digit that tables show."""
        baselines = {f"{row.baseline:.1f}": row.baseline for row in self.rows}
        return next(iter(baselines.values())) if len(baselines) == 1 else None


Key = tuple[str, str | None, str]  # language, adapter, control


def _key(score: "Score") -> Key:
    return (score.language, score.adapter, score.control)


def _row(language: Language, scores: "Sequence[Score | None]", more: Sequence[Cell | None] = ()) -> ScoreRow:
    known = [score for score in scores if score]
    return ScoreRow(
        language=language,
        adapters=tuple(dict.fromkeys(score.adapter or "none" for score in known)),
        control=known[0].control,
        n=known[0].n,
        baseline=known[0].baseline,
        is_source=any(score.is_source for score in known),
        shots=max(score.shots for score in known),
        cells=(*(Cell.of_score(score) if score else None for score in scores), *more),
    )


def _average(average: "Average", runs: "Sequence[StudyRun]") -> AverageRow:
    cells = []
    for run, value, interval in zip(runs, average.values, average.intervals, strict=True):
        gap = (run.shared.gap, run.shared.gap_ci) if average.name == WITHOUT_SOURCE else (None, None)
        cells.append(Cell(value, None, interval, *gap))
    return AverageRow(average.name, len(average.languages), tuple(cells))


def _distinct(methods: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(method for method in methods if method))
