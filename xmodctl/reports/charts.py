"""Inline SVG: strips of marks on a common scale, and training curves.

Places are shares of the width, so that a chart fits any page while its text and marks keep their size. Colours are
CSS variables of the page, so that a chart follows its light and dark schemes.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from markupsafe import Markup

from xmodctl.evaluation.results import Score
from xmodctl.reports.curves import TrainingCurve

LANE = 22
"""Height of one run's lane in a strip, pixels."""

SHAPES = 4
COLOURS = 6
"""How many marks and series colours there are: 12 runs look different before one looks like an earlier."""


@dataclass(frozen=True)
class Scale:
    """A linear scale with round ends."""

    low: float
    high: float
    ticks: tuple[float, ...]

    @classmethod
    def over(cls, values: Iterable[float], *, ticks: int = 5) -> Self:
        """Return the scale that holds all values, its ends on round numbers."""
        known = [value for value in values if math.isfinite(value)]
        low, high = min(known, default=0.0), max(known, default=1.0)
        step = _round_up((high - low or abs(high) or 1.0) / ticks)
        first, last = math.floor(low / step), math.ceil(high / step)
        last += first == last
        return cls(first * step, last * step, tuple(number * step for number in range(first, last + 1)))

    def at(self, value: float) -> float:
        """Return where a value stands, percent of the width."""
        return round(100 * (min(max(value, self.low), self.high) - self.low) / (self.high - self.low), 2)

    def label(self, value: float) -> str:
        """Write a tick."""
        step = self.ticks[1] - self.ticks[0]
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        return f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def axis(scale: Scale) -> Markup:
    """Return the ticks' labels as a strip."""
    labels = []
    for tick in scale.ticks:
        anchor = {scale.ticks[0]: "start", scale.ticks[-1]: "end"}.get(tick, "middle")
        labels.append(
            Markup('<text x="{}%" y="14" text-anchor="{}">{}</text>').format(scale.at(tick), anchor, scale.label(tick))
        )
    return _svg("axis", 18, labels)


def scores(scale: Scale, shown: Sequence[Score | None], *, reference: float | None = None) -> Markup:
    """Return one language's strip: a lane a run with interval, seeds, mean, and what a blind answer would score."""
    parts = _grid(scale)
    if reference is not None:
        parts.append(_line(scale.at(reference), scale.at(reference), "0", "100%", "reference"))
    for number, score in enumerate(shown):
        if score is None:
            continue
        y = number * LANE + LANE / 2
        colour = number % COLOURS
        parts.append(_line(scale.at(score.baseline), scale.at(score.baseline), y - 6, y + 6, "blind"))
        parts.append(_line(scale.at(score.ci_low), scale.at(score.ci_high), y, y, f"interval c{colour}"))
        for end in (score.ci_low, score.ci_high):
            parts.append(_line(scale.at(end), scale.at(end), y - 4, y + 4, f"interval c{colour}"))
        if len(score.values) > 1:
            for value in score.values:
                parts.append(_line(scale.at(value), scale.at(value), y - 7, y - 3, f"seed c{colour}"))
        parts.append(mark(scale.at(score.mean), y, number, f"c{colour}"))
    return _svg("strip", LANE * len(shown), parts)


def gaps(scale: Scale, shown: Sequence[Score | None]) -> Markup:
    """Return one language's strip of bars from zero: how far it lies under the source, with the interval."""
    parts = _grid(scale)
    zero = scale.at(0)
    for number, score in enumerate(shown):
        if score is None or score.gap is None:
            continue
        y = number * LANE + LANE / 2
        left, right = sorted((zero, scale.at(score.gap)))
        parts.append(
            Markup('<rect x="{}%" width="{}%" y="{}" height="10" class="c{}"/>').format(
                left, round(right - left, 2), y - 5, number % COLOURS
            )
        )
        if score.gap_ci:
            low, high = map(scale.at, score.gap_ci)
            parts.append(_line(low, high, y, y, "whisker"))
            parts += [_line(end, end, y - 4, y + 4, "whisker") for end in (low, high)]
    parts.append(_line(zero, zero, "0", "100%", "zero"))
    return _svg("strip", LANE * len(shown), parts)


