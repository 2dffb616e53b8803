"""Texts labeled as a whole: how they are encoded, and how the logits of each label are decoded."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from xmodctl.kinds.kind import TaskView, Usage
from xmodctl.kinds.windows import Frame

if TYPE_CHECKING:
    from datasets import Dataset

    from xmodctl.core.encoded import Encoded

TEXTS = "text-regression"
"""A kind whose input is a text without a label, for rows that are only read."""
CHARACTERS = 2**20
"""Characters that are tokenized at a time, and the rest of the last text."""


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

    The tokenizers library would cut the same tokens, and make a sequence of each part that it cuts off, for pairs of
    each combination of such parts: hundreds of megabytes for a few long texts.

    Args:
        texts: The texts of all sequences, and if they are pairs, the second texts.
        tokenizer: The model's.
        max_length: The most tokens of a sequence.
    """
    frame = Frame.of(tokenizer, texts=len(texts))
    gaps = [np.asarray(gap, dtype=np.int32) for gap in frame.gaps]
    room = max_length - frame.size
    sequences, is_cut = [], []
    for parts in zip(*(_ids(column, tokenizer) for column in texts), strict=True):
        lengths = [len(part) for part in parts]
        kept = kept_tokens(lengths, room)
        own = [gaps[0]]
        for part, count, gap in zip(parts, kept, gaps[1:], strict=True):
            own += [part[:count] if tokenizer.truncation_side == "right" else part[len(part) - count :], gap]
        sequences.append(np.concatenate(own))
        is_cut.append(sum(lengths) > room)
    return sequences, np.asarray(is_cut, dtype=np.bool_)


def kept_tokens(lengths: Sequence[int], room: int) -> list[int]:
    """Return how many tokens of a text or of each text of a pair are kept, as `longest_first` of tokenizers keeps them.

    Args:
        lengths: The tokens of each text.
        room: The tokens that fit.
    """
    if sum(lengths) <= room or len(lengths) == 1:
        return [min(length, room) for length in lengths]
    shorter = int(np.argmin(lengths))
    fewest = min(lengths[shorter], room // 2)
    kept = [room - fewest, room - fewest]
    kept[shorter] = fewest
    return kept


def _ids(texts: Sequence[str], tokenizer: Any) -> Iterator[NDArray[np.int32]]:
    """Yield the ids of each text without special tokens; a few texts are in memory with all that tokenizers knows."""
    begin = characters = 0
    for end, text in enumerate(texts, start=1):
        characters += len(text)
        if characters >= CHARACTERS or end == len(texts):
            encoded = tokenizer(list(texts[begin:end]), add_special_tokens=False, verbose=False)
            yield from (np.asarray(ids, dtype=np.int32) for ids in encoded["input_ids"])
            begin, characters = end, 0


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
