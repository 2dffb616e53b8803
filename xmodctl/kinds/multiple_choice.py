"""Multiple choice: one correct answer among two or more."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xmodctl.core.messages import quoted
from xmodctl.core.mistakes import RowError
from xmodctl.kinds.breakdown import Confusion, SeedPredictions, Subset, Texts, all_predictions, count_confusion
from xmodctl.kinds.ensembling import MEAN_PROBABILITY, mean_scores
from xmodctl.kinds.entropy import mean_entropies
from xmodctl.kinds.inputs import InputRow, joined_texts, name_in_row
from xmodctl.kinds.kind import Kind, Metric, TaskView, Usage
from xmodctl.kinds.labels import Labels
from xmodctl.kinds.rows import Raw, RowReader, SourceView, cell, read_text, read_texts, single_column
from xmodctl.kinds.scoring import Predicted
from xmodctl.kinds.texts import tokenized

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

    from xmodctl.core.encoded import Encoded


class MultipleChoice(Kind):
    """Choose an answer; scored by accuracy."""

    name = "multiple-choice"
    required = ("choices", "label")
    optional = ("context", "question", "id")
    ensemble_rule = MEAN_PROBABILITY
    has_entropy = True
    headlines: ClassVar = {"accuracy": Metric("Accuracy", "accuracy", is_share=True)}
    task_keys = frozenset({"connectives", "data_labels"})

    recipes: ClassVar = {"default": "mc", "mini": "mc-mini"}
    head = "choice"
    auto_class = "AutoModelForMultipleChoice"
    pipeline = "multiple-choice"

    parts_caption = "Accuracy by the position of the correct choice, in percent"

    def outputs(self, task: TaskView) -> tuple[str, ...]:
        """Return the head's one output: it scores one choice at a time."""
        return ("score",)

    def check_task(self, task: TaskView) -> None:
        """Refuse connectives without a question that they stand for."""
        if task.connectives and "question" not in task.columns:
            raise ValueError("`connectives` replace the `question`, which is not in `columns`")

    def row_reader(self, task: TaskView, source: SourceView) -> RowReader:
        """Read choices, the label, and the context and question that the task has."""
        return ChoiceReader(task, source)

    def encode(self, rows: "Dataset", tokenizer: Any, *, max_length: int, stride: int) -> "Encoded":
        """Turn each choice into a feature: the context, then the question and the choice.

        Without a context, the question takes its place; without either, the choice is alone. A pair that is too long
        loses tokens of its longer part; `counts` has the number of such rows.
        """
        from xmodctl.core.encoded import Encoded, Ragged

        context_columns = [column for column in ("context", "question") if column in rows.column_names]
        with_labels = "label" in rows.column_names
        pieces: list[np.ndarray] = []
        sizes: list[int] = []
        labels: list[int] = []
        cut: set[int] = set()
        for batch in rows.iter(batch_size=500):
            choices = batch["choices"]
            owners = [row for row, texts in enumerate(choices) for _ in texts]
            parts = [[batch[column][row] or "" for row in owners] for column in context_columns]
            parts.append([text for texts in choices for text in texts])
            if len(parts) == 3:
                parts = [parts[0], [f"{question} {text}" for question, text in zip(*parts[1:], strict=True)]]
            sequences, is_cut = tokenized(parts, tokenizer, max_length=max_length)
            pieces += sequences
            cut |= {len(sizes) + owners[number] for number in np.flatnonzero(is_cut).tolist()}
            sizes += [len(texts) for texts in choices]
            labels += batch["label"] if with_labels else []
        return Encoded(
            input_ids=Ragged.of(pieces),
            rows=np.repeat(np.arange(len(sizes), dtype=np.int64), sizes),
            scalars={"labels": np.repeat(np.asarray(labels, dtype=np.int64), sizes)} if with_labels else {},
            counts={"truncated": len(cut)},
            choices=True,
        )

    def decode(
        self, logits: Sequence[np.ndarray], encoded: "Encoded", rows: "Dataset", task: TaskView
    ) -> list[tuple[int | None, int, tuple[float, ...]]]:
        """Return (correct choice, predicted choice, probability of each) for each row; choices count from 0."""
        gold = rows["label"] if "label" in rows.column_names else [None] * len(rows)
        decoded = []
        for label, scores in zip(gold, logits, strict=True):
            values = np.exp(scores.astype(np.float64) - scores.max())
            shares = tuple((values / values.sum()).round(6).tolist())
            decoded.append((label, int(scores.argmax()), shares))
        return decoded

    def entropy(self, logits: Sequence[np.ndarray], encoded: "Encoded", units: np.ndarray) -> np.ndarray:
        """Return the entropy over the choices of each row."""
        return mean_entropies(logits)

    def combined(self, members: Sequence[Predicted], task: TaskView) -> tuple[int, tuple[float, ...]]:
        """Return the choice with the highest mean probability, and the means."""
        mean = mean_scores(members, len(members[0].scores))
        return int(mean.argmax()), tuple(mean.tolist())

    def statistics(self, gold: Sequence[Any], predicted: Sequence[Any], task: TaskView, language: str) -> np.ndarray:
        """Return for each row whether the choice is correct, and 1."""
        right = np.asarray(gold, dtype=np.int64) == np.asarray(predicted, dtype=np.int64)
        return np.stack([right, np.ones_like(right)], axis=1).astype(np.int64)

    def metrics(self, totals: np.ndarray, task: TaskView) -> Mapping[str, np.ndarray]:
        """Return accuracy."""
        right, rows = np.moveaxis(totals.astype(np.float64), -1, 0)
        return {"accuracy": 100 * right / rows}

    def baseline(self, gold: Sequence[Any], rows: "Dataset", task: TaskView, language: str) -> float:
        """Return the score of always choosing the position that is correct most often."""
        common = max(set(gold), key=list(gold).count)
        return self.headline_of(gold, [common] * len(gold), task, language)

    def metric_features(self) -> tuple[Any, Any]:
        """Return whole numbers: which choice, from 0."""
        from datasets import Value

        return Value("int64"), Value("int64")

    def confusion(self, task: TaskView, seeds: Sequence[SeedPredictions]) -> Confusion:
        """Count positions against positions, which shows whether a model prefers one."""
        most = max((len(row.scores) for row in all_predictions(seeds)), default=0)
        pairs = ((_choice(row.gold), _choice(row.prediction)) for row in all_predictions(seeds))
        return count_confusion(pairs, [_choice(number) for number in range(most)])

    def parts(self, task: TaskView, seeds: Sequence[SeedPredictions]) -> tuple[Subset, ...]:
        """Return the accuracy for each position of the correct choice."""
        return self.confusion(task, seeds).recalls(len(seeds))

    def wrongness(self, task: TaskView, seed: SeedPredictions) -> np.ndarray:
        """Return the probability that the correct choice did not get."""
        return np.array([0.0 if row.gold == row.prediction else 1 - row.scores[row.gold] for row in seed.predictions])

    def describe_mistake(
        self, task: TaskView, gold: Any, predicted: Any, example: Mapping[str, Any] | None
    ) -> tuple[str, str, Texts]:
        """Show context, question, and choices."""
        if not example:
            return _choice(gold), _choice(predicted), ()
        context_texts = [(column, example[column]) for column in ("context", "question") if example.get(column)]
        choices = [(_choice(number), text) for number, text in enumerate(example["choices"])]
        return _choice(gold), _choice(predicted), (*context_texts, *choices)

    def inspect_labels(
        self, encoded: "Encoded", feature: int, task: TaskView, row: Mapping[str, Any]
    ) -> tuple[Mapping[int, str], str | None]:
        """Return whether the sequence holds the correct choice."""
        position = feature - np.searchsorted(encoded.rows, encoded.rows[feature])
        return {}, "right" if position == encoded.scalars["labels"][feature] else "wrong"

    def gold_and_texts(self, row: Mapping[str, Any], task: TaskView) -> tuple[Any, list[str]]:
        """Return the label; context, question, and choices."""
        return row["label"], [*(row[name] for name in ("context", "question") if name in row), *row["choices"]]

    def counted_labels(self, gold: Any, task: TaskView) -> list[str]:
        """Return the position of the correct choice."""
        return [f"choice {gold}"]

    def json_row(self, raw: Mapping[str, Any], row_id: Any, task: TaskView, connectives: Mapping[str, str]) -> InputRow:
        """Return context, question, and choices, which may be a list or columns of their own."""
        row: dict[str, Any] = joined_texts(raw, task.columns, ("context", "question"))
        if connectives:
            row["question"] = _wording(row["question"], "question", connectives)
        names = task.columns["choices"]
        if "choices" not in raw and not isinstance(names, str):
            row["choices"] = [read_text(raw, name) for name in names]
        else:
            name = name_in_row(raw, "choices", task.columns)
            row["choices"] = read_texts(_texts_and_names(raw, name)[0], name)
        _check_choices(row["choices"])
        return InputRow(row_id, row)

    def example_value(self, column: str) -> Any:
        """Return choices as a list."""
        return ["one", "another"] if column == "choices" else "..."

    def written_prediction(
        self, row: InputRow, prediction: Any, scores: Sequence[float], task: TaskView
    ) -> dict[str, Any]:
        """Return the position and the text of the predicted choice, and the probability of each choice."""
        return {"prediction": prediction, "text": row.row["choices"][prediction], "scores": list(scores)}

    def usage(self, task: TaskView) -> Usage:
        """Return a call with two choices: the model reads (examples, choices, tokens)."""
        context, question = ("context" in task.columns, "question" in task.columns)
        prefix = "because " if task.connectives else "A question? " if question and context else ""
        choices = f'["{prefix}One.", "{prefix}Two."]'
        first = '["A context."] * 2, ' if context else '["A question?"] * 2, ' if question else ""
        return Usage(
            inputs=f'tokenizer({first}{choices}, padding=True, return_tensors="pt")\n'
            "inputs = {key: value[None] for key, value in inputs.items()}",
            output="print(int(outputs.logits.argmax()))  # the number of the choice; the first is 0",
            note="Each choice begins with the connective that expresses the question in the language of the text."
            if task.connectives
            else "",
        )


