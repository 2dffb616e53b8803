"""Significance tests for differences between scores, and their correction for many comparisons.

`docs/statistics.md` explains in plain words what is computed when.
"""

from collections.abc import Sequence

import numpy as np

TEST_RESAMPLES = 10_000
"""For the variances behind p-values, which are corrected for up to 81 languages: they give its root to within 1%."""


def mcnemar(first: Sequence[bool] | np.ndarray, second: Sequence[bool] | np.ndarray) -> float:
    """Return the two-sided mid-p-value of "both are correct equally often", from which is correct on each example.

    Only the examples on which exactly one is correct count: if both are equally good, each of these is a fair coin
    toss. Outcomes as likely as the observed one count half, which brings the share of false positives close to the
    level of the test; counted fully, they make the test conservative. Sources: McNemar, Note on the Sampling Error of
    the Difference between Correlated Proportions or Percentages (Psychometrika 1947), with the binomial distribution
    in place of its approximation; Fagerland, Lydersen and Laake, The McNemar Test for Binary Matched-Pairs Data: Mid-p
    and Asymptotic Are Better than Exact Conditional (BMC Medical Research Methodology 2013).
    """
    first, second = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    tosses = only_first + only_second
    if not tosses:
        return 1.0
    ways = below = 1  # binomial coefficients and their sum up to the rarer side, as integers: nothing is rounded
    for heads in range(min(only_first, only_second)):
        ways = ways * (tosses - heads) // (heads + 1)
        below += ways
    if only_first == only_second:
        return float((2 ** (tosses + 1) - ways) / 2 ** (tosses + 1))
    return float((2 * below - ways) / 2**tosses)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return p-values corrected so that the chance of any false positive among them is at most the level tested.

    Source: Holm, A Simple Sequentially Rejective Multiple Test Procedure (Scandinavian Journal of Statistics 1979).
    """
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(np.argsort(p_values, kind="stable")):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return tuple(corrected)
