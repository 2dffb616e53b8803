"""Requests: the options of the commands that score and predict, declared once for the command line and Python."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from xmodctl.adapters.mixtures import BY_ENTROPY, BY_TEXT, FOUND_BY
from xmodctl.adapters.written_weights import MIX, is_to_be_found
from xmodctl.core.arguments import (
    INPUT_FORMATS,
    POOLINGS,
    PRECISIONS,
    TEXT_FORMATS,
    as_paths,
    as_selection,
    check_choice,
    check_limit,
)
from xmodctl.core.errors import UserError
from xmodctl.core.events import Listener
from xmodctl.core.messages import listed
from xmodctl.languages import same
from xmodctl.run.shards import check_shard

if TYPE_CHECKING:
    from xmodctl.run.run import Run

SPLITS = ("train", "validation", "test")
CONTROLS = ("source", "none")


@dataclass(frozen=True)
class SweepRequest:
    """Options of every sweep over languages.

    Args:
        run: A run or its folder; None is the newest run under `runs/`.
        langs: The languages, as `--langs` takes them (`de_DE,fr`, `all`, `@task`, `all,-zh_TW`, `jv=id_ID`), or a list
            of such parts.
        split: The split to score: train, validation, or test.
        precision: The precision of matrix products: auto, fp32, tf32, bf16, or fp16.
        data: A folder of local data; None is the data that the run was trained on.
        language_column: The column that holds the language, in a file that holds several.
        limit: Use only the first rows of each language; results are marked.
        on_exists: What to do with scores that exist: `missing` keeps them and scores the rest, `redo` scores all again.
        adapters: Adapter packages of languages that the base model lacks: their folders, or their names in the store.
        listen: Called with each event; without it, cautions become Python warnings.
    """

    ON_EXISTS: ClassVar[tuple[str, ...]] = ("missing", "redo")

    run: "Run | str | Path | None"
    langs: str | Sequence[str]
    _: KW_ONLY
    split: str = "test"
    precision: str = "auto"
    data: str | Path | None = None
    language_column: str | None = None
    limit: int | None = None
    on_exists: str = "missing"
    adapters: str | Path | Sequence[str | Path] = ()
    listen: Listener | None = None

    def __post_init__(self) -> None:
        check_choice("--on-exists", self.on_exists, self.ON_EXISTS)
        check_choice("--split", self.split, SPLITS)
        check_choice("--precision", self.precision, PRECISIONS)
        check_limit(self.limit)

    @property
    def selection(self) -> str:
        """The languages, separated by commas."""
        return as_selection(self.langs)

    @property
    def packages(self) -> tuple[str | Path, ...]:
        """The adapter packages."""
        return as_paths(self.adapters)


@dataclass(frozen=True)
class EvaluationRequest(SweepRequest):
    """Options of an evaluation.

    Args:
        controls: Score also through the adapter of the `source` language, or through `none`.
        on_exists: What to do with scores that exist: `missing` keeps them and scores the rest, `redo` scores all
            again, `error` refuses.
        overrides: Keys of the task that describe how this data is written, and their values. With `task`, any of its
            keys, and `pooling`, `layer`, `prefix`, and `max_length`, which decide how texts become vectors.
        task: A task that is scored without training, by sentence embeddings: a shipped task or a YAML file. `run` is
            then the run whose trained body makes the vectors, or None for a base model.
        model: With `task`: the base model, a Hub id, a folder, or `mini`.
        out: With `task`: the folder to create; None is one under `runs/`.
        shard: Score only this share of the seeds and languages, as in `2/4`; by default that of the task of a SLURM
            array, or all.
        wait: Wait for scores that other jobs compute, and compute what they leave.
        mix_by: How the weights of mixtures such as `zu=mix` are found: by `text`, by the `entropy` of predictions on
            the rows that are scored, which makes scores transductive, or by the `typology` of the languages.
        mix_text: Text on which the weights of mixtures such as `zu=mix` are found: those with the lowest masked-LM
            loss. `LANG=FILE`, or FILE for every such language.
    """

    ON_EXISTS = ("missing", "redo", "error")

    _: KW_ONLY
    controls: str | Sequence[str] = ()
    overrides: Mapping[str, Any] | None = None
    task: str | Path | None = None
    model: str | Path | None = None
    out: str | Path | None = None
    mix_by: str = BY_TEXT
    mix_text: str | Path | Sequence[str | Path] = ()
    shard: str | None = None
    wait: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_shard(self.shard)
        check_choice("--mix-by", self.mix_by, FOUND_BY)
        if self.mix_by != BY_TEXT and as_paths(self.mix_text):
            chosen_on = {BY_ENTROPY: "on the rows that are scored"}.get(self.mix_by, "without text")
            raise UserError(f"--mix-by {self.mix_by} chooses weights {chosen_on}; remove --mix-text")
        self._refuse_unused_search()
        if self.task is None and (self.model is not None or self.out is not None):
            option = "--model" if self.model is not None else "--out"
            raise UserError(
                f"{option} needs --task TASK, which is then scored without training; or give only --run DIR"
            )
        for control in self.control_names:
            check_choice("--controls", control, CONTROLS)

    def _refuse_unused_search(self) -> None:
        """Refuse what chooses weights where none are chosen.

        Raises:
            UserError: An option has no effect; the message names it.
        """
        pairs = [item.rpartition("=") for item in self.selection.split(",")]
        searched = [language.strip() for language, _, text in pairs if is_to_be_found(text)]
        if not searched and (self.mix_by != BY_TEXT or as_paths(self.mix_text)):
            option = "--mix-text" if as_paths(self.mix_text) else f"--mix-by {self.mix_by}"
            raise UserError(
                f"{option} chooses the weights of a mixture, and --langs has none to choose; write {MIX} in it, as in "
                f"zu={MIX}, or remove {option}"
            )
        for language, file in self.mix_files:
            if language and not any(same(language, each) for each in searched):
                raise UserError(
                    f"--mix-text {language}={file}: --langs does not choose weights for {language}, only for "
                    f"{listed(searched)}; add {language}={MIX}, or remove this text"
                )

    @property
    def mix_files(self) -> tuple[tuple[str, str], ...]:
        """Each file of text with its language; an empty language is any."""
        texts = [str(text) for text in as_paths(self.mix_text)]
        parts = [("", "", text) if Path(text).exists() else text.rpartition("=") for text in texts]
        return tuple((language, file) for language, _, file in parts)

    @property
    def control_names(self) -> tuple[str, ...]:
        """The controls, each once."""
        return tuple(dict.fromkeys(part.strip() for part in as_selection(self.controls).split(",") if part.strip()))


@dataclass(frozen=True)
class DonorsRequest(SweepRequest):
    """Options of a search for donor adapters.

    Args:
        langs: The languages of the text, whether they have an adapter or not: `jv,qu`, `@task`, `@task,-en`, or a list.
        candidates: The adapters to try: `id_ID,es_XX`, `all`, `@task`, or a list; None is the source language's and
            those of `langs`.
        split: The split to score. A choice that is made on `test` makes the chosen adapter look better than it is.
    """

    candidates: str | Sequence[str] | None = None
    _: KW_ONLY
    split: str = "validation"

    @property
    def candidate_selection(self) -> str | None:
        """The adapters to try, separated by commas."""
        return None if self.candidates is None else as_selection(self.candidates)


@dataclass(frozen=True)
class CompareRequest:
    """Options of a comparison.

    Args:
        runs: The runs or their folders: two or more are compared with the first; a single one, with its own controls.
        split: The split whose scores are compared: train, validation, or test.
        langs: The languages: `de,sw`, `all`, `all,-zh` to exclude one, `jv=id_ID` for text that went through another
            language's adapter; or a list.
    """

    runs: "Run | str | Path | Sequence[Run | str | Path]"
    _: KW_ONLY
    split: str = "test"
    langs: str | Sequence[str] = "all"

    def __post_init__(self) -> None:
        check_choice("--split", self.split, SPLITS)

    @property
    def selection(self) -> str:
        """The languages, separated by commas."""
        return as_selection(self.langs)

    @property
    def run_list(self) -> "tuple[Run | str | Path, ...]":
        """The runs."""
        return tuple(self.runs) if isinstance(self.runs, Sequence) and not isinstance(self.runs, str) else (self.runs,)


@dataclass(frozen=True)
class ScoreRequest:
    """Options of scoring stored predictions again.

    Args:
        run: A run or its folder; None is the newest run under `runs/`.
        update: Append a row with the new values where stored values differ and the predictions are unchanged.
        listen: Called with each event; without it, cautions become Python warnings.
    """

    run: "Run | str | Path | None" = None
    _: KW_ONLY
    update: bool = False
    listen: Listener | None = None


@dataclass(frozen=True)
class EnsembleRequest:
    """Options of an ensemble.

    Args:
        runs: One run with several seeds, or several runs of one task, or their folders.
        split: The split whose scores are used.
    """

    runs: "Run | str | Path | Sequence[Run | str | Path]"
    _: KW_ONLY
    split: str = "test"

    def __post_init__(self) -> None:
        check_choice("--split", self.split, SPLITS)

    @property
    def run_list(self) -> "tuple[Run | str | Path, ...]":
        """The runs."""
        return tuple(self.runs) if isinstance(self.runs, Sequence) and not isinstance(self.runs, str) else (self.runs,)


def _check_input(request: "PredictRequest | EmbedRequest", formats: Sequence[str]) -> None:
    """Refuse a format that is not read, or has no file, and parts of the input without a row."""
    if request.format is not None:
        check_choice("--format", request.format, formats)
        if not isinstance(request.inputs, str | Path):
            raise UserError(f"format={request.format}: it applies to a file; give a file, or omit the format")
    if request.rows_at_a_time < 1:
        raise UserError(f"rows_at_a_time={request.rows_at_a_time}: give a whole number of rows, at least 1")


@dataclass(frozen=True)
class PredictRequest:
    """Options of a prediction.

    Args:
        run: A run or its folder; None is the newest run under `runs/`.
        lang: The language of the text, in any spelling: `de`, `de_DE`, `German`; None: a column gives the language of
            each row.
        inputs: A file with one row per line (`-` is standard input), or the rows themselves: texts, or mappings with
            the kind's columns. Blank lines are skipped.
        seed: The seed whose model to use; None is the run's first seed.
        adapters: Adapter packages of languages that the base model lacks: their folders, or their names in the store.
        precision: The precision of matrix products: auto, fp32, tf32, bf16, or fp16.
        format: How the file is written: `text`, `jsonl`, or a format of training data: `csv`, `tsv`, `json`, `parquet`,
            `conll`. By default, the extension of the file decides between these, and without one the first line
            decides between `text` and `jsonl`.
        language_column: The column with each row's language; by default `language`, `lang`, or `locale`.
        keep_input: Return the columns of the input beside the predictions.
        rows_at_a_time: The largest number of rows that are read and labeled together.
        listen: Called with each event; without it, cautions become Python warnings.
    """

    run: "Run | str | Path | None"
    lang: str | None
    inputs: str | Path | Iterable[str | Mapping[str, Any]]
    _: KW_ONLY
    seed: int | None = None
    adapters: str | Path | Sequence[str | Path] = ()
    precision: str = "auto"
    format: str | None = None
    language_column: str | None = None
    keep_input: bool = False
    rows_at_a_time: int = 256
    listen: Listener | None = None

    def __post_init__(self) -> None:
        check_choice("--precision", self.precision, PRECISIONS)
        _check_input(self, INPUT_FORMATS)

    @property
    def packages(self) -> tuple[str | Path, ...]:
        """The adapter packages."""
        return as_paths(self.adapters)


@dataclass(frozen=True)
class EmbedRequest:
    """Options of sentence embeddings.

    Args:
        inputs: A file with one text per line (`-` is standard input), or the texts themselves: text, or mappings with
            `text`. Blank lines are skipped.
        lang: The language of the text, in any spelling: `de`, `de_DE`, `German`; None: a column gives the language of
            each row.
        model: A base model: a Hub id, a folder, or `mini`. Give this or `run`.
        run: A run or its folder: the base model as the run trained it.
        seed: The seed of the run whose model to use; None is the run's first seed.
        adapters: Adapter packages of languages that the base model lacks: their folders, or their names in the store.
        pooling: What a vector is: the `mean` over all tokens, or `cls`, the first token. None is what the model's files
            say, or else `mean`.
        layer: The layer whose output is pooled, 0 being the embeddings; None is that of a run that scores vectors, or
            else the last.
        normalize: Scale each vector to length 1.
        prefix: What is put in front of each text; None is what the model's files say, `query: ` for `mini`, and nothing
            for others.
        max_length: Texts are cut to this many tokens; None is as many as the model reads.
        precision: The precision of matrix products: auto, fp32, tf32, bf16, or fp16.
        format: How the file is written: `text`, `jsonl`, or a format of training data: `csv`, `tsv`, `json`, `parquet`.
            By default, the extension of the file decides between these, and without one the first line decides between
            `text` and `jsonl`.
        text_column: The column with the text; by default `text`, or the only column with another usual name.
        language_column: The column with each row's language; by default `language`, `lang`, or `locale`.
        keep_input: Return the columns of the input beside the vectors.
        rows_at_a_time: The largest number of rows that are read and embedded together.
        listen: Called with each event; without it, cautions become Python warnings.
    """

    inputs: str | Path | Iterable[str | Mapping[str, Any]]
    lang: str | None = None
    _: KW_ONLY
    model: str | Path | None = None
    run: "Run | str | Path | None" = None
    seed: int | None = None
    adapters: str | Path | Sequence[str | Path] = ()
    pooling: str | None = None
    layer: int | None = None
    normalize: bool = True
    prefix: str | None = None
    max_length: int | None = None
    precision: str = "auto"
    format: str | None = None
    text_column: str | None = None
    language_column: str | None = None
    keep_input: bool = False
    rows_at_a_time: int = 256
    listen: Listener | None = None

    def __post_init__(self) -> None:
        check_choice("--precision", self.precision, PRECISIONS)
        if self.pooling is not None:
            check_choice("--pooling", self.pooling, POOLINGS)
        if (self.model is None) == (self.run is None):
            raise UserError("give the model with --model MODEL, such as --model mini, or with --run DIR, not both")
        if self.seed is not None and self.run is None:
            raise UserError(f"--seed {self.seed}: a base model has no seeds; omit it, or give --run DIR")
        if self.max_length is not None and self.max_length < 3:
            raise UserError(f"--max-length {self.max_length}: give at least 3 tokens, two of which are special")
        _check_input(self, TEXT_FORMATS)

    @property
    def packages(self) -> tuple[str | Path, ...]:
        """The adapter packages."""
        return as_paths(self.adapters)
