"""`xmodctl donors`."""

from typing import TYPE_CHECKING, Annotated

import typer

from xmodctl.cli import options
from xmodctl.cli.launching import launch_unless_launched
from xmodctl.cli.loading import NEWEST_RUN, say_loading
from xmodctl.cli.options import OUTPUT

if TYPE_CHECKING:
    from xmodctl.evaluation.donors import DonorMatrix, DonorScore

PANEL = "Evaluate"
ORDER = 4


TextLanguages = Annotated[
    str,
    typer.Option(
        "--langs",
        metavar="LANGS",
        help="Languages of the text, with or without an adapter: `jv,qu`, `@task`, `@task,-en`.",
    ),
]
Candidates = Annotated[
    str | None,
    typer.Option(
        "--adapters",
        metavar="LANGS",
        help="Adapters to try: `id_ID,es_XX`, `all`, `@task`. Default: the source language's and those of --langs.",
    ),
]
OnExisting = Annotated[
    str,
    typer.Option(
        "--on-exists",
        metavar="missing|redo",
        help="What to do if scores already exist; `missing` computes only those that do not.",
        rich_help_panel=OUTPUT,
    ),
]


def donors(
    ctx: typer.Context,
    langs: TextLanguages,
    adapters: Candidates = None,
    run: options.RunFolder = None,
    adapter: options.Adapters = None,
    split: options.Split = "validation",
    precision: options.Precision = "auto",
    data: options.RunData = None,
    language_column: options.LanguageColumn = None,
    limit: options.Limit = None,
    processes: options.ScoringProcesses = 1,
    on_exists: OnExisting = "missing",
    json: options.Json = False,
) -> None:
    """Find an adapter for a language that has none: score its text through several adapters, and through none.

    Prints a matrix of text against adapters, with the best donor of each language and those that are not significantly
    worse. Scores are stored in the run like any others; a second call scores only what is missing. If you
    choose an adapter by its score on `--split test`, that score is optimistic.

    Examples:

    - `xmodctl donors --langs jv,qu --adapters id_ID,ms_MY,tl_XX,es_XX`

    - `xmodctl donors --run runs/my-run --langs @task --json`

    - `xmodctl donors --langs zu --adapters zu_ZA,sw_KE --adapter runs/add-zu_ZA-xmod-base-1a2b3c/seed-1/zu_ZA`
    """
    say_loading(run or NEWEST_RUN)
    launch_unless_launched(ctx, processes)
    from xmodctl.cli import display
    from xmodctl.cli.commands.eval_transfer import fail_if_any
    from xmodctl.cli.drawing import Drawing
    from xmodctl.cli.sweep_progress import SweepProgress
    from xmodctl.evaluation.donors import donors as find_donors

    with Drawing(SweepProgress) as draw:
        matrix = find_donors(
            run,
            langs,
            candidates=adapters,
            split=split,
            precision=precision,
            data=data,
            language_column=language_column,
            limit=limit,
            on_exists=on_exists,
            adapters=adapter or (),
            listen=draw,
        )
    if json:
        display.show_json({"matrix": matrix.to_json(), "rows": [row.to_json() for row in matrix.rows]})
    else:
        show(matrix)
    fail_if_any(matrix.failures)


def show(matrix: "DonorMatrix") -> None:
    """Print a matrix: one row per text, one column per adapter."""
    from xmodctl.cli import display

    names = {adapter: adapter or "no adapter" for adapter in matrix.adapters}
    rows = []
    for language in matrix.languages:
        donor = matrix.donor(language)
        cells = [
            _cell(matrix.cell(language, adapter), best=bool(donor and adapter == donor.adapter)) for adapter in names
        ]
        alike = ", ".join(names[adapter] for adapter in donor.alike) if donor else ""
        rows.append((language, *cells, donor.adapter if donor else "", alike))
    seeds = f", mean of {len(matrix.seeds)} seeds" if len(matrix.seeds) > 1 else ""
    limited = f", LIMITED to {matrix.limited} rows per language" if matrix.limited else ""
    title = (
        f"{matrix.task}, {matrix.split}: {matrix.metric} in percent; one row per text, one column per "
        f"adapter{seeds}{limited}"
    )
    columns = ("text", *names.values(), "best donor", "not significantly worse")
    display.show(display.sheet(columns, rows, title=title, right=names.values()))
    display.show_text("(own adapter)   * best of the other adapters")


def _cell(cell: "DonorScore | None", *, best: bool) -> str:
    if cell is None:
        return ""
    text = f"{cell.mean:.1f}"
    return f"({text})" if cell.own else f"{text}*" if best else text
