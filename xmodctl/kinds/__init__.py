"""What differs between kinds of task: how rows are encoded, what the head gives, how that is read and scored.

A kind knows nothing about files, devices or adapters; of languages, only which one answers are compared in.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from xmodctl.catalog.task import KindName, Task
from xmodctl.kinds.multiple_choice import MultipleChoice
from xmodctl.kinds.question_answering import QuestionAnswering
from xmodctl.kinds.sequence_classification import SequenceClassification
from xmodctl.kinds.token_classification import TokenClassification

if TYPE_CHECKING:
    import numpy as np
    from datasets import Dataset

    from xmodctl.core.encoded import Encoded


class Kind(Protocol):
    """The surface every kind has."""

    name: KindName

    def outputs(self, task: Task) -> tuple[str, ...]:
        """Return the names of the head's outputs, in the order of their ids."""

    def encode(self, rows: "Dataset", tokenizer: Any, *, max_length: int, stride: int) -> "Encoded":
        """Turn rows into token ids and targets; rows without the gold column are encoded without targets."""

    def weights(self, encoded: "Encoded") -> "np.ndarray":
        """Return how many terms of the loss each unit brings: the mean loss of a batch divides by their sum."""

    def decode(
        self, logits: Sequence["np.ndarray"], encoded: "Encoded", rows: "Dataset", task: Task
    ) -> list[tuple[Any, Any, tuple[float, ...]]]:
        """Return (gold, prediction, scores) for each row, from the logits of each unit."""

    def statistics(self, gold: Sequence[Any], predicted: Sequence[Any], task: Task, language: str) -> "np.ndarray":
        """Return per row the counts that metrics are made of, shape (rows, counts): they add up over rows."""

    def metrics(self, totals: "np.ndarray", task: Task) -> Mapping[str, "np.ndarray"]:
        """Return each metric, in percent, from summed statistics of shape (..., counts)."""

    def baseline(self, gold: Sequence[Any], rows: "Dataset", task: Task, language: str) -> float:
        """Return the headline metric, in percent, of the best answer that does not look at the input."""


KINDS: dict[KindName, Kind] = {
    kind.name: kind for kind in (SequenceClassification(), TokenClassification(), QuestionAnswering(), MultipleChoice())
}
"""Every kind that this version runs."""

UNSAYABLE: dict[str, str] = {
    "unreachable_answers": "have an answer too long to be found, or that no window holds",
    "answers_within_tokens": "have an answer that begins or ends inside a token, and the nearest to say is longer",
}
"""Counts of an encoding -> what is true of so many rows, the gold answer of which no logits of a model decode to."""


def unsayable(encoded: "Encoded", rows: int) -> tuple[str, ...]:
    """Return a sentence for each reason why the model cannot say some of the gold answers."""
    return tuple(
        f"{count:,} of {rows:,} rows {told}" for key, told in UNSAYABLE.items() if (count := encoded.counts.get(key))
    )
