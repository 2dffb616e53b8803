"""A run: its plan and its folder with deltas, metrics, predictions and results."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from xmodctl.core import jsonl
from xmodctl.core.errors import UserError
from xmodctl.core.events import Listener, warn
from xmodctl.core.safetensors_io import read_entries
from xmodctl.languages import meaning
from xmodctl.run.data_sets import fingerprint_of
from xmodctl.run.folder import Folder, differences, resuming
from xmodctl.run.home import runs_folder
from xmodctl.run.plan import Plan
from xmodctl.run.written import DELTA, RUN_FILES

if TYPE_CHECKING:
    import pandas

    from xmodctl.adapters import Package

SCORE_KEY = ("seed", "language", "adapter", "split", "control", "limited", "package")
"""The columns of a score that identify it, together with the fingerprint in `data`."""

_ADAPTER_OF = re.compile(r"\.adapter_modules\.([^.]+)\.")


def score_key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the values of `SCORE_KEY`; all spellings of a language (`de`, `de_DE`, `German`) have one value."""
    values = {**row, "language": meaning(str(row.get("language")))}
    return tuple(values.get(name) for name in SCORE_KEY)


@dataclass(frozen=True, repr=False)
class Run(Folder):
    """A fine-tuning and its folder; `fingerprints` are those of the rows of each split.

    The name of a split includes its language or task if there are several.
    """

    FILE = "run.json"
    SCHEMA = 1
    NOUN = "a run"
    LIST_HINT = "`xmodctl runs` lists the runs"
    WRITTEN = RUN_FILES

    plan: Plan

    def __repr__(self) -> str:
        plan = self.plan
        origin = f"in {'+'.join(plan.source_languages)}" if plan.vectors is None else "without training"
        seeds = f"{len(self.finished_seeds)} of {len(self.seeds)} seeds"
        return f"Run({str(self.folder)!r}: {plan.task.name} {origin}, {plan.model}, {self.state}, {seeds})"

    def _repr_html_(self) -> str:
        """Return a table of the run for notebooks."""
        rows = {
            "task": self.plan.task.title,
            "trained in": ", ".join(self.plan.source_languages) if self.plan.vectors is None else "nothing",
            "model": self.plan.model,
            "recipe": self.plan.recipe.name if self.plan.vectors is None else str(self.plan.vectors),
            "state": self.state,
            "finished seeds": ", ".join(map(str, self.finished_seeds)),
        }
        cells = "".join(f"<tr><th>{name}</th><td>{escape(value)}</td></tr>" for name, value in rows.items())
        return f"<p><b>{escape(str(self.folder))}</b></p><table>{cells}</table>"

    def to_frame(self) -> "pandas.DataFrame":
        """Return the run's scores as a data frame: one row per score, the columns of `results.jsonl`.

        Of scores that were measured twice, only the last is kept.
        """
        import pandas

        if not self.results.exists():
            return pandas.DataFrame()
        remedy = "remove that line; its language is scored again"
        rows = [row for _, row in jsonl.read(self.results, remedy=remedy, append_only=True)]
        frame = pandas.DataFrame(rows)
        measured = pandas.Series([(*score_key(row), fingerprint_of(row.get("data", ""))) for row in rows])
        overwritten = pandas.Series([(*score_key(row)[:-1], row.get("predictions")) for row in rows])
        replaced = measured.duplicated(keep="last") | overwritten.duplicated(keep="last")
        return frame[~replaced].reset_index(drop=True)

    def to_json(self) -> dict[str, Any]:
        """Return the contents of `run.json` as plain JSON values, without its schema."""
        return {**super().to_json(), "plan_sha256": self.plan.digest}

    def with_task(self, changes: Mapping[str, Any], *, origin: str) -> Self:
        """Return the run with keys of its task changed; the file in its folder is not changed."""
        return replace(self, plan=replace(self.plan, task=self.plan.task.with_values(changes, origin=origin)))

    def follows_the_plan_of(self, other: "Run") -> bool:
        """Return whether both train in the same way on the same rows, so that only their seeds differ."""
        first, second = (replace(run.plan, data=None) for run in (self, other))
        shared = self.fingerprints.keys() & other.fingerprints.keys()
        return not differences(first, second) and all(
            self.fingerprints[key] == other.fingerprints[key] for key in shared
        )

    def stage_folder(self, seed: int, number: int) -> Path:
        """The folder of one seed in which a stage is trained; stages are counted from 1."""
        return self.seed_folder(seed) / f"stage-{number}-{self.plan.stage_tasks[number - 1].name}"

    def shots(self, seed: int) -> Path:
        """The list of the shots that one seed trained on."""
        return self.seed_folder(seed) / "shots.json"

    def recovery(self, seed: int) -> str:
        """Return the command that makes what one seed lacks, or what is damaged of it."""
        if self.plan.average is None:
            return resuming(self.folder, seed)
        from xmodctl.run.averaging import averaging

        return averaging(self)

    def retraining(self, seed: int) -> str:
        """Return how to make what is damaged of one seed again, as the end of a message."""
        if self.plan.average is not None or self.plan.vectors is not None:
            return f"create it again: {self.recovery(seed)}"
        return super().retraining(seed)

    def delta(self, seed: int) -> Path:
        """The trained tensors of one seed; the file exists when its training is finished."""
        return self.seed_folder(seed) / DELTA

    @property
    def finished_seeds(self) -> tuple[int, ...]:
        """The seeds whose training is finished."""
        return tuple(seed for seed in self.seeds if self.delta(seed).exists())

    def trained_adapters(self) -> tuple[str, ...]:
        """Return the languages whose adapters the run trained; such adapters fit only this run, not its base model."""
        languages: dict[str, None] = {}
        for seed in self.finished_seeds:
            matches = map(_ADAPTER_OF.search, read_entries(self.delta(seed)))
            languages |= {match[1]: None for match in matches if match}
        return tuple(languages)

    def export_adapter(self, lang: str, out: str | Path, *, listen: Listener | None = warn) -> "Package":
        """Write the adapter that the run's base model has for a language as a package.

        Args:
            lang: The language, in any spelling.
            out: The folder to write.
            listen: Called with a `Notice` if the spelling of the language leaves a choice.

        Raises:
            UserError: The run trained this adapter, the base has no such language, or the folder cannot be written.
        """
        from xmodctl.adapters import export
        from xmodctl.languages import resolve
        from xmodctl.run.loading import base_name, find_base

        source = find_base(self)
        adapter = resolve(lang, source.languages, model=source.name).adapter
        if adapter in self.trained_adapters():
            raise UserError(
                f"{self.folder} trained the adapter of {adapter} together with its own body, and it fits no other; "
                f"export the whole run with `xmodctl export --run {self.folder} --out DIR`"
            )
        return export(base_name(self), lang, out, listen=listen)

    @property
    def results(self) -> Path:
        """The append-only file of result rows."""
        return self.folder / "results.jsonl"


def newest_run(under: str | Path | None = None) -> Run:
    """Return the run that was changed last, of those in a folder; None is the folder of runs.

    Raises:
        UserError: There is none.
    """
    under = runs_folder() if under is None else under
    if runs := Run.all(under):
        return runs[0]
    raise UserError(
        f"there is no run under {under}/; make one with `xmodctl finetune --task xnli --lang en_XX`, "
        "or name one with --run DIR"
    )
