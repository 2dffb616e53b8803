"""Confidence intervals of scores and of differences between scores, and p-values that agree with them.

`docs/statistics.md` explains in plain words what is computed when; `python -m bench.coverage` measures how often the
intervals cover the true value.
"""

import math
from dataclasses import dataclass

import numpy as np

from xmodctl.statistics.correlations import FISHER, NOTHING, fisher, freedoms_of, widened
from xmodctl.statistics.resampling import (
    RESAMPLES,
    Floats,
    Interval,
    Metric,
    OfDraws,
    Scores,
    by_resamples,
    redraw,
)
from xmodctl.statistics.student import TAIL, t_quantile

WILSON = "Wilson score interval"
"""The method of a share of correct examples."""

WILSON_EFFECTIVE = f"{WILSON}, effective sample size by"
"""The method of other scores; what follows names the resamples."""

SMALLEST_TAIL = 1e-12
"""Where the search for a p-value ends."""


def wilson(share: float, examples: float, quantile: float) -> tuple[float, float]:
    """Return Wilson's score interval of a share.

    It has a width at 0 and 1 too, and stays between them. Source: Wilson, Probable Inference, the Law of Succession,
    and Statistical Inference (JASA 1927); recommended by Brown, Cai and DasGupta, Interval Estimation for a Binomial
    Proportion (Statistical Science 2001).

    Args:
        share: The share that was observed.
        examples: The number of examples; with an effective number, the interval holds for any score between 0 and 1.
        quantile: Of the normal distribution, or of Student's t where the variance is known from few seeds.
    """
    squared = quantile * quantile / examples
    center = (share + squared / 2) / (1 + squared)
    half = math.sqrt(squared * share * (1 - share) + squared * squared / 4) / (1 + squared)
    return (max(0.0, center - half) if share > 0 else 0.0), (min(1.0, center + half) if share < 1 else 1.0)


@dataclass(frozen=True)
class Noise:
    """The variance of a mean over seeds, or of the difference of two such means, in two parts."""

    seeds: float  # what differs between seeds: the models, and what each gets wrong by itself
    examples: float  # what seeds share because they are scored on the same examples
    freedom: float  # degrees of freedom of the first part; infinite without it
    count: int  # examples

    @property
    def combined_freedom(self) -> float:
        """The degrees of freedom of the sum of both parts.

        Source: Satterthwaite, An Approximate Distribution of Estimates of Variance Components (Biometrics 1946).
        """
        if math.isinf(self.freedom):
            return math.inf  # one model: the interval of a share is exactly Wilson's
        total = self.seeds + self.examples
        rest = self.seeds**2 / self.freedom + self.examples**2 / max(self.count - 1, 1)
        return total**2 / rest if rest else math.inf

    def quantiles(self, tail: float) -> tuple[float, float]:
        """Return the factors by which the standard errors of both parts are multiplied.

        Student's t with Satterthwaite's degrees of freedom is too narrow where these are estimated from two or three
        seeds. A quantile for each part, squared and added, is too wide. Of the squares of both, the second counts 1 /
        freedom: all with two seeds, half with three. This weight was chosen by simulation (`python -m bench.coverage`).
        """
        if not self.seeds:
            return (t_quantile(tail),) * 2
        combined = t_quantile(tail, self.combined_freedom) ** 2
        parts = t_quantile(tail, self.freedom) ** 2, t_quantile(tail) ** 2
        first, second = (math.sqrt(combined + (part - combined) / self.freedom) for part in parts)
        return first, second


def _shared(covariance: Floats) -> float:
    """Return the mean covariance of two different seeds."""
    count = len(covariance)
    return float(covariance.sum() - np.trace(covariance)) / (count * (count - 1))


def noise(observed: Floats, covariance: Floats, count: int) -> Noise:
    """Return the variance of a mean over seeds that are scored on the same examples.

    Readers who judge the same cases are the same design: the mean square between readers, divided by their number,
    plus the covariance of two readers. The mean square is not reduced by the noise of the examples first, and never
    truncated. Sources: Obuchowski and Rockette, Hypothesis Testing of Diagnostic Accuracy for Multiple Readers and
    Multiple Tests (Communications in Statistics 1995); Hillis, A Comparison of Denominator Degrees of Freedom Methods
    for Multiple Observer ROC Analysis (Statistics in Medicine 2007).

    Args:
        observed: The score of each seed, shape (seeds,).
        covariance: Of these scores under other examples, shape (seeds, seeds).
        count: The number of examples.
    """
    seeds = len(observed)
    alone = max(float(np.trace(covariance)) / seeds, 0.0)
    if seeds == 1:
        return Noise(0.0, alone, math.inf, count)
    between = float(observed.var(ddof=1)) / seeds
    shared = max(_shared(covariance), 0.0)
    # Not less than of seeds that fail independently of each other.
    return Noise(between, max(shared, alone / seeds - between), seeds - 1, count)


