"""Label text with a run's model: rows stream in, predictions stream out in the same order."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from xmodctl.catalog.recipe import Recipe
from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError
from xmodctl.core.jsonl import parse_object
from xmodctl.core.mistakes import RowError
from xmodctl.data.normalisers import cell, text, texts
from xmodctl.data.readers import said
from xmodctl.kinds import KINDS
from xmodctl.kinds.question_answering import QuestionAnswering
from xmodctl.kinds.spans import spans
from xmodctl.model.inference import logits_of
from xmodctl.model.precision import Precision
from xmodctl.run.trained import Trained

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

    from xmodctl.core.encoded import Encoded

Columns = dict[str, Any]

ROWS_AT_A_TIME = 256
CHARACTERS_AT_A_TIME = 2**20
"""A part is predicted when it has this many rows or characters: so memory does not grow with the input."""

_WORD = re.compile(r"\S+")


@dataclass(frozen=True)
class Line:
    """One line of input: its row in the kind's columns, and what is said of it besides."""

    id: Any  # the row's own, else the line's number
    row: Columns
    places: tuple[tuple[int, int], ...] = ()  # of each word, in `text`: first character, and that after the last
    text: str = ""  # what entities' offsets count in


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

    def __call__(self, lines: Iterable[Line]) -> Iterator[Labelled]:
        """Yield the predictions part by part, in order.

        Where reading fails, the rows before the failure are yielded first.
        """
        for part in _parts(lines):
            yield self._label(part)

    def _label(self, part: "Part") -> Labelled:
        import datasets

        table = datasets.Dataset.from_list([line.row for line in part])
        encoded = KINDS[self.task.kind].encode(
            table, self.tokenizer, max_length=self.recipe.max_length, stride=self.recipe.overlap
        )
        pad = self.tokenizer.pad_token_id
        logits = logits_of(self.trained.model, encoded, precision=self.precision, pad_id=pad)
        told = WRITERS[self.task.kind](logits, encoded, table, self.task, part)
        return Labelled(tuple(told), encoded.counts["truncated"])


def read_lines(stream: Iterable[bytes], name: str, task: Task, language: str) -> Iterator[Line]:
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
    if not (is_json or _takes_plain_text(task)):
        raise UserError(f"{name}:{first[0]}: {task.kind} takes a JSON object a line, such as {_example(task)}")
    for number, line in chain([first], numbered):
        try:
            yield _of_json(line, number, task, connectives) if is_json else _of_plain_text(line, number, task)
        except RowError as error:
            raise UserError(f"{name}:{number}: {error}") from error


Part = Sequence[Line]


def _parts(lines: Iterable[Line]) -> Iterator[Part]:
    part: list[Line] = []
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


def _characters(row: Columns) -> int:
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


def _takes_plain_text(task: Task) -> bool:
    single = task.kind == "sequence-classification" and "text_pair" not in task.columns
    return single or task.kind == "token-classification"


def _of_plain_text(line: str, number: int, task: Task) -> Line:
    if task.kind == "token-classification":
        return _words(line, number)
    return Line(number, {"text": text({"text": line}, "text")})


def _of_json(line: str, number: int, task: Task, connectives: Mapping[str, str]) -> Line:
    raw = parse_object(line)
    id_ = raw.get("id", number)
    match task.kind:
        case "token-classification" if "text" in raw and "tokens" not in raw:
            return _words(text(raw, "text"), id_)
        case "token-classification":
            tokens = texts(raw, _name(raw, "tokens", task))
            ends = [sum(map(len, tokens[: count + 1])) + count for count in range(len(tokens))]
            places = tuple((end - len(token), end) for token, end in zip(tokens, ends, strict=True))
            return Line(id_, {"tokens": tokens}, places, " ".join(tokens))
        case "multiple-choice":
            row: Columns = _texts(raw, task, ("context", "question"))
            if connectives:
                asked = row["question"].strip().casefold()
                if asked not in connectives:
                    raise RowError(f"`question` is {said(row['question'])}; it should be {' or '.join(connectives)}")
                row["question"] = connectives[asked]
            named = task.columns["choices"]
            if "choices" not in raw and not isinstance(named, str):
                row["choices"] = [text(raw, name) for name in named]
            else:
                row["choices"] = texts(raw, _name(raw, "choices", task))
            if len(row["choices"]) < 2:
                raise RowError(f"the row has {len(row['choices'])} choices; there must be two or more")
            return Line(id_, row)
        case "sequence-classification":
            return Line(id_, _texts(raw, task, ("text", "text_pair")))
        case _:
            return Line(id_, _texts(raw, task, ("context", "question")))


