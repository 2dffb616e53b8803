"""The figures of reports as matplotlib figures, for notebooks and scripts."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from xmodctl.reports.curves import read_curve
from xmodctl.reports.figures import curves_figure, figure
from xmodctl.reports.gathering import gather, unique_names
from xmodctl.reports.requests import ReportRequest
from xmodctl.reports.study import Study
from xmodctl.run.run import Run, newest_run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Shown = Study | Run | str | Path | Sequence[Run | str | Path] | None
"""What is plotted: a study, or runs or their folders; by default, the newest run under `runs/`."""


def plot_scores(shown: Shown = None, *, split: str = "test") -> "Figure":
    """Return the scores of runs with their intervals, the best language first, and their means.

    Args:
        shown: A study, or runs or their folders; by default, the newest run under `runs/`.
        split: `train`, `validation`, or `test`.

    Raises:
        UserError: A run cannot be shown, or matplotlib is not installed.
    """
    return figure(_study(shown, split), "scores")


def plot_gaps(shown: Shown = None, *, split: str = "test") -> "Figure":
    """Return the gaps to the source language with their intervals.

    Args:
        shown: A study, or runs or their folders; by default, the newest run under `runs/`.
        split: `train`, `validation`, or `test`.

    Raises:
        UserError: A run cannot be shown, no language was scored beside the source, or matplotlib is not installed.
    """
    return figure(_study(shown, split), "gaps")


def plot_heat_map(shown: Shown = None, *, split: str = "test") -> "Figure":
    """Return the scores as shades, with a row per run and a column per language.

    Args:
        shown: A study, or runs or their folders; by default, the newest run under `runs/`.
        split: `train`, `validation`, or `test`.

    Raises:
        UserError: A run cannot be shown, or matplotlib is not installed.
    """
    return figure(_study(shown, split), "heat-map")


def plot_curves(shown: Shown = None) -> "Figure":
    """Return the training loss and the validation scores of each seed. The runs need no scores.

    Args:
        shown: A study, or runs or their folders; by default, the newest run under `runs/`.

    Raises:
        UserError: A run cannot be read, has no record of its training or a damaged one, or matplotlib is not installed.
    """
    if isinstance(shown, Study):
        runs = [(run.name, run.run) for run in shown.runs]
    else:
        folders = _folders(shown)
        names = unique_names([folder.resolve() for folder in folders])
        runs = [(name, Run.read(folder)) for name, folder in zip(names, folders, strict=True)]
    read = (
        (name, read_curve(run.seed_folder(seed) / "metrics.jsonl", seed)) for name, run in runs for seed in run.seeds
    )
    return curves_figure([(name, curve) for name, curve in read if curve], runs[0][1].plan.task)


def _study(shown: Shown, split: str) -> Study:
    if isinstance(shown, Study):
        return shown
    return gather(_folders(shown, split), split=split, mistakes=0, details=False)


def _folders(runs: Run | str | Path | Sequence[Run | str | Path] | None, split: str = "test") -> list[Path]:
    return ReportRequest(runs, split=split).folders or [newest_run().folder]
