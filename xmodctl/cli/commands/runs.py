"""`xmodctl runs`: list, show, rm, average."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from xmodctl.cli import options
from xmodctl.cli.loading import say_loading
from xmodctl.core.environment import ExitCode

if TYPE_CHECKING:
    from xmodctl.run.listing import RunSummary

PANEL = "Explore"
ORDER = 5

OTHER_NAMES = {
    **dict.fromkeys(("remove", "delete", "del", "clean"), "rm"),
    **dict.fromkeys(("info", "describe", "view", "inspect"), "show"),
    **dict.fromkeys(("mean", "merge", "soup"), "average"),
    "ls": "list",
}
"""What people call the commands elsewhere."""


class ListsByDefault(TyperGroup):
    """`xmodctl runs [DIR]` is `xmodctl runs list [DIR]`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the name of the command in front, unless there is one."""
        if ctx.resilient_parsing:  # a shell asks what could come next
            return super().parse_args(ctx, args)
        if args and args[0] in OTHER_NAMES and not Path(args[0]).exists():
            from xmodctl.core.errors import UserError

            raise UserError(f"there is no command `runs {args[0]}`; use `xmodctl runs {OTHER_NAMES[args[0]]}`")
        if not args or args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


runs = typer.Typer(
    cls=ListsByDefault,
    help="List runs (`xmodctl runs [DIR]`, newest first), show or remove them, and average the weights of several.",
)


@runs.command("list")
def list_(
    under: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="A folder of runs, or a run. Default: `runs/`.")
    ] = None,
    json: options.Json = False,
) -> None:
    """List runs and added languages, newest first.

    `source` and `transfer` are the mean scores, in percent, on the full test data: over the source languages and over
    the other languages. `xmodctl runs show RUN` shows more.

    Examples:

    - `xmodctl runs`

    - `xmodctl runs runs/xnli-en_XX`

    - `xmodctl runs my-experiments --json`
    """
    from xmodctl.cli import display, run_tables
    from xmodctl.core.messages import size_text
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
            run_tables.score(summary.source_score),
            run_tables.score(summary.transfer_score),
            size_text(summary.size),
            run_tables.ago(summary.created),
        )
        for summary in summaries
    ]
    numbers = ("seeds", "scored", "source", "transfer", "size")
    columns = ("run", "state", "task", "trained in", "model", *numbers, "created")
    sheet = display.sheet(columns, rows, right=numbers)
    brief = sheet.without("seeds", "scored", "model")
    scores = brief.without("task", "trained in")
    narrower = (sheet.without("scored"), brief, scores, scores.without("size"), scores.without("size", "created"))
    display.show(replace(sheet, narrower=narrower))


@runs.command("show")
def show(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run, or of added languages.")],
    json: options.Json = False,
) -> None:
    """Show a run: its plan, the state of each seed, its scores, its size, and the commands that come next.

    Examples:

    - `xmodctl runs show runs/xnli-en_XX-mini-1a2b3c`

    - `xmodctl runs show runs/xnli-en_XX-mini-1a2b3c --json`
    """
    from xmodctl.cli import display, run_tables
    from xmodctl.run.showing import show_run

    details = show_run(run)
    if json:
        display.show_json(details.to_json())
        return
    for table in run_tables.detail_tables(details):
        display.show(table)
    for purpose, command in details.commands.items():
        display.show_text(f"to {purpose}: {command}")


@runs.command("rm")
def rm(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN", help="Folders of runs, or of added languages.")],
    yes: Annotated[bool, typer.Option("--yes", help="Remove without confirmation.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be removed; remove nothing.")] = False,
    json: options.Json = False,
) -> None:
    """Remove runs, after you confirm.

    Only files that xmodctl wrote are removed; others stay in the folder, and links are not followed. A run that another
    command is using is refused. If you stop the command, run it again to finish.

    Examples:

    - `xmodctl runs rm runs/first runs/second`

    - `xmodctl runs rm runs/old-* --dry-run`

    - `xmodctl runs rm runs/first --yes`
    """
    from xmodctl.cli import display
    from xmodctl.core.messages import counted, size_text
    from xmodctl.new_language.removing import kept_text, remove_runs

    removed = remove_runs(folders, dry_run=True)
    if not json or not (yes or dry_run):
        rows = [(each.run, size_text(each.size)) for each in removed]
        display.show(display.sheet(("run", "size"), rows, right=("size",)))
    whole = f"{counted(len(removed), 'run')}, {size_text(sum(each.size for each in removed))}"
    if not dry_run:
        if not yes and not _agrees(f"Remove {whole}?"):
            display.note("nothing was removed")
            raise typer.Exit(ExitCode.PARTIAL)
        remove_runs(folders)
    if json:
        display.show_json([each.to_json() for each in removed])
    for each in removed:
        if text := kept_text(each):
            display.note(text)
    display.note(f"dry run: would remove {whole}" if dry_run else f"removed {whole}")


def _agrees(question: str) -> bool:
    """Return whether the user agrees.

    Raises:
        UserError: There is no terminal to ask on.
    """
    import sys

    from xmodctl.core.errors import UserError

    if not sys.stdin.isatty():
        raise UserError("there is no terminal on which to confirm; to remove without confirmation, add --yes")
    return typer.confirm(question, err=True)


@runs.command("average")
def average(
    members: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Runs of one task, or one run with several seeds.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder of the new run.")],
    seeds: Annotated[
        str | None, typer.Option("--seeds", metavar="N,N", help="Only these seeds of each run. Default: all.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Average the trained weights of seeds or runs into a new run, which other commands read like any run.

    The base model, task, labels, and trained tensors must be the same, and the heads must start from the same random
    weights. The seeds of one run do if it was trained with `--set head_seed=1`.

    Examples:

    - `xmodctl runs average runs/three-seeds --out runs/mean`

    - `xmodctl runs average runs/a runs/b runs/c --out runs/mean`, then `xmodctl eval-transfer --run runs/mean`
    """
    say_loading(", ".join(map(str, members)))
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


def _scored(summary: "RunSummary") -> str:
    """Return how many languages are scored, and on how many data sets if there are several."""
    if summary.scored_languages is None:
        return ""
    sets = f" ({len(summary.data_sets)} data sets)" if len(summary.data_sets) > 1 else ""
    return f"{summary.scored_languages}{sets}"
