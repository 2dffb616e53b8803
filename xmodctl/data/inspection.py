"""How rows reach the model: as in the data, as tokens, and with their targets."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from xmodctl.catalog.recipe import Recipe
from xmodctl.catalog.task import Task
from xmodctl.data import Rows
from xmodctl.kinds import KINDS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from xmodctl.core.encoded import Encoded


@dataclass(frozen=True)
class InspectedSequence:
    """One sequence that the model reads."""

    tokens: tuple[str, ...]  # special tokens included
    labels: tuple[str | None, ...]  # the target of each token, None where a token has none
    label: str | None = None  # the target of the whole sequence, where the kind has one


@dataclass(frozen=True)
class InspectedRow:
    """One row, and the sequences it becomes: one, or one per window of a long text or per choice."""

    id: str
    row: Mapping[str, Any]  # the kind's columns; labels by name
    sequences: tuple[InspectedSequence, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)


def inspect(rows: Rows, task: Task, tokenizer: "PreTrainedTokenizerBase", recipe: Recipe) -> Iterator[InspectedRow]:
    """Yield each row with the sequences that its kind encodes it as."""
    kind = KINDS[task.kind]
    encoded = kind.encode(rows.table, tokenizer, max_length=recipe.max_length, stride=recipe.overlap)
    for number, row in enumerate(rows.table):
        first, last = encoded.rows.searchsorted([number, number + 1])
        sequences = tuple(_sequence(encoded, feature, task, tokenizer, row) for feature in range(first, last))
        yield InspectedRow(row["id"], kind.named_row(row, task), sequences)


def _sequence(
    encoded: "Encoded", feature: int, task: Task, tokenizer: "PreTrainedTokenizerBase", row: Mapping[str, Any]
) -> InspectedSequence:
    tokens = tuple(tokenizer.convert_ids_to_tokens(encoded.input_ids[feature].tolist()))
    labels, label = KINDS[task.kind].inspect_labels(encoded, feature, task, row)
    return InspectedSequence(tokens, tuple(labels.get(token) for token in range(len(tokens))), label)
