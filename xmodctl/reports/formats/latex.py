"""A study as a LaTeX table in the style of booktabs."""

import re
from collections.abc import Sequence
from itertools import groupby

from xmodctl.core.visible import one_line
from xmodctl.evaluation.results import WITHOUT_SOURCE, Score
from xmodctl.reports.study import Study

LONGEST = 45
"""Languages that fit a page; a longer table may break over pages."""

_SPECIAL = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}", **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}  # fmt: skip


def to_latex(study: Study) -> str:
    """Return a table that needs `booktabs`, and `longtable` where it is longer than a page."""
    long = len(study.languages) > LONGEST
    several = len(study.columns) > 1
    head = _heads(study) if several else []
    of_a_run = [escaped(study.metric.replace("_", " ")), r"95\,\% interval", "gap"]
    head.append(_line(["language", *(of_a_run * len(study.columns)), "blind"]))
    spec = "l" + "rcr" * len(study.columns) + "r"
    body: list[str] = []
    for family, members in groupby(study.languages, lambda one: one.family):
        body += [r"\addlinespace", rf"\multicolumn{{{len(spec)}}}{{l}}{{\textit{{{escaped(family)}}}}} \\"]
        for language in members:
            scores = [column.score(language.code) for column in study.columns]
            cells = [cell for score in scores for cell in _cells(score)]
            blind = next((f"{score.baseline:.1f}" for score in scores if score), "")
            body.append(_line([f"{escaped(language.name)} ({escaped(language.code)})", *cells, blind]))
    body.append(r"\midrule")
    for average in study.averages:
        values = []
        for column, value, ends in zip(study.columns, average.values, average.intervals, strict=True):
            gap = column.shared.gap if average.name == WITHOUT_SOURCE else None
            values += [f"{value:.1f}", _interval(ends), _points(gap)]
        body.append(_line([f"mean, {average.name} ({len(average.languages)})", *values, ""]))
    packages = r"% \usepackage{booktabs}" + (r" \usepackage{longtable}" if long else "")
    comments = [packages, r"% \usepackage[T1]{fontenc} % for quotation marks in names"]
    comments += [f"% {one_line(note)}" for note in (*study.left_out, *study.notes)]
    caption = rf"\caption{{{_caption(study)}}}"
    label = rf"\label{{tab:{re.sub('[^a-z0-9]+', '-', study.task.name.lower())}-{study.split}}}"
    if long:
        return _joined(
            [*comments, rf"\begin{{longtable}}{{{spec}}}", caption + label + r" \\", r"\toprule", *head, r"\midrule",
             r"\endhead", *body, r"\bottomrule", r"\end{longtable}"]
        )  # fmt: skip
    return _joined(
        [*comments, r"\begin{table}", r"\centering", caption, label, rf"\begin{{tabular}}{{{spec}}}", r"\toprule",
         *head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    )  # fmt: skip


def escaped(text: str) -> str:
    """Return text that LaTeX sets as it is."""
    return "".join(_SPECIAL.get(character, character) for character in one_line(text))


def _heads(study: Study) -> list[str]:
    """Return the line of the runs' names, each over its three columns, and the rules under them."""
    names = [rf"\multicolumn{{3}}{{c}}{{{escaped(column.name)}}}" for column in study.columns]
    rules = [rf"\cmidrule(lr){{{3 * number + 2}-{3 * number + 4}}}" for number in range(len(names))]
    return [_line(["", *names, ""]), " ".join(rules)]


def _cells(score: Score | None) -> list[str]:
    if score is None:
        return ["--", "", ""]
    spread = "" if score.spread is None else rf" $\pm$ {score.spread:.1f}"
    return [f"{score.mean:.1f}{spread}", _interval((score.ci_low, score.ci_high)), _points(score.gap)]


def _interval(ends: tuple[float, float] | None) -> str:
    return "" if ends is None else f"{ends[0]:.1f}--{ends[1]:.1f}"


def _points(gap: float | None) -> str:
    return "" if gap is None else f"${gap:+.1f}$"


def _caption(study: Study) -> str:
    """Say what is in the table: a caption that stands alone."""
    models = dict.fromkeys(column.run.plan.model for column in study.columns)
    sources = dict.fromkeys(" + ".join(column.report.source_languages) for column in study.columns)
    seeds = max(len(column.report.seeds) for column in study.columns)
    limited = f" LIMITED to {study.limited} rows a language." if study.limited else ""
    over = f", mean and standard deviation over {seeds} seeds" if seeds > 1 else ""
    metric = escaped(study.metric.replace("_", " "))
    return (
        rf"{escaped(study.task.title)}, {study.split}: {metric} in percent{over}, with 95\,\% intervals. "
        rf"{escaped(', '.join(models))} trained in {escaped(', '.join(sources))}. "
        f"The gap is the source's score minus this one; blind is the best answer without reading.{limited}"
    )


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _joined(lines: Sequence[str]) -> str:
    return "\n".join(lines) + "\n"
