"""A run: the plan it follows, and the folder it keeps."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import ConfigDict

from xmodctl.errors import UserError
from xmodctl.folders import RUNS, Folder, differences, validator
from xmodctl.recipe import Recipe
from xmodctl.task import Task

DELTA = "delta.safetensors"

Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class Shots:
    """A few examples of target languages that are trained on besides the source's; each seed of a run draws its own."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    count: int  # a language
    languages: tuple[tuple[str, str], ...]  # the language as the data spells it, and the adapter it goes through
    training_seed: int  # of the head and the order of rows: the same in every draw


@dataclass(frozen=True)
class Plan:
    """Everything that decides what a fine-tuning computes; the same plan gives the same run."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # a key of another version is told, not forgotten

    task: Task
    recipe: Recipe
    model: str  # as it can be asked for again: id, folder or mini
    revision: str | None
    config_sha256: str | None  # None only while nothing is downloaded
    source_languages: tuple[str, ...]  # the adapters trained through
    data: str | None  # folder given by --data, None is the Hub
    limit: int | None
    precision: Precision
    earlier: tuple[Task, ...] = ()  # the tasks of the recipe's stages, in their order
    shots: Shots | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain JSON values."""
        return dict(validator(Plan).dump_python(self, mode="json"))

    @property
    def adapters(self) -> tuple[str, ...]:
        """The adapters trained through: those of the source languages, then those of shots."""
        shots = [adapter for _, adapter in self.shots.languages] if self.shots else []
        return tuple(dict.fromkeys([*self.source_languages, *shots]))

    @property
    def digest(self) -> str:
        """Sha256 of the plan: equal for plans that compute the same."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    @property
    def folder_name(self) -> str:
        """Name of the run's folder: what it is, and six digits that keep different plans apart."""
        model = Path(self.model).name
        shots = f"-{self.shots.count}shots" if self.shots else ""
        return f"{self.task.name}-{'+'.join(self.source_languages)}{shots}-{model}-{self.digest[:6]}"


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
        return self.seed_folder(seed) / f"stage-{number}-{self.plan.earlier[number - 1].name}"

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
