"""A study as a Markdown table (GitHub's dialect): for pull requests, issues, model cards."""

import re
from collections.abc import Iterable

from xmodctl.core.visible import one_line
from xmodctl.evaluation.results import MAJORITY_BASELINE, WITHOUT_SOURCE
from xmodctl.reports.study import Study


def to_markdown(study: Study) -> str:
    """Return title, table, averages and notes as Markdown."""
    several = len(study.columns) > 1
    title = f"{escaped(study.task.title)}, {study.split}: {escaped(study.metric)} in percent"
    lines = [f"### {title}" + (f" (LIMITED to {study.limited:,} rows a language)" if study.limited else ""), ""]
    for column in study.columns:
        seeds = ", ".join(map(str, column.report.seeds))
        plan = column.run.plan
        lines.append(
            f"- {escaped(column.name)}: {escaped(plan.model)}, trained in "
            f"{escaped(' + '.join(column.report.source_languages))}, recipe {escaped(plan.recipe.name)}, seeds {seeds}"
        )
    heads = ["language", "family", "adapter", "n", MAJORITY_BASELINE]
    for column in study.columns:
        heads += [f"{column.name if several else study.metric} (95 % interval)", "gap"]
    lines += ["", _line(map(escaped, heads)), _line(["---"] * 3 + ["---:"] * (len(heads) - 3))]
    for language in study.languages:
        shown = [column.score(language.code) for column in study.columns]
        known = [score for score in shown if score]
        source = " *source*" if any(score.is_source for score in known) else ""
        shots = max((score.shots for score in known), default=0)
        source += f" *{shots} shots*" if shots else ""
        adapters = dict.fromkeys(score.adapter or "none" for score in known)
        cells = [
            f"{escaped(language.name)} ({escaped(language.code)}){source}",
            escaped(language.family),
            escaped(", ".join(adapters)),
            f"{known[0].n:,}",
            f"{known[0].baseline:.1f}",
        ]
        for score in shown:
            if score is None:
                cells += ["not scored", ""]
                continue
            spread = "" if score.spread is None else f" ± {score.spread:.1f}"
            cells.append(f"{score.mean:.1f}{spread}{_interval((score.ci_low, score.ci_high))}")
            cells.append(_points(score.gap, score.gap_ci))
        lines.append(_line(cells))
    for average in study.averages:
        values = []
        for column, value, ends in zip(study.columns, average.values, average.intervals, strict=True):
            gap = (column.shared.gap, column.shared.gap_ci) if average.name == WITHOUT_SOURCE else (None, None)
            values += [f"**{value:.1f}**{_interval(ends)}", _points(*gap)]
        lines.append(_line([f"mean, {average.name} ({len(average.languages)})", "", "", "", "", *values]))
    if notes := [*(f"A run is left out: {reason}" for reason in study.left_out), *study.notes]:
        lines += ["", *(f"- {escaped(note)}" for note in notes)]
    told = [(score.ci_method for score in column.report.scores) for column in study.columns]
    paired = [column.report.ci_method for column in study.columns]
    intervals = dict.fromkeys(method for methods in (*told, paired) for method in methods if method)
    reading = "Means over languages are unweighted; *all languages* includes the source, as in XTREME's tables. "
    reading += "The gap is the source's score minus this one."
    lines += ["", f"Intervals: {escaped('; '.join(intervals))}. {reading}"]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Return text that Markdown shows as it is, within a table's cell too."""
    safe = one_line(text).replace("&", "&amp;").replace("<", "&lt;")
    safe = re.sub(r"([\\`*_\[\]#+|~>$])", r"\\\1", safe)
    return re.sub(r"^(\d*)([-.)])", r"\1\\\2", safe)  # what would begin a list


def _interval(ends: tuple[float, float] | None) -> str:
    return "" if ends is None else f" ({ends[0]:.1f} to {ends[1]:.1f})"


def _points(gap: float | None, ends: tuple[float, float] | None) -> str:
    return "" if gap is None else f"{gap:+.1f}{_interval(ends)}"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
