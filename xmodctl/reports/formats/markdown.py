"""Markdown (GitHub's dialect): for pull requests and issues. Model cards have the same table."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from xmodctl.core.visible import one_line
from xmodctl.reports import numbers

if TYPE_CHECKING:
    from xmodctl.reports.score_table import Cell, RunColumn, ScoreRow, ScoreTable
    from xmodctl.reports.study import Study

EXTENSIONS = (".md",)
PAGE = False


def render(study: "Study") -> str:
    """Return title, table, averages, and notes as Markdown, for each data set."""
    return "\n".join(_section(each.table) for each in study.by_data_set)


def _section(table: "ScoreTable") -> str:
    title = f"{escaped(table.title)}, {table.split}{escaped(table.on_data)}: {escaped(table.metric)} in percent"
    limited = f" (LIMITED to {table.limited:,} rows per language)" if table.limited else ""
    lines = [f"### {title}{limited}", "", *map(_run, table.columns), "", *table_lines(table)]
    if notes := [*(f"A run is not shown: {reason}" for reason in table.skipped), *table.notes]:
        lines += ["", *(f"- {escaped(note)}" for note in notes)]
    return "\n".join([*lines, "", legend(table)]) + "\n"


def table_lines(table: "ScoreTable") -> list[str]:
    """Return the lines of the score table and its averages."""
    heads = ["language", "family", "adapter", "n", "majority baseline"]
    runs = [column for column in table.columns if column.has_gaps]
    for column in table.columns:
        name = table.metric if runs == [column] else column.name
        heads += [f"{name} (95% interval)", "gap"] if column.has_gaps else [name]
    lines = [_line(map(escaped, heads)), _line(["---"] * 3 + ["---:"] * (len(heads) - 3))]
    for row in table.rows:
        cells = [cell for pair in zip(table.columns, row.cells, strict=True) for cell in _cells(*pair)]
        lines.append(_line([*_head(row, table), *cells]))
    for average in table.averages:
        cells = [cell for pair in zip(table.columns, average.cells, strict=True) for cell in _mean_cells(*pair)]
        count = f" ({average.languages})" if average.languages else ""
        lines.append(_line([f"{average.title}{count}", "", "", "", "", *cells]))
    return lines


def legend(table: "ScoreTable") -> str:
    """Return how to read the table, in one paragraph."""
    intervals = f"Intervals: {escaped('; '.join(table.methods))}. " if table.methods else ""
    paired = f"Gaps and averages: {escaped('; '.join(table.paired_methods))}. " if table.paired_methods else ""
    return (
        f"{intervals}{paired}The majority baseline is the best score that an answer can have if it ignores the input. "
        "The gap is "
        "the source's score minus this one. Means over languages are unweighted; *all languages* includes the source, "
        "as in XTREME's tables."
    )


def escaped(text: str) -> str:
    """Return text that Markdown shows as it is, within a table's cell too."""
    safe = one_line(text).replace("&", "&amp;").replace("<", "&lt;")
    safe = re.sub(r"([\\`*_\[\]#+|~>$])", r"\\\1", safe)
    return re.sub(r"^(\d*)([-.)])", r"\1\\\2", safe)  # what would begin a list


def code(text: str) -> str:
    """Return text as code, within a table's cell too; code cannot contain a backtick, which becomes an apostrophe."""
    safe = one_line(text).replace("`", "'")
    if "|" in safe:  # a cell's separator even within code
        return f"<code>{escaped(safe)}</code>"
    return f"`{safe}`" if safe else ""


def _run(column: "RunColumn") -> str:
    seeds = ", ".join(map(str, column.seeds))
    return (
        f"- {escaped(column.name)}: {escaped(column.model)}, {escaped(column.training(' + '))}, "
        f"{'recipe' if column.sources else 'vectors:'} {escaped(column.recipe)}, "
        f"seed{'s' if len(column.seeds) > 1 else ''} {seeds}"
    )


def _head(row: "ScoreRow", table: "ScoreTable") -> list[str]:
    language = f"{escaped(row.language.name)} ({escaped(row.language.code)})"
    return [
        f"{language} *{row.role}*" if row.role else language,
        escaped(row.language.family),
        escaped(", ".join(row.adapters)),
        f"{row.n:,}{' LIMITED' if table.limited else ''}",
        numbers.score(row.baseline),
    ]


def _cells(column: "RunColumn", cell: "Cell | None") -> list[str]:
    if cell is None:
        return ["not scored", ""] if column.has_gaps else [""]
    value = numbers.with_interval(numbers.score(cell.value, cell.spread), cell.interval)
    return [value, numbers.with_interval(numbers.points(cell.gap), cell.gap_interval)][: 1 + column.has_gaps]


def _mean_cells(column: "RunColumn", cell: "Cell | None") -> list[str]:
    if cell is None:
        return [""] * (1 + column.has_gaps)
    value = numbers.with_interval(f"**{numbers.score(cell.value)}**", cell.interval)
    return [value, numbers.with_interval(numbers.points(cell.gap), cell.gap_interval)][: 1 + column.has_gaps]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
