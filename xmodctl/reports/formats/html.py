"""One HTML file that needs nothing beside itself: no script, no network, readable on paper, phone and screen reader."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from xmodctl.core.visible import pieces, plain
from xmodctl.evaluation.comparison import Difference
from xmodctl.evaluation.results import Score
from xmodctl.reports import charts
from xmodctl.reports.breakdowns import BREAKDOWNS
from xmodctl.reports.study import Column, Confusion, Language, Part, Study

CONTROLS = {"own": "its own adapter", "source": "the source's adapter", "none": "no adapter"}
"""How the controls are called in words."""


def to_html(study: Study) -> str:
    """Return the report as one HTML document."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    here = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(here),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_without_hidden,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "visible": visible, "number": number, "points": points, "marked": marked, "heat": heat,
        "interval": interval,
    }  # fmt: skip
    style = Markup((here / "report.css").read_text(encoding="utf-8"))  # noqa: S704 (a file of this package)
    page = environment.get_template("report.html.jinja")
    return page.render(study=study, view=View(study), charts=charts, style=style, control_names=CONTROLS).lstrip()


def marked(text: str) -> Markup:
    """Return text for a block of its own: hidden characters marked."""
    return Markup("").join(
        Markup('<span class="hidden" title="{}">{}</span>').format(piece.title, piece.text)
        if piece.hidden
        else escape(piece.text)
        for piece in pieces(text)
    )


def visible(text: str) -> Markup:
    """Return text for a place within a line: hidden characters marked, its direction kept from its surroundings."""
    return Markup("<bdi>{}</bdi>").format(marked(text))


def number(value: float | None) -> str:
    """Write a score."""
    return "" if value is None else f"{value:.1f}"


def points(value: float | None) -> str:
    """Write a difference of scores, its sign always there."""
    return "" if value is None else f"{value:+.1f}".replace("-", "\N{MINUS SIGN}")


def interval(ends: tuple[float, float] | None) -> str:
    """Write an interval."""
    return "" if ends is None else f"{ends[0]:.1f} to {ends[1]:.1f}".replace("-", "\N{MINUS SIGN}")


def heat(value: float, low: float, high: float) -> Markup:
    """Return the style of a cell: how much of the heat colour it has, from none at `low` to all at `high`."""
    share = 0.0 if high <= low else (value - low) / (high - low)
    return Markup('style="--heat:{:.0f}%"').format(100 * min(max(share, 0.0), 1.0))


@dataclass(frozen=True)
class PlanLine:
    """One value of the plan, in each run."""

    key: str
    values: tuple[str, ...]

    @property
    def differs(self) -> bool:
        """Whether the runs do not agree on it."""
        return len(set(self.values)) > 1


@dataclass(frozen=True)
class HeatMap:
    """Text languages by adapters, of one run."""

    column: Column
    languages: tuple[Language, ...]
    adapters: tuple[str, ...]
    cells: Mapping[tuple[str, str], Score]

    @property
    def ends(self) -> tuple[float, float]:
        """The lowest and the highest score."""
        means = [score.mean for score in self.cells.values()]
        return min(means), max(means)

    def best(self, language: str) -> str:
        """Return the adapter that scores highest on a language."""
        row = {adapter: score.mean for (code, adapter), score in self.cells.items() if code == language}
        return max(row, key=row.__getitem__)


