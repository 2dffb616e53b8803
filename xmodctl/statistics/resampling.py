"""Resampling: how much a score would vary with other examples.

`docs/statistics.md` explains in plain words what is computed when.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Metric = Callable[[np.ndarray], np.ndarray]  # summed counts of shape (..., counts) -> values of shape (...)
OfDraws = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""A metric that is not made of sums: (times, of shape (resamples, examples), counts, of shape (examples, counts)) ->
values of shape (resamples,)."""

RESAMPLES = 2000
"""For the ends of an interval; Efron and Tibshirani (1993) give 1,000 as a rough minimum."""

DRAWS = 2**16
"""Draws per call of the random generator: few enough for the processor's cache."""

CELLS = 2**22
"""Numbers in memory at a time while resampling: 32 MiB."""


@dataclass(frozen=True)
class Interval:
    """A two-sided 95% confidence interval, in the unit of the score."""

    low: float
    high: float
    method: str


def bootstrap(statistics: np.ndarray, metric: Metric, *, seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """Return the percentile bootstrap confidence interval of a metric over examples, for metrics without bounds.

    Args:
        statistics: Counts that add up over examples, shape (examples, counts).
        metric: Maps summed counts of shape (resamples, counts) to values of shape (resamples,).
        seed: The same seed gives the same interval.
        resamples: The number of samples of the same size to draw with replacement.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    low, high = percentiles(redraw(statistics, metric, seed=seed, resamples=resamples))
    return Interval(low, high, f"percentile bootstrap over examples, {by_resamples(resamples, seed)}")


def redraw(
    statistics: np.ndarray,
    metric: Metric,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    of_draws: OfDraws | None = None,
) -> np.ndarray:
    """Return a metric of one table under resamples of its rows, whose order does not matter; shape (resamples,).

    `of_draws` computes a metric that is not made of sums.
    """
    examples = len(statistics)
    # Equal rows of counts are exchangeable, so a resample is one multinomial draw over the distinct rows.
    distinct, times = np.unique(statistics, axis=0, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(examples, times / examples, size=resamples)
    if of_draws is None:
        return metric(drawn @ distinct)
    parts = np.array_split(drawn, max(1, drawn.size // CELLS))
    return np.concatenate([of_draws(part, distinct) for part in parts])


def by_resamples(resamples: int, seed: int) -> str:
    """Describe resamples in the name of a method."""
    return f"{resamples} resamples, seed {seed}"


def percentiles(values: np.ndarray) -> tuple[float, float]:
    """Return the ends of the interval that excludes 2.5% of the values on each side."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def resample(
    tables: Sequence[np.ndarray],
    metric: Metric,
    *,
    stream: str = "",
    seed: int = 0,
    resamples: int = RESAMPLES,
    of_draws: OfDraws | None = None,
) -> Floats:
    """Return a metric of several tables under the same resamples of their rows, shape (resamples, tables).

    Row i of every table is the same example, scored with another model, seed or language. So everything that is
    computed from one resample (a difference, a gap, an average) is paired.

    Args:
        tables: Counts that add up over examples, each of shape (examples, counts).
        metric: Maps summed counts to values.
        stream: Calls with the same stream, seed and number of rows draw the same rows.
        seed: The same seed gives the same values, regardless of what else is resampled and in which order.
        resamples: The number of samples of the same size to draw with replacement.
        of_draws: Computes a metric that is not made of sums.

    Sources: Efron and Tibshirani (1993), chapter 8, on data of any structure; on the paired bootstrap in language
    processing, Koehn, Statistical Significance Tests for Machine Translation Evaluation (EMNLP 2004).
    """
    examples, counts = tables[0].shape
    assert examples, "no examples to draw from"
    assert all(table.shape == (examples, counts) for table in tables)
    draw = np.random.default_rng([seed, *hashlib.sha256(stream.encode()).digest()])
    together = max(1, CELLS // examples)  # resamples, and columns of tables, in memory at a time
    width = max(1, together // counts)
    values = np.empty((resamples, len(tables)))
    for start in range(0, resamples, together):
        block = values[start : start + together]
        times = _draw_counts(draw, len(block), examples)
        if of_draws is not None:
            for number, table in enumerate(tables):
                block[:, number] = of_draws(times, table)
            continue
        for first in range(0, len(tables), width):
            beside = np.concatenate(tables[first : first + width], axis=1, dtype=np.float64)
            block[:, first : first + width] = metric((times @ beside).reshape(len(block), -1, counts))
    return values


def _draw_counts(draw: np.random.Generator, resamples: int, examples: int) -> Floats:
    """Return how often each resample draws each example, shape (resamples, examples).

    Many resamples are drawn in one call, which gives the same numbers as one call per resample, only faster.
    """
    counts = np.empty((resamples, examples))
    at_once = max(1, DRAWS // examples)
    for start in range(0, resamples, at_once):
        block = counts[start : start + at_once]
        drawn = draw.integers(0, examples, block.shape)
        drawn += examples * np.arange(len(block))[:, np.newaxis]  # each resample counts in a range of its own
        block[:] = np.bincount(drawn.ravel(), minlength=block.size).reshape(block.shape)
    return counts


@dataclass(frozen=True)
class Scores:
    """The scores of the seeds of one training method on the same examples: as observed, and under resamples."""

    seeds: tuple[int, ...]
    observed: Floats  # (seeds,)
    drawn: Floats  # (resamples, seeds)
    examples: Mapping[str, int]  # stream of resamples -> the number of examples that it draws
    is_correlation: bool = False  # scores are between -100 and 100, not between 0 and 100

    def __post_init__(self) -> None:
        assert self.observed.shape == self.drawn.shape[1:] == (len(self.seeds),)

    @classmethod
    def mean(cls, several: Sequence[Self]) -> Self:
        """Return the unweighted mean per seed."""
        assert all(scores.seeds == several[0].seeds for scores in several)
        drawn = np.zeros_like(several[0].drawn)
        for scores in several:  # not stacked: there can be 81 of them
            drawn += scores.drawn
        observed = np.mean([scores.observed for scores in several], axis=0)
        examples = {stream: count for scores in several for stream, count in scores.examples.items()}
        return cls(several[0].seeds, observed, drawn / len(several), examples, several[0].is_correlation)

    def as_one(self) -> Self:
        """Return the mean over seeds as the score of one model: of these seeds, not of others that could be trained."""
        observed, drawn = self.observed.mean(keepdims=True), self.drawn.mean(axis=1, keepdims=True)
        return replace(self, seeds=self.seeds[:1], observed=observed, drawn=drawn)

    @property
    def value(self) -> float:
        """The mean over seeds."""
        return float(self.observed.mean())

    @property
    def count(self) -> int:
        """The number of examples, those that several languages share counted once."""
        return sum(self.examples.values())

    @property
    def from_the_edge(self) -> float:
        """How many examples the score is worth more than 0%, or less than 100% where these are fewer."""
        return self.count * min(self.value, 100 - self.value) / 100
