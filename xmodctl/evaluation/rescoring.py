"""`xmodctl score` as a function: score stored predictions again and say where stored values differ."""

from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError
from xmodctl.core.events import warn
from xmodctl.core.files import sha256_of
from xmodctl.core.requests import command
from xmodctl.core.versions import versions
from xmodctl.evaluation.example_statistics import cache_example_statistics, statistics_of
from xmodctl.evaluation.requests import ScoreRequest
from xmodctl.evaluation.results import Row, append_row, read_rows
from xmodctl.evaluation.scoring_commands import first_scores_command, scoring_command
from xmodctl.kinds import KINDS
from xmodctl.kinds.scoring import headline_interval
from xmodctl.run.jobs import locked
from xmodctl.run.loading import announced_run

AS_STORED = "as stored"


@dataclass(frozen=True)
class Rescored:
    """A row of results beside what its stored predictions score now."""

    row: Row
    current: Row | None  # the row as this version computes it; None if the predictions cannot be read
    problem: str = ""  # what is wrong with the predictions, if anything
    updated: bool = False  # `current` was appended to the results

    @property
    def state(self) -> str:
        """`as stored`, `differs`, `edited` (the predictions were changed), or `unreadable`."""
        if self.current is None:
            return "unreadable"
        if self.problem:
            return "edited"
        stored, current = ({**row.metrics, "value": row.value, "n": row.n} for row in (self.row, self.current))
        # Sums of the same numbers in another order differ in their last digits.
        equal = stored.keys() == current.keys() and all(
            abs(value - current[name]) <= 1e-6 for name, value in stored.items()
        )
        return AS_STORED if equal and isfinite(self.row.ci_low) and isfinite(self.row.ci_high) else "differs"

    @property
    def is_settled(self) -> bool:
        """Whether the results file agrees with the predictions, by itself or since the update."""
        return self.state == AS_STORED or self.updated

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "row": self.row.to_json(),
            "metrics": self.current.metrics if self.current else None,
            "state": self.state,
            "problem": self.problem or None,
            "updated": self.updated,
        }


@command(ScoreRequest)
def score(request: ScoreRequest) -> tuple[Rescored, ...]:
    """Score the predictions that a run has stored again, without a model, and compare them with the stored values.

    Values differ if results were edited, or if this version uses different scoring rules from the version that stored
    them.

    Raises:
        UserError: The run has no scores, or another process is using it.
    """
    listen = request.listen or warn
    run = announced_run(request.run, listen)
    rows = read_rows(run.results)
    if not rows:
        raise UserError(f"{run.folder} has no scores; create some with: {first_scores_command(run.folder)}")
    rescored = [rescore(run.folder, row, run.plan.task) for row in rows]
    if not request.update or all(row.state != "differs" for row in rescored):
        return tuple(rescored)
    with locked(run.folder):
        for number, result in enumerate(rescored):
            if result.current and result.state == "differs":
                append_row(run.results, result.current)
                rescored[number] = replace(result, updated=True)
    return tuple(rescored)


def rescore(folder: Path, row: Row, task: Task) -> Rescored:
    """Score the predictions behind a row again. The cache is not read, but it is written."""
    path = row.predictions_in(folder)
    if not path.exists():
        return Rescored(row, None, f"{path} is missing; create it again with: {scoring_command(folder, row)}")
    edited = sha256_of(path) != row.predictions_sha256
    remedy = f"score {row.language} again: {scoring_command(folder, row, redo=True)}"
    try:
        statistics = statistics_of(path, row, task, remedy=remedy)
    except UserError as error:
        return Rescored(row, None, str(error))
    kind = KINDS[task.kind]
    metrics = statistics.metrics(task)
    interval = headline_interval(kind, task, statistics.counts)
    current = replace(
        row,
        n=len(statistics.counts),
        metric=task.headline,
        value=metrics[task.headline],
        metrics=metrics,
        ci_low=interval.low,
        ci_high=interval.high,
        ci_method=interval.method,
        predictions_sha256=sha256_of(path),
        tool=versions()["xmodctl"],
    )
    if not edited:
        cache_example_statistics(statistics, current, task)
    return Rescored(row, current, f"{path} was changed after it was scored" if edited else "")
