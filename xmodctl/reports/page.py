"""What the HTML page shows besides the score table: charts, heat maps, error tables, plans, as values."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic_core import to_jsonable_python

from xmodctl.catalog.recipe import Recipe
from xmodctl.catalog.task import Task
from xmodctl.kinds import KINDS
from xmodctl.reports.charts import Scale

if TYPE_CHECKING:
    from xmodctl.evaluation.comparison import Difference
    from xmodctl.evaluation.results import Score
    from xmodctl.kinds.breakdown import Confusion, Subset
    from xmodctl.kinds.kind import Kind
    from xmodctl.reports.language import Language
    from xmodctl.reports.parallel_errors import Overlap
    from xmodctl.reports.study import Study, StudyRun

MEASURED = {
    "model": "model",
    "adapters trained in": "source_languages",
    "weights selected on": "selected_on",
    "step": "step",
    "precision": "precision",
    "device": "device",
    "xmodctl": "tool",
}
"""What a table says about how scores were measured -> the field of a result row."""


ABSENT = "none"
"""How an empty value is written."""

SHOWN = ("task.name", "recipe.learning_rate", "recipe.epochs", "recipe.batch_size", "recipe.keep", "recipe.freeze")
"""Values of a plan that are shown first even at their defaults: whoever compares trainings looks for them."""


@dataclass(frozen=True)
class Fact:
    """One line of a table of facts: a key, and its value in each run."""

    key: str
    values: tuple[str, ...]

    @property
    def differs(self) -> bool:
        """Whether the runs have different values."""
        return len(set(self.values)) > 1


@dataclass(frozen=True)
class HeatMap:
    """The scores of one run by language and adapter."""

    run: "StudyRun"
    languages: "tuple[Language, ...]"
    adapters: tuple[str, ...]
    scores: "Mapping[tuple[str, str], Score]"

    @property
    def ends(self) -> tuple[float, float]:
        """The lowest and the highest score."""
        means = [score.mean for score in self.scores.values()]
        return min(means), max(means)

    def best(self, language: str) -> str:
        """Return the adapter that scores highest on a language."""
        row = {adapter: score.mean for (code, adapter), score in self.scores.items() if code == language}
        return max(row, key=row.__getitem__)


@dataclass(frozen=True)
class Page:
    """A study as the page's template reads it."""

    study: "Study"

    @property
    def several(self) -> bool:
        """Whether there are several runs."""
        return len(self.study.runs) > 1

    @property
    def has_seeds(self) -> bool:
        """Whether some run has several seeds."""
        return any(len(run.report.seeds) > 1 for run in self.study.runs)

    @property
    def kind(self) -> "Kind":
        """The kind of the task."""
        return KINDS[self.study.task.kind]

    @property
    def source(self) -> "Score | None":
        """The first run's score in its source language."""
        return next((score for score in self.study.runs[0].report.scores if score.is_source), None)

    @property
    def score_scale(self) -> Scale:
        """The scale of the score chart, which holds every interval and majority baseline."""
        values = [
            value
            for average in self.study.averages
            for ends in (average.values, *filter(None, average.intervals))
            for value in ends
        ]
        for score in self._scores():
            values += [score.ci_low, score.ci_high, score.baseline, *score.values]
        return Scale.over(values)

    @property
    def gap_scale(self) -> Scale:
        """The scale of the gap chart, which holds zero."""
        gaps = [end for score in self._scores() if score.gap is not None for end in (score.gap, *(score.gap_ci or ()))]
        return Scale.over([0.0, *gaps])

    @property
    def has_gaps(self) -> bool:
        """Whether there is a source to measure gaps from."""
        return any(score.gap is not None for score in self._scores())

    @property
    def by_gap(self) -> "list[Language]":
        """The languages that have a gap in some run, the smallest gap first."""
        gaps = {
            language: [score.gap for score in self.scores(language) if score and score.gap is not None]
            for language in self.study.languages
        }
        languages = [language for language in gaps if gaps[language]]
        return sorted(languages, key=lambda language: sum(gaps[language]) / len(gaps[language]))

    def scores(self, language: "Language") -> "list[Score | None]":
        """Return a language's score in each run."""
        return [run.score(language.code) for run in self.study.runs]

    def donor(self, language: "Language") -> str | None:
        """Return the adapter that stands in for a language's own, in the first run where one does."""
        for run in self.study.runs:
            score = run.score(language.code)
            if score and not run.is_own_adapter(score):
                return score.adapter or "none"
        return None

    # Controls and donors.

    def differences(self, run: "StudyRun") -> "dict[tuple[str | None, str], Difference]":
        """Return the tests of a run's own adapters, by language and control."""
        comparison = run.control_comparison
        return {(test.language, test.against): test for test in comparison.differences} if comparison else {}

    def controls(self, run: "StudyRun") -> "list[tuple[Language, list[Score | None]]]":
        """Return the languages that a run scored under a control, with their scores as own, source, none."""
        rows = []
        for language in self.study.languages:
            own = run.score(language.code)
            others = [run.control(language.code, control) for control in ("source", "none")]
            if own and any(others):
                rows.append((language, [own, *others]))
        return rows

    @staticmethod
    def means(scores: "Sequence[Score | None]") -> list[float | None]:
        """Return the means of scores, and None where there is no score."""
        return [score.mean if score else None for score in scores]

    def control_scale(self, run: "StudyRun") -> Scale:
        """Return the scale of a run's control chart."""
        shown = [score for _, scores in self.controls(run) for score in scores if score]
        return Scale.over([value for score in shown for value in (score.mean, score.baseline)])

    @property
    def heat_maps(self) -> list[HeatMap]:
        """The donor matrix of each run that sent text through several adapters."""
        maps = []
        for run in self.study.runs:
            scores: dict[tuple[str, str], Score] = {}
            for score in run.report.scores:
                if score.adapter and len(run.scores(score.language)) > 1:
                    scores.setdefault((score.language, score.adapter), score)
            if scores:
                languages = tuple(language for language in self.study.languages if len(run.scores(language.code)) > 1)
                maps.append(HeatMap(run, languages, tuple(dict.fromkeys(adapter for _, adapter in scores)), scores))
        return maps

    # Errors.

    def part_names(self, run: "StudyRun") -> list[str]:
        """Return the names of the parts that a run's examples fall into."""
        return list(dict.fromkeys(part.name for analysis in run.error_analyses.values() for part in analysis.parts))

    def part(self, run: "StudyRun", language: "Language", name: str) -> "Subset | None":
        """Return the score on one part of a language's examples."""
        analysis = run.error_analyses.get(language.code)
        return next((part for part in analysis.parts if part.name == name), None) if analysis else None

    def overlaps(self, run: "StudyRun") -> "list[tuple[Language, Overlap]]":
        """Return how each language's errors relate to the source language's, on a parallel task."""
        analyses = ((language, run.error_analyses.get(language.code)) for language in self.study.languages)
        return [(language, analysis.overlap) for language, analysis in analyses if analysis and analysis.overlap]

    def tag(self, code: str) -> str:
        """Return the BCP 47 tag of a language of the study."""
        return next((language.tag for language in self.study.languages if language.code == code), "")

    def confusion(self, run: "StudyRun") -> "Confusion | None":
        """Return a run's confusions over all languages, each through the adapter that represents it."""
        total: Confusion | None = None
        for analysis in run.error_analyses.values():
            if analysis.confusion:
                # Questions may offer different numbers of choices; then there is no common matrix.
                if total and total.labels != analysis.confusion.labels:
                    return None
                total = total.plus(analysis.confusion) if total else analysis.confusion
        return total

    @staticmethod
    def kept_steps(run: "StudyRun") -> dict[int, int]:
        """Return the step whose weights were scored, by seed, where the weights are those of one step of training."""
        return {row.seed: row.step for row in run.rows if row.step}

    # Facts.

    @property
    def plan(self) -> dict[str, list[Fact]]:
        """Every value of the plans: `chosen` for this training, of the `task`, and those at their `default`."""
        parts: dict[str, list[Fact]] = {"chosen": [], "task": [], "default": []}
        defaults = _defaults()
        for fact in _facts([dict(_flat(run.run.plan.to_json())) for run in self.study.runs]):
            if fact.differs or fact.key in SHOWN:
                part = "chosen"
            elif fact.values[0] == defaults.get(fact.key, ABSENT) and not fact.key.startswith("task.languages."):
                part = "default"
            else:
                part = "task" if fact.key.startswith("task.") else "chosen"
            parts[part].append(fact)
        return parts

    @property
    def versions(self) -> list[Fact]:
        """The library versions that each run was trained with."""
        return _facts([run.run.versions for run in self.study.runs])

    @property
    def measured(self) -> list[Fact]:
        """How the scores were measured: every value that occurs."""
        facts = []
        for key, name in MEASURED.items():
            values = []
            for run in self.study.runs:
                distinct = dict.fromkeys(getattr(row, name) for row in run.rows)
                values.append(
                    "; ".join(_written(list(value) if isinstance(value, tuple) else value) for value in distinct)
                )
            facts.append(Fact(key, tuple(values)))
        truncated = tuple(f"{sum(row.truncated for row in run.rows):,}" for run in self.study.runs)
        seconds = tuple(f"{sum(row.seconds for row in run.rows):,.0f}" for run in self.study.runs)
        return [*facts, Fact("rows truncated to the recipe's length", truncated), Fact("seconds of scoring", seconds)]

    def origins(self, language: "Language") -> list[str]:
        """Return where a language's data came from, with the beginning of its fingerprint."""
        data = [row.data for run in self.study.runs for row in run.rows if row.language == language.code]
        parts = (value.rpartition("#") for value in data)
        return list(dict.fromkeys(f"{origin} ({fingerprint[:12]})" for origin, _, fingerprint in parts))

    def metrics(self, run: "StudyRun") -> "tuple[list[str], list[tuple[Language, list[float]]]]":
        """Return the names of the metrics that all rows of a run have, and their means over seeds for each language."""
        names = [name for name in run.rows[0].metrics if all(name in row.metrics for row in run.rows)]
        table = []
        for language in self.study.languages:
            if rows := run.own_rows.get(language.code, ()):
                table.append((language, [sum(row.metrics[name] for row in rows) / len(rows) for name in names]))
        return names, table

    def _scores(self) -> "Iterator[Score]":
        return (score for language in self.study.languages for score in self.scores(language) if score)


