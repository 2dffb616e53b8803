"""What a report shows, as values: one or more runs of a task side by side, their averages, and cautions."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache
from math import nan
from typing import Any, Self

from xmodctl.catalog.task import Task
from xmodctl.evaluation.comparison import Comparison
from xmodctl.evaluation.measurements import has_own
from xmodctl.evaluation.results import ALL, OWN_ADAPTER, WITHOUT_SOURCE, Report, Row, Score, own_rows
from xmodctl.languages import name
from xmodctl.languages.kinship import lineage
from xmodctl.languages.tags import read, script
from xmodctl.run.run import Run

NO_FAMILY = "No family on record"


@dataclass(frozen=True)
class Language:
    """A language of the data: how it is spelt there, what it is called, who its relatives are."""

    code: str  # as the benchmark spells it
    tag: str  # BCP 47, for HTML's `lang`; empty where the code is no language
    name: str
    lineage: tuple[str, ...]  # family and branches, widest first
    script: str  # in English

    @classmethod
    def of(cls, code: str) -> Self:
        """Look a code up."""
        tag = read(code)
        return cls(code, tag.code if tag else "", name(code), lineage(code), script_name(script(code)))

    @property
    def family(self) -> str:
        """The widest grouping."""
        return self.lineage[0] if self.lineage else NO_FAMILY

    @property
    def branch(self) -> str:
        """The grouping under the family, or nothing."""
        return self.lineage[1] if len(self.lineage) > 1 else ""


SCRIPTS = {"Hans": "Simplified Chinese", "Hant": "Traditional Chinese", "Zzzz": "unrecorded"}
"""Scripts whose names in CLDR only make sense beside a language's."""


@lru_cache(maxsize=512)
def script_name(code: str) -> str:
    """Return the English name of a script (`Cyrl` is Cyrillic)."""
    import langcodes

    return SCRIPTS.get(code) or langcodes.Language.make(script=code).script_name()


@dataclass(frozen=True)
class Confusion:
    """How often each gold label was given each label, summed over seeds."""

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]  # a row a gold label, a column a predicted one

    def plus(self, other: Self) -> Self:
        """Add up two of the same labels."""
        assert self.labels == other.labels
        pairs = zip(self.counts, other.counts, strict=True)
        return type(self)(self.labels, tuple(tuple(a + b for a, b in zip(*rows, strict=True)) for rows in pairs))


@dataclass(frozen=True)
class Part:
    """The headline metric on a part of a language's examples."""

    name: str
    n: int | None  # examples, or None where the part is no set of examples (an entity type)
    value: float  # percent, mean over seeds


@dataclass(frozen=True)
class Mistake:
    """An example that the model got wrong, the surer the worse."""

    id: str
    gold: str
    said: str
    wrong_seeds: int
    seeds: int
    sureness: float  # how much the model believed in the wrong answer, mean over seeds
    texts: tuple[tuple[str, str], ...]  # (what it is, the text); empty where the data is not at hand


@dataclass(frozen=True)
class Examples:
    """What the predictions of one language tell beyond its score."""

    confusion: Confusion | None = None
    parts: tuple[Part, ...] = ()
    mistakes: tuple[Mistake, ...] = ()


@dataclass(frozen=True)
class Curve:
    """A seed's training: its loss, thinned to what a chart can show, and its validation scores."""

    seed: int
    total_steps: int
    losses: tuple[tuple[int, float], ...]  # (step, mean loss of the steps since the point before)
    validations: tuple[tuple[int, float], ...]  # (step, percent)
    metric: str | None  # of the validations


@dataclass(frozen=True)
class Column:
    """One run in a report."""

    name: str  # unlike any other in the report
    run: Run
    report: Report
    shared: Report  # over the languages that every run of the study has a score in
    rows: tuple[Row, ...]
    mattered: Comparison | None = None  # own adapters against controls
    examples: Mapping[str, Examples] = field(default_factory=dict)  # language -> what its predictions tell
    curves: tuple[Curve, ...] = ()

    @cached_property
    def own_rows(self) -> Mapping[str, Sequence[Row]]:
        """The rows that stand for each language: through its own adapter, or else through the first donor measured."""
        return own_rows(self.rows)

    def score(self, language: str) -> Score | None:
        """Return the score that stands for a language."""
        if language not in self.own_rows:
            return None
        adapter = self.own_rows[language][0].adapter
        return next(one for one in self.scores(language) if one.adapter == adapter)

    def scores(self, language: str) -> list[Score]:
        """Return the scores of a language through each adapter it was sent through by choice, not as a control."""
        return [one for one in self.report.scores if one.language == language and one.control == "own"]

    def control(self, language: str, control: str) -> Score | None:
        """Return the score of a language under a control."""
        scored = (one for one in self.report.scores if (one.language, one.control) == (language, control))
        return next(scored, None)

    def is_own(self, score: Score) -> bool:
        """Say whether the text went through the adapter of its own language."""
        return has_own(score.language, score.adapter, self.run.plan.task)