class ChoiceReader(RowReader):
    """Rows of `choices` (two or more, as many as the row has) and `label`, possibly with `context` and `question`.

    A context or question in several columns is their texts joined by a space. Where the task has `connectives`, the
    question (`cause`, `effect`) is replaced with its wording in the language of the source.
    """

    def __init__(self, task: TaskView, source: SourceView) -> None:
        """Find the columns and the connectives.

        Raises:
            UserError: The task has connectives, but none in this language.
        """
        self._texts = {
            column: [names] if isinstance(names, str) else names
            for column in ("context", "question")
            if (names := source.columns.get(column))
        }
        self._choices = source.columns["choices"]
        self._label = single_column(source, "label")
        self._labels = Labels(source.labels or task.labels, by_position=True)
        copy = f"copy the task (`xmodctl tasks copy {task.name} mine.yaml`)"
        self._connectives = task.connectives_in(
            source.language, remedy=f"{copy} and add `{source.language}` to its `connectives`"
        )
        self._allow_empty = source.published

    def schema(self) -> "pa.Schema":
        """Choices as a list, the label as the position of the correct one."""
        import pyarrow as pa

        return pa.schema(
            [(column, pa.string()) for column in self._texts]
            + [("choices", pa.list_(pa.string())), ("label", pa.int64())]
        )

    def row(self, raw: Raw) -> dict[str, Any]:
        """Check and collect the choices."""
        row: dict[str, Any] = {}
        for column, names in self._texts.items():
            row[column] = " ".join(read_text(raw, name, allow_empty=self._allow_empty) for name in names)
        if self._connectives:
            row["question"] = _wording(row["question"], self._texts["question"][0], self._connectives)
        labels = self._labels
        if isinstance(self._choices, str):
            raw, names_of_choices = _texts_and_names(raw, self._choices)
            labels = Labels(names_of_choices, by_position=True) if names_of_choices else labels
            choices = read_texts(raw, self._choices, allow_empty=self._allow_empty)
        else:
            choices = [read_text(raw, name, allow_empty=self._allow_empty) for name in self._choices]
        _check_choices(choices)
        names = [] if isinstance(self._choices, str) else self._choices
        label = _position(cell(raw, self._label), choices, labels, self._label, names)
        if label >= len(choices):
            first = labels.names[0] if labels.names else 0
            raise RowError(
                f"`{self._label}` is {quoted(raw[self._label])}, "
                f"but the row has {len(choices)} choices (the first is {first}{self._from_one(label, len(choices))})"
            )
        return row | {"choices": choices, "label": label}

    def _from_one(self, label: int, count: int) -> str:
        """Return how choices are counted from 1, where that may be meant."""
        numbers = ", ".join(map(str, range(1, count + 1)))
        return (
            f"; if choices count from 1: --set labels='[{numbers}]'"
            if label == count and not self._labels.names
            else ""
        )

    def answers(self, row: Mapping[str, Any]) -> Iterable[Hashable]:
        """Return the position of the correct choice."""
        return (row["label"],)

    def is_certainly_hidden(self, answer: Hashable) -> bool:
        """A small set may have one position."""
        return False


