"""`xmodctl runs`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xmodctl.cli import options

if TYPE_CHECKING:
    from xmodctl.new_language.plan import Extension
    from xmodctl.run.run import Run

PANEL = "Explore"
ORDER = 5


def runs(
    under: Annotated[Path, typer.Argument(metavar="DIR", help="The folder that holds the runs.")] = Path("runs"),
    json: options.Json = False,
) -> None:
    """List the runs, and the languages that were added; each newest first.

    Examples:

    - `xmodctl runs`
    """
    from xmodctl.cli import display
    from xmodctl.new_language.plan import Extension
    from xmodctl.run.run import Run

    told = [_run(one) for one in Run.all(under)] + [_extension(one) for one in Extension.all(under)]
    if json:
        display.show_json(told)
    elif not told:
        display.note(f"no runs under {under}/; `xmodctl finetune` makes one, and so does `xmodctl demo`")
    else:
        rows = [
            (
                one["run"], one["state"], one["task"], one["language"], one["model"],
                f"{len(one['finished_seeds'])}/{len(one['seeds'])}",
                "" if one["scored_languages"] is None else str(one["scored_languages"]), one["created"],
            )
            for one in told
        ]  # fmt: skip
        columns = ("run", "state", "task", "trained in", "model", "seeds", "scored", "created")
        display.show(display.sheet(columns, rows, right=("seeds", "scored")))


def _run(run: "Run") -> dict[str, Any]:
    from xmodctl.evaluation.results import read_rows

    scored = {row.language for row in read_rows(run.results)}
    return _folder(run, run.plan.task.name, run.plan.source_languages) | {"scored_languages": len(scored)}


def _extension(extension: "Extension") -> dict[str, Any]:
    return _folder(extension, "add-language", extension.plan.languages) | {"scored_languages": None}


def _folder(one: "Run | Extension", task: str, languages: tuple[str, ...]) -> dict[str, Any]:
    return {
        "run": str(one.folder),
        "state": one.state,
        "task": task,
        "language": "+".join(languages),
        "model": one.plan.model,
        "seeds": list(one.seeds),
        "finished_seeds": list(one.finished_seeds),
        "created": one.created,
    }
