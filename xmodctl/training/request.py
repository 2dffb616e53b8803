"""Requests: the options of the commands that plan a training, declared once for the command line and Python."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, fields
from pathlib import Path
from typing import Any

from xmodctl.core.arguments import DEFAULT_MODEL, PRECISIONS, as_seeds, as_selection, check_choice, check_limit
from xmodctl.core.errors import UserError
from xmodctl.core.events import Listener
from xmodctl.core.reading import file_and_sheet
from xmodctl.run.home import runs_folder
from xmodctl.run.shards import check_shard

ON_EXISTS = ("resume", "redo", "error")

BESIDE_RUN = frozenset(
    {"from_run", "overrides", "seeds", "precision", "out", "name", "on_exists", "track", "shard", "wait", "listen"}
)
"""Options of a fine-tuning that repeats the plan of a run."""


@dataclass(frozen=True)
class ShotRequest:
    """A few examples of target languages to train on: how many per language, of which languages, with which seed."""

    count: int
    langs: str
    training_seed: int


@dataclass(frozen=True)
class PlanRequest:
    """What decides a training: task, languages, model, recipe and data.

    Args:
        task: A shipped task, or the path of a YAML file.
        lang: The language to train in, in any spelling; several in a list or separated by commas; None is the task's
            own source language.
        model: A Hub id (optionally with `@REVISION`), a folder, or `mini`.
        recipe: A shipped recipe, or the path of a YAML file; the task names the default.
        overrides: Keys of the recipe or the task, and their values.
        data: A file, or a folder of files; None is the Hub.
        language_column: The column that holds the language, in a file that holds several.
        limit: Use only the first rows of each language.
        precision: The precision of matrix products: auto, fp32, tf32, bf16, or fp16.
    """

    task: str | Path
    lang: str | Sequence[str] | None
    _: KW_ONLY
    model: str | Path = DEFAULT_MODEL
    recipe: str | Path | None = None
    overrides: Mapping[str, Any] | None = None
    data: str | Path | None = None
    language_column: str | None = None
    limit: int | None = None
    precision: str = "auto"

    def __post_init__(self) -> None:
        check_choice("--precision", self.precision, PRECISIONS)
        check_limit(self.limit)
        if self.data is not None and not file_and_sheet(Path(self.data).expanduser())[0].exists():
            raise UserError(
                f"--data {self.data} is not a folder or a file; give a file, or a folder of LANGUAGE/train.jsonl"
            )

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages to train in, as they are spelled; none stands for the task's own source language."""
        return tuple(part.strip() for part in as_selection(self.lang).split(",")) if self.lang is not None else ()

    @property
    def data_folder(self) -> Path | None:
        """The folder of local data."""
        return Path(self.data).expanduser() if self.data is not None else None

    @property
    def changes(self) -> dict[str, Any]:
        """Keys of the recipe or the task, and their values, including the language column."""
        column = {"language_column": self.language_column} if self.language_column else {}
        return {**(self.overrides or {}), **column}

    @property
    def requested_shots(self) -> ShotRequest | None:
        """The examples of target languages to train on."""
        return None

    @property
    def requested_rows(self) -> int | None:
        """The number of rows to train on, over all languages."""
        return None


