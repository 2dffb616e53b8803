"""Sentence similarity: the cosine of two texts' vectors, compared with a gold number (semantic textual similarity)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xmodctl.kinds.kind import TaskView
from xmodctl.kinds.sentence_pairs import SentencePairs, sides_of
from xmodctl.kinds.text_regression import TextRegression

if TYPE_CHECKING:
    from datasets import Dataset

    from xmodctl.core.encoded import Encoded


class SentenceSimilarity(SentencePairs, TextRegression):
    """Predict the similarity of two texts by the cosine of their vectors; scored by its correlation with the gold."""

    name = "sentence-similarity"
    required = ("text", "text_pair", "label")
    optional = ("id",)
    untrained = ""
    task_keys = frozenset({"pair_languages"})

    def limits(self, task: TaskView) -> tuple[str, ...]:
        """Return what the numbers are."""
        return ("Predictions are cosines, from -1 to 1, and not on the scale of the gold numbers",)

    def decode(
        self, logits: Sequence[np.ndarray], encoded: "Encoded", rows: "Dataset", task: TaskView
    ) -> list[tuple[float | None, float, tuple[float, ...]]]:
        """Return (gold number, cosine, nothing) for each row."""
        texts, pairs = sides_of(logits, encoded)
        cosines = np.einsum("ij,ij->i", texts, pairs)
        gold = rows["label"] if "label" in rows.column_names else [None] * len(rows)
        return [(label, round(float(cosine), 9), ()) for label, cosine in zip(gold, cosines, strict=True)]

    def gold_and_texts(self, row: Any, task: TaskView) -> tuple[Any, list[str]]:
        """Return the number and both texts."""
        return TextRegression.gold_and_texts(self, row, task)
