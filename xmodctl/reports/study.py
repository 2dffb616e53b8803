"""What a report shows, as values: one or more runs of a task side by side, their averages, and notes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmodctl.catalog.task import Task
from xmodctl.evaluation.comparison import Comparison
from xmodctl.evaluation.measurements import has_own
from xmodctl.evaluation.results import ALL, OWN_ADAPTER, WITHOUT_SOURCE, Report, Row, Score, own_rows
from xmodctl.reports.curves import TrainingCurve
from xmodctl.reports.error_analysis import ErrorAnalysis
from xmodctl.reports.language import Language
from xmodctl.reports.score_table import BRIEF_MEANS, RunColumn, ScoreTable
from xmodctl.run.run import Run

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class StudyRun:
    """One run in a study."""

    name: str  # unique in the study
    run: Run
    report: Report
    shared: Report  # over the languages that every run of the study has a score in
    rows: tuple[Row, ...]
    control_comparison: Comparison | None = None  # own adapters against controls
    error_analyses: Mapping[str, ErrorAnalysis] = field(default_factory=dict)  # by language
    curves: tuple[TrainingCurve, ...] = ()  # one per seed

    @cached_property
    def own_rows(self) -> Mapping[str, Sequence[Row]]:
        """The rows that represent each language: through its own adapter, or else through the first donor scored."""
        return own_rows(self.rows)

    @property
    def column(self) -> RunColumn:
        """The run as a column of the score table."""
        plan = self.run.plan
        recipe = plan.recipe.name if plan.vectors is None else str(plan.vectors)
        return RunColumn(self.name, self.report.source_languages, self.report.seeds, plan.model, recipe)

    def score(self, language: str) -> Score | None:
        """Return the score that represents a language."""
        if language not in self.own_rows:
            return None
        adapter = self.own_rows[language][0].adapter
        return next(score for score in self.scores(language) if score.adapter == adapter)

    def scores(self, language: str) -> list[Score]:
        """Return the scores of a language through each adapter that it was sent through, without controls."""
        return [score for score in self.report.scores if score.language == language and score.control == "own"]

    def control(self, language: str, control: str) -> Score | None:
        """Return the score of a language under a control."""
        scores = (score for score in self.report.scores if (score.language, score.control) == (language, control))
        return next(scores, None)

    def is_own_adapter(self, score: Score) -> bool:
        """Return whether the text went through the adapter of its own language."""
        return has_own(score.language, score.adapter, self.run.plan.task)


@dataclass(frozen=True)
class Average:
    """An unweighted mean over languages, with one value per run."""

    name: str
    languages: tuple[str, ...]
    values: tuple[float, ...]  # one per run, percent
    intervals: tuple[tuple[float, float] | None, ...]  # 95%, one per run; None where predictions are missing

    @property
    def brief(self) -> str:
        """The head where there is little room."""
        return BRIEF_MEANS.get(self.name, self.name)


@dataclass(frozen=True, repr=False)
class Study:
    """Runs of one task, scored on one split, side by side."""

    task: Task
    split: str
    metric: str
    runs: tuple[StudyRun, ...]
    comparison: Comparison | None  # of the other runs with the first
    languages: tuple[Language, ...]  # relatives are next to each other
    notes: tuple[str, ...]  # what a reader must know to interpret the numbers
    skipped: tuple[str, ...]  # runs that could not be shown, and why
    created: str  # UTC time
    file: Path | None = None  # where the report was written
    data_set: str = ""  # which one, if the runs were scored on several
    others: "tuple[Study, ...]" = ()  # the same runs on other data
    plot: str = "scores"  # the figure that formats of figures show

    def __repr__(self) -> str:
        names = ", ".join(run.name for run in self.runs)
        file = f", file={str(self.file)!r}" if self.file else ""
        return f"Study({self.task.name}, {self.split}, {len(self.languages)} languages, runs: {names}{file})"

    def _repr_html_(self) -> str:
        from xmodctl.reports.formats.html import render_table

        return "".join(render_table(each.table) for each in self.by_data_set)

    @property
    def by_data_set(self) -> "tuple[Study, ...]":
        """This study and those of other data."""
        return (self, *self.others)

    @cached_property
    def table(self) -> ScoreTable:
        """The score table."""
        return ScoreTable.of_study(self)

    @property
    def limited(self) -> int | None:
        """The largest --limit among the runs, or None."""
        return max((run.report.limited for run in self.runs if run.report.limited), default=None)

    @property
    def shared(self) -> tuple[Language, ...]:
        """The languages that every run has a score in: only averages over these are comparable."""
        return tuple(language for language in self.languages if all(run.score(language.code) for run in self.runs))

    @property
    def by_score(self) -> tuple[Language, ...]:
        """The languages that have a score, by that of the first run that has one, the best first."""
        first = {
            language: score.mean
            for run in reversed(self.runs)
            for language in self.languages
            if (score := run.score(language.code))
        }
        return tuple(sorted((language for language in self.languages if language in first), key=lambda it: -first[it]))

    @property
    def averages(self) -> tuple[Average, ...]:
        """Means over all languages, without the source, and, if some lack one, with an adapter of their own.

        XTREME's tables have the first: unweighted, English included (Hu et al. 2020, arXiv 2003.11080, table 2).
        """
        codes = [language.code for language in self.shared]
        scores = [(run, score) for run in self.runs for code in codes if (score := run.score(code))]
        sources = {score.language for _, score in scores if score.is_source}
        has_source = any(run.report.source_languages for run in self.runs)
        donated = {score.language for run, score in scores if not run.is_own_adapter(score)}
        groups = {
            ALL: codes,
            WITHOUT_SOURCE: [code for code in codes if code not in sources] if has_source else [],
            OWN_ADAPTER: [code for code in codes if code not in donated] if donated else [],
        }
        return tuple(self.average(name, members) for name, members in groups.items() if members and len(codes) > 1)

    @property
    def families(self) -> tuple[Average, ...]:
        """Means over the languages of each family."""
        return self._grouped({language.code: language.family for language in self.shared})

    @property
    def scripts(self) -> tuple[Average, ...]:
        """Means over the languages written in each script."""
        return self._grouped({language.code: language.script for language in self.shared})

    @property
    def controls(self) -> tuple[str, ...]:
        """The controls that some language was scored under."""
        scored = {score.control for run in self.runs for score in run.report.scores}
        return tuple(control for control in ("source", "none") if control in scored)

    def average(self, name: str, languages: Sequence[str]) -> Average:
        """Return the unweighted mean over languages for each run."""
        values, intervals = [], []
        for run in self.runs:
            mean = sum(score.mean for code in languages if (score := run.score(code))) / len(languages)
            values.append(mean)
            # A run trained in another language excludes another source: then its interval is of another mean.
            same_mean = abs(run.shared.averages.get(name, nan) - mean) < 1e-9
            intervals.append(run.shared.averages_ci.get(name) if same_mean else None)
        return Average(name, tuple(languages), tuple(values), tuple(intervals))

    def render(self, format: str) -> str | bytes:  # noqa: A002 (the option's name)
        """Return the study in one of the report formats.

        Error analyses, tests, and training curves are shown as far as they were gathered.

        Raises:
            UserError: There is no such format.
        """
        from xmodctl.reports.formats import load_format

        return load_format(format).render(self)

    def to_frame(self) -> "pd.DataFrame":
        """Return the result rows as a pandas data frame: one row per score of one seed, every metric in a column."""
        import pandas as pd

        from xmodctl.reports.records import records

        return pd.DataFrame.from_records(records(self))

    def to_json(self) -> dict[str, Any]:
        """Return the study as plain JSON values, without error analyses."""
        return {
            "task": self.task.name,
            "split": self.split,
            "data_set": self.data_set,
            "metric": self.metric,
            "made": self.created,
            "notes": list(self.notes),
            "left_out": list(self.skipped),
            "languages": [language.to_json() for language in self.languages],
            "runs": [
                {
                    "name": run.name,
                    "folder": str(run.run.folder),
                    "report": run.report.to_json(),
                    "controls": run.control_comparison.to_json() if run.control_comparison else None,
                    "curves": [asdict(curve) for curve in run.curves],
                }
                for run in self.runs
            ],
            "comparison": self.comparison.to_json() if self.comparison else None,
            "averages": [asdict(average) for average in self.averages],
            "families": [asdict(average) for average in self.families],
            "scripts": [asdict(average) for average in self.scripts],
            "other_data": [other.to_json() for other in self.others],
        }

    def _grouped(self, names: Mapping[str, str]) -> tuple[Average, ...]:
        groups: dict[str, list[str]] = {}
        for code, group in names.items():
            groups.setdefault(group, []).append(code)
        return tuple(self.average(group, codes) for group, codes in groups.items())
