"""`xmodctl report`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xmodctl.cli import options
from xmodctl.cli.options import OUTPUT
from xmodctl.core.arguments import ERRORS, PLOTS, TERMINAL
from xmodctl.reports.formats import format_names

if TYPE_CHECKING:
    from xmodctl.reports.study import Study

PANEL = "Evaluate"
ORDER = 2


Plot = Annotated[
    str | None,
    typer.Option(
        "--plot",
        metavar="|".join(PLOTS),
        help="The figure, with `--format svg`, `pdf`, or `png`. Default: `scores`.",
        rich_help_panel=OUTPUT,
    ),
]


def report(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RUN", help="Run folders, one column each. Default: the newest run under `runs/`."),
    ] = None,
    named: Annotated[
        list[Path] | None, typer.Option("--run", metavar="DIR", help="A run, as an option; repeatable.")
    ] = None,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="|".join((*format_names(), TERMINAL)),
            help="The format. Default: inferred from the extension of --out, or else `html`.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    split: options.Split = "test",
    errors: Annotated[
        int,
        typer.Option("--errors", metavar="N", min=0, help="Worst errors per language; 0 shows no text from the data."),
    ] = ERRORS,
    data: options.RunData = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="The file to write. Default: `RUN/report.html`; other formats are printed.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    plot: Plot = None,
    json: options.Json = False,
) -> None:
    """Report the scores of runs: one HTML file, or a table for a paper, a pull request, or a spreadsheet.

    Several runs of one task become columns. The HTML file is self-contained; it includes text from the data
    (`--errors 0` excludes it).

    Examples:

    - `xmodctl report`

    - `xmodctl report runs/a runs/b --out compared.html`

    - `xmodctl report runs/a --format latex > table.tex`

    - `xmodctl report runs/a --plot gaps --out gaps.pdf`
    """
    from xmodctl.core.errors import PartialFailureError
    from xmodctl.reports.report import report as make_report

    runs = [*(runs or ()), *(named or ())]
    study = make_report(runs or None, format_, split, errors, data, out, write=not json, plot=plot)
    _show(study, format_, newest=not runs, json=json)
    if study.skipped:
        reasons = "\n".join(f"  {reason}" for reason in study.skipped)
        count = len(study.runs) + len(study.skipped)
        raise PartialFailureError(f"{len(study.skipped)} of {count} runs could not be shown:\n{reasons}")


def _show(study: "Study", format_: str | None, *, newest: bool, json: bool) -> None:
    """Print the notes, and what is not in a file."""
    from xmodctl.cli import display

    if newest:
        display.note(f"run: {study.runs[0].run.folder} (the newest; to report other runs, name them)")
    for each in study.by_data_set:
        for note in each.notes:
            display.warn(f"{each.data_set}: {note}" if each is not study else note)
    if json:
        display.show_json(study.to_json() | ({"file": str(study.file)} if study.file else {}))
    elif study.file:
        display.show_text(f"report: {study.file}")
    elif format_:
        _print(study, format_)


def _print(study: "Study", format_: str) -> None:
    """Print a study in a format that is not written to a file."""
    import sys

    from xmodctl.cli import display
    from xmodctl.cli.score_tables import report_sheet, runs_sheet
    from xmodctl.core.errors import UserError

    if format_ == TERMINAL:
        for each in study.by_data_set:
            display.show(report_sheet(each.runs[0].report) if len(study.runs) == 1 else runs_sheet(each.table))
        return
    content = study.render(format_)
    if isinstance(content, bytes):
        if sys.stdout.isatty():
            raise UserError(f"the format {format_} is not text; write it to a file with --out FILE")
        sys.stdout.buffer.write(content)
    else:
        display.show_text(content.rstrip("\n"))