@dataclass(frozen=True)
class Average:
    """An unweighted mean over languages, a value for each run."""

    name: str
    languages: tuple[str, ...]
    values: tuple[float, ...]  # one a column, percent
    intervals: tuple[tuple[float, float] | None, ...]  # likewise, where predictions are at hand


@dataclass(frozen=True)
class Study:
    """Runs of one task on one split, side by side."""

    task: Task
    split: str
    metric: str
    columns: tuple[Column, ...]
    comparison: Comparison | None  # of the other runs with the first
    languages: tuple[Language, ...]  # relatives stand together
    notes: tuple[str, ...]  # what a reader must know before believing a number
    left_out: tuple[str, ...]  # runs that could not be shown, and why
    made: str  # UTC time

    @property
    def limited(self) -> int | None:
        """The largest --limit among the runs, or None."""
        return max((column.report.limited for column in self.columns if column.report.limited), default=None)

    @property
    def shared(self) -> tuple[Language, ...]:
        """The languages that every run has a score in: averages over others could not be compared."""
        return tuple(one for one in self.languages if all(column.score(one.code) for column in self.columns))

    @property
    def averages(self) -> tuple[Average, ...]:
        """Means over languages: all, without the source, and those with an adapter of their own if not all have one.

        XTREME's tables hold the first: unweighted, English included (Hu et al. 2020, arXiv 2003.11080, table 2).
        """
        codes = [one.code for one in self.shared]
        scores = [(column, score) for column in self.columns for code in codes if (score := column.score(code))]
        sources = {score.language for _, score in scores if score.is_source}
        donated = {score.language for column, score in scores if not column.is_own(score)}
        groups = {
            ALL: codes,
            WITHOUT_SOURCE: [code for code in codes if code not in sources],
            OWN_ADAPTER: [code for code in codes if code not in donated] if donated else [],
        }
        return tuple(self.average(name, members) for name, members in groups.items() if members and len(codes) > 1)

    @property
    def families(self) -> tuple[Average, ...]:
        """Means over the languages of each family."""
        return self._grouped({one.code: one.family for one in self.shared})

    @property
    def scripts(self) -> tuple[Average, ...]:
        """Means over the languages written in each script."""
        return self._grouped({one.code: one.script for one in self.shared})

    @property
    def controls(self) -> tuple[str, ...]:
        """The controls that some language was scored under."""
        found = {score.control for column in self.columns for score in column.report.scores}
        return tuple(control for control in ("source", "none") if control in found)

    def average(self, name: str, languages: Sequence[str]) -> Average:
        """Return the unweighted mean over languages for each run."""
        values, intervals = [], []
        for column in self.columns:
            mean = sum(score.mean for code in languages if (score := column.score(code))) / len(languages)
            values.append(mean)
            # A run trained in another language leaves out another source: then its interval is of another mean.
            same_mean = abs(column.shared.averages.get(name, nan) - mean) < 1e-9
            intervals.append(column.shared.averages_ci.get(name) if same_mean else None)
        return Average(name, tuple(languages), tuple(values), tuple(intervals))

    def to_json(self) -> dict[str, Any]:
        """Return the study as plain JSON values, without examples and curves."""
        return {
            "task": self.task.name,
            "split": self.split,
            "metric": self.metric,
            "made": self.made,
            "notes": list(self.notes),
            "left_out": list(self.left_out),
            "languages": [asdict(one) for one in self.languages],
            "runs": [
                {
                    "name": column.name,
                    "folder": str(column.run.folder),
                    "report": column.report.to_json(),
                    "controls": column.mattered.to_json() if column.mattered else None,
                }
                for column in self.columns
            ],
            "comparison": self.comparison.to_json() if self.comparison else None,
            "averages": [asdict(one) for one in self.averages],
            "families": [asdict(one) for one in self.families],
            "scripts": [asdict(one) for one in self.scripts],
        }

    def _grouped(self, names: Mapping[str, str]) -> tuple[Average, ...]:
        groups: dict[str, list[str]] = {}
        for code, group in names.items():
            groups.setdefault(group, []).append(code)
        return tuple(self.average(group, codes) for group, codes in groups.items())
