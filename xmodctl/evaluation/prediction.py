"""`xmodctl predict` as a function: label text with a run's model. Rows stream in; predictions stream out in order."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmodctl.adapters.attaching import available_languages, load_tokenizers
from xmodctl.adapters.mixtures import one_adapter
from xmodctl.adapters.store import choose_all
from xmodctl.catalog.recipe import Recipe
from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError
from xmodctl.core.events import ModelLoading, warn
from xmodctl.core.files import whole_file
from xmodctl.core.reading import file_and_sheet
from xmodctl.core.requests import command
from xmodctl.data.named_languages import language_of_input
from xmodctl.evaluation.input_rows import RowMaker, input_rows
from xmodctl.evaluation.output_tables import check_suffix, write_rows
from xmodctl.evaluation.requests import PredictRequest
from xmodctl.evaluation.routed_input import AdapterNames, by_adapter, grouped, in_parts, with_first, with_input
from xmodctl.evaluation.sharing import Processes, Work, follow
from xmodctl.kinds import KINDS
from xmodctl.kinds.inputs import InputRow
from xmodctl.model.precision import Precision, resolve_precision
from xmodctl.run.loading import announced_run, chosen_seed, find_base
from xmodctl.run.scored import stored_mixtures
from xmodctl.run.trained import Trained
from xmodctl.run.written import check_output
from xmodctl.training.world import World

if TYPE_CHECKING:
    import datasets
    from transformers import PreTrainedTokenizerBase

PARTS_PER_PROCESS = 2
"""Parts of the input that several processes share at a time, for each of them."""


@dataclass(frozen=True)
class LabeledPart:
    """A part of the input, labeled."""

    rows: tuple[dict[str, Any], ...]  # the predictions, as they are written
    truncated: int  # rows longer than the recipe's max_length, which the model did not read to the end


@dataclass(frozen=True)
class Labeler:
    """A run's model, and what it needs to turn text into predictions: each row through its language's adapter."""

    trained: Trained
    tokenizers: "Mapping[str | None, PreTrainedTokenizerBase]"  # None: of languages without one of their own
    task: Task
    recipe: Recipe
    precision: Precision
    rows_at_a_time: int  # a part has at most this many rows
    processes: Processes

    def __call__(self, rows: Generator[InputRow, None, None]) -> Iterator[LabeledPart]:
        """Yield the predictions part by part, in order.

        If reading fails, the rows before the failure are yielded first. The rows are closed at the end.
        """
        together = 1 if self.processes.count == 1 else PARTS_PER_PROCESS * self.processes.count
        with self.processes.leading(), closing(rows):
            for parts in grouped(in_parts(rows, self.rows_at_a_time), together):
                yield from self._label(parts)

    def _label(self, parts: Sequence[Sequence[InputRow]]) -> Iterator[LabeledPart]:
        """Label rows language by language, and yield them in their order."""
        pieces = [
            self._encoded(adapter, [part[number] for number in numbers], numbers)
            for part in parts
            for adapter, numbers in by_adapter(part)
        ]
        works = [piece.work for piece in pieces]
        labeled = zip(pieces, self.processes.compute(self.trained.model, works, self.precision, keep=True), strict=True)
        for part in parts:
            rows: dict[int, dict[str, Any]] = {}
            truncated = 0
            while len(rows) < len(part):
                piece, logits = next(labeled)
                kind = KINDS[self.task.kind]
                written = kind.write_predictions(logits, piece.work.encoded, piece.table, self.task, piece.lines)
                rows |= dict(zip(piece.numbers, written, strict=True))
                truncated += piece.work.encoded.counts["truncated"]
            yield LabeledPart(
                tuple(with_input(rows[number], row.written) for number, row in enumerate(part)), truncated
            )

    def _encoded(self, adapter: str, lines: Sequence[InputRow], numbers: Sequence[int]) -> "_Piece":
        """Return rows in one language with their encoding."""
        import datasets

        tokenizer = self.tokenizers.get(adapter, self.tokenizers[None])
        table = datasets.Dataset.from_list([line.row for line in lines])
        kind = KINDS[self.task.kind]
        encoded = kind.encode(table, tokenizer, max_length=self.recipe.max_length, stride=self.recipe.overlap)
        return _Piece(numbers, lines, table, Work(encoded, adapter, int(tokenizer.pad_token_id)))


@dataclass(frozen=True)
class _Piece:
    """The rows of a part that go through one adapter."""

    numbers: Sequence[int]  # in the part
    lines: Sequence[InputRow]
    table: "datasets.Dataset"
    work: Work


class Predictions:
    """Predictions that are computed while you iterate over them: one mapping per row, in order.

    Iterating raises a `UserError` at a row that cannot be used, after the predictions of the rows before it.
    """

    def __init__(
        self,
        parts: Iterator[LabeledPart],
        source: str | Path | None = None,
        *,
        data: str | None = None,
        is_first: bool = True,
    ) -> None:
        self._parts = parts
        self._source = source
        self._data = data
        self._is_first = is_first
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
        """Write a file in the format of its extension; it appears when it is complete.

        These are .csv, .tsv, and .parquet; any other is written as one JSON object per line.

        Raises:
            UserError: `path` is the input, or data of the run. Or a row cannot be used: then the predictions before it
                are in a file beside `path`, ending in .partial.
        """
        if not self._is_first:
            list(self.parts())
            return
        path = Path(path)
        check_predictions_output(path, self._source, self._data)
        with whole_file(path) as part:
            try:
                write_rows(part, path.suffix.lower(), self.parts())
            except UserError as error:
                part.replace(partial := path.with_name(f"{path.name}.partial"))
                raise UserError(f"{error}\nThe predictions before it are in {partial}") from error


def check_predictions_output(path: str | Path, source: str | Path | None, data: str | None = None) -> None:
    """Refuse a file for predictions that must not be replaced, or that cannot be written.

    Args:
        path: The file.
        source: The input, if it is a file or `-`.
        data: The data of the run, if that is known.

    Raises:
        UserError: It must not, or it cannot.
    """
    check_output(path, inputs=(source,), data=(data,))
    check_suffix(Path(path))


@command(PredictRequest)
def predict(request: PredictRequest) -> Predictions:
    """Label text in any language of the model, with any run.

    A row is a mapping with the kind's columns (`text` and perhaps `text_pair`; `tokens`; `context` and `question`;
    `choices`), named as here or as in the task's data. If a row is a single text, it may also be plain text.

    Raises:
        UserError: The run is not trained, has no such seed, the model lacks the language, or the first row of a
            file cannot be used. All of this is found before the model is loaded.
    """
    world = World.join("predict")
    if not world.is_first:
        return Predictions(_followed(world, request), is_first=False)
    listen = request.listen or warn
    run = announced_run(request.run, listen)
    if (
        isinstance(request.inputs, str | Path)
        and str(request.inputs) != "-"
        and not file_and_sheet(request.inputs)[0].exists()
    ):
        raise UserError(f"there is no file {request.inputs}; give a file, or - for standard input")
    seed = chosen_seed(run, request.seed)
    if run.plan.vectors is not None:
        remedy = f"to compute vectors of the same rows, run: xmodctl embed --run {run.folder}"
        raise UserError(f"{run.folder} scores vectors and makes no predictions; {remedy}")
    source = find_base(run)
    (processes := Processes(world)).open(run)
    stored = stored_mixtures(run.results, request.lang or "")
    added = choose_all(request.packages, source)
    lang, packages = one_adapter(request.lang or "", source, added, listen, stored=stored)
    languages = available_languages(source, packages)
    adapter_of = AdapterNames(languages, run.plan.model, source.open_languages, listen)
    adapter = None if request.lang is None else adapter_of(lang)
    column, is_file = request.language_column or "", isinstance(request.inputs, str | Path)
    _refuse_label_as_language(run.plan.task, column)
    of_file = "" if adapter or column or run.plan.task.is_mixed else language_of_input(request.inputs)
    maker = RowMaker(run.plan.task, adapter, adapter_of, column, request.keep_input, listen, of_file)
    rows = input_rows(request.inputs, request.format, maker)
    # A file that cannot be read is refused before the model is loaded; other rows are read when they are needed.
    first = next(rows, None) if is_file or adapter is None else None
    adapter = adapter or (first.adapter if first else run.plan.source_languages[0])
    listen(ModelLoading(run.plan.model))
    precision = resolve_precision(request.precision)
    processes.load(run, seed, adapter, packages, "fp32")  # how weights are stored, as here
    trained = Trained.load(run, source, seed, adapter, packages=packages)
    tokenizers = load_tokenizers(source, packages)
    label = Labeler(
        trained,
        tokenizers,
        trained.settled(run.plan.task),
        run.plan.recipe,
        precision,
        request.rows_at_a_time,
        processes,
    )
    parts = label(with_first(first, rows))
    source_file = request.inputs if isinstance(request.inputs, str | Path) else None
    return Predictions(parts, source_file, data=run.plan.data)


def _refuse_label_as_language(task: Task, column: str) -> None:
    """Refuse a column of languages that is what the run predicts: the adapter would give the label away.

    Raises:
        UserError: It is one.
    """
    if column and task.is_mixed:
        raise UserError(f"--lang-column {column}: all rows of {task.title} go through one adapter; omit --lang-column")
    if column and column == task.columns.get(KINDS[task.kind].gold_column):
        raise UserError(
            f"--lang-column {column}: this is what {task.title} predicts, which must not choose the adapter; give one "
            "for all rows with --lang LANG"
        )


def _followed(world: World, request: PredictRequest) -> Iterator[LabeledPart]:
    """Compute what the first process sends; it alone has predictions."""
    follow(world, request.run, request.packages)
    yield from ()
