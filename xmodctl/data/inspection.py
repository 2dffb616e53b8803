"""How rows reach the model: as the data has them, as tokens, and what is to be predicted of these."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from xmodctl.catalog.recipe import Recipe
from xmodctl.catalog.task import Task
from xmodctl.core.encoded import Encoded
from xmodctl.data import Rows
from xmodctl.kinds import KINDS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Sequence:
    """One sequence the model reads."""

    tokens: tuple[str, ...]  # special ones included
    labels: tuple[str | None, ...]  # of each token, None where none is to be predicted of it
    label: str | None = None  # of the whole sequence, where the kind predicts one


@dataclass(frozen=True)
class Inspected:
    """One row, and the sequences it becomes: windows of a long text, choices, else one."""

    id: str
    row: Mapping[str, Any]  # the kind's columns; labels by name
    sequences: tuple[Sequence, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)


def inspect(rows: Rows, task: Task, tokenizer: "PreTrainedTokenizerBase", recipe: Recipe) -> Iterator[Inspected]:
    """Yield each row with what the kind's own encoding makes of it."""
    kind = KINDS[task.kind]
    encoded = kind.encode(rows.table, tokenizer, max_length=recipe.max_length, stride=recipe.overlap)
    for number, row in enumerate(rows.table):
        first, last = encoded.rows.searchsorted([number, number + 1])
        sequences = tuple(_sequence(encoded, feature, feature - first, task, tokenizer, row)
                          for feature in range(first, last))  # fmt: skip
        yield Inspected(row["id"], _named(row, task), sequences)


def _sequence(
    encoded: Encoded,
    feature: int,
    position: int,
    task: Task,
    tokenizer: "PreTrainedTokenizerBase",
    row: Mapping[str, Any],
) -> Sequence:
    tokens = tuple(tokenizer.convert_ids_to_tokens(encoded.input_ids[feature].tolist()))
    nothing: list[str | None] = [None] * len(tokens)
    match task.kind:
        case "token-classification":
            labels = encoded.ragged["labels"][feature]
            return Sequence(tokens, tuple(task.labels[one] if one >= 0 else None for one in labels))
        case "question-answering":
            start, end = (int(encoded.scalars[f"{name}_positions"][feature]) for name in ("start", "end"))
            for token in range(start, end + 1):
                nothing[token] = "answer" if start else "no answer here"
            return Sequence(tokens, tuple(nothing), _said(encoded, feature, start, end, row) if start else None)
        case "multiple-choice":
            right = position == encoded.scalars["labels"][feature]
            return Sequence(tokens, tuple(nothing), "right" if right else "wrong")
        case _:
            return Sequence(tokens, tuple(nothing), task.labels[encoded.scalars["labels"][feature]])


def _said(encoded: Encoded, feature: int, start: int, end: int, row: Mapping[str, Any]) -> str:
    """Return what the labelled tokens say, and how it differs from the answer where that begins or ends inside one."""
    begins, ends = int(encoded.places["start"][feature][start]), int(encoded.places["end"][feature][end])
    said, answer = row["context"][begins:ends], row["answers"]["text"][0].strip()
    return said if said == answer else f"{said} (the answer, {answer}, begins or ends inside a token)"


def _named(row: Mapping[str, Any], task: Task) -> dict[str, Any]:
    """Return a row's columns with labels by their names, where they have some."""
    columns = {name: value for name, value in row.items() if name != "id"}
    if task.kind == "sequence-classification":
        columns["label"] = task.labels[columns["label"]]
    if task.kind == "token-classification":
        columns["tags"] = [task.labels[tag] for tag in columns["tags"]]
    return columns
