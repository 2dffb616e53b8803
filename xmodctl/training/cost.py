"""What a fine-tuning costs: steps, memory and disk, estimated before it starts."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xmodctl.catalog.recipe import Recipe
from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError
from xmodctl.kinds import KINDS
from xmodctl.run.checkpoints import KEPT
from xmodctl.run.plan import Plan
from xmodctl.training.optimization import total_steps
from xmodctl.training.peak_memory import memory_needs
from xmodctl.training.row_budget import shares

if TYPE_CHECKING:
    from xmodctl.model import Facts, ParameterReport, Source


@dataclass(frozen=True)
class StageCost:
    """The rows and steps of one stage."""

    rows: int | None  # None: known after the download
    steps: int | None  # per seed


@dataclass(frozen=True)
class Cost:
    """What a fine-tuning takes."""

    rows: int | None  # None: known after the download
    steps: int | None  # per seed
    parameters: "ParameterReport"
    tokens: int  # of a forward pass, at most
    memory: int  # bytes at the peak
    disk: int  # bytes
    stages: tuple[StageCost, ...] = ()


def estimate(plan: Plan, model: "Source | Facts", rows: Sequence[int | None], seeds: int) -> Cost:
    """Estimate steps, memory and disk of a plan.

    Args:
        plan: The plan.
        model: The base model, or what is known about it before its download.
        rows: The training rows of each stage and, last, of the task itself; None where they are not known yet.
        seeds: How many seeds train.
    """
    from xmodctl.model.freezing import PRESETS, group_of

    head, parameters = KINDS[plan.task.kind].head, parameters_of(plan, model)
    held = PRESETS[plan.recipe.freeze]
    needs = memory_needs(
        model.config,
        head,
        parameters,
        plan.recipe,
        plan.precision,
        trains=lambda name: group_of(name) not in held,
        seeds=seeds if plan.recipe.seeds_together else 1,
    )
    tokens = needs.tokens(plan.recipe)
    recipes = [*(plan.recipe.of_stage(stage) for stage in plan.recipe.stages), plan.recipe]
    *stages, last = (
        StageCost(count, total_steps(count, recipe) if count else None)
        for count, recipe in zip(rows, recipes, strict=True)
    )
    return Cost(
        rows=last.rows,
        steps=last.steps,
        parameters=parameters,
        tokens=tokens,
        memory=needs.peak(tokens),
        disk=needed_disk(parameters, plan.recipe, seeds),
        stages=tuple(stages),
    )


def parameters_of(plan: Plan, model: "Source | Facts") -> "ParameterReport":
    """Count the parameters of a plan's model, and those that train."""
    from xmodctl.model import describe

    kind = KINDS[plan.task.kind]
    return describe(model, kind.head, plan.adapters, plan.recipe.freeze, num_labels=len(kind.outputs(plan.task)))


def needed_disk(parameters: "ParameterReport", recipe: Recipe, seeds: int) -> int:
    """Return the bytes of a delta per seed, and of the checkpoints of the seed that trains, or of all together.

    A checkpoint has the weights, AdamW's two moments, and the moving average if that is kept. An old one goes when the
    new one is whole.
    """
    copies = 4 if recipe.moving_decay else 3
    return parameters.trainable * 4 * (seeds + (KEPT + 1) * copies * (seeds if recipe.seeds_together else 1))


def row_counts(plan: Plan, folder: Path | None) -> list[int | None]:
    """Return the training rows of each stage and, last, of the task; None for data that is not on this disk."""
    from xmodctl.data import load_rows, offers

    def count(task: Task, data: Path, languages: Sequence[str]) -> list[int]:
        single = len(languages) == 1
        loaded = (
            load_rows(task, language, "train", folder=data, limit=plan.limit, evaluation=False, single_language=single)
            for language in languages
        )
        return [len(rows) for rows in loaded]

    counts: list[int | None] = []
    for task, stage in zip(plan.stage_tasks, plan.recipe.stages, strict=True):
        if not stage.data:
            counts.append(None)
            continue
        data = Path(stage.data)
        available = [language for language in plan.source_languages if offers(task, language, "train", folder=data)]
        counts.append(sum(count(task, data, available or plan.source_languages)))
    shots = plan.shots.count * len(plan.shots.languages) if plan.shots else 0
    if folder is None:
        return [*counts, plan.rows + shots if plan.rows else None]
    rows = count(plan.task, folder, plan.source_languages)
    return [*counts, (sum(shares(plan.rows, rows)) if plan.rows else sum(rows)) + shots]


def check_disk(folder: Path, needed: int) -> None:
    """Refuse to start what the disk cannot hold.

    Args:
        folder: The folder of the run; it is made if it does not exist.
        needed: Bytes.

    Raises:
        UserError: Too little is free.
    """
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{folder} has {free / 1e9:.1f} GB free but this run needs about {needed / 1e9:.1f} GB; "
            "choose another disk with --out DIR"
        )
