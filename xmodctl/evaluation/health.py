"""Whether the stored results of a run are those of its stored predictions."""

import math
from collections.abc import Iterator

from xmodctl.core.errors import UserError
from xmodctl.evaluation.example_statistics import load_example_statistics
from xmodctl.evaluation.results import read_rows
from xmodctl.evaluation.scoring_commands import scoring_command
from xmodctl.run.health import FileState
from xmodctl.run.run import Run

TOLERANCE = 1e-6
"""Percent; scores are computed again from the same counts."""


def result_findings(run: Run) -> Iterator[FileState]:
    """Yield the state of a run's result rows, each against its predictions."""
    if not run.results.exists():
        return
    try:
        rows = read_rows(run.results)
    except UserError as error:
        yield FileState(run.results.name, "damaged", str(error), "remove that line; its language is scored again")
        return
    yield FileState(run.results.name, "whole", f"{len(rows):,} rows")
    for row in rows:
        redo = scoring_command(run.folder, row, redo=True)
        try:
            value = load_example_statistics(run.folder, row, run.plan.task).metrics(run.plan.task).get(row.metric)
        except UserError as error:
            yield FileState(row.predictions, "damaged", str(error), redo)
            continue
        if value is None or not math.isclose(value, row.value, abs_tol=TOLERANCE):
            stated = f"the row says {row.metric} {row.value:.4f}, its predictions give {value or math.nan:.4f}"
            yield FileState(row.predictions, "damaged", stated, redo)
        else:
            yield FileState(row.predictions, "whole")
