"""Label text with a run's model: rows stream in, predictions stream out in the same order."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from xmodctl.catalog.recipe import Recipe
from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError
from xmodctl.core.jsonl import parse_object
from xmodctl.core.mistakes import RowError
from xmodctl.kinds import KINDS
from xmodctl.kinds.inputs import InputRow
from xmodctl.model.inference import logits_of
from xmodctl.model.precision import Precision
from xmodctl.run.trained import Trained

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ROWS_AT_A_TIME = 256
CHARACTERS_AT_A_TIME = 2**20
"""A part is predicted when it has this many rows or characters: so memory does not grow with the input."""


@dataclass(frozen=True)
class Labelled:
    """A part of the input, labelled."""

    rows: tuple[dict[str, Any], ...]  # what is written, a JSON object each
    truncated: int  # rows that were longer than the recipe's length, so that the model did not see all of them


@dataclass(frozen=True)
class Labeller:
    """A run's model with one language's adapter, and all that stands between text and predictions."""

    trained: Trained
    tokenizer: "PreTrainedTokenizerBase"
    task: Task
    recipe: Recipe
    precision: Precision

    def __call__(self, lines: Iterable[InputRow]) -> Iterator[Labelled]:
        """Yield the predictions part by part, in order.

        Where reading fails, the rows before the failure are yielded first.
        """
        for part in _parts(lines):
            yield self._label(part)

    def _label(self, part: "Part") -> Labelled:
        import datasets

        table = datasets.Dataset.from_list([line.row for line in part])
        kind = KINDS[self.task.kind]
        encoded = kind.encode(table, self.tokenizer, max_length=self.recipe.max_length, stride=self.recipe.overlap)
        pad = self.tokenizer.pad_token_id
        logits = logits_of(self.trained.model, encoded, precision=self.precision, pad_id=pad)
        written = kind.write_predictions(logits, encoded, table, self.task, part)
        return Labelled(tuple(written), encoded.counts["truncated"])


def read_lines(stream: Iterable[bytes], name: str, task: Task, language: str) -> Iterator[InputRow]:
    """Read rows: a JSON object a line, or, where a row is a single text, plain text. Empty lines are passed over.

    The first line decides which. JSON has the kind's columns, under their own names or those that the task's data has.
    Plain text is cut into words at blanks where words are labelled. `language` is that of the task's connectives.

    Raises:
        UserError: While iterating: a line cannot be used; its number is told.
    """
    another = "text goes through another language's with --lang, such as --lang en"
    connectives = task.connectives_in(language, remedy=another)
    numbered = _decoded(stream, name)
    first = next(numbered, None)
    if first is None:
        raise UserError(f"{name} holds no lines; give a row a line, such as {_example(task)}")
    is_json = _is_object(first[1])
    kind = KINDS[task.kind]
    if not (is_json or kind.takes_plain_text(task)):
        raise UserError(f"{name}:{first[0]}: {task.kind} takes a JSON object a line, such as {_example(task)}")
    for number, line in chain([first], numbered):
        try:
            yield _json_row(line, number, task, connectives) if is_json else kind.plain_text_row(line, number)
        except RowError as error:
            raise UserError(f"{name}:{number}: {error}") from error


Part = Sequence[InputRow]


def _parts(lines: Iterable[InputRow]) -> Iterator[Part]:
    part: list[InputRow] = []
    size = 0
    try:
        for line in lines:
            part.append(line)
            size += _characters(line.row)
            if len(part) == ROWS_AT_A_TIME or size >= CHARACTERS_AT_A_TIME:
                yield part
                part, size = [], 0
    except UserError:
        if part:
            yield part
        raise
    if part:
        yield part


def _characters(row: Mapping[str, Any]) -> int:
    return sum(len(value) if isinstance(value, str) else sum(map(len, value)) for value in row.values())


def _decoded(stream: Iterable[bytes], name: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(stream, start=1):
        try:
            text_ = (line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line).decode().rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise UserError(
                f"{name}:{number}:{error.start + 1}: byte 0x{line[error.start]:02x} is not UTF-8; give UTF-8 text"
            ) from error
        if text_ and not text_.isspace():
            yield number, text_


def _is_object(line: str) -> bool:
    """Say whether a line is meant as a JSON object: a broken one is not plain text."""
    return line.lstrip().startswith("{")


def _json_row(line: str, number: int, task: Task, connectives: Mapping[str, str]) -> InputRow:
    raw = parse_object(line)
    return KINDS[task.kind].json_row(raw, raw.get("id", number), task, connectives)


def _example(task: Task) -> str:
    kind = KINDS[task.kind]
    return json.dumps({column: kind.example_value(column) for column in kind.input_columns(task)})
