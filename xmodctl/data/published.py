"""Which languages and splits a benchmark has on the Hub, as its task file says; nothing is read or downloaded."""

from xmodctl.catalog.locations import Split
from xmodctl.catalog.task import Task

SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def coverage(task: Task) -> dict[str, tuple[Split, ...]]:
    """Return the task's languages with their splits; nothing is downloaded."""
    if task.evaluation is None:
        return {}
    data = task.evaluation
    splits = [split for split in SPLITS if split in (data.splits or SPLITS)]
    covered: dict[str, tuple[Split, ...]] = {
        language: tuple(split for split in splits if any(location.has(language, split) for location in data.locations))
        for language in task.languages
    }
    source_splits = covered.get(task.source_language, ())
    if task.training is not None and "train" not in source_splits:
        covered[task.source_language] = ("train", *source_splits)
    return covered
