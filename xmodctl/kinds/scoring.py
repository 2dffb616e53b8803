"""From logits to predictions and their metrics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xmodctl.statistics.intervals import score_interval
from xmodctl.statistics.resampling import Interval, OfDraws

if TYPE_CHECKING:
    from datasets import Dataset

    from xmodctl.core.encoded import Encoded
    from xmodctl.kinds.kind import Kind, TaskView


@dataclass(frozen=True)
class Predicted:
    """What the model predicts for one example."""

    id: str
    gold: Any
    prediction: Any
    scores: tuple[float, ...] = ()


def score_predictions(
    kind: "Kind", task: "TaskView", rows: "Dataset", language: str, encoded: "Encoded", logits: Sequence[np.ndarray]
) -> tuple[list[Predicted], np.ndarray, Mapping[str, float]]:
    """Return predictions, their statistics per row, and every metric in percent."""
    decoded = kind.decode(logits, encoded, rows, task)
    predictions = [Predicted(id_, *values) for id_, values in zip(rows["id"], decoded, strict=True)]
    gold, predicted = [row.gold for row in predictions], [row.prediction for row in predictions]
    statistics = kind.statistics(gold, predicted, task, language)
    metrics = {name: float(value) for name, value in kind.metrics(statistics.sum(axis=0), task).items()}
    return predictions, statistics, metrics


def headline_interval(kind: "Kind", task: "TaskView", statistics: np.ndarray) -> Interval:
    """Return the 95% interval of the headline metric of one model, in percent, from the statistics of each row."""
    metric = kind.headlines[task.headline]
    return score_interval(
        statistics,
        lambda totals: kind.metrics(totals, task)[task.headline],
        is_share=metric.is_share,
        is_correlation=metric.is_correlation,
        of_draws=headline_of_draws(kind, task),
    )


def headline_of_draws(kind: "Kind", task: "TaskView") -> OfDraws | None:
    """Return what computes the headline metric of resamples, or None where it is made of sums."""
    if kind.headlines[task.headline].adds_up:
        return None
    return lambda times, statistics: kind.resampled(times, statistics, task)
