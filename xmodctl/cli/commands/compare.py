"""`xmodctl compare`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xmodctl.cli import options

if TYPE_CHECKING:
    from xmodctl.evaluation.comparison import Comparison

PANEL = "Evaluate"
ORDER = 3


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN", help="Runs: each is compared with the first. A single run is compared with its own controls."
        ),
    ],
    split: options.Split = "test",
    langs: options.Languages = "all",
    json: options.Json = False,
) -> None:
    """Test, from stored predictions, whether the scores of runs differ significantly in each language.

    Differences are paired example by example, and p-values are corrected for the number of tests (Holm). Runs that
    were not scored on the same examples are refused. A single run is compared with its own controls: do the adapters
    matter? No model is loaded.

    Examples:

    - `xmodctl compare runs/a runs/b`

    - `xmodctl compare runs/a runs/b runs/c --langs de,sw,ur --split validation --json`

    - `xmodctl compare runs/a     # after eval-transfer --controls source,none`
    """
    from xmodctl.cli import display
    from xmodctl.evaluation.compare import compare as compare_runs

    comparison = compare_runs(runs, split=split, langs=langs)
    if json:
        display.show_json(comparison.to_json())
    else:
        show(comparison)


def show(comparison: "Comparison") -> None:
    """Print a comparison: its sides, and a table and a verdict for each pair of them."""
    from xmodctl.cli import display
    from xmodctl.cli.score_tables import difference_sheets

    for side in comparison.sides:
        seeds = f"{'seeds' if len(side.seeds) > 1 else 'seed'} {', '.join(map(str, side.seeds))}"
        display.show_text(f"{side.label}: {side.name}, {seeds}")
    for table, verdict in zip(difference_sheets(comparison), comparison.verdicts, strict=True):
        display.show_text("")
        display.show(table)
        display.show_paragraph(verdict)
    for note in comparison.notes:
        display.warn(note)
    display.note(comparison.ci_method)
    for other in comparison.others:
        display.show_text(f"\nOn other data: {other.data_set}")
        show(other)
