"""What a fine-tuning costs: steps, memory and disk, estimated before it starts."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError
from xmodctl.kinds import KINDS
from xmodctl.model.precision import Precision
from xmodctl.run.checkpoints import KEPT
from xmodctl.run.plan import Plan
from xmodctl.training.optimization import total_steps
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
    memory: int  # bytes
    disk: int  # bytes
    stages: tuple[StageCost, ...] = ()


def estimate(plan: Plan, model: "Source | Facts", rows: Sequence[int | None], seeds: int) -> Cost:
    """Estimate steps, memory and disk of a plan.

    Memory counts weights (4 bytes each), gradients and AdamW's two moments of the weights that train (12 bytes each),
    and the activations that one micro-batch keeps for the backward pass.

    Args:
        plan: The plan.
        model: The base model, or what is known about it before its download.
        rows: The training rows of each stage and, last, of the task itself; None where they are not known yet.
        seeds: How many seeds train.
    """
    from xmodctl.model import describe

    kind = KINDS[plan.task.kind]
    outputs = len(kind.outputs(plan.task))
    parameters = describe(model, kind.head, plan.adapters, plan.recipe.freeze, num_labels=outputs)
    kept = activations(model.config, plan.precision)
    memory = 4 * parameters.total + 12 * parameters.trainable + kept * plan.recipe.tokens_per_step
    # A delta per seed, and the checkpoints of the seed that trains: an old one goes when the new one is whole.
    disk = parameters.trainable * 4 * (seeds + (KEPT + 1) * 3)
    recipes = [*(plan.recipe.of_stage(stage) for stage in plan.recipe.stages), plan.recipe]
    *stages, last = (
        StageCost(count, total_steps(count, recipe) if count else None)
        for count, recipe in zip(rows, recipes, strict=True)
    )
    return Cost(last.rows, last.steps, parameters, memory, disk, tuple(stages))


def activations(config: Mapping[str, Any], precision: Precision) -> int:
    """Estimate how many bytes of activations are kept per token for the backward pass."""
    hidden, inner, layers = (config[key] for key in ("hidden_size", "intermediate_size", "num_hidden_layers"))
    bottleneck = hidden // config["adapter_reduction_factor"]
    # Per layer: about ten tensors of the hidden size around attention and norms, two of the feed-forward network, and
    # two of the adapter.
    kept: int = layers * (10 * hidden + 2 * inner + 2 * bottleneck) * (2 if precision in ("bf16", "fp16") else 4)
    return kept


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