def controls(scale: Scale, shown: Sequence[float | None], baseline: float) -> Markup:
    """Return one language's strip of means through its own adapter, the source's, and none, joined by a line."""
    known = [value for value in shown if value is not None]
    y = LANE / 2
    parts = _grid(scale)
    parts.append(_line(scale.at(baseline), scale.at(baseline), y - 6, y + 6, "blind"))
    parts.append(_line(scale.at(min(known)), scale.at(max(known)), y, y, "join"))
    # The own adapter's mark is drawn last, on top.
    for number, value in reversed(list(enumerate(shown))):
        if value is not None:
            parts.append(mark(scale.at(value), y, number, f"c{number}"))
    return _svg("strip", LANE, parts)


def legend_mark(number: int) -> Markup:
    """Return the mark of a series alone."""
    return Markup('<svg class="key" width="14" height="14" aria-hidden="true">{}</svg>').format(
        mark(50, 7, number, f"c{number % COLOURS}")
    )


def mark(x: float, y: float, number: int, css: str) -> Markup:
    """Return a series' mark at a share of the width: series differ in shape as well as in colour."""
    shapes = (
        Markup('<circle r="5"/>'),
        Markup('<rect x="-4.5" y="-4.5" width="9" height="9"/>'),
        Markup('<path d="M0-6 6 0 0 6-6 0z"/>'),
        Markup('<path d="M0-6 6 5-6 5z"/>'),
    )
    # A nested svg takes a percentage, which a transform does not.
    return Markup('<svg x="{}%" y="{}" class="mark {}" overflow="visible">{}</svg>').format(
        x, y, css, shapes[number % SHAPES]
    )


def curve(curves: Sequence[TrainingCurve], *, validation: bool) -> Markup:
    """Return a panel of all seeds' training losses, or of their validation scores."""
    lines = [one.validations if validation else one.losses for one in curves]
    across = Scale.over([0, *(one.total_steps for one in curves)], ticks=4)
    along = Scale.over([value for line in lines for _, value in line], ticks=4)
    height = 180
    parts = []
    for tick in along.ticks:
        y = round(height * (100 - along.at(tick)) / 100, 1)
        parts.append(_line(0, 100, y, y, "grid"))
        parts.append(Markup('<text x="0" y="{}">{}</text>').format(y - 3, along.label(tick)))
    for tick in across.ticks[1:]:
        anchor = "end" if tick == across.ticks[-1] else "middle"
        parts.append(
            Markup('<text x="{}%" y="{}" text-anchor="{}">{:,.0f}</text>').format(
                across.at(tick), height + 15, anchor, tick
            )
        )
    for number, line in enumerate(lines):
        points = " ".join(f"{across.at(step)},{100 - along.at(value)}" for step, value in line)
        parts.append(
            Markup(
                '<svg width="100%" height="{}" viewBox="0 0 100 100" preserveAspectRatio="none" overflow="visible">'
                '<polyline class="c{}" points="{}"/></svg>'
            ).format(height, number % COLOURS, points)
        )
        if validation:
            for step, value in line:
                y = round(height * (100 - along.at(value)) / 100, 1)
                parts.append(mark(across.at(step), y, number, f"c{number % COLOURS}"))
    return _svg("curve", height + 20, parts)


def _svg(css: str, height: int, parts: Sequence[Markup]) -> Markup:
    return Markup('<svg class="{}" width="100%" height="{}" aria-hidden="true">{}</svg>').format(
        css, height, Markup("").join(parts)
    )


def _grid(scale: Scale) -> list[Markup]:
    return [_line(scale.at(tick), scale.at(tick), "0", "100%", "grid") for tick in scale.ticks]


def _line(x1: float, x2: float, y1: float | str, y2: float | str, css: str) -> Markup:
    return Markup('<line x1="{}%" x2="{}%" y1="{}" y2="{}" class="{}"/>').format(x1, x2, y1, y2, css)


def _round_up(value: float) -> float:
    """Return the smallest of 1, 2, 5 times a power of ten that is not less."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= value * (1 - 1e-9))
