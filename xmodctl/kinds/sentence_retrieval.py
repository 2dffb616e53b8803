"""Sentence retrieval: the translation of a text among all texts of a language, by the vectors of texts."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from xmodctl.kinds.breakdown import SeedPredictions, Texts
from xmodctl.kinds.kind import Metric, TaskView
from xmodctl.kinds.mining import Mined, extracted, first_of_equal, mined
from xmodctl.kinds.rows import RowReader, SourceView
from xmodctl.kinds.sentence_pairs import SIDES, PairedTexts, SentencePairs, nearest_rows, sides_of

if TYPE_CHECKING:
    from datasets import Dataset

    from xmodctl.core.encoded import Encoded


class SentenceRetrieval(SentencePairs):
    """Find each `text_pair`'s translation among the texts of a language (Artetxe and Schwenk 2019, Tatoeba).

    As in XTREME's script (Hu et al. 2020, `third_party/utils_retrieve.py`, `similarity_search`), the English sentences
    are the queries, the nearest neighbor is that of the highest cosine, and it is correct if it is of the same row.
    With `metric: f1`, translations are mined instead: pairs whose margin reaches a threshold, as in BUCC 2018.
    """

    name = "sentence-retrieval"
    pair_in_source = True
    headlines: ClassVar = {
        "accuracy": Metric("Accuracy", "accuracy", is_share=True),
        "reverse_accuracy": Metric("Accuracy from text to text_pair", "accuracy", is_share=True),
        "f1": Metric("F1 of mined pairs at the best threshold", "f1"),
    }

    def row_reader(self, task: TaskView, source: SourceView) -> RowReader:
        """Read pairs."""
        return PairedTexts(source)

    def decode(
        self, logits: Sequence[np.ndarray], encoded: "Encoded", rows: "Dataset", task: TaskView
    ) -> list[tuple[str, list[str | None], tuple[float, ...]]]:
        """Return (id, ids of the nearest text of its pair and of the nearest pair of its text, cosines) for each row.

        The cosines are those of the two nearest and that of the row's own two texts. If translations are mined, the id
        of the pair that is mined for the row's text follows, or None, and its margin, or 0.
        """
        texts, pairs = sides_of(logits, encoded)
        ids = list(rows["id"])
        of_pair, near = nearest_rows(pairs, texts)
        of_text, reverse_near = nearest_rows(texts, pairs)
        own = np.einsum("ij,ij->i", texts, pairs)
        scores = [near, reverse_near, own]
        answers = [[ids[number] for number in of_pair], [ids[number] for number in of_text]]
        if task.headline == "f1":
            margins = np.zeros(len(ids))
            mined_ids: list[str | None] = [None] * len(ids)
            for text, pair, margin in _extracted(texts, pairs, rows):
                mined_ids[text], margins[text] = ids[pair], margin
            answers, scores = [*answers, mined_ids], [*scores, margins]
        table = np.stack(scores, axis=1).round(6)
        return [(ids[row], [side[row] for side in answers], tuple(map(float, table[row]))) for row in range(len(ids))]

    def statistics(self, gold: Sequence[Any], predicted: Sequence[Any], task: TaskView, language: str) -> np.ndarray:
        """Return for each row 1, whether it is found in each direction, and whether a pair, the right one, is mined."""
        counts = [
            [
                1,
                pair == id_,
                text == id_,
                *(flag for partner in partners for flag in (partner is not None, partner == id_)),
            ]
            for id_, (pair, text, *partners) in zip(gold, predicted, strict=True)
        ]
        return np.array(counts, dtype=np.int64).reshape(len(counts), 5 if task.headline == "f1" else 3)

    def metrics(self, totals: np.ndarray, task: TaskView) -> Mapping[str, np.ndarray]:
        """Return the accuracies of both directions, and the F1 if translations are mined, in percent."""
        rows, forward, reverse, *counts = np.moveaxis(totals, -1, 0)
        metrics = {"accuracy": 100 * forward / rows, "reverse_accuracy": 100 * reverse / rows}
        if counts:
            extractions, correct = counts
            metrics["f1"] = 200 * correct / (extractions + rows)
        return metrics

    def baseline(self, gold: Sequence[Any], rows: "Dataset", task: TaskView, language: str) -> float:
        """Return the accuracy of always finding the same text, which is also the expected F1 of random pairs."""
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


def _extracted(
    texts: NDArray[np.float64], pairs: NDArray[np.float64], rows: "Dataset"
) -> Iterator[tuple[int, int, float]]:
    """Yield the rows of each pair of texts that is mined, and its margin.

    As XTREME does, equal texts are one candidate, and no pair of texts that are not unique is mined.
    """
    sides = [first_of_equal(rows[side] if side in rows.column_names else rows["id"]) for side in SIDES]
    (first_texts, is_text), (first_pairs, is_pair) = sides
    every = mined(texts[first_texts], pairs[first_pairs])
    unique = is_text[every.texts] & is_pair[every.pairs]
    candidates = Mined(first_texts[every.texts[unique]], first_pairs[every.pairs[unique]], every.scores[unique])
    chosen = extracted(candidates, len(rows))
    for text, pair, score in zip(*(column[chosen] for column in candidates), strict=True):
        yield int(text), int(pair), float(score)
