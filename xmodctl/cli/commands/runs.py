"""`xmodctl runs`: list, average."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from xmodctl.cli import options
from xmodctl.cli.loading import say_loading

if TYPE_CHECKING:
    from xmodctl.run.listing import RunSummary

PANEL = "Explore"
ORDER = 5


class ListsByDefault(TyperGroup):
    """`xmodctl runs [DIR]` is `xmodctl runs list [DIR]`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the name of the command in front, unless there is one."""
        if not args or args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


runs = typer.Typer(
    cls=ListsByDefault, help="List runs (`xmodctl runs [DIR]`, newest first), and average the weights of several."
)


@runs.command("list")
def list_(
    under: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="A folder of runs, or a run. Default: `runs/`.")
    ] = None,
    json: options.Json = False,
) -> None:
    """List runs and added languages, newest first.

    Examples:

    - `xmodctl runs`

    - `xmodctl runs runs/xnli-en_XX`

    - `xmodctl runs my-experiments --json`
    """
    from xmodctl.cli import display
    from xmodctl.run.home import runs_folder
    from xmodctl.run.listing import runs as list_runs

    summaries = list_runs(under)
    if json:
        display.show_json([summary.to_json() for summary in summaries])
        return
    if not summaries:
        display.note(f"no runs under {under or runs_folder()}/; create one with `xmodctl finetune` or `xmodctl demo`")
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


@runs.command("average")
def average(
    members: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Runs of one task, or one run with several seeds.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder of the new run.")],
    seeds: Annotated[
        str | None, typer.Option("--seeds", metavar="N,N", help="Only these seeds of each run. Default: all.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Average the trained weights of seeds or runs into a new run, which other commands read like any run.

    Bases, tasks, labels, and trained tensors must be the same, and heads must start from the same random weights: the
    seeds of one run do if it was trained with `--set head_seed=1`.

    Examples:

    - `xmodctl runs average runs/three-seeds --out runs/mean`

    - `xmodctl runs average runs/a runs/b runs/c --out runs/mean`, then `xmodctl eval-transfer --run runs/mean`
    """
    say_loading(out)
    from xmodctl.cli import display
    from xmodctl.run.averaging import average as average_runs

    run = average_runs(members, out=out, seeds=seeds)
    assert run.plan.average is not None
    count = len(run.plan.average.members)
    if json:
        display.show_json({"run": str(run.folder), "members": run.to_json()["plan"]["average"]["members"]})
        return
    display.show_text(f"run: {run.folder}")
    display.note(
        f"the mean of {count} models; score it with: xmodctl eval-transfer --run {shlex.quote(str(run.folder))}"
    )


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
