"""Texts labeled as a whole: how they are encoded, and how the logits of each label are decoded."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from xmodctl.kinds.kind import TaskView, Usage

if TYPE_CHECKING:
    from datasets import Dataset

    from xmodctl.core.encoded import Encoded

TEXTS = "text-regression"
"""A kind whose input is a text without a label, for rows that are only read."""


def text_columns(rows: "Dataset") -> list[str]:
    """Return the columns of a text and of the text that it is paired with, as far as rows have them."""
    return [name for name in ("text", "text_pair") if name in rows.column_names]


def text_usage(task: TaskView, output: str, *, pipeline: str, settings: str = "") -> Usage:
    """Return how an exported model is called with one text, or with a pair.

    Args:
        task: Says which.
        output: The statement that prints the prediction from `outputs`.
        pipeline: The statement that prints the prediction from `result`, what a pipeline says of one text.
        settings: Arguments of the pipeline.
    """
    is_pair = "text_pair" in task.columns
    texts = '"A text.", "Another text."' if is_pair else '"A text."'
    argument = '{"text": "A text.", "text_pair": "Another text."}' if is_pair else texts
    call = f"(result,) = predict([{argument}])\n{pipeline}"
    return Usage(f'tokenizer({texts}, return_tensors="pt")', output, pipeline=call, settings=settings)


def encode_texts(
    rows: "Dataset", columns: Sequence[str], tokenizer: Any, *, max_length: int, target: DTypeLike = np.int64
) -> "Encoded":
    """Turn one or two texts of each row into one sequence, and `label`, if there is one, into its target.

    A pair that is too long loses tokens of its longer text first; `counts["truncated"]` is the number of such rows.
    """
    from xmodctl.core.encoded import Encoded, Ragged

    pieces: list[np.ndarray] = []
    truncated = 0
    for batch in rows.select_columns(list(columns)).iter(batch_size=1000):
        sequences, is_cut = tokenized([batch[column] for column in columns], tokenizer, max_length=max_length)
        pieces += sequences
        truncated += int(is_cut.sum())
    return Encoded(
        input_ids=Ragged.of(pieces),
        rows=np.arange(len(rows), dtype=np.int64),
        scalars={"labels": np.asarray(rows["label"], dtype=target)} if "label" in rows.column_names else {},
        ragged={},
        counts={"truncated": truncated},
    )


def tokenized(
    texts: Sequence[Sequence[str]], tokenizer: Any, *, max_length: int
) -> tuple[list[NDArray[np.int32]], NDArray[np.bool_]]:
    """Return the ids of sequences, and which of them are cut.

    Args:
        texts: The texts of all sequences, and if they are pairs, the second texts.
        tokenizer: The model's.
        max_length: The most tokens of a sequence.
    """
    whole = tokenizer(*texts, add_special_tokens=True, truncation=False, return_attention_mask=False)
    cut = tokenizer(*texts, truncation=True, max_length=max_length, return_attention_mask=False)
    sequences = [np.asarray(ids, dtype=np.int32) for ids in cut["input_ids"]]
    return sequences, np.array([len(ids) > max_length for ids in whole["input_ids"]])


def decode_labels(
    logits: Sequence[np.ndarray], rows: "Dataset", labels: Sequence[str]
) -> list[tuple[str | None, str, tuple[float, ...]]]:
    """Return (gold label, predicted label, probabilities in the order of the labels) for each row.

    Args:
        logits: Of each row, shape (labels,).
        rows: The rows; without `label`, gold labels are None.
        labels: The names of the labels in the order of their ids.
    """
    table = np.stack(logits).astype(np.float64)
    table = np.exp(table - table.max(axis=1, keepdims=True))
    probabilities = table / table.sum(axis=1, keepdims=True)
    gold = [labels[label] for label in rows["label"]] if "label" in rows.column_names else [None] * len(rows)
    return [
        (label, labels[int(row.argmax())], tuple(round(float(share), 6) for share in row))
        for label, row in zip(gold, probabilities, strict=True)
    ]
