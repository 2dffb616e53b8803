"""`xmodctl langs`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xmodctl.cli import options
from xmodctl.cli.loading import say_loading

if TYPE_CHECKING:
    from xmodctl.data.language_coverage import LanguageCoverage

PANEL = "Explore"
ORDER = 4


def langs(
    model: options.Model = options.DEFAULT_MODEL,
    task: Annotated[
        list[str] | None,
        typer.Option(
            "--task",
            metavar="TASKS",
            help="Tasks, separated by commas, or one for each --task: also show which languages they have data in.",
        ),
    ] = None,
    data: options.Data = None,
    language_column: options.LanguageColumn = None,
    fertility: Annotated[
        bool | None,
        typer.Option(
            "--fertility/--no-fertility",
            help=(
                "Measure how many pieces per word the tokenizer produces, on data that is on this disk. Default: on "
                "for several tasks, or with --out."
            ),
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Also write a map of the languages as an HTML page.")
    ] = None,
    json: options.Json = False,
) -> None:
    """List which languages have an adapter in the model, and which have data in tasks. Downloads nothing.

    Examples:

    - `xmodctl langs`

    - `xmodctl langs --model mini --task xnli`

    - `xmodctl langs --task xnli,wikiann,sib200 --out map.html`
    """
    from xmodctl.cli import display
    from xmodctl.data.language_coverage import LangsRequest
    from xmodctl.reports.language_map import langs as list_languages

    tasks = ",".join(task) if task else None
    if LangsRequest(model, tasks, data, language_column, fertility, out).measures_fertility:
        say_loading(f"the tokenizer of {model}")
    coverage = list_languages(model, tasks, data, language_column, fertility, out)
    if json:
        display.show_json(coverage.to_json())
        return
    _show(coverage)
    if out is not None:
        display.note(f"map: {out}")


def _show(coverage: "LanguageCoverage") -> None:
    from xmodctl.cli import display
    from xmodctl.cli.language_tables import language_sheet, task_lines

    for line in task_lines(coverage):
        display.show_text(line)
    display.show(language_sheet(coverage))
    for remark in coverage.remarks:
        display.note(remark)
    if coverage.open_languages:
        display.note(f"{coverage.model} also takes any other language, through an identity adapter")
