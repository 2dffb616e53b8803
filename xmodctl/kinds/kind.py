"""What differs between kinds of task: the abstract class that a new kind subclasses in one file.

A kind knows nothing about files, devices, or adapters. Of languages, it knows only the one in which answers are
compared. It sees a task and a data source through the protocols `TaskView` and `SourceView`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xmodctl.kinds.breakdown import Confusion, SeedPredictions, Subset, Texts
from xmodctl.kinds.inputs import InputRow, joined_texts, text_input
from xmodctl.kinds.labels import Labels, sorted_labels, written_form
from xmodctl.kinds.rows import SEVERAL_LABELS, LabeledTexts, Raw, RowReader, SourceView, only_item
from xmodctl.kinds.scoring import Predicted
from xmodctl.kinds.task_view import TaskView

if TYPE_CHECKING:
    from datasets import Dataset

    from xmodctl.core.encoded import Encoded

__all__ = ["Decoded", "Kind", "Metric", "TaskView", "Usage", "ValidationLogits"]

ValidationLogits = tuple[Sequence[np.ndarray], "Dataset"]
"""The logits of one language's validation rows, and the rows, in the kind's columns."""

LABEL_NUMBERS = "; if these are numbers of labels, name all labels in their order, as in --set labels='[first, second]'"
Decoded = tuple[Any, Any, tuple[float, ...]]
"""One row's gold answer (None without one), prediction, and scores."""


@dataclass(frozen=True)
class Metric:
    """A metric that a task can be reported with."""

    title: str  # what a reader calls it
    hub_id: str  # its id among the Hub's metrics
    is_share: bool = False  # whether it is the share of correct examples, which McNemar's test compares
    is_correlation: bool = False  # whether it is between -1 and 1, not between 0 and 1
    adds_up: bool = True  # whether it is computed from summed statistics; else from rows, by `Kind.resampled`


@dataclass(frozen=True)
class Usage:
    """How an exported model is called in Python: what `export` prints and a model card shows."""

    inputs: str  # the expression that makes `inputs`; may be followed by statements on lines of their own
    output: str  # the statements that print the prediction from `outputs`
    note: str = ""  # what a reader must know besides
    pipeline: str = ""  # statements that call a pipeline of transformers, named `predict`; empty if none suits the kind
    settings: str = ""  # arguments of this pipeline, besides its task and the model