@dataclass(frozen=True)
class View:
    """A study as the page asks for it."""

    study: Study

    @property
    def several(self) -> bool:
        """Whether runs stand side by side."""
        return len(self.study.columns) > 1

    @property
    def seeds(self) -> bool:
        """Whether some run has several seeds."""
        return any(len(column.report.seeds) > 1 for column in self.study.columns)

    @property
    def metric(self) -> str:
        """The headline metric in words."""
        return self.study.metric.replace("_", " ").replace("f1", "F1").replace("entity", "entity")

    @property
    def families(self) -> list[tuple[str, list[Language]]]:
        """The languages by family."""
        return [(family, list(members)) for family, members in groupby(self.study.languages, lambda one: one.family)]

    @property
    def source(self) -> Score | None:
        """The first run's score in its source language."""
        return next((score for score in self.study.columns[0].report.scores if score.is_source), None)

    @property
    def score_scale(self) -> charts.Scale:
        """The scale of the score chart: every interval, and the blind answers."""
        values: list[float] = []
        for score in self._scores():
            values += [score.ci_low, score.ci_high, score.baseline, *score.values]
        return charts.Scale.over(values)

    @property
    def gap_scale(self) -> charts.Scale:
        """The scale of the gap chart, zero within."""
        gaps = [end for score in self._scores() if score.gap is not None for end in (score.gap, *(score.gap_ci or ()))]
        return charts.Scale.over([0.0, *gaps])

    @property
    def has_gaps(self) -> bool:
        """Whether there is a source to measure gaps from."""
        return any(score.gap is not None for score in self._scores())

    @property
    def by_gap(self) -> list[Language]:
        """The languages with a gap in some run, the smallest first."""
        gaps = {
            language: [score.gap for score in self.scores(language) if score and score.gap is not None]
            for language in self.study.languages
        }
        return sorted((one for one in gaps if gaps[one]), key=lambda one: sum(gaps[one]) / len(gaps[one]))

    def scores(self, language: Language) -> list[Score | None]:
        """Return a language's score in each run."""
        return [column.score(language.code) for column in self.study.columns]

    def differences(self, column: Column) -> dict[tuple[str | None, str], Difference]:
        """Return the tests of a run's own adapters by language and control."""
        return {(one.language, one.against): one for one in (column.mattered.differences if column.mattered else ())}

    def through(self, language: Language) -> str | None:
        """Return the donor's adapter that stands in for a language's own, in the first run where one does."""
        for column in self.study.columns:
            score = column.score(language.code)
            if score and not column.is_own(score):
                return score.adapter or "none"
        return None

    def controls(self, column: Column) -> list[tuple[Language, list[Score | None]]]:
        """Return the languages that a run scored under a control: their scores as own, source, none."""
        found = []
        for language in self.study.languages:
            own = column.score(language.code)
            others = [column.control(language.code, control) for control in ("source", "none")]
            if own and any(others):
                found.append((language, [own, *others]))
        return found

    def control_scale(self, column: Column) -> charts.Scale:
        """The scale of a run's control chart."""
        shown = [score for _, scores in self.controls(column) for score in scores if score]
        return charts.Scale.over([value for score in shown for value in (score.mean, score.baseline)])

    @property
    def heat_maps(self) -> list[HeatMap]:
        """The donor matrix of each run that sent text through a donor's adapter."""
        maps = []
        for column in self.study.columns:
            cells: dict[tuple[str, str], Score] = {}
            for score in column.report.scores:
                if score.adapter and len(column.scores(score.language)) > 1:
                    cells.setdefault((score.language, score.adapter), score)
            if cells:
                languages = tuple(one for one in self.study.languages if len(column.scores(one.code)) > 1)
                maps.append(HeatMap(column, languages, tuple(dict.fromkeys(adapter for _, adapter in cells)), cells))
        return maps

    @property
    def answers_are_text(self) -> bool:
        """Whether answers are pieces of the text, in its language, rather than labels."""
        return self.study.task.kind in ("token-classification", "question-answering")

    @property
    def parts_are(self) -> str:
        """What the parts of the examples are."""
        return BREAKDOWNS[self.study.task.kind].parts_are

    def part_names(self, column: Column) -> list[str]:
        """Return the names of the parts that a run's examples fall into."""
        return list(dict.fromkeys(part.name for one in column.examples.values() for part in one.parts))

    def part(self, column: Column, language: Language, name: str) -> Part | None:
        """Return the score on one part of a language's examples."""
        examples = column.examples.get(language.code)
        return next((part for part in examples.parts if part.name == name), None) if examples else None

    def confusion(self, column: Column) -> Confusion | None:
        """Return a run's confusions over all languages, each through the adapter that stands for it."""
        total: Confusion | None = None
        for examples in column.examples.values():
            if examples.confusion:
                # Questions may offer different numbers of choices; then there is no common matrix.
                if total and total.labels != examples.confusion.labels:
                    return None
                total = total.plus(examples.confusion) if total else examples.confusion
        return total

    @property
    def plan(self) -> list[PlanLine]:
        """Every value of the plans."""
        flat = [dict(_flat(column.run.plan.to_json())) for column in self.study.columns]
        keys = dict.fromkeys(key for one in flat for key in one)
        return [PlanLine(key, tuple(one.get(key, "") for one in flat)) for key in keys]

    @property
    def versions(self) -> list[PlanLine]:
        """The versions each run was made with."""
        found = [column.run.versions for column in self.study.columns]
        return [
            PlanLine(key, tuple(one.get(key, "") for one in found))
            for key in dict.fromkeys(k for v in found for k in v)
        ]

    @property
    def methods(self) -> list[str]:
        """How the intervals of scores came about."""
        every = (score.ci_method for column in self.study.columns for score in column.report.scores)
        return list(dict.fromkeys(every))

    @property
    def measured(self) -> list[PlanLine]:
        """How the scores were measured: every value that occurs."""
        asked = {
            "model": "model", "adapter trained in": "source_languages", "weights chosen on": "selected_on",
            "step": "step", "precision": "precision", "device": "device", "xmodctl": "tool",
        }  # fmt: skip
        lines = []
        for key, name in asked.items():
            values = []
            for column in self.study.columns:
                seen = dict.fromkeys(getattr(row, name) for row in column.rows)
                values.append("; ".join(", ".join(one) if isinstance(one, tuple) else str(one) for one in seen))
            lines.append(PlanLine(key, tuple(values)))
        cut = tuple(f"{sum(row.truncated for row in column.rows):,}" for column in self.study.columns)
        seconds = tuple(f"{sum(row.seconds for row in column.rows):,.0f}" for column in self.study.columns)
        return [*lines, PlanLine("rows cut to the recipe's length", cut), PlanLine("seconds of scoring", seconds)]

    def origins(self, language: Language) -> list[str]:
        """Return where a language's data came from, with the beginning of its fingerprint."""
        rows = [row for column in self.study.columns for row in column.rows if row.language == language.code]
        told = (row.data.rpartition("#") for row in rows)
        return list(dict.fromkeys(f"{origin} ({fingerprint[:12]})" for origin, _, fingerprint in told))

    def metrics(self, column: Column) -> tuple[list[str], list[tuple[Language, list[float]]]]:
        """Return the names of every metric of a run, and their means over seeds for each language."""
        names = list(column.rows[0].metrics)
        table = []
        for language in self.study.languages:
            rows = column.own_rows.get(language.code, ())
            if rows:
                table.append((language, [sum(row.metrics[name] for row in rows) / len(rows) for name in names]))
        return names, table

    def _scores(self) -> Iterator[Score]:
        return (score for language in self.study.languages for score in self.scores(language) if score)


def _without_hidden(value: Any) -> Any:
    """Mark hidden characters in whatever the page prints; what is markup has been through `visible`."""
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _flat(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    for key, inner in value.items():
        if isinstance(inner, list) and inner and all(isinstance(one, Mapping) for one in inner):
            inner = {str(number): one for number, one in enumerate(inner, start=1)}  # noqa: PLW2901
        if isinstance(inner, Mapping) and inner:
            yield from _flat(inner, f"{path}{key}.")
        else:
            yield f"{path}{key}", _written(inner)


def _written(value: Any) -> str:
    match value:
        case None | "" | [] | {}:
            return "none"
        case str():
            return value
        case float():
            return f"{value:g}"
        case Sequence() if all(isinstance(one, str) for one in value):
            return ", ".join(value)
    return json.dumps(value, ensure_ascii=False)
