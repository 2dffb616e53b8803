"""Training curves, read from a seed's `metrics.jsonl`."""

import math
from dataclasses import dataclass
from pathlib import Path

from xmodctl.core import jsonl
from xmodctl.core.errors import UserError

POINTS = 200
"""Points of a loss curve; a screen cannot show more."""


@dataclass(frozen=True)
class TrainingCurve:
    """The training of one seed: its loss, thinned to what a chart can show, and its validation scores."""

    seed: int
    total_steps: int
    losses: tuple[tuple[int, float], ...]  # (step, mean loss of the steps since the previous point)
    validations: tuple[tuple[int, float], ...]  # (step, percent)
    metric: str | None  # of the validation scores


def read_curve(path: Path, seed: int) -> TrainingCurve | None:
    """Read one seed's curve, or None if no step is recorded.

    Raises:
        UserError: The file is damaged.
    """
    if not path.exists():
        return None
    sums: dict[int, tuple[float, int, int]] = {}  # point -> (sum of losses, steps, last step)
    validations: list[tuple[int, float]] = []
    metric, total = None, 0
    for number, record in jsonl.read(path, remedy="remove that line", append_only=True):
        try:
            if "metric" in record:
                metric = str(record["metric"])
                validations.append((int(record["step"]), float(record["value"])))
            elif math.isfinite(record["loss"]):
                total = int(record["total_steps"])
                point = (int(record["step"]) - 1) * POINTS // max(total, POINTS)
                losses, steps, _ = sums.get(point, (0.0, 0, 0))
                sums[point] = losses + record["loss"], steps + 1, int(record["step"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise UserError(f"{path}:{number} is not a line of a training log; remove that line") from error
    if not sums:
        return None
    points = tuple((last, losses / steps) for losses, steps, last in sums.values())
    return TrainingCurve(seed, total, points, tuple(validations), metric)
