"""The interval of a correlation: how much it varies, and how well that is known from few pairs."""

import math
from collections.abc import Sequence

import numpy as np

from xmodctl.statistics.resampling import Floats, Metric, OfDraws
from xmodctl.statistics.student import TAIL, t_quantile

FISHER = "Fisher z interval, variance by"
"""The method of a correlation; what follows names the resamples."""

NOTHING = 1e-12
"""A variance of shares below this is 0 but for rounding."""

FEWEST = 4.0
"""Degrees of freedom of the variance of a correlation, at least."""


def fisher(correlation: float, variance: float, examples: int, quantile: float) -> tuple[float, float]:
    """Return the interval of a correlation that is symmetric around its z, the inverse hyperbolic tangent.

    The standard error of z follows from the variance of the correlation by the delta method; where nothing varies, it
    is that of two normal variables. A perfect correlation, which a few pairs can have by chance, has the end that it
    would have with `quantile`**2 more pairs without a relation, as Wilson's interval of 100% has with wrong ones.
    Source: Fisher, On the Probable Error of a Coefficient of Correlation Deduced from a Small Sample (Metron 1921).

    Args:
        correlation: The correlation that was observed.
        variance: Of the correlation.
        examples: The number of examples.
        quantile: As in `wilson`.
    """
    if examples <= 3:
        return -1.0, 1.0
    if 1 - abs(correlation) < NOTHING:
        low, high = sorted((correlation, correlation * examples / (examples + quantile**2)))
        return low, high
    error = math.sqrt(variance) / (1 - correlation**2) if variance >= NOTHING else 1 / math.sqrt(examples - 3)
    z = math.atanh(correlation)
    return math.tanh(z - quantile * error), math.tanh(z + quantile * error)


def freedom(statistics: np.ndarray, metric: Metric) -> float:
    """Return the degrees of freedom of the variance of a metric that is made of sums: how well it is known.

    They are 2 * examples / (kurtosis - 1), with the kurtosis of what each example contributes to the metric, by the
    jackknife: few where a few examples decide it, as numbers with heavy tails do. Source: Satterthwaite, An Approximate
    Distribution of Estimates of Variance Components (Biometrics 1946), with the variance of a sample variance.

    Args:
        statistics: Counts that add up over examples, shape (examples, counts).
        metric: Maps summed counts to values.
    """
    examples = len(statistics)
    without = metric(statistics.sum(axis=0) - statistics)
    squared = (without - without.mean()) ** 2
    if examples < 2 or squared.mean() < NOTHING**2:
        return math.inf
    kurtosis = float((squared**2).mean() / squared.mean() ** 2)
    return max(FEWEST, 2 * examples / (kurtosis - 1)) if kurtosis > 1 else math.inf


def widened(drawn: Floats, observed: Floats, examples: int, freedoms: Sequence[float] = ()) -> Floats:
    """Return correlations under resamples that vary at least as much as those of normal variables.

    With few examples, resamples of pairs vary less than new samples would: intervals of a correlation near 0 would
    cover it in 90 to 92% of cases with 10 or 20 pairs. The variance of z is 1 / (examples - 3) for normal variables
    (Fisher 1921); where it is smaller, deviations from the mean are scaled up to it. Where a few pairs decide the
    variance, the normal distribution is too narrow: deviations are scaled by the quantile of Student's t.

    Args:
        drawn: Correlations in percent, shape (resamples, models), or (resamples,) of one model.
        observed: Those of the data, in percent, shape (models,), or of one model.
        examples: The number of examples.
        freedoms: The degrees of freedom of the variance of each model, if they are known.
    """
    if examples <= 3:
        return drawn
    least = (1 - (observed / 100) ** 2) ** 2 / (examples - 3)
    variance = (drawn / 100).var(axis=0, ddof=1)
    varies = variance >= NOTHING
    factor = np.sqrt(np.maximum(1.0, np.where(varies, least / np.where(varies, variance, 1.0), 1.0)))
    if freedoms:
        ratios = np.array([t_quantile(TAIL, each) / t_quantile(TAIL) for each in freedoms])
        factor = np.maximum(factor, ratios.reshape(np.shape(factor)))
    mean = drawn.mean(axis=0)
    return np.where(factor > 1, mean + (drawn - mean) * factor, drawn)


def freedoms_of(tables: Sequence[np.ndarray], metric: Metric, of_draws: OfDraws | None) -> list[float]:
    """Return `freedom` for the table of each model; nothing for a metric that is not made of sums."""
    return [freedom(table, metric) for table in tables] if of_draws is None else []
