"""`xmodctl predict` as a function: label text with a run's model. Rows stream in; predictions stream out in order."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmodctl.adapters.attaching import available_languages, load_tokenizers
from xmodctl.adapters.store import choose_all
from xmodctl.catalog.recipe import Recipe
from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError
from xmodctl.core.events import ModelLoading, Notice, warn
from xmodctl.core.files import check_can_write, whole_file
from xmodctl.core.json_text import json_text
from xmodctl.core.jsonl import parse_object
from xmodctl.core.mistakes import RowError
from xmodctl.core.requests import command
from xmodctl.data.files import open_bytes
from xmodctl.evaluation.input_tables import is_input, read_table, refuse_table, table_extension
from xmodctl.evaluation.requests import PredictRequest
from xmodctl.kinds import KINDS
from xmodctl.kinds.inputs import InputRow
from xmodctl.languages import resolve
from xmodctl.model.inference import logits_of
from xmodctl.model.precision import Precision, resolve_precision
from xmodctl.run.loading import chosen_seed, find_base, find_run
from xmodctl.run.trained import Trained

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


CONNECTIVES_REMEDY = "send the text through another language's adapter, as with --lang en"

MOST_CHARACTERS = 2**20
"""A part of the input is labeled at the latest when it has this many characters, so that memory stays bounded."""


@dataclass(frozen=True)
class LabeledPart:
    """A part of the input, labeled."""

    rows: tuple[dict[str, Any], ...]  # the predictions, as they are written
    truncated: int  # rows longer than the recipe's max_length, which the model did not read to the end


@dataclass(frozen=True)
class Labeler:
    """A run's model with one language's adapter, and what it needs to turn text into predictions."""

    trained: Trained
    tokenizer: "PreTrainedTokenizerBase"
    task: Task
    recipe: Recipe
    precision: Precision
    rows_at_a_time: int  # a part has at most this many rows

    def __call__(self, rows: Iterable[InputRow]) -> Iterator[LabeledPart]:
        """Yield the predictions part by part, in order.

        If reading fails, the rows before the failure are yielded first.
        """
        for part in _parts(rows, self.rows_at_a_time):
            yield self._label(part)

    def _label(self, part: Sequence[InputRow]) -> LabeledPart:
        import datasets

        table = datasets.Dataset.from_list([line.row for line in part])
        kind = KINDS[self.task.kind]
        encoded = kind.encode(table, self.tokenizer, max_length=self.recipe.max_length, stride=self.recipe.overlap)
        pad = self.tokenizer.pad_token_id
        logits = logits_of(self.trained.model, encoded, precision=self.precision, pad_id=pad)
        written = kind.write_predictions(logits, encoded, table, self.task, part)
        return LabeledPart(tuple(written), encoded.counts["truncated"])


class Predictions:
    """Predictions that are computed while you iterate over them: one mapping per row, in order.

    Iterating raises a `UserError` at a row that cannot be used, after the predictions of the rows before it.
    """

    def __init__(self, parts: Iterator[LabeledPart], source: str | Path | None = None) -> None:
        self._parts = parts
        self._source = source
        self.count = 0
        """Rows labeled so far."""
        self.truncated = 0
        """Rows so far that were longer than the recipe's max_length, and cut."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for part in self.parts():
            yield from part

    def parts(self) -> Iterator[tuple[dict[str, Any], ...]]:
        """Yield the predictions part by part."""
        for part in self._parts:
            self.count += len(part.rows)
            self.truncated += part.truncated
            yield part.rows

    def write(self, path: str | Path) -> None:
        """Write one JSON object per line; the file appears when it is complete.

        Raises:
            UserError: `path` is the input. Or a row cannot be used: then the predictions before it are in a file beside
                `path`, ending in .partial.
        """
        path = Path(path)
        check_output(path, self._source)
        with whole_file(path) as part:
            try:
                with part.open("w", encoding="utf-8") as file:
                    for rows in self.parts():
                        file.write(json_lines(rows))
                        file.flush()
            except UserError as error:
                part.replace(partial := path.with_name(f"{path.name}.partial"))
                raise UserError(f"{error}\nThe predictions before it are in {partial}") from error


def check_output(path: str | Path, source: str | Path | None) -> None:
    """Refuse a file for predictions that is the input, or that cannot be written.

    Args:
        path: The file.
        source: The input, if it is a file or `-`.

    Raises:
        UserError: It is, or it cannot.
    """
    if source is not None and is_input(Path(path), source):
        raise UserError(f"--out {path} is the input, which it would replace; choose another file")
    check_can_write(Path(path), "--out")


