"""The optimizer, and what each step depends on: its learning rate and its random numbers."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from xmodctl.catalog.recipe import Recipe

if TYPE_CHECKING:
    import torch


def adamw(module: "torch.nn.Module", recipe: Recipe) -> "torch.optim.Optimizer":
    """Return fused AdamW over the parameters that train; biases and LayerNorms have no weight decay.

    Frozen parameters are not in it, so that no decay can shrink them.
    """
    import torch

    trained = [tensor for tensor in module.parameters() if tensor.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [tensor for tensor in trained if tensor.ndim >= 2], "weight_decay": recipe.weight_decay},
        {"params": [tensor for tensor in trained if tensor.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=recipe.learning_rate,
        betas=(recipe.adam_beta1, recipe.adam_beta2),
        eps=recipe.adam_epsilon,
        fused=True,
    )


def total_steps(rows: int, recipe: Recipe) -> int:
    """Return the optimizer steps of a training over `rows` units."""
    return max(1, round(recipe.epochs * math.ceil(rows / recipe.batch_size)))


def schedule(recipe: Recipe, step: int, total_steps: int) -> float:
    """Return the learning rate of a step (counted from 0) as a share of its peak."""
    warm_up = recipe.warmup_steps(total_steps)
    if step < warm_up:
        return (step + 1) / (warm_up + 1)
    remaining = (total_steps - step) / max(1, total_steps - warm_up)
    match recipe.schedule:
        case "linear":
            return remaining
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * (1 - remaining)))
        case "constant":
            return 1.0


def seed_step(seed: int, step: int) -> None:
    """Seed the random numbers of one step, so that a resumed run draws the same as one that was never stopped."""
    import torch

    # The third word is the rank of a process, as in runs of earlier versions.
    torch.manual_seed(int(np.random.SeedSequence([seed, step, 0]).generate_state(1, np.uint64)[0] >> np.uint64(1)))