def share_interval(
    observed: Floats, covariance: Floats, count: int, *, is_correlation: bool = False
) -> tuple[float, float]:
    """Return the 95% interval of the mean over seeds of scores between 0 and 1, or of correlations.

    It is Wilson's, with as many examples as would give a share of this size the variance that the score has. At 0 and
    1, where nothing varies, they are the examples that there are. Source: Korn and Graubard, Confidence Intervals for
    Proportions with Small Expected Number of Positive Counts Estimated from Survey Data (Survey Methodology 1998).
    That of a correlation is Fisher's with this variance.
    """
    share = float(observed.mean())
    parts = noise(observed, covariance, count)
    variance = parts.seeds + parts.examples
    if variance < NOTHING or not (is_correlation or 0 < share < 1):
        if is_correlation:
            return fisher(share, 0.0, count, t_quantile(TAIL))
        return wilson(share, count, t_quantile(TAIL))
    for_seeds, for_examples = parts.quantiles(TAIL)
    quantile = math.sqrt((for_seeds**2 * parts.seeds + for_examples**2 * parts.examples) / variance)
    if is_correlation:
        return fisher(share, variance, count, quantile)
    return wilson(share, share * (1 - share) / variance, quantile)


@dataclass(frozen=True)
class Contrast:
    """The difference of two means over seeds of scores between 0 and 1, or of correlations."""

    shares: tuple[float, float]
    variances: tuple[float, float]  # of both because of the examples
    counts: tuple[int, int]  # examples of both
    correlation: float  # of both because of the examples
    noise: Noise  # of the difference
    is_correlation: bool = False

    @property
    def value(self) -> float:
        """The first minus the second."""
        return self.shares[0] - self.shares[1]

    def distance(self, for_seeds: float, for_examples: float, *, up: bool) -> float:
        """Return how far an end of the interval is from the difference.

        The squared distance that the examples explain is recovered from the intervals of both scores and their
        correlation; that of the seeds is added. Sources: Zou and Donner, Construction of Confidence Limits about Effect
        Measures (Statistics in Medicine 2008); for two shares of the same examples this is method 10 of Newcombe,
        Improved Confidence Intervals for the Difference between Binomial Proportions Based on Paired Data (Statistics
        in Medicine 1998); for correlations, Zou, Toward Using Confidence Intervals to Compare Correlations
        (Psychological Methods 2007).
        """
        first, second = (self._reach(side, for_examples, up=up if side == 0 else not up) for side in (0, 1))
        squared = first**2 + second**2 - 2 * self.correlation * first * second
        return math.sqrt(max(squared, 0.0) + for_seeds**2 * self.noise.seeds)

    def _reach(self, side: int, quantile: float, *, up: bool) -> float:
        share, variance = self.shares[side], self.variances[side]
        if self.is_correlation:
            low, high = fisher(share, variance, self.counts[side], quantile)
        elif 0 < share < 1:
            if variance < NOTHING:
                return 0.0
            low, high = wilson(share, share * (1 - share) / variance, quantile)
        else:
            low, high = wilson(share, self.counts[side], quantile)
        return high - share if up else share - low

    def interval(self) -> tuple[float, float]:
        """Return the 95% interval of the difference, in points."""
        quantiles = self.noise.quantiles(TAIL)
        low = self.value - self.distance(*quantiles, up=False)
        high = self.value + self.distance(*quantiles, up=True)
        most = 2.0 if self.is_correlation else 1.0
        return 100 * max(-most, low), 100 * min(most, high)

    def p_value(self) -> float:
        """Return the two-sided p-value of "there is no difference": it is below 0.05 if the interval excludes 0."""
        if abs(self.value) < NOTHING:
            return 1.0
        low, high = math.log(SMALLEST_TAIL), math.log(0.5)
        for _ in range(40):
            middle = (low + high) / 2
            if self.distance(*self.noise.quantiles(math.exp(middle)), up=self.value < 0) < abs(self.value):
                high = middle
            else:
                low = middle
        return 2 * math.exp(high)