def _facts(runs: Sequence[Mapping[str, str]]) -> list[Fact]:
    keys = dict.fromkeys(key for values in runs for key in values)
    return [Fact(key, tuple(values.get(key, "") for values in runs)) for key in keys]


def _defaults() -> dict[str, str]:
    """Return the default values of recipes and tasks under the keys of a plan."""
    defaults: dict[str, str] = {}
    for part, described in (("recipe", Recipe), ("task", Task)):
        values = {
            field.alias or name: field.get_default(call_default_factory=True)
            for name, field in described.model_fields.items()
            if not field.is_required()
        }
        defaults |= dict(_flat({part: to_jsonable_python(values, by_alias=True)}))
    return defaults


def _flat(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the values of nested mappings, and of lists of mappings, under dotted keys."""
    for key, inner in value.items():
        if isinstance(inner, list) and inner and all(isinstance(item, Mapping) for item in inner):
            yield from _flat({str(number): item for number, item in enumerate(inner, start=1)}, f"{path}{key}.")
        elif isinstance(inner, Mapping) and inner:
            yield from _flat(inner, f"{path}{key}.")
        else:
            yield f"{path}{key}", _written(inner)


def _written(value: Any) -> str:
    match value:
        case None | "" | {} | []:
            return ABSENT
        case str():
            return value
        case float():
            return f"{value:g}"
        case Sequence() if all(isinstance(item, str) for item in value):
            return ", ".join(value)
    return json.dumps(value, ensure_ascii=False)
