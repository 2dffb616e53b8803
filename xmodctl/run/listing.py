"""`runs`: what a folder of runs holds. Reads their files as plain JSON, so that a listing loads nothing heavy."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from xmodctl.core.files import read_json
from xmodctl.core.requests import command
from xmodctl.core.visible import one_line
from xmodctl.run.home import runs_folder
from xmodctl.run.scored import Scored, headline, scored

_log = logging.getLogger(__name__)

RUN_FILE = "run.json"
LANGUAGE_FILE = "extension.json"
SCHEMA = 1
RESULTS = "results.jsonl"


@dataclass(frozen=True)
class RunsRequest:
    """Which runs to list.

    Args:
        under: The folder that holds the runs, or the folder of a run; None is `runs/`.
    """

    under: str | Path | None = None


@dataclass(frozen=True)
class RunSummary:
    """One run, or one folder of added languages, in a line."""

    run: str  # its folder
    state: str  # training, interrupted, or finished
    task: str  # `add-language` for added languages
    language: str  # trained in, or added; several are joined by `+`
    model: str
    seeds: tuple[int, ...]
    finished_seeds: tuple[int, ...]
    created: str  # ISO 8601
    scored_languages: int | None  # None for added languages
    data_sets: tuple[str, ...] = ()  # those that it was scored on
    metric: str = ""  # of the next two, which are of whole test data
    source_score: float | None = None  # the mean over the source languages, in percent
    transfer_score: float | None = None  # the mean over the other languages
    size: int = 0  # bytes on disk

    def to_json(self) -> dict[str, Any]:
        """Return the summary as plain JSON values."""
        lists = {name: list(getattr(self, name)) for name in ("seeds", "finished_seeds", "data_sets")}
        return asdict(self) | lists


@command(RunsRequest)
def runs(request: RunsRequest) -> list[RunSummary]:
    """List the runs in a folder and then the folders of added languages, each with the newest first.

    If the folder is itself a run, it is the only one in the list.

    Folders that are not runs of this version are passed over, with a warning.

    Returns:
        One summary per run.
    """
    under = runs_folder() if request.under is None else Path(request.under).expanduser()
    return [
        *(_fine_tuning(folder, values) for folder, values in _readable(under, RUN_FILE)),
        *(_added_languages(folder, values) for folder, values in _readable(under, LANGUAGE_FILE)),
    ]


def _readable(under: Path, name: str) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Yield each folder that holds a file `name` of this version, with the file's values; the newest comes first."""
    paths = [under / name] if (under / name).is_file() else under.glob(f"*/{name}")
    for path in sorted(paths, key=_changed, reverse=True):
        try:
            values = read_json(path)
        except (OSError, ValueError) as error:
            _log.warning("%s is passed over: %s", path, one_line(str(error)))
            continue
        if _is_complete(values, "task" if name == RUN_FILE else "texts"):
            yield path.parent, values
        else:
            _log.warning("%s is passed over: it is damaged, or of a newer version of xmodctl", path)


def _is_complete(values: Any, subject: str) -> bool:
    if not isinstance(values, dict) or not isinstance(values.get("schema"), int) or values["schema"] > SCHEMA:
        return False
    plan = values.get("plan")
    return (
        isinstance(plan, dict)
        and isinstance(plan.get(subject), dict)
        and isinstance(plan.get("model"), str)
        and isinstance(values.get("seeds"), list)
        and all(isinstance(seed, int) for seed in values["seeds"])
        and all(isinstance(language, str) for language in _strings(plan, subject))
        and all(isinstance(values.get(key), str) for key in ("state", "created"))
    )


def _strings(plan: Mapping[str, Any], subject: str) -> list[Any]:
    languages = plan["texts"] if subject == "texts" else plan.get("source_languages") or ()
    return list(languages) if isinstance(languages, Mapping | list | tuple) else [None]


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # removed meanwhile, or a link to nothing
        return 0.0


def _fine_tuning(folder: Path, values: Mapping[str, Any]) -> RunSummary:
    plan = values["plan"]
    return _summary(
        folder,
        values,
        task=str(plan["task"].get("name")),
        languages=() if plan.get("vectors") else plan.get("source_languages") or (),
        finished=[seed for seed in values["seeds"] if (folder / f"seed-{seed}" / "delta.safetensors").exists()],
        scores=scored(folder / RESULTS),
    )


def _added_languages(folder: Path, values: Mapping[str, Any]) -> RunSummary:
    languages = tuple(values["plan"]["texts"])
    finished = [
        seed for seed in values["seeds"] if all((folder / f"seed-{seed}" / language).exists() for language in languages)
    ]
    return _summary(folder, values, task="add-language", languages=languages, finished=finished, scores=None)


def _summary(
    folder: Path,
    values: Mapping[str, Any],
    *,
    task: str,
    languages: Any,
    finished: list[int],
    scores: Sequence[Scored] | None,
) -> RunSummary:
    chosen = headline(scores or ())
    return RunSummary(
        run=str(folder),
        state=values["state"],
        task=task,
        language="+".join(languages),
        model=values["plan"]["model"],
        seeds=tuple(values["seeds"]),
        finished_seeds=tuple(finished),
        created=values["created"],
        scored_languages=None if scores is None else len({language for each in scores for language in each.languages}),
        data_sets=tuple(dict.fromkeys(each.data_set for each in scores or ())),
        metric=chosen.metric if chosen else "",
        source_score=chosen.source if chosen else None,
        transfer_score=chosen.transfer if chosen else None,
        size=size_of(folder),
    )


def size_of(folder: Path) -> int:
    """Return the bytes that a folder's files take; what a link leads to is not in the folder."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # removed meanwhile
                total += os.lstat(os.path.join(place, name)).st_size
    return total