@command(PredictRequest)
def predict(request: PredictRequest) -> Predictions:
    """Label text in any language of the model, with any run.

    A row is a mapping with the kind's columns (`text` and perhaps `text_pair`; `tokens`; `context` and `question`;
    `choices`), named as here or as in the task's data. If a row is a single text, it may also be plain text.

    Raises:
        UserError: The run is not trained, has no such seed, the model lacks the language, or the first row of a
            file cannot be used. All of this is found before the model is loaded.
    """
    listen = request.listen or warn
    run = find_run(request.run)
    if request.run is None:
        listen(Notice(f"run: {run.folder} (the newest; choose another one with --run)"))
    if isinstance(request.inputs, str | Path) and str(request.inputs) != "-" and not Path(request.inputs).exists():
        raise UserError(f"there is no file {request.inputs}; give a file, or - for standard input")
    seed = chosen_seed(run, request.seed)
    source = find_base(run)
    packages = choose_all(request.packages, source)
    languages = available_languages(source, packages)
    match = resolve(request.lang, languages, model=run.plan.model, open_languages=source.open_languages)
    if match.note:
        listen(Notice(match.note, caution=True))
    rows = _input_rows(request.inputs, request.format, run.plan.task, match.adapter)
    is_file = isinstance(request.inputs, str | Path)
    # A file that cannot be read is refused before the model is loaded; other rows are read when they are needed.
    first = next(rows, None) if is_file else None
    listen(ModelLoading(run.plan.model))
    precision = resolve_precision(request.precision)
    trained = Trained.load(run, source, seed, match.adapter, packages=packages)
    trained.model.activate(match.adapter)
    tokenizers = load_tokenizers(source, packages)
    tokenizer = tokenizers.get(match.adapter, tokenizers[None])
    label = Labeler(trained, tokenizer, run.plan.task, run.plan.recipe, precision, request.rows_at_a_time)
    parts = label(chain([] if first is None else [first], rows))
    return Predictions(parts, source=request.inputs if isinstance(request.inputs, str | Path) else None)


def json_lines(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return rows as JSON, one per line."""
    return "".join(json_text(row) + "\n" for row in rows)


def read_lines(
    stream: Iterable[bytes], name: str, task: Task, language: str, format_: str | None = None
) -> Iterator[InputRow]:
    """Read rows: one JSON object per line, or plain text where a row is a single text. Blank lines are skipped.

    The first line decides which, unless `format_` says so. JSON has the kind's columns, named as the kind or as the
    task's data names them. Plain text is split into words at white space where words are labeled.

    Args:
        stream: The lines.
        name: The name of the input in messages.
        task: The task.
        language: The language whose connectives the task uses.
        format_: `text` or `jsonl`, where that is known.

    Raises:
        UserError: While iterating: a line cannot be used, or the first one shows that the input is a table; the message
            gives its number.
    """
    connectives = task.connectives_in(language, remedy=CONNECTIVES_REMEDY)
    numbered = _decoded(stream, name)
    first = next(numbered, None)
    if first is None:
        raise UserError(f"{name} holds no lines; give one row per line, such as {_example(task)}")
    is_json = _is_object(first[1]) if format_ is None else format_ == "jsonl"
    if format_ is None and not is_json:
        refuse_table(first[1], f"{name}:{first[0]}", task)
    kind = KINDS[task.kind]
    if not (is_json or kind.takes_plain_text(task)):
        raise UserError(f"{name}:{first[0]}: {task.kind} takes one JSON object per line, such as {_example(task)}")
    for number, line in chain([first], numbered):
        try:
            yield _json_row(line, number, task, connectives) if is_json else kind.plain_text_row(line, number, task)
        except RowError as error:
            raise UserError(f"{name}:{number}: {error}") from error


def _input_rows(
    inputs: str | Path | Iterable[str | Mapping[str, Any]], format_: str | None, task: Task, language: str
) -> Iterator[InputRow]:
    """Yield the rows of a file, of standard input, or of a Python iterable."""
    if isinstance(inputs, str | Path) and (extension := table_extension(inputs, format_)):
        connectives = task.connectives_in(language, remedy=CONNECTIVES_REMEDY)
        yield from read_table(Path(inputs), extension, task, connectives)
    elif isinstance(inputs, str | Path):
        with _opened(inputs) as (stream, name):
            yield from read_lines(stream, name, task, language, format_)
    else:
        lines = (row if isinstance(row, str) else json.dumps(row) for row in inputs)
        yield from read_lines((line.encode() for line in lines), "inputs", task, language)


@contextmanager
def _opened(path: str | Path) -> Iterator[tuple[Iterable[bytes], str]]:
    if str(path) == "-":
        yield sys.stdin.buffer, "standard input"
        return
    with open_bytes(Path(path)) as stream:
        yield stream, str(path)


def _parts(rows: Iterable[InputRow], most_rows: int) -> Iterator[Sequence[InputRow]]:
    part: list[InputRow] = []
    size = 0
    try:
        for row in rows:
            part.append(row)
            size += _characters(row.row)
            if len(part) == most_rows or size >= MOST_CHARACTERS:
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
            text = (line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line).decode().rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise UserError(
                f"{name}:{number}:{error.start + 1}: byte 0x{line[error.start]:02x} is not UTF-8; give UTF-8 text"
            ) from error
        if text and not text.isspace():
            yield number, text


def _is_object(line: str) -> bool:
    """Return whether a line is meant as a JSON object: a broken one is not plain text."""
    return line.lstrip().startswith("{")


def _json_row(line: str, number: int, task: Task, connectives: Mapping[str, str]) -> InputRow:
    raw = parse_object(line)
    return KINDS[task.kind].json_row(raw, raw.get("id", number), task, connectives)


def _example(task: Task) -> str:
    kind = KINDS[task.kind]
    return json.dumps({column: kind.example_value(column) for column in kind.input_columns(task)})
