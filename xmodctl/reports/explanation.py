"""One language of a run, explained: what was measured, what follows from it, and what could not be determined."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from xmodctl.evaluation.notebook import html_table
from xmodctl.reports.error_analysis import Mistake
from xmodctl.reports.parallel_errors import Overlap
from xmodctl.statistics.intervals import contrast_of_shares, wilson
from xmodctl.statistics.resampling import bootstrap
from xmodctl.statistics.student import TAIL, t_quantile

Ends = tuple[float, float]
"""The ends of a 95% interval."""

MOST_RECOMMENDED = 3
"""Recommendations that a page has at most."""

RESAMPLES = 2_000
"""Resamples of the intervals of ratios."""

MEASURED, EXPECTED, POSSIBLE = 0, 1, 2
"""How far a recommendation is known to help: its gain was measured; its rows are those that fail; or only a cause that
is known from the literature was measured."""


@dataclass(frozen=True)
class Wider:
    """How much further a part of a language is behind the source language than all of its rows are, in points."""

    points: float
    ci: Ends  # 95% for all parts together (Bonferroni's correction)


@dataclass(frozen=True)
class Figure:
    """One measurement of the language, beside the same of the source language."""

    name: str
    value: float
    unit: str
    ci: Ends | None = None
    source: float | None = None  # the same of the source language
    source_ci: Ends | None = None
    digits: int = 1
    wider: Wider | None = None  # of a part of the errors

    @property
    def written(self) -> str:
        """The value with its unit and interval."""
        return self._with_interval(self.value, self.ci)

    @property
    def source_written(self) -> str:
        """The source language's value; empty without one."""
        return "" if self.source is None else self._with_interval(self.source, self.source_ci)

    def _with_interval(self, value: float, ends: Ends | None) -> str:
        text = f"{value:,.{self.digits}f}{'%' if self.unit == '%' else ''}"
        return text if ends is None else f"{text} ({ends[0]:,.{self.digits}f} to {ends[1]:,.{self.digits}f})"


@dataclass(frozen=True)
class Section:
    """What was measured about one possible cause."""

    title: str
    figures: tuple[Figure, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recommendation:
    """What to try, and the figure that speaks for it."""

    action: str
    evidence: str  # with the figure
    basis: int  # MEASURED, EXPECTED, or POSSIBLE
    size: float  # points at stake at most; of a possible cause, how far it is from the source language


@dataclass(frozen=True, repr=False)
class Explanation:
    """One language of a run: where it stands, possible causes, and what to try."""

    run: str
    task: str
    kind: str
    metric: str
    split: str
    limited: int | None
    language: str
    name: str  # in English
    source: str
    adapter: str | None
    standing: Section
    sections: tuple[Section, ...]
    overlap: Overlap | None  # with the errors of the source language, on a parallel task
    mistakes: tuple[Mistake, ...]
    recommendations: tuple[Recommendation, ...]  # the best founded first
    undetermined: tuple[str, ...]  # what could not be determined, and how it could be

    def __repr__(self) -> str:
        score = self.standing.figures[0]
        return f"<Explanation {self.run} {self.language}: {self.metric} {score.written}>"

    @property
    def parts(self) -> tuple[Section, ...]:
        """Where the language stands, and each cause."""
        return (self.standing, *self.sections)

    def _repr_html_(self) -> str:
        columns = ("figure", self.language, self.source)
        lines = [
            (f"{part.title}: {figure.name}", figure.written, figure.source_written)
            for part in self.parts
            for figure in part.figures
        ]
        tried = [f"try: {each.action} ({each.evidence})" for each in self.recommendations]
        return html_table(f"{self.run}, {self.name}", columns, lines, [*tried, *self.undetermined])

    def to_json(self) -> dict[str, Any]:
        """Return the explanation as plain JSON values."""
        return asdict(self)

    def to_html(self) -> str:
        """Return the explanation as one HTML page."""
        from xmodctl.reports.formats.html import render_explanation

        return render_explanation(self)


def share(name: str, counts: tuple[int, int], source: tuple[int, int] | None = None) -> Figure:
    """Return a share, as (how many, of how many), in percent with Wilson's interval."""
    value, ends = _share(counts)
    if source is None:
        return Figure(name, value, "%", ends)
    return Figure(name, value, "%", ends, *_share(source))


def _share(counts: tuple[int, int]) -> tuple[float, Ends]:
    part, whole = counts
    low, high = wilson(part / whole, whole, t_quantile(TAIL))
    return 100 * part / whole, (100 * low, 100 * high)


def difference(counts: tuple[int, int], source: tuple[int, int]) -> Ends:
    """Return the 95% interval of the difference of two shares of different rows, in points."""
    shares = [part / whole for part, whole in (counts, source)]
    variances = [value * (1 - value) / whole for value, (_, whole) in zip(shares, (counts, source), strict=True)]
    first, second = (np.array([value]) for value in shares)
    return contrast_of_shares(first, second, np.diag(variances), (counts[1], source[1]), paired=False).interval()


def ratio(tops: ArrayLike, bottoms: ArrayLike, factor: float = 1.0) -> tuple[float, Ends]:
    """Return the ratio of two sums over rows, times a factor, and its 95% bootstrap interval."""
    statistics = np.column_stack([np.asarray(tops, dtype=np.float64), np.asarray(bottoms, dtype=np.float64)])

    def metric(totals: np.ndarray) -> np.ndarray:
        return np.asarray(factor * totals[..., 0] / np.maximum(totals[..., 1], 1e-9))

    interval = bootstrap(statistics, metric, resamples=RESAMPLES)
    return float(metric(statistics.sum(axis=0))), (interval.low, interval.high)


def ranked(recommendations: Sequence[Recommendation]) -> tuple[Recommendation, ...]:
    """Return the recommendations that are best founded, by their basis and then by what is at stake."""
    return tuple(sorted(recommendations, key=lambda each: (each.basis, -each.size))[:MOST_RECOMMENDED])
