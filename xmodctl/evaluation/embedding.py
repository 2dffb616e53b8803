"""`xmodctl embed` as a function: texts become vectors. Rows stream in; vectors stream out in order."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xmodctl.adapters.attaching import available_languages, load_tokenizers
from xmodctl.adapters.mixtures import one_adapter
from xmodctl.adapters.store import choose_all
from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError
from xmodctl.core.events import ModelLoading, warn
from xmodctl.core.files import disk_errors, whole_file
from xmodctl.core.messages import counted
from xmodctl.core.reading import file_and_sheet
from xmodctl.core.requests import command
from xmodctl.data.named_languages import language_of_input
from xmodctl.evaluation.input_rows import TextMaker, input_rows
from xmodctl.evaluation.notebook import data_frame
from xmodctl.evaluation.output_vectors import VectorPart, check_vector_suffix, companion, json_rows, write_vectors
from xmodctl.evaluation.requests import EmbedRequest
from xmodctl.evaluation.routed_input import AdapterNames, activate, by_adapter, in_parts, with_first, with_input
from xmodctl.evaluation.vector_model import find_vector_model
from xmodctl.kinds.inputs import InputRow
from xmodctl.kinds.texts import TEXTS, encode_texts
from xmodctl.model.embedding import Pooling, vectors_of
from xmodctl.model.precision import Precision, resolve_precision
from xmodctl.run.scored import stored_mixtures
from xmodctl.run.written import check_output

if TYPE_CHECKING:
    import pandas
    from transformers import PreTrainedTokenizerBase

    from xmodctl.model import Source, Xmod


@dataclass(frozen=True)
class Embedder:
    """A model, and what it needs to turn text into vectors: each row through its language's adapter."""

    model: "Xmod"
    tokenizers: "Mapping[str | None, PreTrainedTokenizerBase]"  # None: of languages without one of their own
    pooling: Pooling
    prefix: str
    max_length: int
    precision: Precision
    rows_at_a_time: int  # a part has at most this many rows

    def __call__(self, rows: Generator[InputRow, None, None]) -> Iterator[VectorPart]:
        """Yield the vectors part by part, in order.

        If reading fails, the rows before the failure are yielded first. The rows are closed at the end.
        """
        with closing(rows):
            for part in in_parts(rows, self.rows_at_a_time):
                yield self._embed(part)

    def _embed(self, part: Sequence[InputRow]) -> VectorPart:
        vectors = np.zeros((len(part), self.model.module.config.hidden_size), dtype=np.float32)
        truncated = 0
        for adapter, numbers in by_adapter(part):
            vectors[numbers], cut = self._embed_through(adapter, [part[number].row["text"] for number in numbers])
            truncated += cut
        rows = (with_input({"id": row.id, "embedding": None}, row.written) for row in part)
        described = tuple({key: value for key, value in row.items() if key != "embedding"} for row in rows)
        return VectorPart(described, vectors, truncated)

    def _embed_through(self, adapter: str, texts: Sequence[str]) -> tuple[NDArray[np.float32], int]:
        """Return the vectors of texts in one language, and how many texts are truncated."""
        import datasets

        activate(self.model, adapter)
        tokenizer = self.tokenizers.get(adapter, self.tokenizers[None])
        table = datasets.Dataset.from_dict({"text": [self.prefix + text for text in texts]})
        encoded = encode_texts(table, ["text"], tokenizer, max_length=self.max_length)
        pad_id = int(tokenizer.pad_token_id)
        vectors = vectors_of(self.model, encoded, self.pooling, precision=self.precision, pad_id=pad_id)
        return vectors, encoded.counts["truncated"]


