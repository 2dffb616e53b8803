"""`xmodctl compare`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xmodctl.cli import options
from xmodctl.cli.options import choice

if TYPE_CHECKING:
    from xmodctl.evaluation.comparison import Comparison

PANEL = "Evaluate"
ORDER = 3

SPLITS = ("test", "validation", "train")


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Two or more runs; the others are compared with the first."),
    ],
    split: options.Split = "test",
    langs: options.Languages = "all",
    json: options.Json = False,
) -> None:
    """Tell whether runs really differ, language by language, from the predictions they stored; no model is loaded.

    Differences are paired example by example, p-values corrected for the number of tests (Holm). Runs that were not
    scored on the same examples are refused. A single run is compared with its own controls: did the adapters matter?

    Examples:

    - `xmodctl compare runs/a runs/b`

    - `xmodctl compare runs/a runs/b runs/c --langs de,sw,ur --split validation --json`

    - `xmodctl compare runs/a     # after eval-transfer --controls source,none`
    """
    from xmodctl.cli import display
    from xmodctl.evaluation.comparison import compare_controls, compare_runs, rows_of
    from xmodctl.run.run import Run

    choice("--split", split, SPLITS)
    found = [Run.read(folder) for folder in runs]
    if len(found) > 1:
        comparison = compare_runs(found, split=split, languages=langs)
    else:
        comparison = compare_controls(found[0], rows_of(found[0], split), languages=langs)
    if json:
        display.show_json(comparison.to_json())
    else:
        show(comparison)


def show(comparison: "Comparison") -> None:
    """Print a comparison: what is compared, a table for each two sides, the verdicts."""
    from xmodctl.cli import display
    from xmodctl.cli.score_tables import difference_sheets

    for side in comparison.sides:
        seeds = f"{'seeds' if len(side.seeds) > 1 else 'seed'} {', '.join(map(str, side.seeds))}"
        display.show_text(f"{side.label}: {side.name}, {seeds}")
    for table, verdict in zip(difference_sheets(comparison), comparison.verdicts, strict=True):
        display.show_text("")
        display.show(table)
        display.show_text(verdict)
    for note in comparison.notes:
        display.warn(note)
    display.note(comparison.ci_method)
