"""Resampling and confidence intervals: how much a score would vary with other examples or other seeds.

`docs/statistics.md` explains in plain words what is computed when.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Metric = Callable[[np.ndarray], np.ndarray]  # summed counts of shape (..., counts) -> values of shape (...)

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
    """Return the percentile bootstrap confidence interval of a metric over examples.

    Args:
        statistics: Counts that add up over examples, shape (examples, counts).
        metric: Maps summed counts of shape (resamples, counts) to values of shape (resamples,).
        seed: The same seed gives the same interval.
        resamples: The number of samples of the same size to draw with replacement.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    examples = len(statistics)
    # Equal rows of counts are exchangeable, so a resample is one multinomial draw over the distinct rows.
    distinct, times = np.unique(statistics, axis=0, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(examples, times / examples, size=resamples)
    return Interval(*percentiles(metric(drawn @ distinct)), by_examples(resamples, seed))


def by_examples(resamples: int, seed: int) -> str:
    """Return the name of an interval's method in rows and reports."""
    return f"percentile bootstrap over examples, {resamples} resamples, seed {seed}"


def percentiles(values: np.ndarray) -> tuple[float, float]:
    """Return the ends of the interval that excludes 2.5% of the values on each side."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def resample(
    tables: Sequence[np.ndarray], metric: Metric, *, stream: str = "", seed: int = 0, resamples: int = RESAMPLES
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

    def __post_init__(self) -> None:
        assert self.observed.shape == self.drawn.shape[1:] == (len(self.seeds),)

    def __sub__(self, other: Self) -> Self:
        """Return the differences per seed."""
        assert self.seeds == other.seeds
        return type(self)(self.seeds, self.observed - other.observed, self.drawn - other.drawn)

    @classmethod
    def mean(cls, several: Sequence[Self]) -> Self:
        """Return the unweighted mean per seed."""
        assert all(scores.seeds == several[0].seeds for scores in several)
        drawn = np.zeros_like(several[0].drawn)
        for scores in several:  # not stacked: there can be 81 of them
            drawn += scores.drawn
        return cls(several[0].seeds, np.mean([scores.observed for scores in several], axis=0), drawn / len(several))

    @property
    def value(self) -> float:
        """The mean over seeds."""
        return float(self.observed.mean())

    @property
    def seed_variance(self) -> float:
        """The variance between seeds beyond what the noise of the test set explains; negative if it is smaller.

        Every seed is scored on the same examples, so the noise that seeds share cancels in the variance between them,
        and the rest of it is estimated from the resamples. Source: the analysis of variance of a crossed table,
        Searle, Casella and McCulloch, Variance Components (1992), chapter 4.
        """
        count = len(self.seeds)
        noise = (self.drawn - self.drawn.mean(axis=1, keepdims=True)).var(axis=0).mean()
        return float(self.observed.var(ddof=1) - noise * count / (count - 1))


def redraw(scores: Scores, minus: Scores | None = None, *, seed: int = 0) -> Floats:
    """Return draws of the mean over seeds, or of the difference of two such means, for other examples and seeds.

    There are two levels. Examples are resampled, identically for every seed, because all seeds are scored on the same
    examples. Seeds are too few to resample: their part is drawn from Student's t distribution, scaled by the variance
    between seeds, which is pooled over both sides of a difference. With one seed per side, that level is missing, and
    the result is about these particular models only.

    Sources: McCullagh, Resampling and Exchangeable Arrays (Bernoulli 2000), and Owen, The Pigeonhole Bootstrap (Annals
    of Applied Statistics 2007), on two crossed levels; Student, The Probable Error of a Mean (Biometrika 1908).
    """
    values: Floats = scores.drawn.mean(axis=1)
    if minus is not None:
        values = values - minus.drawn.mean(axis=1)
    sides = [scores] if minus is None else [scores, minus]
    freedom = [len(side.seeds) - 1 for side in sides]
    if any(freedom):
        pooled = sum(count * side.seed_variance for count, side in zip(freedom, sides, strict=True) if count)
        variance = max(pooled / sum(freedom), 0.0) * sum(1 / len(side.seeds) for side in sides)
        values = values + np.sqrt(variance) * _student(sum(freedom), len(values), seed)
    return values


@lru_cache(maxsize=16)
def _student(freedom: int, count: int, seed: int) -> Floats:
    """Return draws from Student's t distribution with nearly exact quantiles, also in the tails.

    They are every 101st of 101 times as many sorted draws, made symmetric and shuffled.
    """
    draw = np.random.default_rng(seed)
    quantiles = np.sort(draw.standard_t(freedom, count * 101))[50::101]
    return draw.permutation((quantiles - quantiles[::-1]) / 2)