class Kind(ABC):
    """One kind of task. What has a default here suits a kind that labels a text as a whole."""

    # What a task of this kind declares.
    name: ClassVar[str]
    """The Hub's name of the kind, as `kind:` in a task file has it."""
    required: ClassVar[tuple[str, ...]]
    """The columns that a row must have."""
    optional: ClassVar[tuple[str, ...]] = ("id",)
    """The columns that a row may have."""
    headlines: ClassVar[Mapping[str, Metric]]
    """The metrics that a task can be reported with, by name; the first is the default."""
    needs_labels: ClassVar[bool] = False
    """Whether a task must name its labels."""
    task_keys: ClassVar[frozenset[str]] = frozenset()
    """The optional task keys that mean something to this kind: `labels_mapped`, `metric_rules`, `connectives`,
    `numbered_columns`, `tagged_text`, `threshold`, `pair_languages`, and `data_labels` (the `labels` of `training` and
    `evaluation`)."""

    recipes: ClassVar[Mapping[str, str]] = {"default": "nli", "mini": "nli-mini"}
    """The recipes of tasks that name none: `default`, and models that need another."""
    kept_together: ClassVar[tuple[str, ...]] = ("text", "tokens", "context")
    """When rows are split, those with the same content in the first of these columns that they have stay together."""

    trains: ClassVar[bool] = True
    """Whether models are trained on tasks of this kind; else sentence embeddings are scored, without training."""
    untrained: ClassVar[str] = ""
    """The kind that scores the same data without training."""
    pair_in_source: ClassVar[bool] = False
    """Whether `text_pair` is in the task's source language, whatever the language of `text` is."""

    # How messages and reports speak of it.
    gold_column: ClassVar[str] = "label"
    """The column that holds the gold answer."""
    unreachable: ClassVar[Mapping[str, str]] = {}
    """Counts of an encoding -> what is true of these rows, whose gold answer no logits decode to."""
    parts_caption: ClassVar[str] = ""
    """The caption of the table of a language's parts."""
    wrong_means: ClassVar[str] = ""
    """What counts as wrong, where an answer can be right in part."""
    balanced: ClassVar[bool] = True
    """Whether `check` warns of a label that nearly all rows have."""
    takes_flags: ClassVar[bool] = False
    """Whether the gold answer may be several columns, each with 0 or 1 for one label."""
    plain_tags: ClassVar[bool] = False
    """Whether any text may be the tag of a word, in files of tagged words."""
    answers_are_text: ClassVar[bool] = False
    """Whether predictions are pieces of the text, in its language, rather than labels."""

    # What carries the kind.
    head: ClassVar[str]
    """The name of the model's head (`xmodctl.model.HEADS`)."""
    auto_class: ClassVar[str]
    """The class of transformers that loads an exported model."""
    problem_type: ClassVar[str | None] = None
    """How transformers computes the loss of a `sequence` head; None: of one label per text."""
    targets_are_numbers: ClassVar[bool] = False
    """Whether targets are numbers on a scale, which training standardizes."""
    pipeline: ClassVar[str]
    """The Hub's name of what such a model does (`pipeline_tag`)."""

    # The task.

    @abstractmethod
    def outputs(self, task: TaskView) -> tuple[str, ...]:
        """Return the names of the head's outputs, in the order of their ids."""

    def check_task(self, task: TaskView) -> None:  # noqa: B027  (most kinds have nothing to add)
        """Refuse a task that this kind cannot run, beyond what the attributes say.

        Raises:
            ValueError: The message says which key is wrong and what is allowed.
        """

    def limits(self, task: TaskView) -> tuple[str, ...]:
        """Return what a reader of a model card must know about the labels: what does not count as itself."""
        return tuple(f"The label {label} counts as {target}" for label, target in task.labels_mapped.items())

    def label_targets(self, task: TaskView) -> Sequence[str]:
        """Return what `labels_mapped` may map a label to."""
        return task.labels

    # Training rows.

    def row_reader(self, task: TaskView, source: SourceView) -> RowReader:
        """Return what turns the raw rows of one source into rows of this kind.

        Raises:
            UserError: The task cannot be read from this source.
        """
        mapped = {name: task.labels.index(label) for name, label in task.labels_mapped.items()}
        labels = Labels(source.labels or task.labels, mapped, without_ids=task.labels_are_found)
        return LabeledTexts(self.input_columns(task), labels, source)

    def gold_names(self, value: Any) -> list[str]:
        """Return the names in a gold cell that labels are made of; without any, the kind has no labels."""
        written = written_form(only_item(value)) if self.needs_labels else None
        return [written] if written else []

    def no_label(self, column: str, value: str) -> str:
        """Return what is said of data without any label; `value` is the first one, as a message shows it."""
        expected = f"; {SEVERAL_LABELS}" if value.startswith("[") else LABEL_NUMBERS
        return f"no training row has a label in `{column}`, whose first value is {value}{expected}"

    def settings_of(self, row: Raw, task: TaskView) -> dict[str, Any]:
        """Return keys of the task that a row of local data shows."""
        return {}

    def labels_of(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the labels of a task whose training data has these names, sorted."""
        return sorted_labels(names)

    @abstractmethod
    def encode(self, rows: "Dataset", tokenizer: Any, *, max_length: int, stride: int) -> "Encoded":
        """Turn rows into token ids and targets; rows without the gold column are encoded without targets.

        `counts` of the result has at least `truncated`, the number of rows that lost tokens.
        """

    def weights(self, encoded: "Encoded") -> np.ndarray:
        """Return the number of loss terms of each unit, shape (units,).

        The mean loss of a batch divides by their sum.
        """
        return np.ones(len(encoded))

    # Scores.

    @abstractmethod
    def decode(
        self, logits: Sequence[np.ndarray], encoded: "Encoded", rows: "Dataset", task: TaskView
    ) -> Sequence[Decoded]:
        """Return (gold, prediction, scores) for each row, from the logits of each unit."""

    def chosen_keys(self, task: TaskView) -> tuple[str, ...]:
        """Return the keys of the task whose values are chosen after training, for each seed."""
        return ()

    def choose(self, validation: Sequence[ValidationLogits], task: TaskView) -> dict[str, Any]:
        """Return the values of `chosen_keys`, from the logits of each training language's validation rows."""
        return {}

    @abstractmethod
    def statistics(self, gold: Sequence[Any], predicted: Sequence[Any], task: TaskView, language: str) -> np.ndarray:
        """Return the counts of each row that metrics are made of, shape (rows, counts); they add up over rows."""

    @abstractmethod
    def metrics(self, totals: np.ndarray, task: TaskView) -> Mapping[str, np.ndarray]:
        """Return each metric, in percent, from summed statistics of shape (..., counts)."""

    def resampled(self, times: np.ndarray, statistics: np.ndarray, task: TaskView) -> np.ndarray:
        """Return the headline metric, in percent, under resamples, shape (resamples,).

        Args:
            times: How often each resample draws each row, shape (resamples, rows).
            statistics: Of each row, shape (rows, counts).
            task: The task.
        """
        return self.metrics(times @ statistics, task)[task.headline]

    def score_notes(self, statistics: np.ndarray, task: TaskView) -> tuple[str, ...]:
        """Return what a reader of a score must know about it, from the statistics of each row."""
        return ()

    def baseline(self, gold: Sequence[Any], rows: "Dataset", task: TaskView, language: str) -> float:
        """Return the majority baseline: the headline metric, in percent, of the most common gold answer."""
        common = max(dict.fromkeys(gold), key=list(gold).count)
        return self.headline_of(gold, [common] * len(gold), task, language)

    def headline_of(self, gold: Sequence[Any], predicted: Sequence[Any], task: TaskView, language: str) -> float:
        """Return the headline metric, in percent."""
        totals = self.statistics(gold, predicted, task, language).sum(axis=0)
        return float(self.metrics(totals, task)[task.headline])

    def metric_features(self) -> tuple[Any, Any]:
        """Return the types of a prediction and of a gold answer, as features of `datasets`."""
        from datasets import Value

        return Value("string"), Value("string")

    ensemble_rule: ClassVar[str] = ""
    """What an ensemble predicts, as messages say it; empty if predictions of several models cannot become one."""

    def combined(self, members: Sequence[Predicted], task: TaskView) -> tuple[Any, tuple[float, ...]]:
        """Return the prediction of an ensemble for one example, and its scores, where the kind has a rule.

        Args:
            members: What each model predicts for the example.
            task: The task.

        Raises:
            ValueError: A member lacks the scores that the rule needs.
        """
        raise NotImplementedError

    has_entropy: ClassVar[bool] = False
    """Whether predictions are probabilities, whose entropy says how undecided the model is."""

    def entropy(self, logits: Sequence[np.ndarray], encoded: "Encoded", units: np.ndarray) -> np.ndarray:
        """Return the mean entropy of the predictions of each unit, in nats, shape (units,), where the kind has one.

        Args:
            logits: Of each unit; of tokens, with those of the batch's padding behind.
            encoded: What the units are from.
            units: Their numbers there.
        """
        raise NotImplementedError

    # Reports.

    def confusion(self, task: TaskView, seeds: Sequence[SeedPredictions]) -> Confusion | None:
        """Return how often each gold label was given each label, or None where answers are not labels."""
        return None

    def parts(self, task: TaskView, seeds: Sequence[SeedPredictions]) -> tuple[Subset, ...]:
        """Return the headline metric on parts of the examples."""
        return ()

    def wrongness(self, task: TaskView, seed: SeedPredictions) -> np.ndarray:
        """Return how wrong each prediction is, weighted by the model's confidence; 0 where it is right."""
        return np.array([float(row.gold != row.prediction) for row in seed.predictions])

    def describe_mistake(
        self, task: TaskView, gold: Any, predicted: Any, example: Mapping[str, Any] | None
    ) -> tuple[str, str, Texts]:
        """Return the gold answer, the prediction, and the example's texts, if it is available, as a report shows them.

        Args:
            task: The task.
            gold: The gold answer.
            predicted: The prediction.
            example: The row in this kind's columns, or None if the data is not available.
        """
        texts = tuple((str(task.columns[name]), example[name]) for name in self.input_columns(task) if example)
        return str(gold), str(predicted), texts

    # Looking at rows: `inspect` and `check`.

    def inspect_labels(
        self, encoded: "Encoded", feature: int, task: TaskView, row: Mapping[str, Any]
    ) -> tuple[Mapping[int, str], str | None]:
        """Return the targets of one sequence.

        Args:
            encoded: The encoding.
            feature: The number of the sequence in it.
            task: The task.
            row: The row that the sequence comes from.

        Returns:
            The target of each token that has one, by its position, and the target of the whole sequence, or None.
        """
        return {}, str(self.named_row(row, task)[self.gold_column])

    def named_row(self, row: Mapping[str, Any], task: TaskView) -> dict[str, Any]:
        """Return a row's columns without the id; where labels have names, names replace ids."""
        columns = {name: value for name, value in row.items() if name != "id"}
        if self.needs_labels:
            columns[self.gold_column] = task.labels[row[self.gold_column]]
        return columns

    def gold_and_texts(self, row: Mapping[str, Any], task: TaskView) -> tuple[Any, list[str]]:
        """Return a row's gold answer and the texts that the model reads."""
        return row[self.gold_column], [row[name] for name in self.input_columns(task)]

    def counted_labels(self, gold: Any, task: TaskView) -> list[str]:
        """Return the labels of a row that are counted to see whether one dominates."""
        return [task.labels[gold]]

    def expected_labels(self, task: TaskView) -> tuple[str, ...]:
        """Return the labels that data should have at least once."""
        return task.labels if self.needs_labels else ()

    # Prediction.

    def input_columns(self, task: TaskView) -> tuple[str, ...]:
        """Return the columns that the model reads, as far as the task has them."""
        hidden = ("id", self.gold_column)
        return tuple(name for name in (*self.required, *self.optional) if name in task.columns and name not in hidden)

    def takes_plain_text(self, task: TaskView) -> bool:
        """Return whether a line of plain text is a whole row."""
        return self.input_columns(task) == ("text",)

    def plain_text_row(self, line: str, row_id: Any, task: TaskView) -> InputRow:
        """Return the row of a line of plain text, where `takes_plain_text`.

        Raises:
            RowError: The line cannot be used.
        """
        return text_input(line, row_id)

    def json_row(self, raw: Mapping[str, Any], row_id: Any, task: TaskView, connectives: Mapping[str, str]) -> InputRow:
        """Return the row of a JSON object: columns are named as the kind does or as the task's data does.

        Args:
            raw: The object.
            row_id: Its id, or the number of its line.
            task: The task.
            connectives: What `question` may hold -> its wording in the language of the text.

        Raises:
            RowError: The object cannot be used.
        """
        return InputRow(row_id, joined_texts(raw, task.columns, self.input_columns(task)))

    def example_value(self, column: str) -> Any:
        """Return what a column may hold, for the example in a message."""
        return "..."

    def write_predictions(
        self,
        logits: Sequence[np.ndarray],
        encoded: "Encoded",
        rows: "Dataset",
        task: TaskView,
        inputs: Sequence[InputRow],
    ) -> Iterator[dict[str, Any]]:
        """Yield the JSON object that is written for each row."""
        decoded = self.decode(logits, encoded, rows, task)
        for row, (_, prediction, scores) in zip(inputs, decoded, strict=True):
            yield {"id": row.id, **self.written_prediction(row, prediction, scores, task)}

    def written_prediction(
        self, row: InputRow, prediction: Any, scores: Sequence[float], task: TaskView
    ) -> dict[str, Any]:
        """Return a decoded prediction as `write_predictions` writes it, without the row's id."""
        return {"prediction": prediction, "scores": list(scores)}

    # Exported models.

    @abstractmethod
    def usage(self, task: TaskView) -> Usage:
        """Return how an exported model is called."""

    def unreachable_answers(self, encoded: "Encoded", rows: int) -> tuple[str, ...]:
        """Return a sentence for each reason why the model cannot predict some of the gold answers."""
        return tuple(
            f"{count:,} of {rows:,} rows {reason}"
            for key, reason in self.unreachable.items()
            if (count := encoded.counts.get(key))
        )
