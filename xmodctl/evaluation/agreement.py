"""Agreement: whether rows of results say what their stored predictions score."""

import shlex
from collections.abc import Sequence
from math import isfinite

from xmodctl.core.errors import UserError
from xmodctl.evaluation.example_statistics import load_example_statistics
from xmodctl.evaluation.measurements import Statistics
from xmodctl.evaluation.results import Row
from xmodctl.evaluation.scoring_commands import scoring_command
from xmodctl.run.run import Run

TOLERANCE = 1e-6
"""Percent; sums of the same numbers in another order differ in their last digits."""


def disagreement(run: Run, row: Row, known: Statistics | None = None) -> str:
    """Return how a row contradicts its stored predictions, or an empty string.

    Predictions that are missing or were changed themselves contradict nothing: they are reported where they are needed.

    Args:
        run: The run.
        row: One of its rows, of at least one example.
        known: Statistics that are in memory; those that are read are added.
    """
    stored = {row.metric: row.value, "baseline": row.baseline, "ci_low": row.ci_low, "ci_high": row.ci_high}
    for name, value in {**row.metrics, **stored}.items():
        if not isfinite(value):
            return f"its {name} is not a number"
    if row.metric in row.metrics and abs(row.metrics[row.metric] - row.value) > TOLERANCE:
        return f"its {row.metric} is {row.metrics[row.metric]:.2f} in `metrics` but {row.value:.2f} in `value`"
    known = {} if known is None else known
    if row.key not in known:
        try:
            known[row.key] = load_example_statistics(run.folder, row, run.plan.task)
        except (UserError, LookupError, TypeError, ValueError):
            return ""
    statistics = known[row.key]
    if len(statistics.counts) != row.n:
        return f"it covers {row.n:,} examples, but the predictions cover {len(statistics.counts):,}"
    value = statistics.metrics(run.plan.task).get(row.metric, row.value)
    if abs(value - row.value) > TOLERANCE:
        return f"its {row.metric} is {row.value:.2f}, but the predictions score {value:.2f}"
    return ""


def _correction(run: Run, row: Row) -> str:
    """Return the command that corrects a row; the majority baseline is computed from the data alone."""
    if not isfinite(row.baseline):
        return scoring_command(run.folder, row, redo=True)
    return shlex.join(["xmodctl", "score", "--run", str(run.folder), "--update"])


def agreeing(run: Run, rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """Return the rows that agree with their predictions, and a sentence about each of the others."""
    kept, sentences = [], []
    for row in rows:
        if problem := row.n and disagreement(run, row):
            sentences.append(
                f"{row.language}, seed {row.seed}, of {run.folder.name} is excluded, because it contradicts its stored "
                f"predictions: {problem}; correct it with: {_correction(run, row)}"
            )
        else:
            kept.append(row)
    return kept, sentences
