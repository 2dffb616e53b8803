"""A run: its plan and its folder with deltas, metrics, predictions and results."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from xmodctl.core.errors import UserError
from xmodctl.core.safetensors_io import read_entries
from xmodctl.run.folder import RUNS, Folder, differences
from xmodctl.run.plan import Plan

DELTA = "delta.safetensors"


_ADAPTER_OF = re.compile(r"\.adapter_modules\.([^.]+)\.")


@dataclass(frozen=True)
class Run(Folder):
    """A run folder and what its `run.json` says; fingerprints are of the rows used of each split.

    A split is told with its language or task if there are several.
    """

    FILE = "run.json"
    SCHEMA = 1
    HOLDS = "a run"
    FINDS = "`xmodctl runs` lists the runs"

    plan: Plan

    def told(self) -> dict[str, Any]:
        """Return what `run.json` says, but for its schema."""
        return {**super().told(), "plan_sha256": self.plan.digest}

    def with_task(self, changes: Mapping[str, Any], *, origin: str) -> Self:
        """Return the run as it would score with keys of its task changed; the folder's `run.json` stays as it is."""
        return replace(self, plan=replace(self.plan, task=self.plan.task.with_values(changes, origin=origin)))

    def follows_the_plan_of(self, other: "Run") -> bool:
        """Return whether both train in the same way on the same rows, so that nothing but their seeds differs."""
        named = {"name": "", "title": "", "source": ""}  # what a recipe says of itself trains nothing
        one, two = (
            replace(run.plan, data=None, recipe=run.plan.recipe.model_copy(update=named)) for run in (self, other)
        )
        shared = self.fingerprints.keys() & other.fingerprints.keys()
        return not differences(one, two) and all(self.fingerprints[key] == other.fingerprints[key] for key in shared)

    def stage_folder(self, seed: int, number: int) -> Path:
        """Where one seed keeps the state of a stage before the task's own training, counted from 1."""
        return self.seed_folder(seed) / f"stage-{number}-{self.plan.stage_tasks[number - 1].name}"

    def shots(self, seed: int) -> Path:
        """Which examples of target languages one seed trained on."""
        return self.seed_folder(seed) / "shots.json"

    def delta(self, seed: int) -> Path:
        """The trained tensors of one seed; the file exists when its training is finished."""
        return self.seed_folder(seed) / DELTA

    @property
    def finished_seeds(self) -> tuple[int, ...]:
        """The seeds whose training reached its end."""
        return tuple(seed for seed in self.seeds if self.delta(seed).exists())

    def trained_adapters(self) -> tuple[str, ...]:
        """Return the languages whose adapters the run trained: they fit its own body, and not its base's."""
        languages: dict[str, None] = {}
        for seed in self.finished_seeds:
            matches = map(_ADAPTER_OF.search, read_entries(self.delta(seed)))
            languages |= {match[1]: None for match in matches if match}
        return tuple(languages)

    @property
    def results(self) -> Path:
        """The append-only file of result rows."""
        return self.folder / "results.jsonl"


def newest_run(under: Path = RUNS) -> Run:
    """Return the run changed last.

    Raises:
        UserError: There is none.
    """
    if found := Run.all(under):
        return found[0]
    raise UserError(
        f"there is no run under {under}/; make one with `xmodctl finetune --task xnli --lang en_XX`, "
        "or name one with --run DIR"
    )
