"""`xmodctl runs`."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xmodctl.cli import options

if TYPE_CHECKING:
    from xmodctl.run.listing import RunSummary

PANEL = "Explore"
ORDER = 5


def runs(
    under: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of runs, or a run.")] = Path("runs"),
    json: options.Json = False,
) -> None:
    """List runs and added languages, newest first.

    Examples:

    - `xmodctl runs`

    - `xmodctl runs runs/xnli-en_XX`

    - `xmodctl runs my-experiments --json`
    """
    from xmodctl.cli import display
    from xmodctl.run.listing import runs as list_runs

    summaries = list_runs(under)
    if json:
        display.show_json([summary.to_json() for summary in summaries])
        return
    if not summaries:
        display.note(f"no runs under {under}/; create one with `xmodctl finetune` or `xmodctl demo`")
        return
    rows = [
        (
            summary.run,
            summary.state,
            summary.task,
            summary.language,
            summary.model,
            f"{len(summary.finished_seeds)}/{len(summary.seeds)}",
            _scored(summary),
            _minute(summary.created),
        )
        for summary in summaries
    ]
    columns = ("run", "state", "task", "trained in", "model", "seeds", "scored", "created")
    sheet = display.sheet(columns, rows, right=("seeds", "scored"))
    brief = sheet.without("created")
    display.show(replace(sheet, narrower=(brief, brief.without("model"))))


def _minute(created: str) -> str:
    """Return an ISO 8601 time to the minute, in UTC; the text itself where it is not one."""
    from datetime import UTC, datetime

    try:
        return f"{datetime.fromisoformat(created).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    except ValueError:
        return created


def _scored(summary: "RunSummary") -> str:
    """Return how many languages are scored, and on how many data sets if there are several."""
    if summary.scored_languages is None:
        return ""
    sets = f" ({len(summary.data_sets)} data sets)" if len(summary.data_sets) > 1 else ""
    return f"{summary.scored_languages}{sets}"
