"""`xmodctl eval-transfer`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xmodctl.cli import options
from xmodctl.cli.commands.compare import show as show_comparison
from xmodctl.cli.options import DATA
from xmodctl.evaluation.evaluate import Wish, data_folder, measure, scored_with
from xmodctl.run.loading import find_base, find_run, refuse_unfinished

if TYPE_CHECKING:
    from xmodctl.adapters.packages import Package
    from xmodctl.evaluation.comparison import Comparison
    from xmodctl.evaluation.results import Failure, Report, Row
    from xmodctl.languages import Target
    from xmodctl.model import Source
    from xmodctl.run.run import Run

PANEL = "Evaluate"
ORDER = 1

# Other commands sweep too.
__all__ = ["Wish", "eval_transfer", "evaluate", "fail_if_any", "find_base", "open_data", "refuse_unfinished", "sweep"]


def eval_transfer(
    langs: options.Languages,
    run: options.RunFolder = None,
    split: options.Split = "test",
    controls: Annotated[
        str,
        typer.Option(
            "--controls", metavar="source,none", help="Score also through the source's adapter, or through none."
        ),
    ] = "",
    adapter: options.Adapters = None,
    precision: options.Precision = "auto",
    data: options.Data = None,
    language_column: options.LanguageColumn = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="How this data is written, other than the task says: `labels_mapped.DATE=O`; repeatable.",
            rich_help_panel=DATA,
        ),
    ] = None,
    limit: options.Limit = None,
    on_exists: options.OnExistingScores = "missing",
    json: options.Json = False,
) -> None:
    """Score a run in other languages, each through its own adapter.

    The shared weights are loaded once; every language brings its own adapter. A second call scores only what is
    missing. The source language is always scored, because gaps are measured from it (leave it out with `-en_XX`).

    Examples:

    - `xmodctl eval-transfer --langs de_DE,fr_XX`

    - `xmodctl eval-transfer --run runs/my-run --langs @task --controls source,none`

    - `xmodctl eval-transfer --langs all,-zh_TW,jv=id_ID --split validation --data data/panx`

    - `xmodctl eval-transfer --adapter runs/zu_ZA --langs zu --data masakhaner/zu --set labels_mapped.DATE=O`
    """
    from xmodctl.cli import display
    from xmodctl.cli.score_tables import report_sheet
    from xmodctl.core.schema import parse_override

    chosen = tuple(part.strip() for part in controls.split(",") if part.strip())
    wish = Wish(langs, split, chosen, data, limit, precision, on_exists, tuple(adapter or ()))
    found = scored_with(find_run(run), dict(parse_override(text) for text in changes or ()), origin="--set")
    if language_column:
        found = found.with_task({"language_column": language_column}, origin="--lang-column")
    if not run:
        display.note(f"run: {found.folder} (the newest; choose another with --run)")
    report, rows = evaluate(found, replace(wish, data=open_data(found, data, split)))
    mattered = did_the_adapters_matter(found, rows) if chosen else None
    if json:
        printed = {"report": report.to_json(), "rows": [row.to_json() for row in rows]}
        display.show_json(printed | ({"controls": mattered.to_json()} if mattered else {}))
    else:
        display.show(report_sheet(report))
        if mattered:
            show_comparison(mattered)
        for note in report.notes:
            display.warn(note)
        display.note(f"rows: {found.results}")
    fail_if_any(report.failures)


def open_data(run: "Run", data: Path | None, split: str) -> Path | None:
    """Return the data folder asked for, or else the run's, telling so, or None for the Hub.

    Raises:
        UserError: It is no folder.
    """
    from xmodctl.cli import display
    from xmodctl.core.events import Notice

    return data_folder(run, data, split, lambda event: display.note(event.text) if isinstance(event, Notice) else None)


def fail_if_any(failures: "Sequence[Failure]") -> None:
    """Tell each reason once.

    Raises:
        PartialFailureError: Something could not be scored.
    """
    from xmodctl.core.errors import PartialFailureError

    if reasons := list(dict.fromkeys(f"  {failure.language}: {failure.reason}" for failure in failures)):
        raise PartialFailureError("\n".join([f"{len(reasons)} could not be scored:", *reasons]))


def evaluate(run: "Run", wish: Wish) -> "tuple[Report, list[Row]]":
    """Sweep the languages and gather what was measured, drawing what happens.

    Raises:
        UserError: Nothing can be scored.
    """
    from xmodctl.cli import display
    from xmodctl.cli.drawing import Drawing

    with Drawing(display.SweepProgress) as draw:
        return measure(run, wish, draw)


def sweep(
    run: "Run", source: "Source", targets: "Sequence[Target]", wish: Wish, *, packages: "Sequence[Package]" = ()
) -> "tuple[list[Row], list[Failure]]":
    """Score targets, drawing what happens.

    Raises:
        UserError: Nothing can be scored.
    """
    from xmodctl.cli import display
    from xmodctl.cli.drawing import Drawing
    from xmodctl.evaluation import evaluate as api

    with Drawing(display.SweepProgress) as draw:
        return api.sweep(run, source, targets, wish, draw, packages=packages)


def did_the_adapters_matter(run: "Run", rows: "Sequence[Row]") -> "Comparison | None":
    """Compare each language with its controls; where nothing can be compared, say why and return None."""
    from xmodctl.cli import display
    from xmodctl.core.errors import UserError
    from xmodctl.evaluation.comparison import compare_controls

    try:
        return compare_controls(run, rows)
    except UserError as problem:
        display.warn(str(problem))
        return None
