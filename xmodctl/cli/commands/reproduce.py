"""`xmodctl reproduce`."""

from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from xmodctl.cli import options

PANEL = "Evaluate"
ORDER = 9


def reproduce(
    table: Annotated[
        str | None,
        typer.Argument(
            metavar="TABLE", help="A shipped table or the path of your own YAML file. Default: list the shipped tables."
        ),
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", metavar="TASK", help="In place of TABLE: that of the model mini on a task.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option("--run", metavar="DIR", help="The run to compare. Default: print the commands.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Compare a run with a published table of scores, or print the commands that train and score one.

    Each language gets a verdict: reproduced, lower, or higher, within a tolerance that is computed from the variation
    between seeds and the number of test rows. The exit code is 1 if the table is not reproduced, also because the run
    lacks scores of some languages.

    Examples:

    - `xmodctl reproduce`

    - `xmodctl reproduce mini-xnli`

    - `xmodctl reproduce mini-xnli --run runs/my-run`

    - `xmodctl reproduce --task xnli --run runs/my-run`
    """
    from xmodctl.cli import display
    from xmodctl.core.errors import PartialFailureError
    from xmodctl.reports.reproducing import reproduce as compare_with_table
    from xmodctl.reports.reproducing import written

    table = _chosen(table, task, run)
    if table is None:
        _list_tables(json)
        return
    reproduction = compare_with_table(table, run=run)
    if json:
        display.show_json(reproduction.to_json())
    elif reproduction.run is None:
        display.show_text("\n".join(reproduction.commands))
        display.note(f"{reproduction.heading}: {reproduction.source}. {_placeholders(reproduction.commands)}")
        display.note(f"Then compare: xmodctl reproduce {quote(table)} --run RUN")
    else:
        columns = ("language", "published", "run", "difference", "tolerance", "verdict")
        rows = map(written, reproduction.verdicts)
        display.show(display.sheet(columns, rows, title=reproduction.heading, right=columns[1:5]))
        display.show_paragraph(reproduction.conclusion)
    for note in reproduction.notes:
        display.warn(note)
    if reproduction.missing:
        lacking = ", ".join(reproduction.missing)
        raise PartialFailureError(f"{reproduction.run} lacks {lacking}; score the rest: {reproduction.rest}")
    if reproduction.is_reproduced is False:
        raise PartialFailureError(f"{reproduction.run} does not reproduce {table}")


def _chosen(table: str | None, task: str | None, run: Path | None) -> str | None:
    """Return the table that is meant; None to list all."""
    from xmodctl.catalog.catalog import table_of
    from xmodctl.core.errors import UserError

    if task is not None:
        if table is not None:
            raise UserError(f"{table} and --task {task} both name a table; remove one of them")
        return table_of(task, "mini")
    if table is None and run is not None:
        raise UserError(f"--run {run}: give the table to compare it with, as in xmodctl reproduce mini-xnli")
    return table


def _placeholders(commands: Sequence[str]) -> str:
    """Return what the reader of a table's commands puts in the place of their capitals."""
    has_data = any("--data DIR" in command for command in commands)
    data = ", DIR is the folder with the data (without --data, it is read from the Hub)" if has_data else ""
    return f"RUN is a folder of your choice{data}."


def _list_tables(json: bool) -> None:
    from xmodctl.catalog.catalog import published_tables
    from xmodctl.cli import display

    tables = published_tables().values()
    if json:
        display.show_json([each.model_dump(mode="json") for each in tables])
        return
    rows = [(each.name, each.title, str(len(each.scores)), str(each.seeds), each.source) for each in tables]
    heads = ("table", "scores", "languages", "seeds", "published in")
    display.show(display.sheet(heads, rows, right=heads[2:4]))
