"""`xmodctl report`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xmodctl.cli import options
from xmodctl.cli.options import OUTPUT, choice

if TYPE_CHECKING:
    from xmodctl.reports import Study

FORMATS = {".html": "html", ".md": "markdown", ".tex": "latex", ".csv": "csv"}
"""What the ending of --out means."""

SPLITS = ("test", "validation", "train")


def report(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[RUN]...", help="Run folders, a column each; default: the newest under `runs/`."),
    ] = None,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="html|markdown|latex|csv|terminal",
            help="Default: what the ending of --out says, else `html`.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    split: Annotated[str, typer.Option("--split", metavar="SPLIT", help="`test` or `validation`.")] = "test",
    errors: Annotated[
        int, typer.Option("--errors", metavar="N", min=0, help="Worst errors shown of a language, with their text.")
    ] = 20,
    data: options.Data = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="The file to write; default: `RUN/report.html`, other formats on standard output.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Write what runs have scored: one HTML file, or a table for a paper, a pull request, a spreadsheet.

    Several runs of one task become columns. The HTML file needs nothing beside itself; it holds texts of the data
    (`--errors 0` leaves them out).

    Examples:

    - `xmodctl report`

    - `xmodctl report runs/a runs/b --out compared.html`

    - `xmodctl report runs/a --format latex > table.tex`
    """
    from xmodctl import reports as reporting
    from xmodctl.cli import display
    from xmodctl.core.errors import PartialFailureError, UserError
    from xmodctl.core.files import write_text
    from xmodctl.run.run import newest_run

    choice("--split", split, SPLITS)
    wanted = format_ or (FORMATS.get(out.suffix.lower()) if out else "html")
    if wanted is None:
        raise UserError(f"--out {out}: the ending says no format ({', '.join(FORMATS)}); name one with --format")
    choice("--format", wanted, (*FORMATS.values(), "terminal"))
    if wanted == "terminal" and out:
        raise UserError(f"--format terminal writes no file; leave out --out {out}, or choose --format markdown")
    if data is not None and not data.is_dir():
        raise UserError(f"--data {data} is not a folder; it should hold LANGUAGE/{split}.jsonl and the like")
    folders = runs or [newest_run().folder]
    if not runs:
        display.note(f"run: {folders[0]} (the newest; name others)")
    written = out is not None or not json
    study = reporting.gather(folders, split=split, data=data, mistakes=errors, examples=wanted == "html" and written)
    for note in study.notes:
        display.warn(note)
    if wanted == "html" and written:
        out = out or _place(study)
    if out:
        write_text(out, _written(study, wanted))
    if json:
        display.show_json(study.to_json() | ({"file": str(out)} if out else {}))
    elif out:
        display.show_text(f"report: {out}")
    elif wanted == "terminal":
        _show(study)
    else:
        display.show_text(_written(study, wanted).rstrip("\n"))
    if study.left_out:
        told = "\n".join(f"  {reason}" for reason in study.left_out)
        raise PartialFailureError(f"{len(study.left_out)} of {len(folders)} runs could not be shown:\n{told}")


def _written(study: "Study", wanted: str) -> str:
    from xmodctl import reports as reporting

    write = {
        "html": reporting.to_html,
        "markdown": reporting.to_markdown,
        "latex": reporting.to_latex,
        "csv": reporting.to_csv,
    }
    return write[wanted](study)


def _place(study: "Study") -> Path:
    """Return where a page goes that nobody named: into the run, or for several here."""
    marked = "" if study.split == "test" else f".{study.split}"
    if len(study.columns) == 1:
        return study.columns[0].run.folder / f"report{marked}.html"
    return Path(f"report-{study.task.name}{marked}.html")


def _show(study: "Study") -> None:
    from xmodctl.cli import display

    if len(study.columns) == 1:
        display.show(display.transfer_table(study.columns[0].report))
        return
    names = [column.name for column in study.columns]
    lines = []
    for language in study.languages:
        scores = [column.score(language.code) for column in study.columns]
        told = [f"{one.mean:.1f} ({one.ci_low:.1f} to {one.ci_high:.1f})" if one else "not scored" for one in scores]
        lines.append((language.code, language.name, language.family, *told))
    for average in study.averages:
        lines.append((f"mean, {average.name}", "", "", *(f"{value:.1f}" for value in average.values)))
    title = f"{study.task.name}, {study.split}: {study.metric} in percent (95 % interval)"
    display.show(display.sheet(("language", "name", "family", *names), lines, title=title, right=names))
