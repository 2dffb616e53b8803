"""Thresholds: from which probability a label is predicted, as rows of results have it and as reports say it."""

from collections.abc import Sequence

from xmodctl.catalog.task import Task
from xmodctl.evaluation.results import Row
from xmodctl.kinds import KINDS
from xmodctl.run.run import Run


def stamped_threshold(task: Task) -> float | None:
    """Return the threshold of a task as a row has it, or None for kinds that have none."""
    if "threshold" not in KINDS[task.kind].task_keys or not isinstance(task.threshold, float):
        return None
    return task.threshold


def threshold_notes(run: Run, rows: Sequence[Row]) -> list[str]:
    """Return the note on the thresholds of rows; rows of older versions do not have them."""
    by_seed = {row.seed: row.threshold for row in rows if row.threshold is not None}
    if not by_seed:
        return []
    if len(set(by_seed.values())) == 1:
        values = f"{next(iter(by_seed.values())):g}"
    else:
        values = ", ".join(f"{value:g} (seed {seed})" for seed, value in sorted(by_seed.items()))
    task = run.plan.task
    languages = "+".join(run.plan.source_languages)
    chosen = f", chosen on the validation data of {languages}" if KINDS[task.kind].chosen_keys(task) else ""
    return [f"a label is predicted if its probability is at least {values}{chosen}"]
