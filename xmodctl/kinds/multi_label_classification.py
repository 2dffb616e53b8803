"""Multi-label classification: any number of labels for a text or a pair of texts."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xmodctl.core.mistakes import RowError
from xmodctl.kinds.breakdown import SeedPredictions, Subset, Texts
from xmodctl.kinds.ensembling import mean_scores
from xmodctl.kinds.entropy import binary_entropy
from xmodctl.kinds.inputs import InputRow
from xmodctl.kinds.kind import Kind, Metric, TaskView, Usage, ValidationLogits
from xmodctl.kinds.label_sets import LabelSets, separated
from xmodctl.kinds.labels import Labels, written_form
from xmodctl.kinds.rows import RowReader, SourceView
from xmodctl.kinds.scoring import Predicted
from xmodctl.kinds.texts import encode_texts, text_columns, text_usage

if TYPE_CHECKING:
    from datasets import Dataset

    from xmodctl.core.encoded import Encoded

SOURCE_DEV = "source-dev"
THRESHOLD = 0.5
CANDIDATES = np.arange(1, 100) / 100
"""The thresholds that one is chosen from."""

MOST_COMMON = 50
"""The baseline predicts up to this many of the most common labels."""


class MultiLabelClassification(Kind):
    """Give a text or a pair of texts any number of labels, or none; scored by F1 and exact match."""

    name = "multi-label-classification"
    required = ("text", "label")
    optional = ("text_pair", "id")
    headlines: ClassVar = {
        "micro_f1": Metric("Micro F1", "f1"),
        "macro_f1": Metric("Macro F1", "f1"),
        "subset_accuracy": Metric("Exact match", "accuracy", is_share=True),
    }
    needs_labels = True
    task_keys = frozenset({"labels_mapped", "data_labels", "threshold"})

    recipes: ClassVar = {"default": "multi-label", "mini": "multi-label-mini"}

    head = "sequence"
    auto_class = "AutoModelForSequenceClassification"
    problem_type = "multi_label_classification"
    pipeline = "text-classification"

    has_entropy = True
    ensemble_rule = "the labels whose mean probability reaches the mean of the thresholds"
    parts_caption = "F1 of each label, in percent"
    wrong_means = "a row with a wrong label counts as wrong"
    takes_flags = True

    def outputs(self, task: TaskView) -> tuple[str, ...]:
        """Return the label names: the head has one output per label."""
        return task.labels

    def limits(self, task: TaskView) -> tuple[str, ...]:
        """Return which labels count as others, and from which probability a label is predicted."""
        return (*super().limits(task), f"A label is predicted if its probability is at least {threshold_of(task):g}")

    def row_reader(self, task: TaskView, source: SourceView) -> RowReader:
        """Read texts and sets of labels."""
        mapped = {name: task.labels.index(label) for name, label in task.labels_mapped.items()}
        labels = Labels(source.labels or task.labels, mapped, without_ids=task.labels_are_found)
        return LabelSets(self.input_columns(task), labels, source)

    def gold_names(self, value: Any) -> list[str]:
        """Return the labels of a list or a text."""
        try:
            items = separated(value, "label") if isinstance(value, str) else value
        except RowError:
            return []  # reading the row reports it
        return [name for item in (items if isinstance(items, list) else [items]) if (name := written_form(item))]

    def encode(self, rows: "Dataset", tokenizer: Any, *, max_length: int, stride: int) -> "Encoded":
        """Turn a text or a pair of texts into one sequence; its target is 0 or 1 for each label."""
        return encode_texts(rows, text_columns(rows), tokenizer, max_length=max_length, target=np.float32)

    def decode(
        self, logits: Sequence[np.ndarray], encoded: "Encoded", rows: "Dataset", task: TaskView
    ) -> list[tuple[list[str] | None, list[str], tuple[float, ...]]]:
        """Return (gold labels, labels whose probability reaches the threshold, probability of each label)."""
        probabilities, threshold = _probabilities(logits), threshold_of(task)
        gold = [_named(row, task) for row in rows["label"]] if "label" in rows.column_names else [None] * len(rows)
        return [
            (labels, _named(row >= threshold, task), tuple(round(float(share), 6) for share in row))
            for labels, row in zip(gold, probabilities, strict=True)
        ]

    def entropy(self, logits: Sequence[np.ndarray], encoded: "Encoded", units: np.ndarray) -> np.ndarray:
        """Return the mean entropy of each row's labels."""
        mean: np.ndarray = binary_entropy(np.stack(logits)).mean(axis=-1)
        return mean

    def combined(self, members: Sequence[Predicted], task: TaskView) -> tuple[list[str], tuple[float, ...]]:
        """Return the labels whose mean probability reaches the task's threshold, and the means."""
        mean = mean_scores(members, len(task.labels))
        return _named(mean >= threshold_of(task), task), tuple(mean.tolist())

    def chosen_keys(self, task: TaskView) -> tuple[str, ...]:
        """Return the threshold, if it is chosen on validation data."""
        return ("threshold",) if task.threshold == SOURCE_DEV else ()

    def choose(self, validation: Sequence[ValidationLogits], task: TaskView) -> dict[str, Any]:
        """Return the threshold with the best headline score, as a mean over languages; of equal ones, that nearest 0.5.

        Without validation data, it is 0.5.
        """
        if not validation:
            return {"threshold": THRESHOLD}
        scores = np.mean([self._by_threshold(logits, rows, task) for logits, rows in validation], axis=0)
        best = CANDIDATES[scores >= scores.max() - 1e-9]
        return {"threshold": float(best[np.argmin(np.abs(best - THRESHOLD))])}

    def _by_threshold(self, logits: Sequence[np.ndarray], rows: "Dataset", task: TaskView) -> np.ndarray:
        """Return the headline score of one language's rows with each of the candidates."""
        probabilities, is_gold = _probabilities(logits), np.asarray(rows["label"], dtype=np.int64)
        totals = []
        for threshold in CANDIDATES:
            is_predicted = (probabilities >= threshold).astype(np.int64)
            hit = (is_gold * is_predicted).sum(axis=0)
            exact = (is_gold == is_predicted).all(axis=1).sum()
            wrong, missed = is_predicted.sum(axis=0) - hit, is_gold.sum(axis=0) - hit
            totals.append(np.concatenate([[len(is_gold), exact], hit, wrong, missed]))
        scores: np.ndarray = self.metrics(np.stack(totals), task)[task.headline]
        return scores

    def statistics(self, gold: Sequence[Any], predicted: Sequence[Any], task: TaskView, language: str) -> np.ndarray:
        """Return for each row 1, whether all labels are right, and true positives, false positives, false negatives.

        The last three are one count for each label.
        """
        order = {label: number for number, label in enumerate(task.labels)}
        is_gold, is_predicted = (_members(sets, order) for sets in (gold, predicted))
        hit = is_gold * is_predicted
        exact = (is_gold == is_predicted).all(axis=1, keepdims=True)
        return np.concatenate(
            [np.ones_like(exact, dtype=np.int64), exact, hit, is_predicted - hit, is_gold - hit], axis=1
        )

    def metrics(self, totals: np.ndarray, task: TaskView) -> Mapping[str, np.ndarray]:
        """Return micro and macro F1 and the share of rows whose labels are all right.

        Macro F1 is the unweighted mean over the labels that occur, as gold or as prediction, as in the other kinds, so
        that it is 100 for perfect predictions. So computes scikit-learn's `f1_score(average="macro")` with these labels
        as `labels`; without that argument it counts the F1 of a label that does not occur as 0.
        """
        totals = totals.astype(np.float64)
        counts = np.stack(np.split(totals[..., 2:], 3, axis=-1))
        occurring = np.count_nonzero(counts.any(axis=0), axis=-1)
        return {
            "micro_f1": 100 * _f1(counts.sum(axis=-1)),
            "macro_f1": 100 * _f1(counts).sum(axis=-1) / np.maximum(occurring, 1),
            "subset_accuracy": 100 * totals[..., 1] / totals[..., 0],
        }

    def baseline(self, gold: Sequence[Any], rows: "Dataset", task: TaskView, language: str) -> float:
        """Return the best score of always predicting the same labels.

        These are the most common set, or the most common labels, of which the best number is taken.
        """
        order = {label: number for number, label in enumerate(task.labels)}
        sets = Counter(frozenset(labels) for labels in gold)
        frequencies = _members(gold, order).sum(axis=0)
        by_frequency = [task.labels[number] for number in np.argsort(-frequencies, kind="stable")]
        guesses = [sorted(sets.most_common(1)[0][0])]
        guesses += [by_frequency[: count + 1] for count in range(min(len(by_frequency), MOST_COMMON))]
        is_guess = _members(guesses, order)
        exact = np.array([[sets[frozenset(guess)]] for guess in guesses])
        count = np.full_like(exact, len(gold))
        hit = is_guess * frequencies
        totals = np.concatenate([count, exact, hit, is_guess * len(gold) - hit, frequencies - hit], axis=1)
        return float(self.metrics(totals, task)[task.headline].max())

    def metric_features(self) -> tuple[Any, Any]:
        """Return lists of labels."""
        from datasets import List, Value

        return List(Value("string")), List(Value("string"))

    def parts(self, task: TaskView, seeds: Sequence[SeedPredictions]) -> tuple[Subset, ...]:
        """Return the F1 of each label that occurs, and the rows that have it."""
        totals = np.stack([seed.statistics.sum(axis=0) for seed in seeds])
        counts = np.stack(np.split(totals[:, 2:], 3, axis=-1)).astype(np.float64)
        values = 100 * _f1(counts).mean(axis=0)
        hit, _, missed = counts[:, 0].astype(np.int64)
        return tuple(
            Subset(label, int(hit[number] + missed[number]), float(values[number]))
            for number, label in enumerate(task.labels)
            if counts[..., number].any()
        )

    def wrongness(self, task: TaskView, seed: SeedPredictions) -> np.ndarray:
        """Return the sum, over labels that are wrong, of the probability of what is wrong."""
        return np.array([self._wrongness(task, row.gold, row.prediction, row.scores) for row in seed.predictions])

    def _wrongness(
        self, task: TaskView, gold: Sequence[str], predicted: Sequence[str], scores: Sequence[float]
    ) -> float:
        wrong = set(gold) ^ set(predicted)
        shares = zip(task.labels, scores, strict=True)
        return sum(share if label in predicted else 1 - share for label, share in shares if label in wrong)

    def describe_mistake(
        self, task: TaskView, gold: Any, predicted: Any, example: Mapping[str, Any] | None
    ) -> tuple[str, str, Texts]:
        """Join the labels of each side."""
        _, _, texts = super().describe_mistake(task, gold, predicted, example)
        return _joined(gold), _joined(predicted), texts

    def inspect_labels(
        self, encoded: "Encoded", feature: int, task: TaskView, row: Mapping[str, Any]
    ) -> tuple[Mapping[int, str], str | None]:
        """Return the labels of the whole sequence."""
        return {}, _joined(_named(encoded.scalars["labels"][feature], task))

    def named_row(self, row: Mapping[str, Any], task: TaskView) -> dict[str, Any]:
        """Return a row's columns without the id, with the names of its labels."""
        columns = {name: value for name, value in row.items() if name != "id"}
        return {**columns, "label": _named(row["label"], task)}

    def counted_labels(self, gold: Any, task: TaskView) -> list[str]:
        """Return the labels of a row."""
        return _named(gold, task)

    def written_prediction(
        self, row: InputRow, prediction: Any, scores: Sequence[float], task: TaskView
    ) -> dict[str, Any]:
        """Return the predicted labels, the most probable first, and the probability of each label."""
        shares = dict(zip(task.labels, scores, strict=True))
        return {"prediction": sorted(prediction, key=lambda label: -shares[label]), "scores": shares}

    def usage(self, task: TaskView) -> Usage:
        """Return a call with one text, or with a pair."""
        threshold = threshold_of(task)
        least, odds = f"{threshold:g}", math.log(threshold / (1 - threshold))
        return text_usage(
            task,
            "print([model.config.id2label[number] for number, logit in enumerate(outputs.logits[0]) "
            f"if logit >= {odds:.6g}])  # a probability of {least} or more",
            pipeline=f'print([each["label"] for each in result if each["score"] >= {least}])',
            settings="top_k=None",
        )


