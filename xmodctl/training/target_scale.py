"""The scale of numbers to learn: a model is trained on standardized numbers and predicts them as the data has them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np

from xmodctl.core.encoded import Encoded
from xmodctl.kinds import KINDS
from xmodctl.training.training_data import EncodedTrainingData

if TYPE_CHECKING:
    from torch import Tensor

_WEIGHT, _BIAS = "classifier.out_proj.weight", "classifier.out_proj.bias"
"""The last layer of a head for whole texts."""


@dataclass(frozen=True)
class TargetScale:
    """The mean and the standard deviation of the numbers that a model is trained on.

    A learning rate that suits similarities from 0 to 5 would never reach prices of thousands, because the optimizer's
    steps have the same size whatever the gradient. Where targets are no numbers, the scale changes nothing.
    """

    mean: float = 0.0
    deviation: float = 1.0

    @classmethod
    def of(cls, encoded: EncodedTrainingData) -> Self:
        """Return the scale of training data."""
        if not KINDS[encoded.data.task.kind].targets_are_numbers:
            return cls()
        numbers = np.concatenate([part.scalars["labels"] for part in encoded.training]).astype(np.float64)
        return cls(float(numbers.mean()), float(numbers.std()) or 1.0)

    @property
    def is_used(self) -> bool:
        """Whether targets are standardized."""
        return self != TargetScale()

    def standardized(self, rows: Encoded) -> Encoded:
        """Return rows with standardized targets."""
        if not self.is_used:
            return rows
        labels = (rows.scalars["labels"].astype(np.float64) - self.mean) / self.deviation
        return replace(rows, scalars={**rows.scalars, "labels": labels.astype(np.float32)})

    def of_data(self, tensors: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
        """Return the weights of a model that predicts on the scale of the data."""
        return self._scaled(tensors, self.deviation, self.mean)

    def of_training(self, tensors: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
        """Return the weights of a model that predicts standardized numbers: the inverse of `of_data`."""
        return self._scaled(tensors, 1 / self.deviation, -self.mean / self.deviation)

    def _scaled(self, tensors: "Mapping[str, Tensor]", factor: float, offset: float) -> "dict[str, Tensor]":
        if not self.is_used:
            return dict(tensors)
        return {**tensors, _WEIGHT: tensors[_WEIGHT] * factor, _BIAS: tensors[_BIAS] * factor + offset}
