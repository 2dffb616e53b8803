"""Sentence retrieval: the translation of a text among all texts of a language, by the cosine of their vectors."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xmodctl.kinds.breakdown import SeedPredictions, Texts
from xmodctl.kinds.kind import Metric, TaskView
from xmodctl.kinds.rows import RowReader, SourceView
from xmodctl.kinds.sentence_pairs import PairedTexts, SentencePairs, nearest_rows, sides_of

if TYPE_CHECKING:
    from datasets import Dataset

    from xmodctl.core.encoded import Encoded


class SentenceRetrieval(SentencePairs):
    """Find each `text_pair`'s translation among the texts of a language (Artetxe and Schwenk 2019, Tatoeba).

    As in XTREME's script (Hu et al. 2020, `third_party/utils_retrieve.py`, `similarity_search`), the English sentences
    are the queries, the nearest neighbor is that of the highest cosine, and it is correct if it is of the same row.
    """

    name = "sentence-retrieval"
    pair_in_source = True
    headlines: ClassVar = {
        "accuracy": Metric("Accuracy", "accuracy", is_share=True),
        "reverse_accuracy": Metric("Accuracy from text to text_pair", "accuracy", is_share=True),
    }

    def row_reader(self, task: TaskView, source: SourceView) -> RowReader:
        """Read pairs."""
        return PairedTexts(source)

    def decode(
        self, logits: Sequence[np.ndarray], encoded: "Encoded", rows: "Dataset", task: TaskView
    ) -> list[tuple[str, list[str], tuple[float, ...]]]:
        """Return (id, ids of the nearest text of its pair and of the nearest pair of its text, cosines) for each row.

        The cosines are those of the two nearest and that of the row's own two texts.
        """
        texts, pairs = sides_of(logits, encoded)
        ids = list(rows["id"])
        of_pair, near = nearest_rows(pairs, texts)
        of_text, reverse_near = nearest_rows(texts, pairs)
        own = np.einsum("ij,ij->i", texts, pairs)
        cosines = np.stack([near, reverse_near, own], axis=1).round(6)
        return [
            (ids[row], [ids[of_pair[row]], ids[of_text[row]]], tuple(map(float, cosines[row])))
            for row in range(len(ids))
        ]

    def statistics(self, gold: Sequence[Any], predicted: Sequence[Any], task: TaskView, language: str) -> np.ndarray:
        """Return for each row 1, and whether it is found in each direction."""
        correct = [[1, pair == id_, text == id_] for id_, (pair, text) in zip(gold, predicted, strict=True)]
        return np.array(correct, dtype=np.int64).reshape(-1, 3)

    def metrics(self, totals: np.ndarray, task: TaskView) -> Mapping[str, np.ndarray]:
        """Return the accuracies of both directions in percent."""
        rows, forward, reverse = np.moveaxis(totals, -1, 0)
        return {"accuracy": 100 * forward / rows, "reverse_accuracy": 100 * reverse / rows}

    def baseline(self, gold: Sequence[Any], rows: "Dataset", task: TaskView, language: str) -> float:
        """Return the accuracy of always finding the same text."""
        return 100 / len(gold)

    def wrongness(self, task: TaskView, seed: SeedPredictions) -> np.ndarray:
        """Return by how much the nearest text is nearer than the right one, and a little more; 0 where it is right."""
        return np.array(
            [0.0 if row.prediction[0] == row.gold else 1e-6 + row.scores[0] - row.scores[2] for row in seed.predictions]
        )

    def describe_mistake(
        self, task: TaskView, gold: Any, predicted: Any, example: Mapping[str, Any] | None
    ) -> tuple[str, str, Texts]:
        """Return the ids of the right text and of the one that was found, and the right texts."""
        _, _, texts = super().describe_mistake(task, gold, predicted, example)
        return f"row {gold}", f"row {predicted[0]}", texts
