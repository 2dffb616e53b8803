"""Figures for papers and slides: scores, gaps, a heat map, training curves, drawn with matplotlib.

They are as wide as a column of a two-column page, their fonts are embedded, and series differ in shape as well as in
color, so that they can be read in gray and by people who do not distinguish all colors (palette: Okabe and Ito, Color
Universal Design, 2008). Equal studies give equal files.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any

from xmodctl.core.arguments import PLOTS, check_choice
from xmodctl.core.errors import UserError
from xmodctl.core.visible import one_line
from xmodctl.evaluation.results import MAJORITY_BASELINE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from xmodctl.reports.study import Study

COLUMN_WIDTH = 3.35
"""Inches; a column of ACL's, IEEE's, and most other two-column pages."""
PAGE_WIDTH = 6.9
"""Inches; both columns. Figures of more than two runs, and heat maps, may be wider than a column."""
ROW = 0.17
"""Inches per language and run."""

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#000000")
MARKERS = ("o", "s", "D", "^", "v", "P")

STYLE: dict[Any, Any] = {
    "font.size": 7, "axes.titlesize": 7.5, "axes.labelsize": 7, "xtick.labelsize": 6.5, "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5, "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.6,
    "grid.linewidth": 0.4, "grid.color": "#dddddd", "lines.linewidth": 0.9, "pdf.fonttype": 42, "svg.fonttype": "path",
    "svg.hashsalt": "xmodctl", "text.parse_math": False, "text.usetex": False, "figure.dpi": 100, "savefig.dpi": 300,
}  # fmt: skip


def figure(study: "Study", plot: str = "scores") -> "Figure":
    """Return a figure of a study.

    Args:
        study: What is shown. Curves need a study with training curves (`details`).
        plot: One of `PLOTS`.

    Raises:
        UserError: There is no such plot, nothing to show in it, or matplotlib is not installed.
    """
    check_choice("--plot", plot, PLOTS)
    with drawing():
        return DRAWN_BY[plot](study)


def image(study: "Study", format: str) -> bytes:  # noqa: A002 (what matplotlib calls it)
    """Return the figure that a study asks for (`Study.plot`), as a file of a format: svg, pdf, or png."""
    file = BytesIO()
    undated = {"svg": "Date", "pdf": "CreationDate"}.get(format)
    metadata: dict[str, Any] = {undated: None} if undated else {}  # equal studies give equal files
    drawn = figure(study, study.plot)
    with drawing():
        drawn.savefig(file, format=format, metadata=metadata)
    return file.getvalue()


@contextmanager
def drawing() -> Iterator[None]:
    """Draw in the style of this module.

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
    except ImportError:
        raise UserError("figures need matplotlib; run: pip install 'xmodctl[plots]'") from None
    with mpl.rc_context(STYLE):
        yield


def _scores(study: "Study") -> "Figure":
    """Scores with their intervals, the best language first, and their unweighted means."""
    languages = study.by_score
    means = study.averages
    drawn, axes = _rows(
        [language.code for language in languages] + [average.brief for average in means], len(study.runs)
    )
    common = study.table.common_baseline
    if common is not None:
        axes.axvline(common, color="#777777", linestyle=(0, (4, 2)), linewidth=0.8, label=MAJORITY_BASELINE)
    for number, run in enumerate(study.runs):
        shown = [(row, score) for row, language in enumerate(languages) if (score := run.score(language.code))]
        points = [(row, score.mean, (score.ci_low, score.ci_high)) for row, score in shown]
        for row, average in enumerate(means, start=len(languages)):
            value = average.values[number]
            points.append((row, value, average.intervals[number] or (value, value)))
        places = [_place(row, number, len(study.runs)) for row, _, _ in points]
        if common is None:
            for place, (_, score) in zip(places, shown, strict=False):
                axes.plot([score.baseline], [place], "|", color="#777777", markersize=5)
        reach = [[max(0.0, value - low), max(0.0, high - value)] for _, value, (low, high) in points]
        axes.errorbar(
            [value for _, value, _ in points], places, xerr=list(zip(*reach, strict=True)), fmt=MARKERS[number % 6],
            color=COLORS[number % 6], markersize=3, capsize=1.5, linestyle="none", linewidth=0.9,
            label=one_line(run.name),
        )  # fmt: skip
    if common is None:
        axes.plot([], [], "|", color="#777777", markersize=5, label=MAJORITY_BASELINE)
    if means:
        axes.axhline(len(languages) - 0.5, color="#999999", linewidth=0.5)
    axes.set_xlabel(f"{study.metric} in percent, 95% intervals")
    return _titled(drawn, axes, study)


def _gaps(study: "Study") -> "Figure":
    """Gaps to the source language with their intervals, the smallest first."""
    gaps = {
        language: [score.gap for run in study.runs if (score := run.score(language.code)) and score.gap is not None]
        for language in study.languages
    }
    languages = sorted((language for language in gaps if gaps[language]), key=lambda language: gaps[language][0])
    if not languages:
        raise UserError("there are no gaps to show: no language other than the source language was scored")
    drawn, axes = _rows([language.code for language in languages], len(study.runs))
    for number, run in enumerate(study.runs):
        for row, language in enumerate(languages):
            score = run.score(language.code)
            if score is None or score.gap is None:
                continue
            ends = score.gap_ci or (score.gap, score.gap)
            axes.barh(_place(row, number, len(study.runs)), score.gap, height=0.8 / len(study.runs),
                      color=COLORS[number % 6], alpha=0.55, hatch=("", "////", "....", "xxxx")[number % 4],
                      edgecolor="white", linewidth=0, label=one_line(run.name) if row == 0 else None)  # fmt: skip
            axes.plot(ends, [_place(row, number, len(study.runs))] * 2, color="#222222", linewidth=0.8)
    axes.axvline(0, color="#222222", linewidth=0.6)
    axes.set_xlabel(f"gap to the source language in points of {study.metric}, 95% intervals")
    return _titled(drawn, axes, study)


