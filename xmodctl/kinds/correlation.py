"""Correlations of two columns of numbers: from sums, and of ranks under resamples."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NOTHING = 1e-12
"""A variance of standardized numbers below this is 0 but for rounding."""


def standardized(numbers: Floats) -> Floats:
    """Return numbers with mean 0 and variance 1, so that sums of products lose no digits; equal ones become 0."""
    if not len(numbers) or numbers.max() == numbers.min():
        return np.zeros_like(numbers)
    scaled = numbers / np.abs(numbers).max()  # so that no square overflows
    centered = scaled - scaled.mean()
    result: Floats = centered / np.sqrt(np.mean(centered**2))
    return result


def ranks(numbers: Floats) -> Floats:
    """Return the rank of each number from 1; equal numbers share the mean of their ranks."""
    _, group, counts = np.unique(numbers, return_inverse=True, return_counts=True)
    result: Floats = (np.cumsum(counts) - (counts - 1) / 2)[group]
    return result


def correlation_of_sums(rows: NDArray[np.floating], sums: NDArray[np.floating]) -> Floats:
    """Return Pearson's correlation, 0 where it is undefined.

    Args:
        rows: The number of rows, shape (...).
        sums: Over rows, of both numbers, their squares, and their product, shape (..., 5).
    """
    first, second, first_square, second_square, product = np.moveaxis(sums, -1, 0) / rows
    variances = first_square - first**2, second_square - second**2
    defined = (variances[0] > NOTHING) & (variances[1] > NOTHING)
    scale = np.sqrt(np.where(defined, variances[0] * variances[1], 1.0))
    return np.where(defined, np.clip((product - first * second) / scale, -1.0, 1.0), 0.0)


def ranked_correlations(times: NDArray[np.floating], first: Floats, second: Floats) -> Floats:
    """Return Spearman's correlation of two columns under resamples, each of which is ranked again.

    Args:
        times: How often each resample draws each row, shape (resamples, rows).
        first: The first column, shape (rows,).
        second: The second column.
    """
    sides = [_ranks_of_draws(times, column) for column in (first, second)]
    columns = [*sides, sides[0] ** 2, sides[1] ** 2, sides[0] * sides[1]]
    sums = np.stack([np.einsum("ij,ij->i", times, column) for column in columns], axis=-1)
    return correlation_of_sums(times.sum(axis=1), sums)


def _ranks_of_draws(times: NDArray[np.floating], column: Floats) -> Floats:
    """Return the rank of each row among the rows that each resample draws, from -1 to 1; shape (resamples, rows)."""
    order = np.argsort(column, kind="stable")
    ordered = column[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=np.nan) != 0)  # of each group of equal numbers
    counts = np.add.reduceat(times[:, order], starts, axis=1)
    middle = np.cumsum(counts, axis=1) - counts / 2
    group = np.cumsum(np.isin(np.arange(len(ordered)), starts)) - 1
    result = np.empty(times.shape)
    result[:, order] = (2 * middle / times.sum(axis=1, keepdims=True) - 1)[:, group]
    return result
