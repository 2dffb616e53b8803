"""Ensembles: what several models predict for one example -> one prediction."""

from collections.abc import Hashable, Sequence
from typing import TypeVar

import numpy as np

from xmodctl.kinds.scoring import Predicted

MEAN_PROBABILITY = "the answer with the highest mean probability"
"""The rule of kinds whose predictions have the probability of every answer."""

A = TypeVar("A", bound=Hashable)


def mean_scores(members: Sequence[Predicted], answers: int) -> np.ndarray:
    """Return the mean of the members' probabilities, shape (answers,).

    Raises:
        ValueError: A prediction does not have as many probabilities as there are answers.
    """
    if wrong := next((each for each in members if len(each.scores) != answers), None):
        raise ValueError(f"the prediction {wrong.id} has {len(wrong.scores)} of {answers} probabilities")
    mean: np.ndarray = np.mean([member.scores for member in members], axis=0).round(6)
    return mean


def vote(answers: Sequence[A], shares: Sequence[float], others: int | None = None) -> tuple[A, float]:
    """Return the answer with the highest mean probability, and this mean; of equal ones, the first.

    Only the probability of each model's own answer is known. What remains of it belongs to the other answers.

    Args:
        answers: The answer of each model.
        shares: Its probability, 0 where the model knows none.
        others: How many other answers there are, which have equal parts of what remains; None: they have none of it.
    """
    mean = dict.fromkeys(answers, 0.0)
    for answer, share in zip(answers, shares, strict=True):
        for candidate in mean:
            if candidate == answer:
                mean[candidate] += share / len(answers)
            elif others and share:
                mean[candidate] += (1 - share) / others / len(answers)
    best = max(mean, key=lambda candidate: mean[candidate])
    return best, round(mean[best], 6)
