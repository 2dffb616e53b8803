"""The options of `report` and `export`, for Python and the command line alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from xmodctl.core.arguments import ERRORS, PLOTS, POOLINGS, TERMINAL, as_paths, as_selection, check_choice
from xmodctl.core.errors import UserError
from xmodctl.core.events import Listener
from xmodctl.core.reading import file_and_sheet
from xmodctl.reports.formats import DEFAULT, format_names, format_of, is_figure

if TYPE_CHECKING:
    from xmodctl.run.run import Run

VECTORS = "sentence-transformers"
ONNX = "onnx"
EXPORT_FORMATS = ("transformers", VECTORS, ONNX)
"""What `export` writes."""


@dataclass(frozen=True)
class ReportRequest:
    """Which runs a report shows, and how.

    Args:
        runs: One or more runs or run folders, which become columns; by default the newest under `runs/`.
        format: `html`, `markdown`, `latex`, `csv`, a figure as `svg`, `pdf`, or `png`, or `terminal`, which writes no
            file; by default what the extension of `out` means, or else `html`.
        split: `train`, `validation`, or `test`.
        errors: The most errors shown per language, with their texts; 0 shows no texts.
        data: Where the data is now, if it was moved since it was scored.
        out: The file to write; by default, HTML goes to `report.html` in the run's folder, or for several runs to
            `report-TASK.html` in the current folder, and other formats are not written.
        write: False writes no file unless `out` names one.
        plot: The figure, in the formats `svg`, `pdf`, and `png`: `scores` (by default), `gaps`, `heat-map`, or
            `curves`.
    """

    runs: "str | Path | Run | Sequence[str | Path | Run] | None" = None
    format: str | None = None
    split: str = "test"
    errors: int = ERRORS
    data: str | Path | None = None
    out: str | Path | None = None
    write: bool = True
    plot: str | None = None

    def __post_init__(self) -> None:
        """Refuse options that make no sense.

        Raises:
            UserError: One does not; the message names it.
        """
        from xmodctl.catalog.locations import Split

        check_choice("--split", self.split, get_args(Split))
        check_choice("--format", self.format_name, (*format_names(), TERMINAL))
        if self.format == TERMINAL and self.out is not None:
            raise UserError(
                f"--format terminal writes no file; omit --out {self.out}, or choose another format, such as markdown"
            )
        if self.plot is not None:
            check_choice("--plot", self.plot, PLOTS)
            if self.format_name == TERMINAL or not is_figure(self.format_name):
                raise UserError(
                    f"--plot {self.plot} chooses a figure, but {self.format_name} is not a format of figures; add "
                    f"--out {self.plot}.svg, or --format svg, pdf, or png"
                )
        if self.errors < 0:
            raise UserError(f"--errors {self.errors}: give 0 or more")
        if self.data is not None and not file_and_sheet(self.data)[0].exists():
            raise UserError(
                f"--data {self.data} is not a folder or a file; give a file, or a folder of LANGUAGE/{self.split}.jsonl"
            )

    @property
    def format_name(self) -> str:
        """The name of the format.

        Raises:
            UserError: It cannot be inferred from the extension of `out`.
        """
        if self.format is not None:
            return self.format
        return format_of(Path(self.out)) if self.out is not None else DEFAULT

    @property
    def folders(self) -> list[Path]:
        """The run folders; empty for the newest run."""
        runs = [self.runs] if isinstance(self.runs, str | Path) or not isinstance(self.runs, Sequence) else self.runs
        return [Path(run) if isinstance(run, str | Path) else run.folder for run in runs if run is not None]


@dataclass(frozen=True)
class ExportRequest:
    """Which model is exported, and where to.

    Args:
        out: The folder to write; it must be new or empty, or hold the same export.
        run: A run or its folder; by default the newest under `runs/`.
        langs: The adapters to include: `all`, `@task`, or a list of languages.
        adapters: Adapter packages of languages that the base model lacks: their folders, or their names in the store.
        seed: Which seed; by default the first.
        push: Also upload the folder to this repository on the Hugging Face Hub, as OWNER/NAME.
        private: With `push`: create the repository as private.
        format: `transformers`, `sentence-transformers` for a folder that makes vectors of texts in one language, or
            `onnx` for a graph of the model in one language.
        model: With sentence-transformers: a base model, in place of a run.
        pooling: With sentence-transformers: what a vector is, `mean` or `cls`; None is as in `embed`.
        prefix: With sentence-transformers: what is put in front of each text; None is as in `embed`.
        listen: Called with each event; by default, cautions become Python warnings.
    """

    out: str | Path
    run: "Run | str | Path | None" = None
    langs: str | Sequence[str] = "all"
    adapters: str | Path | Sequence[str | Path] = ()
    seed: int | None = None
    push: str | None = None
    private: bool = False
    format: str = "transformers"
    model: str | Path | None = None
    pooling: str | None = None
    prefix: str | None = None
    listen: Listener | None = None

    def __post_init__(self) -> None:
        """Refuse options that make no sense.

        Raises:
            UserError: One does not; the message names it.
        """
        if self.private and not self.push:
            raise UserError("--private applies to the uploaded repository; name one with --push OWNER/NAME")
        check_choice("--format", self.format, EXPORT_FORMATS)
        if self.pooling is not None:
            check_choice("--pooling", self.pooling, POOLINGS)
        for option in ("model", "pooling", "prefix"):
            if self.format != VECTORS and getattr(self, option) is not None:
                raise UserError(f"--{option} applies to vectors; add --format {VECTORS}")
        if self.format != "transformers" and ("," in self.selection or self.selection in ("all", "@task")):
            raise UserError(
                f"--langs {self.selection}: a folder of {self.format} contains one language, because its texts go "
                "through one adapter; name it, as in --langs de"
            )
        if self.format == VECTORS and (self.model is None) == (self.run is None):
            raise UserError("give the model with --model MODEL, such as --model mini, or with --run DIR, not both")
        if self.model is not None and self.seed is not None:
            raise UserError(f"--seed {self.seed}: a base model has no seeds; omit it, or give --run DIR")

    @property
    def selection(self) -> str:
        """The languages, between commas."""
        return as_selection(self.langs)

    @property
    def packages(self) -> tuple[str | Path, ...]:
        """The adapter packages."""
        return as_paths(self.adapters)