def _heat_map(study: "Study") -> "Figure":
    """Scores as shades: one row per run, one column per language."""
    import numpy as np

    languages = study.by_score
    values = np.full((len(study.runs), len(languages)), np.nan)
    for number, run in enumerate(study.runs):
        for column, language in enumerate(languages):
            if score := run.score(language.code):
                values[number, column] = score.mean
    width = min(PAGE_WIDTH, max(COLUMN_WIDTH, 1.2 + 0.3 * len(languages)))
    drawn, axes = _canvas(width, 0.9 + 0.26 * len(study.runs))
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if low == high:  # matplotlib would widen the scale in both directions, beyond 100%
        low, high = min(0.0, low), max(0.0, high) or 1.0
    shades = axes.imshow(values, aspect="auto", cmap="cividis", interpolation="nearest", vmin=low, vmax=high)
    axes.set_xticks(range(len(languages)), [one_line(language.code) for language in languages], rotation=90)
    axes.set_yticks(range(len(study.runs)), [one_line(run.name) for run in study.runs])
    middle = (low + high) / 2
    if len(languages) <= 24:
        for (number, column), value in np.ndenumerate(values):
            if not np.isnan(value):
                color = "black" if value > middle else "white"
                axes.text(column, number, f"{value:.0f}", ha="center", va="center", fontsize=5.5, color=color)
    drawn.colorbar(shades, ax=axes, pad=0.02, fraction=0.05).set_label(f"{study.metric}, %")
    axes.set_title(_title(study), loc="left")
    return drawn


def _curves(study: "Study") -> "Figure":
    """Training loss and validation scores of each seed."""
    curves = [(run.name, curve) for run in study.runs for curve in run.curves]
    if not curves:
        raise UserError("there are no training curves to show: the runs have no metrics.jsonl")
    from matplotlib.ticker import MaxNLocator

    drawn, axes = _canvas(PAGE_WIDTH, 2.1, columns=2)
    for number, (name, curve) in enumerate(curves):
        style = {"color": COLORS[number % 6], "label": f"{one_line(name)}, seed {curve.seed}"}
        axes[0].plot(*zip(*curve.losses, strict=True), linestyle=("-", "--", ":", "-.")[number // 6 % 4], **style)
        if curve.validations:
            axes[1].plot(*zip(*curve.validations, strict=True), marker=MARKERS[number % 6], markersize=3, **style)
    axes[0].set(xlabel="step", ylabel="training loss")
    metric = next((curve.metric for _, curve in curves if curve.metric), study.metric)
    axes[1].set(xlabel="step", ylabel=f"{metric}, validation, %")
    low, high = axes[1].get_ylim()
    axes[1].set_yticks([tick for tick in axes[1].get_yticks() if low <= tick <= 100])
    axes[1].set_ylim(low, min(high, 102))  # percent: room for a mark at 100
    axes[1].set_xlim(axes[0].get_xlim())
    for panel in axes:
        panel.grid(axis="y")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))  # there are no half steps
    axes[0].legend(frameon=False)
    drawn.suptitle(one_line(study.task.title), fontsize=7.5, x=0.01, ha="left")
    return drawn


DRAWN_BY: dict[str, Callable[["Study"], "Figure"]] = dict(zip(PLOTS, (_scores, _gaps, _heat_map, _curves), strict=True))
"""The figures by the names that `--plot` takes."""


def _canvas(width: float, height: float, columns: int = 1) -> tuple["Figure", Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from xmodctl.reports.notebook_figure import NotebookFigure

    drawn = NotebookFigure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(drawn)
    return drawn, drawn.subplots(1, columns)


def _rows(names: Sequence[str], runs: int) -> tuple["Figure", "Axes"]:
    """Return a figure with a row per name, from top to bottom."""
    height = 0.85 + ROW * len(names) * max(1.0, 0.65 * runs)
    drawn, axes = _canvas(COLUMN_WIDTH if runs <= 2 else PAGE_WIDTH, height)
    axes.set_yticks(range(len(names)), [one_line(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    return drawn, axes


def _place(row: int, number: int, runs: int) -> float:
    """Return where a run's mark is within the row of a language."""
    return row + (number - (runs - 1) / 2) * 0.7 / runs


def _titled(drawn: "Figure", axes: "Axes", study: "Study") -> "Figure":
    axes.set_title(_title(study), loc="left")
    drawn.legend(frameon=False, loc="outside lower center", ncols=3)
    return drawn


def _title(study: "Study") -> str:
    limited = f", LIMITED to {study.limited:,} rows" if study.limited else ""
    return one_line(f"{study.task.title}, {study.split}{study.table.on_data}{limited}")
