"""`runs show`: what a run is, what it has trained and scored, and which commands continue with it."""

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from xmodctl.core.errors import UserError
from xmodctl.core.files import read_json
from xmodctl.core.requests import command
from xmodctl.run.jobs import is_in_use
from xmodctl.run.listing import LANGUAGE_FILE, RESULTS, RUN_FILE, RunSummary, runs, size_of
from xmodctl.run.scored import Scored, scored

_STEP = re.compile(r"step-(\d+)")

SHOWN_SETTINGS = ("freeze", "epochs", "batch_size", "learning_rate", "max_length")
"""Keys of a recipe that are always shown."""


@dataclass(frozen=True)
class ShowRunRequest:
    """Which run to describe.

    Args:
        run: The folder of a run, or of added languages.
    """

    run: str | Path


@dataclass(frozen=True)
class RunDetails:
    """A run, or a folder of added languages, in detail."""

    summary: RunSummary
    in_use: bool  # whether a process works in the folder now
    plan: Mapping[str, str]  # what decides the result, in the words of the options
    seeds: Mapping[int, str]  # the state of each
    scores: tuple[Scored, ...]
    sizes: Mapping[str, int]  # bytes of each part of the folder
    changed: str  # ISO 8601: when a file was last written
    versions: Mapping[str, str]  # of the libraries that trained it
    commands: Mapping[str, str]  # what to do next, and the command for it

    def to_json(self) -> dict[str, Any]:
        """Return the details as plain JSON values."""
        return {
            **asdict(self),
            "summary": self.summary.to_json(),
            "seeds": {str(seed): state for seed, state in self.seeds.items()},
            "scores": [each.to_json() for each in self.scores],
        }


@command(ShowRunRequest)
def show_run(request: ShowRunRequest) -> RunDetails:
    """Describe a run: its plan, the state of each seed, its scores in short, its size, and the commands that follow.

    Raises:
        UserError: The folder holds no run of this version, or its file is damaged.
    """
    folder = Path(request.run).expanduser()
    is_language = (folder / LANGUAGE_FILE).is_file()
    path = folder / (LANGUAGE_FILE if is_language else RUN_FILE)
    try:
        values = read_json(path)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{folder} is not a run (it has no {RUN_FILE}); `xmodctl runs` lists the runs") from None
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read ({error}); restore it, or remove the folder: "
            f"xmodctl runs rm {shlex.quote(str(folder))}"
        ) from error
    summaries = runs(folder)
    if not summaries:
        raise UserError(f"{path} does not describe a run of this version; use the version of xmodctl that wrote it")
    (summary,) = summaries
    is_held_now = _is_in_use(folder)
    return RunDetails(
        summary=summary,
        in_use=is_held_now,
        plan=_plan(values["plan"]),
        seeds={seed: _state(folder, seed, finished=seed in summary.finished_seeds) for seed in summary.seeds},
        scores=tuple(scored(folder / RESULTS)),
        sizes=_sizes(folder),
        changed=_changed(folder),
        versions={str(name): str(version) for name, version in _mapping(values.get("versions")).items()},
        commands={} if is_held_now else _commands(summary, values["plan"], is_language=is_language),
    )


def _is_in_use(folder: Path) -> bool:
    return os.access(folder, os.W_OK) and is_in_use(folder)


def _plan(plan: Mapping[str, Any]) -> dict[str, str]:
    """Return a plan's values by the names of their options; the recipe's most important ones come last."""
    recipe, vectors = _mapping(plan.get("recipe")), _mapping(plan.get("vectors"))
    revision = f"@{str(plan['revision'])[:12]}" if plan.get("revision") else ""
    chosen: dict[str, Any] = {
        "task": _mapping(plan.get("task")).get("name"),
        "languages": ", ".join(plan.get("source_languages") or plan.get("texts") or ()),
        "model": f"{plan['model']}{revision}",
        "data": plan.get("data") or ("" if "texts" in plan else "the Hub"),
        "shots": _mapping(plan.get("shots")).get("count"),
        "rows": plan.get("rows"),
        "limit": plan.get("limit"),
        "initialized from": plan.get("init_from"),
        "vocabulary": plan.get("vocabulary"),
        "mean of": len(_mapping(plan.get("average")).get("members") or ()) or None,
        "precision": plan.get("precision"),
        "recipe": recipe.get("name"),
        **{key: recipe.get(key) for key in SHOWN_SETTINGS},
    }
    if vectors:
        chosen = {key: value for key, value in chosen.items() if key not in ("languages", "recipe", *SHOWN_SETTINGS)}
        chosen |= {key: vectors.get(key) for key in ("pooling", "layer", "prefix", "run")}
    return {key: f"{value:g}" if isinstance(value, float) else str(value) for key, value in chosen.items() if value}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _state(folder: Path, seed: int, *, finished: bool) -> str:
    if finished:
        return "finished"
    steps = [
        int(match[1])
        for path in folder.glob(f"seed-{seed}/**/step-*")
        if (match := _STEP.fullmatch(path.name)) and path.is_dir()
    ]
    return f"stopped after step {max(steps):,}" if steps else "not trained"


def _sizes(folder: Path) -> dict[str, int]:
    """Return the bytes of each folder within a folder; those of files beside them are `files`."""
    sizes = {path.name: size_of(path) for path in sorted(folder.iterdir()) if path.is_dir() and not path.is_symlink()}
    return {**sizes, "files": size_of(folder) - sum(sizes.values())}


def _changed(folder: Path) -> str:
    """Return when a file of a folder was last written, as ISO 8601."""
    times = [path.lstat().st_mtime for path in folder.rglob("*") if not path.is_dir() and path.name != ".lock"]
    return datetime.fromtimestamp(max(times), UTC).isoformat(timespec="seconds")


def _commands(summary: RunSummary, plan: Mapping[str, Any], *, is_language: bool) -> dict[str, str]:
    run = shlex.quote(summary.run)
    is_whole = set(summary.seeds) <= set(summary.finished_seeds)
    commands = {} if is_whole or plan.get("average") else {"continue": f"xmodctl resume {run}"}
    if not summary.finished_seeds:
        return commands
    if is_language:
        adapters = _adapters(summary)
        return commands | {"score": f"xmodctl eval-transfer {adapters} --run RUN --langs {','.join(plan['texts'])}"}
    if plan.get("vectors"):
        return commands | {"report": f"xmodctl report {run}"}
    languages = "all" if (plan["task"].get("from_data") and plan.get("data")) else "@task"
    commands["score"] = f"xmodctl eval-transfer --run {run} --langs {languages}"
    if summary.scored_languages:
        commands["report"] = f"xmodctl report {run}"
    commands["export"] = f"xmodctl export --run {run} --out MODEL"
    if not plan.get("average"):
        commands["repeat with a change"] = f"xmodctl finetune --from-run {run} --set KEY=VALUE"
    return commands


def _adapters(summary: RunSummary) -> str:
    """Return the options that name the adapters of a folder's first finished seed."""
    folder = Path(summary.run) / f"seed-{summary.finished_seeds[0]}"
    return " ".join(f"--adapter {shlex.quote(str(folder / name))}" for name in summary.language.split("+"))
