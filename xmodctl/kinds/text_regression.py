"""Text regression: a number for a text or a pair of texts, such as their similarity."""

import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xmodctl.core.messages import ReadingNote, quoted
from xmodctl.core.mistakes import RowError
from xmodctl.kinds.breakdown import SeedPredictions, Texts
from xmodctl.kinds.correlation import correlation_of_sums, ranked_correlations, ranks, standardized
from xmodctl.kinds.inputs import InputRow
from xmodctl.kinds.kind import Kind, Metric, TaskView, Usage
from xmodctl.kinds.labels import Labels
from xmodctl.kinds.rows import LabeledTexts, Raw, RowReader, SourceView, cell
from xmodctl.kinds.scoring import Predicted
from xmodctl.kinds.texts import encode_texts, text_columns, text_usage

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

    from xmodctl.core.encoded import Encoded

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
"""What may be a number with a decimal comma, or thousands: `1,500`."""


class NumberedTexts(LabeledTexts):
    """Rows of texts and a `label`, which is a finite number."""

    gold_name = "number"

    def __init__(self, columns: Sequence[str], source: SourceView) -> None:
        """Read the `columns` that the source has, and `label`."""
        super().__init__(columns, Labels(()), source)
        self._has_commas = False

    def schema(self) -> "pa.Schema":
        """Texts as strings, labels as numbers."""
        import pyarrow as pa

        return pa.schema([(column, pa.string()) for column in self.texts] + [("label", pa.float64())])

    def gold(self, raw: Raw) -> float:
        """Return the number; a decimal comma is one, too."""
        value = cell(raw, self.label)
        self._has_commas = self._has_commas or (isinstance(value, str) and "," in value)
        return number_of(value, self.label)

    def notes(self) -> tuple[str, ...]:
        """Say that decimal commas were read."""
        note = ReadingNote(f"numbers in `{self.label}` have decimal commas (1,5 is 1.5)")
        return (note,) if self._has_commas else ()

    def is_certainly_hidden(self, answer: object) -> bool:
        """A correlation with numbers that are all the same is undefined."""
        return True


def number_of(value: Any, column: str) -> float:
    """Return the number that a cell holds, as a number or as text.

    Raises:
        RowError: It is none, or is not finite.
    """
    if isinstance(value, str):
        text = value.strip()
        if not text:
            raise RowError(f"`{column}` is empty; fill it in or remove the row")
        if _THOUSANDS.fullmatch(text):
            point, whole = text.replace(",", "."), text.replace(",", "")
            raise RowError(
                f"`{column}` is {quoted(value)}, which may be {point} or {whole}; write one of them",
                f"`{column}` has a comma before three digits, which may be decimals or thousands; write a decimal "
                "point, or no comma",
            )
        text = text.replace(",", ".") if _DECIMAL_COMMA.fullmatch(text) else text
        number = float(text) if _NUMBER.fullmatch(text) else math.nan
    else:
        is_number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
        number = float(value) if is_number else math.nan
    if not math.isfinite(number):
        if isinstance(value, str) and (unit := next((mark for mark in "%/" if mark in value), "")):
            rule = f"write a number alone, without {unit}"
            raise RowError(f"`{column}` is {quoted(value)}; {rule}", f"`{column}` has numbers with {unit}; {rule}")
        raise RowError(
            f"`{column}` is {quoted(value)}; expected a finite number, or remove the row",
            f"`{column}` is not a finite number; correct or remove the rows",
        )
    return number


