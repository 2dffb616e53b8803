"""A run: the plan it follows, and the folder it keeps."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import ConfigDict, TypeAdapter, ValidationError

from xmodctl.errors import UserError
from xmodctl.files import write_json
from xmodctl.recipe import Recipe
from xmodctl.task import Task

SCHEMA = 1
RUNS = Path("runs")
DELTA = "delta.safetensors"

Precision = Literal["fp32", "bf16", "fp16"]
State = Literal["training", "interrupted", "finished"]


@dataclass(frozen=True)
class Shots:
    """A few examples of target languages that are trained on besides the source's; each seed of a run draws its own."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    count: int  # a language
    languages: tuple[tuple[str, str], ...]  # the language as the data spells it, and the adapter it goes through
    training_seed: int  # of the head and the order of rows: the same in every draw

    def to_json(self) -> dict[str, Any]:
        """Return them as plain JSON values."""
        return {
            "count": self.count,
            "languages": [list(pair) for pair in self.languages],
            "training_seed": self.training_seed,
        }


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
        return {
            "task": self.task.model_dump(mode="json"),
            "recipe": self.recipe.model_dump(mode="json"),
            "model": self.model,
            "revision": self.revision,
            "config_sha256": self.config_sha256,
            "source_languages": list(self.source_languages),
            "data": self.data,
            "limit": self.limit,
            "precision": self.precision,
            "earlier": [task.model_dump(mode="json") for task in self.earlier],
            "shots": self.shots.to_json() if self.shots else None,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Rebuild a plan."""
        return TypeAdapter(cls).validate_python(value)

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

    def differences(self, other: "Plan") -> list[str]:
        """Return one line a value in which two plans differ."""
        mine, theirs = _flat(self.to_json()), _flat(other.to_json())
        return [
            f"{key}: {theirs.get(key)} there, {mine.get(key)} asked for"
            for key in sorted({*mine, *theirs}, key=lambda key: (key.startswith("earlier"), key))  # `stages` says it
            if mine.get(key) != theirs.get(key)
        ]


@dataclass(frozen=True)
class Run:
    """A run folder and what its `run.json` says."""

    folder: Path
    plan: Plan
    seeds: tuple[int, ...]
    state: State
    fingerprints: Mapping[str, str]  # split, with its language or task if there are several -> of the rows used
    created: str
    versions: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def new(cls, folder: Path, plan: Plan, seeds: Sequence[int], fingerprints: Mapping[str, str]) -> Self:
        """Return a run that has not trained yet."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(folder, plan, tuple(seeds), "training", fingerprints, now, versions())

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read a run folder.

        Raises:
            UserError: It is no run, one of a newer version, or its file was edited into something else.
        """
        path = folder / "run.json"
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(f"{folder} is not a run (it has no run.json); `xmodctl runs` lists the runs") from None
        except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise UserError(f"{path} cannot be read ({error}); train again with --on-exists redo") from error
        if not isinstance(value, dict) or not isinstance(value.get("schema"), int):
            raise UserError(f"{path} is not the file of a run; train again with --on-exists redo")
        if value["schema"] > SCHEMA:
            raise UserError(
                f"{path} has schema {value['schema']}, newer than {SCHEMA}; run: pip install --upgrade xmodctl"
            )
        try:
            return TypeAdapter(cls).validate_python({**value, "folder": folder})
        except ValidationError as error:
            wrong = error.errors(include_url=False)[0]
            key = ".".join(str(part) for part in wrong["loc"])
            raise UserError(
                f"{path} does not hold a run of this version: `{key}` ({wrong['msg']}); "
                "bring the file back as it was written, or train again with --on-exists redo"
            ) from None

    def write(self) -> None:
        """Write `run.json`, whole."""
        write_json(
            self.folder / "run.json",
            {
                "schema": SCHEMA,
                "state": self.state,
                "created": self.created,
                "plan": self.plan.to_json(),
                "plan_sha256": self.plan.digest,
                "seeds": list(self.seeds),
                "fingerprints": dict(self.fingerprints),
                "versions": dict(self.versions),
            },
        )

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
        return not one.differences(two) and all(self.fingerprints[key] == other.fingerprints[key] for key in shared)

    def seed_folder(self, seed: int) -> Path:
        """Where one seed keeps its delta, metrics and checkpoints."""
        return self.folder / f"seed-{seed}"

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


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run folder for one process; the lock falls with the process, however it ends.

    Raises:
        UserError: Another process holds it.
    """
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(
            f"{folder} is in use by another xmodctl process; wait for it, or choose another folder with --out"
        ) from None
    try:
        yield
    finally:
        lock.release()


def open_run(folder: Path, plan: Plan, seeds: Sequence[int], fingerprints: Mapping[str, str], on_exists: str) -> Run:
    """Return the run in `folder`: a new one, or the one that is there if it follows the same plan.

    Raises:
        UserError: What is there is something else, or was made from other data, or `on_exists` is `error`.
    """
    if not (folder / "run.json").exists():
        if others := sorted(path.name for path in folder.iterdir() if path.name != ".lock"):
            raise UserError(f"{folder} holds other files ({', '.join(others[:3])}); choose another folder with --out")
        run = Run.new(folder, plan, seeds, fingerprints)
        run.write()
        return run
    if on_exists == "error":
        raise UserError(f"{folder} holds a run already; go on with --on-exists resume, or train anew with redo")
    if on_exists == "redo":
        for path in folder.iterdir():
            if path.name != ".lock":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        return open_run(folder, plan, seeds, fingerprints, "error")
    run = Run.read(folder)
    if found := plan.differences(run.plan):
        raise UserError(
            f"{folder} holds a run with another plan ({'; '.join(found[:5])}); "
            "choose another folder with --out, or train anew with --on-exists redo"
        )
    if changed := [split for split, value in run.fingerprints.items() if fingerprints.get(split, value) != value]:
        raise UserError(
            f"the {' and '.join(changed)} data has changed since {folder} was begun; "
            "bring it back, choose another folder with --out, or train anew with --on-exists redo"
        )
    run = replace(run, seeds=tuple(dict.fromkeys([*run.seeds, *seeds])), state="training")
    run.write()
    return run


def all_runs(under: Path = RUNS) -> list[Run]:
    """Return the readable runs in a folder, newest first."""
    found = []
    for path in under.glob("*/run.json"):
        try:
            found.append((path.stat().st_mtime, Run.read(path.parent)))
        except UserError:
            continue
    return [run for _, run in sorted(found, key=lambda pair: pair[0], reverse=True)]


def newest_run(under: Path = RUNS) -> Run:
    """Return the run changed last.

    Raises:
        UserError: There is none.
    """
    if found := all_runs(under):
        return found[0]
    raise UserError(
        f"there is no run under {under}/; make one with `xmodctl finetune --task xnli --lang en_XX`, "
        "or name one with --run DIR"
    )


def versions() -> dict[str, str]:
    """Return the versions of what computes a result."""
    found = {}
    for name in ("xmodctl", "torch", "transformers", "datasets", "accelerate", "tokenizers", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        value = {str(number): one for number, one in enumerate(value, start=1)}
    if isinstance(value, dict):
        return {key: leaf for name, inner in value.items() for key, leaf in _flat(inner, f"{path}.{name}").items()}
    return {path.lstrip("."): value}
