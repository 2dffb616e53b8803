"""`xmodctl langs`."""

from typing import TYPE_CHECKING, Annotated

import typer

from xmodctl.cli import options

if TYPE_CHECKING:
    from xmodctl.data.language_coverage import LanguageCoverage

PANEL = "Explore"
ORDER = 4

ADAPTERS = {"trained": "yes", "identity": "identity", "none": "no"}


def langs(
    model: options.Model = options.DEFAULT_MODEL,
    task: Annotated[
        str | None, typer.Option("--task", metavar="TASK", help="Also show which languages this task has data in.")
    ] = None,
    data: options.Data = None,
    language_column: options.LanguageColumn = None,
    json: options.Json = False,
) -> None:
    """List which languages have an adapter in the model, and which have data in a task. Downloads nothing.

    Examples:

    - `xmodctl langs`

    - `xmodctl langs --model mini --task xnli`
    """
    from xmodctl.cli import display
    from xmodctl.data.language_coverage import langs as list_languages

    coverage = list_languages(model, task, data, language_column)
    if json:
        display.show_json(coverage.to_json())
        return
    _show(coverage)


def _show(coverage: "LanguageCoverage") -> None:
    from xmodctl.cli import display

    columns: tuple[str, ...] = ("language", "name", "family", "script", "adapter")
    rows: list[tuple[str, ...]] = [
        (entry.language, entry.name, entry.family, entry.script, ADAPTERS[entry.adapter]) for entry in coverage.entries
    ]
    title = f"{coverage.model}: {coverage.count} languages"
    if coverage.task is not None:
        columns = (*columns, "data")
        rows = [(*row, "yes" if entry.data else "no") for row, entry in zip(rows, coverage.entries, strict=True)]
        with_data = [entry for entry in coverage.entries if entry.data]
        usable = sum(entry.adapter != "none" for entry in with_data)
        title += f"; {coverage.task} has data in {len(with_data)}, {usable} with an adapter"
    display.show(display.sheet(columns, rows, title=title))
    if coverage.open_languages:
        display.note(f"{coverage.model} also takes any other language, through an identity adapter")
