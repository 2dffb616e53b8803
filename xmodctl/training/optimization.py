"""The optimizer, and what each step depends on: its learning rate and its random numbers."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from xmodctl.catalog.recipe import Recipe

if TYPE_CHECKING:
    import torch

OPTIMIZER_STATE = ("step", "exp_avg", "exp_avg_sq")
"""What AdamW keeps of each parameter."""
SCALER_STATE = ("scale", "_growth_tracker")
"""What changes in the scaler of fp16."""


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


def state_of(
    optimizer: "torch.optim.Optimizer", scaler: "torch.amp.GradScaler", parameters: "Mapping[str, torch.nn.Parameter]"
) -> "dict[str, torch.Tensor]":
    """Return an optimizer's state as `<parameter>.<state>` -> tensor, and in fp16 that of the scaler."""
    import torch

    state, scale = optimizer.state, scaler.state_dict()
    return {
        f"{name}.{key}": state[parameter][key]
        for name, parameter in parameters.items()
        for key in OPTIMIZER_STATE
        if parameter in state  # the adapter of a language has none until its first row was seen
    } | {f"scaler.{key}": torch.tensor(float(scale[key])) for key in SCALER_STATE if scale}


def put_state(
    optimizer: "torch.optim.Optimizer",
    scaler: "torch.amp.GradScaler",
    parameters: "Mapping[str, torch.nn.Parameter]",
    state: "Mapping[str, torch.Tensor]",
) -> None:
    """Put back what `state_of` returned."""
    for name, parameter in parameters.items():
        if f"{name}.{OPTIMIZER_STATE[0]}" in state:
            moments = {key: state[f"{name}.{key}"].to(parameter.device) for key in OPTIMIZER_STATE}
            optimizer.state[parameter] = moments
    if scaler.is_enabled() and f"scaler.{SCALER_STATE[0]}" in state:
        scale, growth = (float(state[f"scaler.{key}"]) for key in SCALER_STATE)
        scaler.load_state_dict({**scaler.state_dict(), "scale": scale, "_growth_tracker": int(growth)})


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