def threshold_of(task: TaskView) -> float:
    """Return the probability from which a label is predicted: 0.5 while none has been chosen."""
    return task.threshold if isinstance(task.threshold, float) else THRESHOLD


def _probabilities(logits: Sequence[np.ndarray]) -> np.ndarray:
    """Return the probability of each label, shape (rows, labels)."""
    table = np.stack(logits).astype(np.float64)
    powers = np.exp(-np.abs(table))  # of numbers that are not positive, so that nothing overflows
    probabilities: np.ndarray = np.where(table >= 0, 1, powers) / (1 + powers)
    return probabilities


def _named(members: Any, task: TaskView) -> list[str]:
    """Return the names of the labels whose place holds 1, in the order of their ids."""
    return [label for label, is_member in zip(task.labels, members, strict=True) if is_member]


def _joined(labels: Sequence[str]) -> str:
    return ", ".join(labels) or "no label"


def _members(sets: Sequence[Sequence[str]], order: Mapping[str, int]) -> np.ndarray:
    """Return whether each set has each label, as 0 and 1, shape (sets, labels)."""
    members = np.zeros((len(sets), len(order)), dtype=np.int64)
    for row, labels in enumerate(sets):
        members[row, [order[label] for label in labels]] = 1
    return members


def _f1(counts: np.ndarray) -> np.ndarray:
    """Return the F1 of true positives, false positives, and false negatives, which are the first dimension."""
    hit, false_positive, false_negative = counts
    whole = 2 * hit + false_positive + false_negative
    values: np.ndarray = np.divide(2 * hit, whole, out=np.zeros_like(whole), where=whole > 0)
    return values