def contrast_of_shares(
    first: Floats,
    second: Floats,
    covariance: Floats,
    counts: tuple[int, int],
    *,
    paired: bool,
    is_correlation: bool = False,
) -> Contrast:
    """Return the difference of two means over seeds of scores between 0 and 1.

    The seeds of two runs are different models: their variance is pooled, so a run with one seed takes that of the
    other. The seeds of one run are the same models on both sides: their differences are what varies. With one seed per
    side, the difference is between these two models, and only examples vary.

    Args:
        first: The score of each seed, shape (seeds,).
        second: The same of the other side.
        covariance: Of the scores of both under other examples, shape (seeds of both, seeds of both).
        counts: The numbers of examples of both.
        paired: Whether seeds are the same models on both sides.
        is_correlation: Whether scores are correlations.
    """
    size = len(first)
    own, other, across = covariance[:size, :size], covariance[size:, size:], covariance[:size, size:]
    count = max(counts)
    if paired and size > 1:
        difference = noise(first - second, own + other - across - across.T, count)
        shared_across = float(across.sum() - np.trace(across)) / (size * (size - 1))
        variances = max(_shared(own), 0.0), max(_shared(other), 0.0)
    elif size == len(second) == 1:
        difference, shared_across = Noise(0.0, 0.0, math.inf, count), float(across[0, 0])
        variances = max(float(own[0, 0]), 0.0), max(float(other[0, 0]), 0.0)  # rounding
    else:
        difference, variances = _pooled(first, second, own, other, count)
        shared_across = float(across.mean())
    product = math.sqrt(variances[0] * variances[1])
    correlation = min(1.0, max(-1.0, shared_across / product)) if product > NOTHING else 0.0
    examples = max(0.0, variances[0] + variances[1] - 2 * correlation * product)
    return Contrast(
        (float(first.mean()), float(second.mean())),
        variances,
        counts,
        correlation,
        Noise(difference.seeds, examples, difference.freedom, count),
        is_correlation,
    )


def _pooled(first: Floats, second: Floats, own: Floats, other: Floats, count: int) -> tuple[Noise, tuple[float, float]]:
    """Return the seeds' part of a difference of two runs, and what examples add to the variance of each."""
    sides = [(first, own), (second, other)]
    freedom = sum(len(scores) - 1 for scores, _ in sides)
    pooled = sum(float(scores.var(ddof=1)) * (len(scores) - 1) for scores, _ in sides if len(scores) > 1) / freedom
    alone = [float(np.trace(matrix)) / len(matrix) for _, matrix in sides]
    shared = [_shared(matrix) if len(matrix) > 1 else None for _, matrix in sides]
    # What a single seed gets wrong by itself is in the variance that it takes from the other side.
    by_itself = max(part - mean for part, mean in zip(shared, alone, strict=True) if part is not None)
    variances = [max(0.0, mean + by_itself if part is None else part) for part, mean in zip(shared, alone, strict=True)]
    seeds = pooled * sum(1 / len(scores) for scores, _ in sides)
    return Noise(seeds, 0.0, freedom, count), (variances[0], variances[1])


def score_interval(
    statistics: np.ndarray,
    metric: Metric,
    *,
    is_share: bool,
    is_correlation: bool = False,
    of_draws: OfDraws | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """Return the 95% interval of the score of one model, in percent.

    Args:
        statistics: Counts that add up over examples, shape (examples, counts).
        metric: Maps summed counts to values in percent.
        is_share: Whether the metric is the share of correct examples, whose variance needs no resamples.
        is_correlation: Whether the metric is a correlation.
        of_draws: Computes a metric that is not made of sums.
        seed: The same seed gives the same interval.
        resamples: The number of samples of the same size to draw with replacement.
    """
    count = len(statistics)
    observed = np.atleast_1d(metric(statistics.sum(axis=0))) / 100
    if is_share:
        share = float(observed[0])
        low, high = share_interval(observed, np.array([[share * (1 - share) / count]]), count)
        return Interval(100 * low, 100 * high, WILSON)
    drawn = redraw(statistics, metric, seed=seed, resamples=resamples, of_draws=of_draws)
    if is_correlation:
        drawn = widened(drawn, 100 * observed, count, freedoms_of([statistics], metric, of_draws))
    low, high = share_interval(observed, _covariance(drawn), count, is_correlation=is_correlation)
    method = FISHER if is_correlation else WILSON_EFFECTIVE
    return Interval(100 * low, 100 * high, f"{method} {by_resamples(resamples, seed)}")


def mean_interval(scores: Scores) -> tuple[float, float]:
    """Return the 95% interval of a mean over seeds, in percent."""
    covariance = _covariance(scores.drawn)
    low, high = share_interval(scores.observed / 100, covariance, scores.count, is_correlation=scores.is_correlation)
    return 100 * low, 100 * high


def contrast(first: Scores, second: Scores, *, paired: bool) -> Contrast:
    """Return the difference of two means over seeds, resampled together.

    Args:
        first: The scores of one side.
        second: The scores of the other.
        paired: Whether seeds are the same models on both sides.
    """
    assert not paired or first.seeds == second.seeds
    covariance = _covariance(np.concatenate([first.drawn, second.drawn], axis=1))
    counts = first.count, second.count
    return contrast_of_shares(
        first.observed / 100,
        second.observed / 100,
        covariance,
        counts,
        paired=paired,
        is_correlation=first.is_correlation,
    )


def _covariance(drawn: np.ndarray) -> Floats:
    """Return the covariance of scores in percent under resamples, as that of shares."""
    return np.atleast_2d(np.cov(drawn / 100, rowvar=False))
