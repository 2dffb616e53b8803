"""Sequence classification: one label for a text or a pair of texts."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xmodctl.catalog.task import KindName, Task

if TYPE_CHECKING:
    from datasets import Dataset

    from xmodctl.core.encoded import Encoded


class SequenceClassification:
    """Label a text or a pair of texts; scored by accuracy and macro-averaged F1."""

    name: KindName = "sequence-classification"

    def outputs(self, task: Task) -> tuple[str, ...]:
        """Return the label names: the head has one output a label."""
        return task.labels

    def encode(self, rows: "Dataset", tokenizer: Any, *, max_length: int, stride: int) -> "Encoded":
        """Turn texts into token ids; a pair that is too long loses tokens of its longer text first."""
        from xmodctl.core.encoded import Encoded, Ragged

        pairs = "text_pair" in rows.column_names
        pieces: list[np.ndarray] = []
        truncated = 0
        for batch in rows.select_columns(["text", "text_pair"] if pairs else ["text"]).iter(batch_size=1000):
            texts = [batch["text"], batch["text_pair"]] if pairs else [batch["text"]]
            whole = tokenizer(*texts, add_special_tokens=True, truncation=False, return_attention_mask=False)
            cut = tokenizer(*texts, truncation=True, max_length=max_length, return_attention_mask=False)
            pieces += [np.asarray(ids, dtype=np.int32) for ids in cut["input_ids"]]
            truncated += sum(len(ids) > max_length for ids in whole["input_ids"])
        return Encoded(
            input_ids=Ragged.of(pieces),
            rows=np.arange(len(rows), dtype=np.int64),
            scalars={"labels": np.asarray(rows["label"], dtype=np.int64)} if "label" in rows.column_names else {},
            ragged={},
            counts={"truncated": truncated},
        )

    def weights(self, encoded: "Encoded") -> np.ndarray:
        """Return one term of the loss a row."""
        return np.ones(len(encoded.input_ids))

    def decode(
        self, logits: Sequence[np.ndarray], encoded: "Encoded", rows: "Dataset", task: Task
    ) -> list[tuple[str | None, str, tuple[float, ...]]]:
        """Return (gold label, predicted label, probabilities in the order of the labels) for each row."""
        table = np.stack(logits).astype(np.float64)
        table = np.exp(table - table.max(axis=1, keepdims=True))
        probabilities = table / table.sum(axis=1, keepdims=True)
        gold = [task.labels[label] for label in rows["label"]] if "label" in rows.column_names else [None] * len(rows)
        return [
            (label, task.labels[int(row.argmax())], tuple(round(float(p), 6) for p in row))
            for label, row in zip(gold, probabilities, strict=True)
        ]

    def statistics(self, gold: Sequence[Any], predicted: Sequence[Any], task: Task, language: str) -> np.ndarray:
        """Return per row and label whether it is a true positive, a false positive, a false negative."""
        order = {label: i for i, label in enumerate(task.labels)}
        eye = np.eye(len(order), dtype=np.int64)
        is_gold = eye[[order[label] for label in gold]]
        is_predicted = eye[[order[label] for label in predicted]]
        hit = is_gold * is_predicted
        return np.concatenate([hit, is_predicted - hit, is_gold - hit], axis=1)

    def metrics(self, totals: np.ndarray, task: Task) -> Mapping[str, np.ndarray]:
        """Return accuracy and macro F1 (unweighted mean of the labels' F1; a label never seen nor said counts 0)."""
        hit, false_positive, false_negative = np.split(totals.astype(np.float64), 3, axis=-1)
        rows = (hit + false_negative).sum(axis=-1)
        doubled = 2 * hit
        whole = doubled + false_positive + false_negative
        f1 = np.divide(doubled, whole, out=np.zeros_like(doubled), where=whole > 0)
        return {"accuracy": 100 * hit.sum(axis=-1) / rows, "macro_f1": 100 * f1.mean(axis=-1)}

    def baseline(self, gold: Sequence[Any], rows: "Dataset", task: Task, language: str) -> float:
        """Return the score of always answering the commonest label."""
        common = max(task.labels, key=list(gold).count)
        totals = self.statistics(gold, [common] * len(gold), task, language).sum(axis=0)
        return float(self.metrics(totals, task)[task.headline])
