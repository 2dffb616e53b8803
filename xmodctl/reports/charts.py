"""Inline SVG: strips of marks on a common scale, and training curves.

Positions are percentages of the width, so that a chart fits any page while its text and marks keep their size. Colors
are CSS variables of the page, so that a chart follows its light and dark schemes.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from markupsafe import Markup

from xmodctl.evaluation.results import Score
from xmodctl.reports.curves import TrainingCurve

if TYPE_CHECKING:
    from xmodctl.reports.study import Average

LANE = 22
"""Height of one run's lane in a strip, pixels."""

SHAPES = 4
COLORS = 6
"""Numbers of marks and of series colors: together they distinguish 12 runs."""


@dataclass(frozen=True)
class Scale:
    """A linear scale whose ends are round numbers."""

    low: float
    high: float
    ticks: tuple[float, ...]

    @classmethod
    def over(cls, values: Iterable[float], *, ticks: int = 5) -> Self:
        """Return the scale that includes all finite values; from zero, if they are all the same."""
        known = [value for value in values if math.isfinite(value)]
        low, high = min(known, default=0.0), max(known, default=1.0)
        if low == high:
            low, high = min(low, 0.0), max(high, 0.0)
        step = _round_up((high - low or abs(high) or 1.0) / ticks)
        first, last = math.floor(low / step), math.ceil(high / step)
        last += first == last
        return cls(first * step, last * step, tuple(number * step for number in range(first, last + 1)))

    def until(self, high: float) -> Self:
        """Return the scale that ends at a value within it, without the ticks beyond."""
        return replace(self, high=high, ticks=tuple(tick for tick in self.ticks if tick <= high))

    def at(self, value: float) -> float:
        """Return the position of a value, in percent of the width."""
        return round(100 * (min(max(value, self.low), self.high) - self.low) / (self.high - self.low), 2)

    def label(self, value: float) -> str:
        """Return a value with the digits of the ticks."""
        step = self.ticks[1] - self.ticks[0]
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        return f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def axis(scale: Scale) -> Markup:
    """Return the labels of the ticks as a strip."""
    labels = []
    for tick in scale.ticks:
        anchor = {scale.ticks[0]: "start", scale.ticks[-1]: "end"}.get(tick, "middle")
        labels.append(
            Markup('<text x="{}%" y="14" text-anchor="{}">{}</text>').format(scale.at(tick), anchor, scale.label(tick))
        )
    return _svg("axis", 18, labels)


def label_at(scale: Scale, value: float, text: str) -> Markup:
    """Return a text as a strip, where a value is on the scale."""
    place = scale.at(value)
    anchor = "start" if place < 20 else "end" if place > 80 else "middle"
    label = Markup('<text x="{}%" y="14" text-anchor="{}">{}</text>').format(place, anchor, text)
    return _svg("axis", 18, [label])


def scores(
    scale: Scale, shown: Sequence[Score | None], *, reference: float | None = None, baseline: float | None = None
) -> Markup:
    """Return the strip of one language, with one lane per run: interval, seeds, and mean.

    Args:
        scale: The scale of the chart.
        shown: The score of each run; None where there is none.
        reference: A score to compare with, in percent, as a line through all lanes.
        baseline: The majority baseline of all languages, in percent, as a line through all lanes. None: each score has
            a stroke at its own.
    """
    parts = _grid(scale) + _through(scale, reference, "reference") + _through(scale, baseline, "baseline")
    for number, score in enumerate(shown):
        if score is None:
            continue
        y = number * LANE + LANE / 2
        css = f"c{number % COLORS}"
        if baseline is None:
            parts.append(_line(scale.at(score.baseline), scale.at(score.baseline), y - 6, y + 6, "baseline"))
        parts += _interval(scale, (score.ci_low, score.ci_high), y, css)
        if len(score.values) > 1:
            for value in score.values:
                parts.append(_line(scale.at(value), scale.at(value), y - 7, y - 3, f"seed {css}"))
        parts.append(mark(scale.at(score.mean), y, number, css))
    return _svg("strip", LANE * len(shown), parts)


def means(scale: Scale, average: "Average", *, reference: float | None = None, baseline: float | None = None) -> Markup:
    """Return the strip of a mean over languages, with one lane per run: interval and mean.

    Args:
        scale: The scale of the chart.
        average: The mean.
        reference: As in `scores`.
        baseline: As in `scores`.
    """
    parts = _grid(scale) + _through(scale, reference, "reference") + _through(scale, baseline, "baseline")
    for number, (value, ends) in enumerate(zip(average.values, average.intervals, strict=True)):
        y = number * LANE + LANE / 2
        if ends:
            parts += _interval(scale, ends, y, f"c{number % COLORS}")
        parts.append(mark(scale.at(value), y, number, f"c{number % COLORS}"))
    return _svg("strip", LANE * len(average.values), parts)


def gaps(scale: Scale, shown: Sequence[Score | None]) -> Markup:
    """Return the strip of one language, with one bar per run: its gap to the source, with the interval."""
    parts = _grid(scale)
    zero = scale.at(0)
    for number, score in enumerate(shown):
        if score is None or score.gap is None:
            continue
        y = number * LANE + LANE / 2
        left, right = sorted((zero, scale.at(score.gap)))
        parts.append(
            Markup('<rect x="{}%" width="{}%" y="{}" height="10" class="c{}"/>').format(
                left, round(right - left, 2), y - 5, number % COLORS
            )
        )
        if score.gap_ci:
            low, high = map(scale.at, score.gap_ci)
            parts.append(_line(low, high, y, y, "whisker"))
            parts += [_line(end, end, y - 4, y + 4, "whisker") for end in (low, high)]
    parts.append(_line(zero, zero, "0", "100%", "zero"))
    return _svg("strip", LANE * len(shown), parts)


