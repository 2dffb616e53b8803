"""LaTeX: a table in the style of booktabs."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from xmodctl.core.visible import one_line
from xmodctl.reports import numbers

if TYPE_CHECKING:
    from xmodctl.reports.score_table import Cell, ScoreTable
    from xmodctl.reports.study import Study

EXTENSIONS = (".tex",)
PAGE = False

LONGEST = 45
"""Languages that fit on a page; a longer table may break across pages."""

_SPECIAL = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}", **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}  # fmt: skip


def render(study: "Study") -> str:
    """Return a table for each data set; it needs `booktabs`, and `longtable` where it is longer than a page."""
    return "\n".join(latex_table(each.table) for each in study.by_data_set)


def latex_table(table: "ScoreTable", *, longest: int = LONGEST) -> str:
    """Return the table; with more than `longest` languages it may break across pages."""
    long = len(table.rows) > longest
    spec = "l" + "rcr" * len(table.columns) + "r"
    head, body = _head(table), _body(table)
    packages = r"% \usepackage{booktabs}" + (r" \usepackage{longtable}" if long else "")
    comments = [packages, r"% \usepackage[T1]{fontenc} % for quotation marks in names"]
    comments += [f"% {one_line(note)}" for note in (*table.skipped, *table.notes)]
    caption = rf"\caption{{{_caption(table)}}}"
    label = rf"\label{{tab:{re.sub('[^a-z0-9]+', '-', table.task.lower())}-{table.split}{_label(table.data_set)}}}"
    if long:
        lines = [
            *comments, rf"\begin{{longtable}}{{{spec}}}", caption + label + r" \\", r"\toprule", *head, r"\midrule",
            r"\endhead", *body, r"\bottomrule", r"\end{longtable}",
        ]  # fmt: skip
    else:
        lines = [
            *comments, r"\begin{table}", r"\centering", caption, label, rf"\begin{{tabular}}{{{spec}}}", r"\toprule",
            *head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}", r"\end{table}",
        ]  # fmt: skip
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Return text that LaTeX sets as it is."""
    return "".join(_SPECIAL.get(character, character) for character in one_line(text))


def _head(table: "ScoreTable") -> list[str]:
    """Return the column heads; with several runs, each run's name spans its three columns."""
    lines = []
    if len(table.columns) > 1:
        names = [rf"\multicolumn{{3}}{{c}}{{{escaped(column.name)}}}" for column in table.columns]
        rules = [rf"\cmidrule(lr){{{3 * number + 2}-{3 * number + 4}}}" for number in range(len(names))]
        lines = [_line(["", *names, ""]), " ".join(rules)]
    per_run = [_metric(table), r"95\,\% interval", "gap"]
    return [*lines, _line(["language", *(per_run * len(table.columns)), "majority"])]


def _body(table: "ScoreTable") -> list[str]:
    lines: list[str] = []
    width = 2 + 3 * len(table.columns)
    for family, rows in table.families:
        lines += [r"\addlinespace", rf"\multicolumn{{{width}}}{{l}}{{\textit{{{escaped(family)}}}}} \\"]
        for row in rows:
            language = f"{escaped(row.language.name)} ({escaped(row.language.code)})"
            cells = [text for cell in row.cells for text in _cells(cell)]
            lines.append(_line([language, *cells, numbers.score(row.baseline)]))
    lines.append(r"\midrule")
    for average in table.averages:
        cells = [text for cell in average.cells for text in _cells(cell)]
        lines.append(_line([f"{average.title} ({average.languages})", *cells, ""]))
    return lines


def _cells(cell: "Cell | None") -> list[str]:
    if cell is None:
        return ["--", "", ""]
    value = numbers.score(cell.value, cell.spread).replace("±", r"$\pm$")
    interval = f"{cell.interval[0]:z.1f}--{cell.interval[1]:z.1f}" if cell.interval else ""
    gap = numbers.points(cell.gap)
    return [value, interval, f"${gap}$" if gap else ""]


def _caption(table: "ScoreTable") -> str:
    """Return what the table shows: a caption that can be understood without the text around it."""
    models = dict.fromkeys(column.model for column in table.columns)
    trained = dict.fromkeys(column.training(" + ") for column in table.columns)
    seeds = max(len(column.seeds) for column in table.columns)
    limited = f" LIMITED to {table.limited} rows per language." if table.limited else ""
    over = f", mean and standard deviation over {seeds} seeds" if seeds > 1 else ""
    return (
        rf"{escaped(table.title)}, {table.split}{escaped(table.on_data)}: "
        rf"{_metric(table)} in percent{over}, with 95\,\% intervals. "
        rf"{escaped(', '.join(models))} {escaped(', '.join(trained))}. "
        f"The gap is the source's score minus this one; majority is the majority baseline.{limited}"
    )


def _label(data_set: str) -> str:
    return f"-{re.sub('[^a-z0-9]+', '-', data_set.lower()).strip('-')}" if data_set else ""


def _metric(table: "ScoreTable") -> str:
    return escaped(table.metric.replace("_", " "))


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"