def _texts_and_names(raw: Raw, column: str) -> tuple[Raw, list[str]]:
    """Return a row whose choices are a list of texts, and their names, which ARC has beside them (its letters)."""
    match cell(raw, column):
        case {"text": list(texts), "label": list(names)}:
            return {**raw, column: texts}, [str(name) for name in names]
    return raw, []


def _position(value: Any, choices: Sequence[str], labels: Labels, column: str, names: Sequence[str]) -> int:
    """Return the position of the correct choice, by its number or name.

    Without names of labels, also by its text, its letter, or the name of its column.

    Raises:
        RowError: It is no choice, or may be two.
    """
    text = value.strip() if isinstance(value, str) and not labels.names else ""
    places = [position for position, choice in enumerate(choices) if text and choice.strip() == text]
    if len(places) == 1 and (not text.isdecimal() or int(text) >= len(choices)):
        return places[0]
    if len(places) == 1 and int(text) != places[0]:
        numbers = ", ".join(map(str, range(len(choices))))
        problem = "is the text of one choice and the number of another, counted from 0"
        remedy = f"write the letter, or, if numbers are meant, give --set labels='[{numbers}]'"
        raise RowError(f"`{column}` {quoted(value)} {problem}; {remedy}", f"`{column}` {problem}; {remedy}")
    if len(text) == 1 and "a" <= text.casefold() < chr(ord("a") + len(choices)):
        return ord(text.casefold()) - ord("a")
    if text in names:
        return names.index(text)
    return labels.id_of(value, column)


def _wording(question: str, column: str, connectives: Mapping[str, str]) -> str:
    """Return the wording of a question; `column` is what messages call it."""
    key = question.strip().casefold()
    if key not in connectives:
        raise RowError(f"`{column}` is {quoted(question)}; expected {' or '.join(connectives)}")
    return connectives[key]


def _check_choices(choices: Sequence[str]) -> None:
    if len(choices) < 2:
        raise RowError(f"the row has {len(choices)} choices; it needs two or more")


def _choice(number: int) -> str:
    return f"choice {number + 1}"
