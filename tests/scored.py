"""Runs that were scored without a model: a test says which examples each is right on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xmodctl.catalog import catalog as library
from xmodctl.catalog.task import Task
from xmodctl.evaluation.example_statistics import ExampleStatistics
from xmodctl.evaluation.results import Row, append_row, write_predictions
from xmodctl.kinds import KINDS
from xmodctl.kinds.scoring import Predicted
from xmodctl.run.plan import Plan
from xmodctl.run.run import Run
from xmodctl.statistics.intervals import score_interval

ADAPTERS = {"en": "en_XX", "de": "de_DE", "sw": "sw_KE", "fr": "fr_XX"}


def make_run(folder: Path, task: Task | None = None, **changes: Any) -> Run:
    """Write the `run.json` of a run trained in English, on rows of its own."""
    plan = Plan(
        task=task or library.task("xnli").model_copy(update=changes), recipe=library.recipe("nli"), model="mini",
        revision=None, config_sha256=None, source_languages=("en_XX",), data=None, limit=None, precision="fp32",
    )  # fmt: skip
    run = Run.new(folder, plan, (1,), {"train": folder.name})
    run.write()
    return run


def labels(right: Sequence[bool] | np.ndarray, *, shift: int = 0) -> list[tuple[str, str]]:
    """Return gold labels and predictions that are right where said."""
    order = library.task("xnli").labels
    gold = [order[(number + shift) % 3] for number in range(len(right))]
    return [
        (label, label if good else order[(order.index(label) + 1) % 3]) for label, good in zip(gold, right, strict=True)
    ]


def score(
    run: Run,
    language: str,
    judged: Sequence[tuple[Any, Any]],
    *,
    seed: int = 1,
    control: str = "own",
    adapter: str | None = "own",
    split: str = "test",
    limited: int | None = None,
    ids: Sequence[str] | None = None,
) -> Row:
    """Write pairs of right answer and prediction, and the row they make."""
    if adapter == "own":
        adapter = {"own": ADAPTERS[language], "source": "en_XX", "none": None}[control]
    task = run.plan.task
    names = ids or [str(number) for number in range(len(judged))]
    predictions = [Predicted(name, *pair) for name, pair in zip(names, judged, strict=True)]
    name = f"predictions/{split}/{language}.{adapter}.{control}.{limited}.seed-{seed}.jsonl"
    sha256 = write_predictions(run.folder / name, predictions)
    statistics = ExampleStatistics.computed(predictions, task, language)
    metrics = statistics.metrics(task)

    kind = KINDS[task.kind]
    interval = score_interval(
        statistics.counts, lambda totals: kind.metrics(totals, task)[task.headline],
        is_share=kind.headlines[task.headline].is_share,
    )  # fmt: skip
    row = Row(
        task=task.name, kind=task.kind, split=split, language=language, adapter=adapter, control=control,
        source_languages=("en_XX",), model="mini", data="x#y", n=len(judged), metric=task.headline,
        value=metrics[task.headline], metrics=metrics, baseline=34.0, ci_low=interval.low, ci_high=interval.high,
        ci_method=interval.method, seed=seed, step=10, selected_on="nothing", limited=limited, precision="fp32",
        device="cpu", seconds=1.0, truncated=0, predictions=name, predictions_sha256=sha256, tool="0",
    )  # fmt: skip
    append_row(run.results, row)
    return row
