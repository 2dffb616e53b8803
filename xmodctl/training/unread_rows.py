"""Rows of local data that a training does not read: they can have mistakes, too, which another command would refuse."""

from collections.abc import Collection
from pathlib import Path

from xmodctl.catalog.locations import Split
from xmodctl.core.errors import UserError
from xmodctl.core.mistakes import SameAnswerError
from xmodctl.data import unusable
from xmodctl.run.plan import Plan


def unread_failures(plan: Plan, splits: Collection[Split] = ("validation", "train")) -> dict[str, UserError]:
    """Return why rows in languages that are not trained in cannot be used: language and split -> the error.

    Args:
        plan: The training; data on the Hub is not checked.
        splits: The splits to check.
    """
    if plan.data is None:
        return {}
    failures: dict[str, UserError] = {}
    for split in splits:
        failures |= unusable(plan.task, split, Path(plan.data), limit=plan.limit, besides=plan.source_languages)
    # Nothing needs to be learned from these rows.
    return {name: error for name, error in failures.items() if not isinstance(error, SameAnswerError)}