@dataclass(repr=False)
class Embeddings:
    """Vectors that are computed when they are needed: while you iterate, write, or first ask for `vectors`.

    Iterating raises a `UserError` at a row that cannot be used, after the rows before it.
    """

    model: str
    """The base model, or the folder of the run."""
    dimensions: int
    pooling: str
    layer: int | None
    normalize: bool
    prefix: str
    """What was put in front of each text."""
    max_length: int
    count: int = 0
    """Texts embedded so far."""
    truncated: int = 0
    """Texts so far that were longer than `max_length` tokens, and cut."""
    _computed: Iterator[VectorPart] = field(default_factory=lambda: iter(()))
    _source: str | Path | None = None
    _data: str | None = None
    _kept: tuple[VectorPart, ...] | None = None

    def __repr__(self) -> str:
        layer = "" if self.layer is None else f" of layer {self.layer}"
        unit = ", normalized" if self.normalize else ""
        size = f"{counted(self.count, 'text')}{'' if self._kept is not None else ' so far'}"
        return f"<Embeddings {self.model}: {size}, {self.dimensions} dimensions, {self.pooling}{layer}{unit}>"

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for part in self.parts():
            yield from json_rows(part)

    def parts(self) -> Iterator[VectorPart]:
        """Yield the rows and their vectors part by part."""
        if self._kept is not None:
            yield from self._kept
            return
        for part in self._computed:
            self.count += len(part.rows)
            self.truncated += part.truncated
            yield part

    @property
    def vectors(self) -> NDArray[np.float32]:
        """The matrix of all vectors that were not iterated over before, shape (texts, dimensions); it stays in memory.

        Raises:
            UserError: A row cannot be used.
        """
        return np.concatenate(
            [np.zeros((0, self.dimensions), dtype=np.float32), *(part.vectors for part in self._keep())]
        )

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Of each vector in `vectors`: the id of its text, and the columns of the input that are kept."""
        return [row for part in self._keep() for row in part.rows]

    def to_frame(self) -> "pandas.DataFrame":
        """Return the rows as a pandas data frame; the column `embedding` holds an array each."""
        return data_frame({**row, "embedding": vector} for row, vector in zip(self.rows, self.vectors, strict=True))

    def _keep(self) -> tuple[VectorPart, ...]:
        if self._kept is None:
            self._kept = tuple(self.parts())
        return self._kept

    @property
    def settings(self) -> dict[str, str]:
        """What decides the vectors besides the texts, as files of vectors say it."""
        return {
            "model": self.model, "pooling": self.pooling, "layer": "last" if self.layer is None else str(self.layer),
            "normalize": str(self.normalize).lower(), "prefix": self.prefix, "max_length": str(self.max_length),
        }  # fmt: skip

    def write(self, path: str | Path) -> None:
        """Write a file in the format of its extension: .npy, .safetensors, .parquet, or .jsonl.

        A .npy or .safetensors file holds the matrix; the ids and other columns of its rows are in a second file, whose
        name is that of the first and `.rows.jsonl`. Files appear when they are complete.

        Raises:
            UserError: The extension is another, or `path` is the input. Or a row cannot be used: then the rows before
                it are in files whose names end in .partial.
        """
        path = Path(path)
        check_vectors_output(path, self._source, self._data)
        rows = companion(path)
        with disk_errors(path), ExitStack() as stack:
            part = stack.enter_context(whole_file(path))
            rows_part = stack.enter_context(whole_file(rows)) if rows else None
            try:
                write_vectors(part, rows_part, path.suffix.lower(), self.parts(), self.dimensions, self.settings)
            except UserError as error:
                part.replace(partial := path.with_name(f"{path.name}.partial"))
                if rows and rows_part:
                    rows_part.replace(rows.with_name(f"{rows.name}.partial"))
                raise UserError(f"{error}\nThe vectors before it are in {partial}") from error


def check_vectors_output(path: str | Path, source: str | Path | None, data: str | None = None) -> None:
    """Refuse a file for vectors that must not be replaced, whose extension is unknown, or that cannot be written.

    Args:
        path: The file.
        source: The input, if it is a file or `-`.
        data: The data of the run, if that is known.

    Raises:
        UserError: It is one of these.
    """
    path = Path(path)
    check_vector_suffix(path)
    for file in filter(None, (path, companion(path))):
        check_output(file, inputs=(source,), data=(data,))


@command(EmbedRequest)
def embed(request: EmbedRequest) -> Embeddings:
    """Turn texts into vectors, each through the adapter of its language.

    Texts in different languages that mean the same get similar vectors if the model was trained for that, as `mini`
    was; a model that was only trained to fill in masks, as `facebook/xmod-base`, was not. A row is plain text or a
    mapping with `text`.

    Raises:
        UserError: The model lacks the language or the layer, or the first row of a file cannot be used. All of this is
            found before the model is loaded.
    """
    listen = request.listen or warn
    if (
        isinstance(request.inputs, str | Path)
        and str(request.inputs) != "-"
        and not file_and_sheet(request.inputs)[0].exists()
    ):
        raise UserError(f"there is no file {request.inputs}; give a file, or - for standard input")
    chosen = find_vector_model(
        request.model, request.run, request.seed, pooling=request.pooling, layer=request.layer, prefix=request.prefix
    )
    stored = stored_mixtures(chosen.run.results, request.lang or "") if chosen.run else ()
    added = choose_all(request.packages, chosen.source)
    lang, packages = one_adapter(request.lang or "", chosen.source, added, listen, stored=stored)
    languages = available_languages(chosen.source, packages)
    adapter_of = AdapterNames(languages, chosen.name, chosen.source.open_languages, listen)
    max_length = _max_length(request.max_length, chosen.source)
    adapter = None if request.lang is None else adapter_of(lang)
    task = Task(name="embed", title="Sentence embeddings", kind=TEXTS, columns={"text": "text", "id": "id"})
    maker = TextMaker(
        task, adapter, adapter_of, request.language_column or "", request.keep_input, listen,
        file_language="" if adapter or request.language_column else language_of_input(request.inputs),
        text_column=request.text_column or "",
    )  # fmt: skip
    rows = input_rows(request.inputs, request.format, maker)
    is_file = isinstance(request.inputs, str | Path)
    # A file that cannot be read is refused before the model is loaded; other rows are read when they are needed.
    first = next(rows, None) if is_file or adapter is None else None
    listen(ModelLoading(chosen.name))
    precision = resolve_precision(request.precision)
    model = chosen.load(adapter or (first.adapter if first else languages[0]), packages)
    settings = chosen.settings
    pooling = Pooling(settings.pooling, settings.layer, request.normalize)
    tokenizers = load_tokenizers(chosen.source, packages)
    embedder = Embedder(model, tokenizers, pooling, settings.prefix, max_length, precision, request.rows_at_a_time)
    return Embeddings(
        chosen.label, int(model.module.config.hidden_size), settings.pooling, settings.layer, request.normalize,
        settings.prefix, max_length, _computed=embedder(with_first(first, rows)),
        _source=request.inputs if isinstance(request.inputs, str | Path) else None,
        _data=chosen.run.plan.data if chosen.run else None,
    )  # fmt: skip


def _max_length(requested: int | None, source: "Source") -> int:
    """Return how many tokens of a text are read.

    Raises:
        UserError: The model does not have as many positions.
    """
    from xmodctl.model import longest_input

    longest = longest_input(source.config)
    if requested is not None and requested > longest:
        raise UserError(f"--max-length {requested}: {source.name} reads at most {longest} tokens; give fewer")
    return requested or longest
