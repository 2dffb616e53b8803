"""`xmodctl score`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from xmodctl.cli import options
from xmodctl.cli.options import OUTPUT

if TYPE_CHECKING:
    from xmodctl.evaluation.example_statistics import Rescored

PANEL = "Evaluate"
ORDER = 5


def score(
    run: options.RunFolder = None,
    update: Annotated[
        bool,
        typer.Option(
            "--update",
            help="Add rows with what was found where stored values differ and predictions are untouched.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    json: options.Json = False,
) -> None:
    """Score the predictions that a run stored again, without a model, and tell where stored values differ.

    Values differ when results were edited, or when this version scores by other rules than the one that stored them.
    Exit code 1 says that something is not as it was stored.

    Examples:

    - `xmodctl score --run runs/my-run`

    - `xmodctl score --run runs/my-run --update`
    """
    from xmodctl.cli import display
    from xmodctl.core.errors import PartialFailureError, UserError
    from xmodctl.evaluation.example_statistics import AS_STORED, rescore
    from xmodctl.evaluation.results import append_row, read_rows
    from xmodctl.run.folder import locked
    from xmodctl.run.run import Run, newest_run

    found = Run.read(run) if run else newest_run()
    if not run:
        display.note(f"run: {found.folder} (the newest; choose another with --run)")
    rows = read_rows(found.results)
    if not rows:
        raise UserError(
            f"{found.folder} has no scores; xmodctl eval-transfer --run {found.folder} --langs all makes some"
        )
    told = [rescore(found.folder, row, found.plan.task) for row in rows]
    updated = [one.found for one in told if update and one.found and one.state == "differs"]
    if updated:
        with locked(found.folder):
            for row in updated:
                append_row(found.results, row)
    if json:
        display.show_json([_as_json(one, updated=one.found in updated) for one in told])
    else:
        columns = ("language", "adapter", "control", "split", "seed", "n", "metric", "stored", "now", "")
        lines = [_line(one) for one in told]
        display.show(display.sheet(columns, lines, title=str(found.folder), right=("seed", "n", "stored", "now")))
    if updated:
        display.note(f"{len(updated)} rows are updated in {found.results}")
    if count := sum(one.state == AS_STORED for one in told):
        display.note(f"{count} rows score as stored")
    wrong = [one for one in told if one.state != AS_STORED and one.found not in updated]
    if wrong:
        reasons = [one.problem or f"{one.row.language}, seed {one.row.seed}: stored values differ" for one in wrong]
        raise PartialFailureError("\n  ".join([f"{len(wrong)} of {len(told)} rows are not as stored:", *reasons]))


def _line(one: "Rescored") -> tuple[str, ...]:
    row = one.row
    return (
        row.language,
        row.adapter or "none",
        row.control,
        row.split,
        str(row.seed),
        f"{row.n:,}",
        row.metric,
        f"{row.value:.2f}",
        f"{one.found.value:.2f}" if one.found else "",
        one.state,
    )


def _as_json(one: "Rescored", *, updated: bool) -> dict[str, Any]:
    return {
        "row": one.row.to_json(),
        "metrics": one.found.metrics if one.found else None,
        "state": one.state,
        "problem": one.problem or None,
        "updated": updated,
    }