class TextRegression(Kind):
    """Predict a number for a text or a pair of texts; scored by its correlation with the gold number."""

    name = "text-regression"
    required: ClassVar[tuple[str, ...]] = ("text", "label")
    optional: ClassVar[tuple[str, ...]] = ("text_pair", "id")
    headlines: ClassVar = {
        "pearson": Metric("Pearson correlation", "pearsonr", is_correlation=True),
        "spearman": Metric("Spearman correlation", "spearmanr", is_correlation=True, adds_up=False),
    }
    balanced = False
    untrained: ClassVar[str] = "sentence-similarity"
    recipes: ClassVar = {"default": "regression", "mini": "regression-mini"}

    head = "sequence"
    auto_class = "AutoModelForSequenceClassification"
    problem_type: ClassVar[str | None] = "regression"
    targets_are_numbers = True
    ensemble_rule = "the mean of the numbers"
    pipeline = "text-classification"

    def outputs(self, task: TaskView) -> tuple[str, ...]:
        """Return the name of the only output."""
        return ("number",)

    def check_task(self, task: TaskView) -> None:
        """Refuse labels."""
        if task.labels:
            raise ValueError(f"{self.name} predicts numbers and has no `labels`; remove them, or choose another `kind`")

    def limits(self, task: TaskView) -> tuple[str, ...]:
        """Return what the numbers are."""
        return ("Predictions are numbers on the scale of the training data, and may be outside its range",)

    def row_reader(self, task: TaskView, source: SourceView) -> RowReader:
        """Read texts and numbers."""
        return NumberedTexts(self.input_columns(task), source)

    def encode(self, rows: "Dataset", tokenizer: Any, *, max_length: int, stride: int) -> "Encoded":
        """Turn a text or a pair of texts into one sequence; its target is the number."""
        return encode_texts(rows, text_columns(rows), tokenizer, max_length=max_length, target=np.float32)

    def decode(
        self, logits: Sequence[np.ndarray], encoded: "Encoded", rows: "Dataset", task: TaskView
    ) -> list[tuple[float | None, float, tuple[float, ...]]]:
        """Return (gold number, predicted number, nothing) for each row."""
        gold = rows["label"] if "label" in rows.column_names else [None] * len(rows)
        numbers = np.stack(logits).astype(np.float64).reshape(len(rows))
        return [(label, round(float(number), 6), ()) for label, number in zip(gold, numbers, strict=True)]

    def combined(self, members: Sequence[Predicted], task: TaskView) -> tuple[float, tuple[float, ...]]:
        """Return the mean of the numbers."""
        return round(float(np.mean([member.prediction for member in members])), 9), ()

    def statistics(self, gold: Sequence[Any], predicted: Sequence[Any], task: TaskView, language: str) -> np.ndarray:
        """Return for each row 1 and what two correlations are made of.

        These are gold and predicted number, their squares, and their product, once of the numbers and once of their
        ranks, each standardized over the rows. The rows of numbers that are all the same have 0.
        """
        pairs = np.array([gold, predicted], dtype=np.float64).reshape(2, -1)
        columns = [np.ones(pairs.shape[1])]
        for first, second in (map(standardized, pairs), (standardized(ranks(side)) for side in pairs)):
            columns += [first, second, first * first, second * second, first * second]
        return np.stack(columns, axis=1)

    def metrics(self, totals: np.ndarray, task: TaskView) -> Mapping[str, np.ndarray]:
        """Return both correlations times 100.

        The correlation with numbers that are all the same is undefined and counts as 0.
        """
        rows = totals[..., 0]
        return {
            "pearson": 100 * correlation_of_sums(rows, totals[..., 1:6]),
            "spearman": 100 * correlation_of_sums(rows, totals[..., 6:11]),
        }

    def resampled(self, times: np.ndarray, statistics: np.ndarray, task: TaskView) -> np.ndarray:
        """Rank each resample again for the Spearman correlation."""
        if task.headline != "spearman":
            return super().resampled(times, statistics, task)
        return 100 * ranked_correlations(times, statistics[:, 6], statistics[:, 7])

    def score_notes(self, statistics: np.ndarray, task: TaskView) -> tuple[str, ...]:
        """Say where correlations are undefined."""
        totals = statistics.sum(axis=0)
        sides = [name for name, squares in (("gold", totals[3]), ("predicted", totals[4])) if not squares]
        return tuple(f"all {side} numbers are the same, so correlations are undefined and count as 0" for side in sides)

    def baseline(self, gold: Sequence[Any], rows: "Dataset", task: TaskView, language: str) -> float:
        """Return 0: the mean number, as any number that is always the same, has no correlation."""
        return 0.0

    def metric_features(self) -> tuple[Any, Any]:
        """Return numbers."""
        from datasets import Value

        return Value("float64"), Value("float64")

    def wrongness(self, task: TaskView, seed: SeedPredictions) -> np.ndarray:
        """Return the absolute error."""
        return np.array([abs(row.gold - row.prediction) for row in seed.predictions])

    def describe_mistake(
        self, task: TaskView, gold: Any, predicted: Any, example: Mapping[str, Any] | None
    ) -> tuple[str, str, Texts]:
        """Return the numbers with three digits."""
        _, _, texts = super().describe_mistake(task, gold, predicted, example)
        return f"{gold:.3g}", f"{predicted:.3g}", texts

    def gold_names(self, value: Any) -> list[str]:
        """Return none: numbers are not labels."""
        return []

    def counted_labels(self, gold: Any, task: TaskView) -> list[str]:
        """Return none: numbers are not labels."""
        return []

    def written_prediction(
        self, row: InputRow, prediction: Any, scores: Sequence[float], task: TaskView
    ) -> dict[str, Any]:
        """Return the predicted number."""
        return {"prediction": prediction}

    def usage(self, task: TaskView) -> Usage:
        """Return a call with one text, or with a pair."""
        return text_usage(task, "print(float(outputs.logits[0, 0]))", pipeline='print(result["score"])')
