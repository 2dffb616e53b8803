"""Student's t distribution with any number of degrees of freedom; commands need not import SciPy for it."""

import math
from functools import lru_cache
from statistics import NormalDist

TAIL = 0.025
"""The probability on each side of a 95% interval."""

NORMAL_FROM = 1e6
"""Degrees of freedom from which the normal distribution takes its place: their quantiles differ by less than 1e-6."""

NEARLY_ZERO = 1e-3
"""Normal quantiles below this stand for Student's: both are 0 for a tail of one half."""


@lru_cache(maxsize=4096)
def t_tail(value: float, freedom: float = math.inf) -> float:
    """Return the probability that Student's t exceeds a value that is not negative.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions (1964), 26.7.1 and 26.5.2.
    """
    if freedom >= NORMAL_FROM:
        return math.erfc(value / math.sqrt(2)) / 2
    return _incomplete_beta(freedom / 2, 0.5, freedom / (freedom + value * value)) / 2


@lru_cache(maxsize=4096)
def t_quantile(tail: float, freedom: float = math.inf) -> float:
    """Return the value that Student's t exceeds with a probability of less than one half.

    Newton's method on the logarithms of both, of which one is a concave function of the other: after the first step,
    it approaches the value from above.
    """
    value = -NormalDist().inv_cdf(tail)
    if freedom >= NORMAL_FROM or value < NEARLY_ZERO:
        return value
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(freedom * math.pi)
    for _ in range(100):
        density = scale * (1 + value * value / freedom) ** (-(freedom + 1) / 2)
        above = t_tail(value, freedom)
        step = above / (density * value) * math.log(above / tail)
        value *= math.exp(step)
        if abs(step) < 1e-10:
            break
    return value


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """Return the regularized incomplete beta function, by its continued fraction (Abramowitz and Stegun, 26.5.8)."""
    if x in {0.0, 1.0}:
        return x
    if x > (a + 1) / (a + b + 2):  # the fraction converges slowly here; that of the complement does not
        return 1 - _incomplete_beta(b, a, 1 - x)
    factor = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    numerator = 1.0
    fraction = ratio = 1 / (1 - (a + b) * x / (a + 1))
    for m in range(1, 2000):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            ratio = 1 / (1 + term * ratio)
            numerator = 1 + term / numerator
            fraction *= ratio * numerator
        if abs(ratio * numerator - 1) < 1e-15:
            break
    return factor * fraction