def _words(line: str, id_: Any) -> Line:
    found = list(_WORD.finditer(line))
    return Line(id_, {"tokens": [word.group() for word in found]}, tuple(word.span() for word in found), line)


def _texts(raw: Mapping[str, Any], task: Task, columns: Sequence[str]) -> Columns:
    found = {}
    for column in (one for one in columns if one in task.columns):
        named = task.columns[column]
        several = named if column not in raw and not isinstance(named, str) else [_name(raw, column, task)]
        found[column] = " ".join(text(raw, name) for name in several)
    return found


def _name(raw: Mapping[str, Any], column: str, task: Task) -> str:
    """Return what a row calls a column: the kind's name for it, or the task's."""
    named = task.columns[column]
    if column not in raw and isinstance(named, str) and named in raw:
        return named
    cell(raw, column)  # refuses a row that has neither
    return column


def _example(task: Task) -> str:
    required = KINDS[task.kind].required
    gold = {"label", "tags", "answers"}
    columns = [column for column in (*required, "text_pair") if column in task.columns and column not in gold]
    lists = {"tokens": ["a", "word"], "choices": ["one", "another"]}
    return json.dumps({column: lists.get(column, "...") for column in columns})


def _classes(logits: Any, encoded: "Encoded", table: "Dataset", task: Task, part: Part) -> Iterator[dict[str, Any]]:
    decoded = KINDS["sequence-classification"].decode(logits, encoded, table, task)
    for line, (_, label, scores) in zip(part, decoded, strict=True):
        yield {"id": line.id, "prediction": label, "scores": dict(zip(task.labels, scores, strict=True))}


def _entities(logits: Any, encoded: "Encoded", table: "Dataset", task: Task, part: Part) -> Iterator[dict[str, Any]]:
    decoded = KINDS["token-classification"].decode(logits, encoded, table, task)
    for line, (_, tags, scores) in zip(part, decoded, strict=True):
        found = []
        for type_, first, end in spans(tags, strict=False):
            begins, ends = line.places[first][0], line.places[end - 1][1]
            # An entity is as sure as its least sure word.
            score = min(scores[first:end])
            found.append({"type": type_, "text": line.text[begins:ends], "start": begins, "end": ends, "score": score})
        yield {"id": line.id, "entities": found, "tokens": line.row["tokens"], "tags": tags, "scores": list(scores)}


def _answers(logits: Any, encoded: "Encoded", table: "Dataset", task: Task, part: Part) -> Iterator[dict[str, Any]]:
    candidates = QuestionAnswering().candidates(logits, encoded, table, task)
    for line, (best, *_) in zip(part, candidates, strict=True):
        place: dict[str, int | None] = {"start": best.start, "end": best.end}
        if not best.text:  # the model says that there is no answer
            place = {"start": None, "end": None}
        yield {"id": line.id, "prediction": best.text, **place, "score": best.probability}


def _choices(logits: Any, encoded: "Encoded", table: "Dataset", task: Task, part: Part) -> Iterator[dict[str, Any]]:
    decoded = KINDS["multiple-choice"].decode(logits, encoded, table, task)
    for line, (_, choice, scores) in zip(part, decoded, strict=True):
        yield {"id": line.id, "prediction": choice, "text": line.row["choices"][choice], "scores": list(scores)}


Writer = Callable[[Any, "Encoded", "Dataset", Task, Part], Iterator[dict[str, Any]]]
WRITERS: dict[str, Writer] = {
    "sequence-classification": _classes,
    "token-classification": _entities,
    "question-answering": _answers,
    "multiple-choice": _choices,
}
"""What is written of each kind's predictions."""
