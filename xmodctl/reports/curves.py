"""Training curves out of a seed's `metrics.jsonl`."""

import math
from pathlib import Path

from xmodctl.core import jsonl
from xmodctl.reports.study import Curve

POINTS = 200
"""Points of a loss curve: more could not be told apart on a screen."""


def read_curve(path: Path, seed: int) -> Curve | None:
    """Read one seed's curve; None where there is no step yet. A torn last line is skipped.

    Raises:
        UserError: Another line is damaged.
    """
    if not path.exists():
        return None
    sums: dict[int, tuple[float, int, int]] = {}  # point -> (sum of losses, steps, last step)
    validations: list[tuple[int, float]] = []
    metric, total = None, 0
    for _, value in jsonl.read(path, remedy="remove that line", append_only=True):
        if "metric" in value:
            metric = value["metric"]
            validations.append((value["step"], value["value"]))
        elif math.isfinite(value["loss"]):
            total = value["total_steps"]
            point = (value["step"] - 1) * POINTS // max(total, POINTS)
            losses, steps, _ = sums.get(point, (0.0, 0, 0))
            sums[point] = losses + value["loss"], steps + 1, value["step"]
    if not sums:
        return None
    points = tuple((last, losses / steps) for losses, steps, last in sums.values())
    return Curve(seed, total, points, tuple(validations), metric)