@dataclass(frozen=True)
class FinetuneRequest(PlanRequest):
    """Options of a fine-tuning.

    Args:
        task: A shipped task, or the path of a YAML file.
        lang: The language to train in, in any spelling; several in a list or separated by commas.
        from_run: The folder of a run whose plan is repeated, in place of task, language, model, recipe, and data;
            `overrides` changes it.
        seeds: One training run per seed; None is 1, or the seeds of `from_run`.
        rows: Train on this many rows in total, equal numbers of each language, drawn at random.
        shots: Train also on this many examples of each language in `shot_langs`.
        shot_langs: Target languages; shots are drawn from their training data, or else from their validation data.
        shot_seeds: How many times shots are drawn, with one training run per draw; `seeds` is then a single seed.
        out: The run's folder; by default one under `runs/`.
        name: The run's name: its folder under `runs/`, in place of `out`.
        on_exists: What to do if the run exists: `resume` continues it, `redo` trains again, `error` refuses.
        track: Experiment trackers that receive the curves: tensorboard, wandb, trackio, mlflow.
        shard: Train only this share of the seeds, as in `2/4`; by default that of the task of a SLURM array, or all.
        wait: Wait for seeds that other jobs train, and train what they leave.
        listen: Called with each event; without it, cautions become Python warnings.
    """

    task: str | Path = ""
    lang: str | Sequence[str] = ""
    _: KW_ONLY
    from_run: str | Path | None = None
    seeds: int | str | Sequence[int] | None = None
    rows: int | None = None
    shots: int | None = None
    shot_langs: str | Sequence[str] = ()
    shot_seeds: int = 1
    out: str | Path | None = None
    name: str | None = None
    on_exists: str = "resume"
    track: str | Sequence[str] = ()
    shard: str | None = None
    wait: bool = False
    listen: Listener | None = None

    def __post_init__(self) -> None:
        from xmodctl.training.trackers import check_trackers

        check_choice("--on-exists", self.on_exists, ON_EXISTS)
        check_shard(self.shard)
        check_trackers(self.trackers)
        self._check_origin()
        self._check_shots()
        if self.rows is not None and self.rows < 1:
            raise UserError(f"--rows {self.rows}: give a whole number of rows, at least 1")
        if self.name is not None:
            check_name(self.name, is_placed=self.out is not None)
        super().__post_init__()

    @property
    def run_seeds(self) -> tuple[int, ...]:
        """The seeds of the run: with shots, one per draw; else those of the training."""
        return self._seeds if self.shots is None else tuple(range(1, self.shot_seeds + 1))

    @property
    def trackers(self) -> tuple[str, ...]:
        """The experiment trackers, each once."""
        return tuple(dict.fromkeys(part.strip() for part in as_selection(self.track).split(",") if part.strip()))

    @property
    def out_folder(self) -> Path | None:
        """The run's folder, if it is named."""
        if self.name is not None:
            return runs_folder() / self.name
        return Path(self.out).expanduser() if self.out is not None else None

    @property
    def requested_shots(self) -> ShotRequest | None:
        """The examples of target languages to train on."""
        if self.shots is None:
            return None
        return ShotRequest(self.shots, as_selection(self.shot_langs), self._seeds[0])

    @property
    def requested_rows(self) -> int | None:
        """The number of rows to train on, over all languages."""
        return self.rows

    @property
    def _seeds(self) -> tuple[int, ...]:
        return as_seeds(1 if self.seeds is None else self.seeds)

    def _check_origin(self) -> None:
        if self.from_run is None:
            if not self.task or not self.lang:
                raise UserError("give --task TASK and --lang LANG, or repeat the plan of a run with --from-run RUN")
            return
        for option in fields(self):
            if option.name not in BESIDE_RUN and (getattr(self, option.name) or None) != (option.default or None):
                name = "--lang-column" if option.name == "language_column" else f"--{option.name.replace('_', '-')}"
                raise UserError(
                    f"{name} cannot be combined with --from-run, which takes it from the run; change the plan with "
                    f"--set KEY=VALUE, or give --task, --lang, and the other options in place of --from-run"
                )

    def _check_shots(self) -> None:
        seeds, langs = self._seeds, as_selection(self.shot_langs)
        if self.shots is None:
            if self.shot_seeds != 1:
                raise UserError(
                    f"--shot-seeds {self.shot_seeds} needs examples to draw; say how many with --shots, such as "
                    "--shots 10"
                )
            if langs:
                raise UserError(f"--shot-langs {langs} needs examples to draw; say how many with --shots 10")
            return
        for option, count in (("--shots", self.shots), ("--shot-seeds", self.shot_seeds)):
            if count < 1:
                raise UserError(f"{option} {count}: give a whole number, at least 1")
        if len(seeds) > 1:
            raise UserError(
                f"--seeds {','.join(map(str, seeds))}: with --shots, the seeds of a run are its draws (--shot-seeds), "
                "which are all trained with one seed; give one seed"
            )
        if not langs:
            raise UserError("--shots needs languages to draw examples from; name them with --shot-langs de_DE,fr_XX")


@dataclass(frozen=True)
class CheckRequest(PlanRequest):
    """Options of a check.

    Args:
        langs: Check the data of these languages only; by default of all that the data has.
        download: Whether to download data and model from the Hub in order to check them.
        out: Where the run would go; by default under `runs/`.
        listen: Called with each event; without it, cautions become Python warnings.
    """

    lang: str | Sequence[str] | None = None
    _: KW_ONLY
    langs: str | Sequence[str] | None = None
    download: bool = False
    out: str | Path | None = None
    listen: Listener | None = None


def check_name(name: str, *, is_placed: bool) -> None:
    """Refuse a run's name that is no name of a folder, or that is given beside a folder.

    Raises:
        UserError: It is.
    """
    if is_placed:
        raise UserError(f"--name {name} is a folder under {runs_folder()}/, and --out names another; give one of them")
    if not re.fullmatch(r"\w[\w.+-]*", name):
        raise UserError(f"--name {name}: give letters, digits, and - . _ +; for another folder, use --out DIR")