def controls(scale: Scale, shown: Sequence[float | None], baseline: float) -> Markup:
    """Return the strip of one language with its means under each control, joined by a line.

    Args:
        scale: The scale of the chart.
        shown: The means through the own adapter, the source's adapter, and no adapter; None where there is none.
        baseline: The majority baseline.
    """
    known = [value for value in shown if value is not None]
    y = LANE / 2
    parts = _grid(scale)
    parts.append(_line(scale.at(baseline), scale.at(baseline), y - 6, y + 6, "baseline"))
    parts.append(_line(scale.at(min(known)), scale.at(max(known)), y, y, "join"))
    # The mark of the own adapter is drawn last, on top of the others.
    for number, value in reversed(list(enumerate(shown))):
        if value is not None:
            parts.append(mark(scale.at(value), y, number, f"c{number}"))
    return _svg("strip", LANE, parts)


def legend_mark(number: int) -> Markup:
    """Return the mark of a series, for a legend."""
    return Markup('<svg class="key" width="14" height="14" aria-hidden="true">{}</svg>').format(
        mark(50, 7, number, f"c{number % COLORS}")
    )


def mark(x: float, y: float, number: int, css: str) -> Markup:
    """Return the mark of a series at a position; series differ in shape as well as in color."""
    shapes = (
        Markup('<circle r="5"/>'),
        Markup('<rect x="-4.5" y="-4.5" width="9" height="9"/>'),
        Markup('<path d="M0-6 6 0 0 6-6 0z"/>'),
        Markup('<path d="M0-6 6 5-6 5z"/>'),
    )
    # A nested svg accepts a percentage, which a transform does not.
    return Markup('<svg x="{}%" y="{}" class="mark {}" overflow="visible">{}</svg>').format(
        x, y, css, shapes[number % SHAPES]
    )


def curve(curves: Sequence[TrainingCurve], *, validation: bool, kept: Mapping[int, int] | None = None) -> Markup:
    """Return a panel with the training losses of all seeds, or with their validation scores.

    Args:
        curves: One per seed.
        validation: Whether to show validation scores, in percent, instead of losses.
        kept: Seed -> the step whose weights were kept, which a dashed line marks.
    """
    lines = [seed.validations if validation else seed.losses for seed in curves]
    steps = max(seed.total_steps for seed in curves)
    across = Scale.over([0, steps], ticks=4).until(max(steps, 1))
    along = Scale.over([value for line in lines for _, value in line], ticks=4)
    height = 180
    parts, labels = [], []  # labels are drawn last, on top of the lines
    for tick in along.ticks:
        y = round(height * (100 - along.at(tick)) / 100, 1)
        parts.append(_line(0, 100, y, y, "grid"))
        labels.append(Markup('<text x="0" y="{}">{}</text>').format(y - 3, along.label(tick)))
    for tick in across.ticks[1:]:
        anchor = "end" if across.at(tick) > 95 else "middle"
        parts.append(
            Markup('<text x="{}%" y="{}" text-anchor="{}">{:,.0f}</text>').format(
                across.at(tick), height + 15, anchor, tick
            )
        )
    parts += [_line(0, 0, 0, height, "axis-line"), _line(0, 100, height, height, "axis-line")]
    parts.append(Markup('<text x="50%" y="{}" text-anchor="middle">optimizer step</text>').format(height + 33))
    for number, seed in enumerate(curves):
        if kept and seed.seed in kept:
            x = across.at(kept[seed.seed])
            parts.append(_line(x, x, 0, height, f"kept c{number % COLORS}"))
    for number, line in enumerate(lines):
        points = " ".join(f"{across.at(step)},{100 - along.at(value)}" for step, value in line)
        parts.append(
            Markup(
                '<svg width="100%" height="{}" viewBox="0 0 100 100" preserveAspectRatio="none" overflow="visible">'
                '<polyline class="c{}" points="{}"/></svg>'
            ).format(height, number % COLORS, points)
        )
        if validation:
            for step, value in line:
                y = round(height * (100 - along.at(value)) / 100, 1)
                parts.append(mark(across.at(step), y, number, f"c{number % COLORS}"))
    return _svg("curve", height + 38, parts + labels)


def _svg(css: str, height: int, parts: Sequence[Markup]) -> Markup:
    return Markup('<svg class="{}" width="100%" height="{}" aria-hidden="true">{}</svg>').format(
        css, height, Markup("").join(parts)
    )


def _through(scale: Scale, value: float | None, css: str) -> list[Markup]:
    """Return a line through all lanes of a strip; nothing for None."""
    return [] if value is None else [_line(scale.at(value), scale.at(value), "0", "100%", css)]


def _interval(scale: Scale, ends: tuple[float, float], y: float, css: str) -> list[Markup]:
    low, high = map(scale.at, ends)
    bars = [_line(end, end, y - 4, y + 4, f"interval {css}") for end in (low, high)]
    return [_line(low, high, y, y, f"interval {css}"), *bars]


def _grid(scale: Scale) -> list[Markup]:
    return [_line(scale.at(tick), scale.at(tick), "0", "100%", "grid") for tick in scale.ticks]


def _line(x1: float, x2: float, y1: float | str, y2: float | str, css: str) -> Markup:
    return Markup('<line x1="{}%" x2="{}%" y1="{}" y2="{}" class="{}"/>').format(x1, x2, y1, y2, css)


def _round_up(value: float) -> float:
    """Return the smallest number that is 1, 2, or 5 times a power of ten and not less than `value`."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= value * (1 - 1e-9))
