"""Intervals and tests: how far a score would move had other examples been drawn, or other seeds been trained.

`docs/statistics.md` says in plain words what is computed when.
"""

from collections.abc import Sequence

import numpy as np

from xmodctl.statistics.resampling import Floats

TEST_RESAMPLES = 10_000
"""A p-value cannot be smaller than 2 in these: small enough to stay significant after correction for 81 languages."""


def p_value(drawn: Floats) -> float:
    """Return the two-sided p-value of "there is no difference", from resampled differences.

    It is twice the share of resamples that do not have the difference's sign, the observed sample counted as one of
    them; so it is below 0.05 where the percentile interval leaves 0 out. Sources: Koehn (2004); for counting the
    sample itself, Davison and Hinkley, Bootstrap Methods and their Application (1997), section 4.2.
    """
    rest = min(np.count_nonzero(drawn <= 0), np.count_nonzero(drawn >= 0))
    return float(min(1.0, 2 * (rest + 1) / (len(drawn) + 1)))


def mcnemar(first: Sequence[bool] | np.ndarray, second: Sequence[bool] | np.ndarray) -> float:
    """Return the exact two-sided p-value of "both are right equally often", from who is right on which example.

    Only the examples count on which one is right and the other wrong: if both are equally good, each of these is a
    fair coin. Source: McNemar, Note on the Sampling Error of the Difference between Correlated Proportions or
    Percentages (Psychometrika 1947), with the binomial distribution in place of its approximation.
    """
    first, second = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    tosses = only_first + only_second
    ways = below = 1  # tosses over 0, and their sum up to the rarer side: whole numbers, so nothing is rounded
    for heads in range(min(only_first, only_second)):
        ways = ways * (tosses - heads) // (heads + 1)
        below += ways
    return float(min(1.0, 2 * below / 2**tosses))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return p-values corrected so that the chance of even one false alarm among them stays at the level tested.

    Source: Holm, A Simple Sequentially Rejective Multiple Test Procedure (Scandinavian Journal of Statistics 1979).
    """
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return tuple(corrected)
