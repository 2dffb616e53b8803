"""Pairs of texts whose vectors are compared: read, encoded, and divided into both sides again. Nothing is trained."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from xmodctl.kinds.kind import Kind, TaskView, Usage
from xmodctl.kinds.rows import Raw, RowReader, SourceView, read_text, single_column
from xmodctl.kinds.texts import tokenized

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

    from xmodctl.core.encoded import Encoded

SIDES = ("text", "text_pair")
SIDE = "side"
"""The name of the scalar that says of a sequence which of `SIDES` it is."""

ROWS_AT_A_TIME = 1024


class PairedTexts(RowReader):
    """Rows of two texts without a label: the second one is the gold answer of the first."""

    gold_name = "text_pair"

    def __init__(self, source: SourceView) -> None:
        """Read both texts."""
        self.texts = {side: single_column(source, side) for side in SIDES}
        self._allow_empty = source.published
        self._seen: dict[str, set[str]] = {side: set() for side in SIDES}
        self._repeated = dict.fromkeys(SIDES, 0)

    def schema(self) -> "pa.Schema":
        """Both are strings."""
        import pyarrow as pa

        return pa.schema([(side, pa.string()) for side in SIDES])

    def row(self, raw: Raw) -> dict[str, Any]:
        """Check and rename."""
        row = {side: read_text(raw, name, allow_empty=self._allow_empty) for side, name in self.texts.items()}
        for side, text in row.items():
            self._repeated[side] += text in self._seen[side]
            self._seen[side].add(text)
        return row

    def notes(self) -> tuple[str, ...]:
        """Say how many texts are not unique: of equal ones, only the first is ever the nearest."""
        return tuple(
            f"{count:,} rows repeat an earlier `{self.texts[side]}`; of equal texts, only the first can be found"
            for side, count in self._repeated.items()
            if count
        )

    def answers(self, row: Mapping[str, Any]) -> Iterable[Hashable]:
        """Return the second text."""
        return (row["text_pair"],)


class SentencePairs(Kind):
    """A kind that compares the sentence embeddings of two texts."""

    required: ClassVar[tuple[str, ...]] = ("text", "text_pair")
    trains = False
    balanced = False

    head = "none"
    auto_class = "AutoModel"
    pipeline = "sentence-similarity"
    problem_type: ClassVar[str | None] = None
    targets_are_numbers = False

    def outputs(self, task: TaskView) -> tuple[str, ...]:
        """Return none: the model has no head."""
        return ()

    def encode(self, rows: "Dataset", tokenizer: Any, *, max_length: int, stride: int) -> "Encoded":
        """Turn each text into a sequence of its own: that of `text` stands before that of `text_pair`."""
        from xmodctl.core.encoded import Encoded, Ragged

        pieces: list[np.ndarray] = []
        truncated = 0
        for batch in rows.select_columns(list(SIDES)).iter(batch_size=1000):
            texts = [batch[side][number] for number in range(len(batch["text"])) for side in SIDES]
            sequences, is_cut = tokenized([texts], tokenizer, max_length=max_length)
            pieces += sequences
            truncated += int(is_cut.reshape(-1, 2).any(axis=1).sum())
        count = len(rows)
        return Encoded(
            input_ids=Ragged.of(pieces),
            rows=np.repeat(np.arange(count, dtype=np.int64), 2),
            scalars={SIDE: np.tile(np.arange(2, dtype=np.int64), count)},
            counts={"truncated": truncated},
        )

    def inspect_labels(
        self, encoded: "Encoded", feature: int, task: TaskView, row: Mapping[str, Any]
    ) -> tuple[Mapping[int, str], str | None]:
        """Return which side a sequence is."""
        return {}, SIDES[int(encoded.scalars[SIDE][feature])]

    def gold_and_texts(self, row: Mapping[str, Any], task: TaskView) -> tuple[Any, list[str]]:
        """Return the second text as the gold answer."""
        return row["text_pair"], [row[side] for side in SIDES]

    def counted_labels(self, gold: Any, task: TaskView) -> list[str]:
        """Return none: there are no labels."""
        return []

    def usage(self, task: TaskView) -> Usage:
        """Return a call with two texts."""
        return Usage(
            inputs='tokenizer(["A text.", "Another text."], padding=True, return_tensors="pt")',
            output='mask = inputs["attention_mask"].unsqueeze(-1)\n'
            "vectors = (outputs.last_hidden_state * mask).sum(1) / mask.sum(1)\n"
            "print(torch.nn.functional.cosine_similarity(vectors[:1], vectors[1:]))",
        )


def sides_of(vectors: Sequence[np.ndarray], encoded: "Encoded") -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the vectors of `text` and of `text_pair`, each (rows, dimensions) and of length 1.

    Args:
        vectors: Of each sequence.
        encoded: The sequences.
    """
    matrix = np.stack(vectors).astype(np.float64)
    matrix /= np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)
    first, second = (matrix[encoded.scalars[SIDE] == side] for side in range(2))
    return first, second


def nearest_rows(
    queries: NDArray[np.float64], candidates: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the nearest candidate of each query by cosine, and the cosine; of equally near ones, the first.

    Args:
        queries: Vectors of length 1, shape (queries, dimensions).
        candidates: Vectors of length 1, shape (candidates, dimensions).
    """
    nearest = np.empty(len(queries), dtype=np.int64)
    cosines = np.empty(len(queries))
    for start in range(0, len(queries), ROWS_AT_A_TIME):
        part = slice(start, start + ROWS_AT_A_TIME)
        table = queries[part] @ candidates.T
        nearest[part], cosines[part] = table.argmax(axis=1), table.max(axis=1)
    return nearest, cosines
