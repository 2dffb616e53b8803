"""Multiple choice: one right answer among two or more."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xmodctl.catalog.task import KindName, Task

if TYPE_CHECKING:
    from datasets import Dataset

    from xmodctl.core.encoded import Encoded


class MultipleChoice:
    """Choose an answer; scored by accuracy."""

    name: KindName = "multiple-choice"

    def outputs(self, task: Task) -> tuple[str, ...]:
        """Return the head's one output: it scores a choice at a time."""
        return ("score",)

    def encode(self, rows: "Dataset", tokenizer: Any, *, max_length: int, stride: int) -> "Encoded":
        """Turn each choice into a feature: the context, then the question and the choice.

        Without a context the question stands in its place, and without either the choice is alone. What is too long
        loses tokens of its longer part; counted are the rows that do.
        """
        from xmodctl.core.encoded import Encoded, Ragged

        asked = [column for column in ("context", "question") if column in rows.column_names]
        with_labels = "label" in rows.column_names
        pieces: list[np.ndarray] = []
        sizes: list[int] = []
        labels: list[int] = []
        cut: set[int] = set()
        for batch in rows.iter(batch_size=500):
            choices = batch["choices"]
            owners = [row for row, texts in enumerate(choices) for _ in texts]
            parts = [[batch[column][row] or "" for row in owners] for column in asked]
            parts.append([text for texts in choices for text in texts])
            if len(parts) == 3:
                parts = [parts[0], [f"{question} {text}" for question, text in zip(*parts[1:], strict=True)]]
            encodings = tokenizer(*parts, truncation=True, max_length=max_length).encodings
            pieces += [np.asarray(encoding.ids, dtype=np.int32) for encoding in encodings]
            cut |= {len(sizes) + row for row, encoding in zip(owners, encodings, strict=True) if encoding.overflowing}
            sizes += [len(texts) for texts in choices]
            labels += batch["label"] if with_labels else []
        return Encoded(
            input_ids=Ragged.of(pieces),
            rows=np.repeat(np.arange(len(sizes), dtype=np.int64), sizes),
            scalars={"labels": np.repeat(np.asarray(labels, dtype=np.int64), sizes)} if with_labels else {},
            counts={"truncated": len(cut)},
            choices=True,
        )

    def weights(self, encoded: "Encoded") -> np.ndarray:
        """Return one term of the loss a question."""
        return np.ones(len(encoded))

    def decode(
        self, logits: Sequence[np.ndarray], encoded: "Encoded", rows: "Dataset", task: Task
    ) -> list[tuple[int | None, int, tuple[float, ...]]]:
        """Return (right choice, chosen one, probability of each choice) for each row; choices count from 0."""
        gold = rows["label"] if "label" in rows.column_names else [None] * len(rows)
        decoded = []
        for label, scores in zip(gold, logits, strict=True):
            values = np.exp(scores.astype(np.float64) - scores.max())
            shares = tuple((values / values.sum()).round(6).tolist())
            decoded.append((label, int(scores.argmax()), shares))
        return decoded

    def statistics(self, gold: Sequence[Any], predicted: Sequence[Any], task: Task, language: str) -> np.ndarray:
        """Return per row whether the choice is right, and 1."""
        right = np.asarray(gold, dtype=np.int64) == np.asarray(predicted, dtype=np.int64)
        return np.stack([right, np.ones_like(right)], axis=1).astype(np.int64)

    def metrics(self, totals: np.ndarray, task: Task) -> Mapping[str, np.ndarray]:
        """Return accuracy."""
        right, rows = np.moveaxis(totals.astype(np.float64), -1, 0)
        return {"accuracy": 100 * right / rows}

    def baseline(self, gold: Sequence[Any], rows: "Dataset", task: Task, language: str) -> float:
        """Return the score of always choosing the position that is right most often."""
        common = max(set(gold), key=list(gold).count)
        totals = self.statistics(gold, [common] * len(gold), task, language).sum(axis=0)
        return float(self.metrics(totals, task)[task.headline])
