"""Sequence classification: one label for a text or a pair of texts."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xmodctl.kinds.breakdown import Confusion, SeedPredictions, Subset, all_predictions, count_confusion
from xmodctl.kinds.ensembling import MEAN_PROBABILITY, mean_scores
from xmodctl.kinds.entropy import entropy
from xmodctl.kinds.inputs import InputRow
from xmodctl.kinds.kind import Kind, Metric, TaskView, Usage
from xmodctl.kinds.scoring import Predicted
from xmodctl.kinds.texts import decode_labels, encode_texts, text_columns, text_usage

if TYPE_CHECKING:
    from datasets import Dataset

    from xmodctl.core.encoded import Encoded


class SequenceClassification(Kind):
    """Label a text or a pair of texts; scored by accuracy and macro-averaged F1."""

    name = "sequence-classification"
    required = ("text", "label")
    optional = ("text_pair", "id")
    headlines: ClassVar = {
        "accuracy": Metric("Accuracy", "accuracy", is_share=True),
        "macro_f1": Metric("Macro F1", "f1"),
    }
    needs_labels = True
    task_keys = frozenset({"labels_mapped", "data_labels"})

    head = "sequence"
    auto_class = "AutoModelForSequenceClassification"
    pipeline = "text-classification"

    ensemble_rule = MEAN_PROBABILITY
    has_entropy = True
    parts_caption = "Share of each label's examples that were labeled correctly, in percent"

    def outputs(self, task: TaskView) -> tuple[str, ...]:
        """Return the label names: the head has one output per label."""
        return task.labels

    def encode(self, rows: "Dataset", tokenizer: Any, *, max_length: int, stride: int) -> "Encoded":
        """Turn a text or a pair of texts into one sequence."""
        return encode_texts(rows, text_columns(rows), tokenizer, max_length=max_length)

    def decode(
        self, logits: Sequence[np.ndarray], encoded: "Encoded", rows: "Dataset", task: TaskView
    ) -> list[tuple[str | None, str, tuple[float, ...]]]:
        """Return (gold label, predicted label, probabilities in the order of the labels) for each row."""
        return decode_labels(logits, rows, task.labels)

    def entropy(self, logits: Sequence[np.ndarray], encoded: "Encoded", units: np.ndarray) -> np.ndarray:
        """Return the entropy over the labels of each row."""
        return entropy(np.stack(logits))

    def combined(self, members: Sequence[Predicted], task: TaskView) -> tuple[str, tuple[float, ...]]:
        """Return the label with the highest mean probability, and the means."""
        mean = mean_scores(members, len(task.labels))
        return task.labels[int(mean.argmax())], tuple(mean.tolist())

    def statistics(self, gold: Sequence[Any], predicted: Sequence[Any], task: TaskView, language: str) -> np.ndarray:
        """Return for each row and label whether it is a true positive, a false positive, a false negative."""
        order = {label: i for i, label in enumerate(task.labels)}
        eye = np.eye(len(order), dtype=np.int64)
        is_gold = eye[[order[label] for label in gold]]
        is_predicted = eye[[order[label] for label in predicted]]
        hit = is_gold * is_predicted
        return np.concatenate([hit, is_predicted - hit, is_gold - hit], axis=1)

    def metrics(self, totals: np.ndarray, task: TaskView) -> Mapping[str, np.ndarray]:
        """Return accuracy and macro F1.

        Macro F1 is the unweighted mean of the F1 of the labels that occur, as gold or as prediction; so does
        scikit-learn's `f1_score(average="macro")` without `labels`.
        """
        hit, false_positive, false_negative = np.split(totals.astype(np.float64), 3, axis=-1)
        rows = (hit + false_negative).sum(axis=-1)
        doubled = 2 * hit
        whole = doubled + false_positive + false_negative
        f1 = np.divide(doubled, whole, out=np.zeros_like(doubled), where=whole > 0)
        occurring = np.count_nonzero(whole, axis=-1)
        return {"accuracy": 100 * hit.sum(axis=-1) / rows, "macro_f1": 100 * f1.sum(axis=-1) / occurring}

    def baseline(self, gold: Sequence[Any], rows: "Dataset", task: TaskView, language: str) -> float:
        """Return the score of always predicting the most common label."""
        common = max(task.labels, key=list(gold).count)
        return self.headline_of(gold, [common] * len(gold), task, language)

    def confusion(self, task: TaskView, seeds: Sequence[SeedPredictions]) -> Confusion:
        """Count gold labels against predicted labels."""
        return count_confusion(((row.gold, row.prediction) for row in all_predictions(seeds)), task.labels)

    def parts(self, task: TaskView, seeds: Sequence[SeedPredictions]) -> tuple[Subset, ...]:
        """Return the recall of each label."""
        return self.confusion(task, seeds).recalls(len(seeds))

    def wrongness(self, task: TaskView, seed: SeedPredictions) -> np.ndarray:
        """Return the probability that the gold label did not get."""
        order = {label: number for number, label in enumerate(task.labels)}
        return np.array(
            [0.0 if row.gold == row.prediction else 1 - row.scores[order[row.gold]] for row in seed.predictions]
        )

    def written_prediction(
        self, row: InputRow, prediction: Any, scores: Sequence[float], task: TaskView
    ) -> dict[str, Any]:
        """Return the predicted label and the probability of each label."""
        return {"prediction": prediction, "scores": dict(zip(task.labels, scores, strict=True))}

    def usage(self, task: TaskView) -> Usage:
        """Return a call with one text, or with a pair."""
        output = "print(model.config.id2label[int(outputs.logits.argmax())])"
        return text_usage(task, output, pipeline='print(result["label"])')
