"""The entropy of predictions: how undecided a model is, without gold answers."""

from collections.abc import Iterable

import numpy as np


def entropy(logits: np.ndarray) -> np.ndarray:
    """Return the entropy, in nats, of the softmax over the last axis, shape (...)."""
    table = logits.astype(np.float64)
    table = table - table.max(axis=-1, keepdims=True)
    powers = np.exp(table)
    total = powers.sum(axis=-1)
    # log(sum) - mean(logit): no logarithm of a probability that is 0
    result: np.ndarray = np.log(total) - (powers * table).sum(axis=-1) / total
    return result


def mean_entropies(tables: Iterable[np.ndarray]) -> np.ndarray:
    """Return the mean entropy of each table's distributions, shape (tables,); 0 where a table is empty."""
    return np.array([entropy(table).mean() if table.size else 0.0 for table in tables])


def binary_entropy(logits: np.ndarray) -> np.ndarray:
    """Return the entropy, in nats, of each logit's sigmoid, in the shape of the logits."""
    return entropy(np.stack([logits, np.zeros_like(logits)], axis=-1))
