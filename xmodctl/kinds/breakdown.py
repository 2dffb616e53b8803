"""What predictions show beyond a score: confusions, and the metric on parts of the examples."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np

from xmodctl.kinds.scoring import Predicted

if TYPE_CHECKING:
    from xmodctl.kinds.kind import Kind, TaskView

Texts = tuple[tuple[str, str], ...]
"""(name, text) pairs: the texts of an example as a report shows them."""


@dataclass(frozen=True)
class Confusion:
    """How often each gold label was given each label, summed over seeds."""

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]  # one row per gold label, one column per predicted label

    def plus(self, other: Self) -> Self:
        """Add two confusions of the same labels."""
        assert self.labels == other.labels
        pairs = zip(self.counts, other.counts, strict=True)
        return type(self)(self.labels, tuple(tuple(a + b for a, b in zip(*rows, strict=True)) for rows in pairs))

    def recalls(self, seeds: int) -> "tuple[Subset, ...]":
        """Return the share of each label's examples that were labeled right, in percent.

        Args:
            seeds: The number of seeds that were counted.
        """
        return tuple(
            Subset(label, sum(row) // seeds, 100 * row[number] / sum(row))
            for number, (label, row) in enumerate(zip(self.labels, self.counts, strict=True))
            if sum(row)
        )


@dataclass(frozen=True)
class Subset:
    """The headline metric on a part of a language's examples."""

    name: str
    n: int | None  # examples, or None where the part is not a set of examples (an entity type)
    value: float  # percent, mean over seeds
    rows: tuple[int, ...] | None = field(default=None, repr=False, compare=False)  # their places, where they are known


@dataclass(frozen=True)
class SeedPredictions:
    """One seed's predictions for one language, and the metrics computed from them."""

    kind: "Kind"
    task: "TaskView"
    language: str
    predictions: Sequence[Predicted]
    metrics: Mapping[str, float]  # percent

    @cached_property
    def statistics(self) -> np.ndarray:
        """The kind's counts of each example, shape (examples, counts)."""
        gold, predicted = [row.gold for row in self.predictions], [row.prediction for row in self.predictions]
        return self.kind.statistics(gold, predicted, self.task, self.language)


def all_predictions(seeds: Sequence[SeedPredictions]) -> Iterator[Predicted]:
    """Iterate over the predictions of all seeds."""
    return (row for seed in seeds for row in seed.predictions)


def count_confusion(pairs: Iterable[tuple[str, str]], labels: Sequence[str]) -> Confusion:
    """Count (gold, predicted) pairs of labels."""
    counts = Counter(pairs)
    return Confusion(tuple(labels), tuple(tuple(counts[gold, label] for label in labels) for gold in labels))
