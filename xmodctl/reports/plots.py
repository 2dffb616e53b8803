"""The figures of reports as matplotlib figures, for notebooks and scripts."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from xmodctl.reports.figures import figure
from xmodctl.reports.gathering import gather, gather_curves
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
        UserError: No run can be read, the runs have different tasks or no record of their training, or matplotlib is
            not installed.
    """
    folders = [run.run.folder for run in shown.runs] if isinstance(shown, Study) else _folders(shown)
    return figure(gather_curves(folders), "curves")


def _study(shown: Shown, split: str) -> Study:
    if isinstance(shown, Study):
        return shown
    return gather(_folders(shown, split), split=split, mistakes=0, details=False)


def _folders(runs: Run | str | Path | Sequence[Run | str | Path] | None, split: str = "test") -> list[Path]:
    return ReportRequest(runs, split=split).folders or [newest_run().folder]
