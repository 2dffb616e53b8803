"""The optimizer, and what each step depends on: its learning rate and its random numbers."""

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from xmodctl.catalog.recipe import Recipe

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from xmodctl.training.world import World

RATE = "rate"
"""The key of a parameter group for its learning rate as a share of the recipe's."""
LAYER = re.compile(r"encoder\.layer\.(\d+)\.")
OPTIMIZER_STATE = ("step", "exp_avg", "exp_avg_sq")
"""What AdamW keeps of each parameter."""
AVERAGE_STATE = "average"
"""The key of a parameter's moving average, which is kept beside it."""
SCALER_STATE = ("scale", "_growth_tracker")
"""What changes in the scaler of fp16."""


def adamw(module: "PreTrainedModel", recipe: Recipe) -> "torch.optim.Optimizer":
    """Return fused AdamW over the parameters that train; biases and LayerNorms have no weight decay.

    Layers have the rates of `layer_rate`, which `set_learning_rate` keeps.

    Frozen parameters are not in it, so that no decay can shrink them.
    """
    import torch

    layers = module.config.num_hidden_layers
    groups: dict[tuple[float, bool], list[torch.nn.Parameter]] = {}
    for name, tensor in module.named_parameters():
        if tensor.requires_grad:
            groups.setdefault((layer_rate(name, layers, recipe), tensor.ndim >= 2), []).append(tensor)
    return torch.optim.AdamW(
        [
            {"params": tensors, "weight_decay": recipe.weight_decay if decays else 0.0, RATE: rate}
            for (rate, decays), tensors in groups.items()
        ],
        lr=recipe.learning_rate,
        betas=(recipe.adam_beta1, recipe.adam_beta2),
        eps=recipe.adam_epsilon,
        fused=True,
    )


def layer_rate(name: str, layers: int, recipe: Recipe) -> float:
    """Return the learning rate of a parameter as a share of the recipe's.

    Each layer has `layer_decay` times the rate of the layer above it (discriminative fine-tuning; Howard and Ruder,
    *Universal Language Model Fine-tuning for Text Classification*, ACL 2018, section 3.2). The last layer and what is
    above it have the full rate; embeddings count as the layer below the first.

    Args:
        name: The stock name of the parameter.
        layers: The number of layers.
        recipe: Its `layer_decay` decides.
    """
    name = name.removeprefix("roberta.")
    if name.startswith("embeddings."):
        below = layers
    elif layer := LAYER.match(name):
        below = layers - 1 - int(layer[1])
    else:
        below = 0
    return recipe.layer_decay**below


def set_learning_rate(optimizer: "torch.optim.Optimizer", learning_rate: float) -> None:
    """Set the learning rate of the last layer; other layers have their share of it."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group[RATE]


def state_of(
    optimizer: "torch.optim.Optimizer", scaler: "torch.amp.GradScaler", parameters: "Mapping[str, torch.nn.Parameter]"
) -> "dict[str, torch.Tensor]":
    """Return an optimizer's state as `<parameter>.<state>` -> tensor, and in fp16 that of the scaler."""
    import torch

    state, scale = optimizer.state, scaler.state_dict()
    return {
        f"{name}.{key}": state[parameter][key]
        for name, parameter in parameters.items()
        for key in (*OPTIMIZER_STATE, AVERAGE_STATE)
        if key in state.get(parameter, ())  # the adapter of a language has none until its first row was seen
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
            optimizer.state[parameter] = {
                key: state[f"{name}.{key}"].to(parameter.device)
                for key in (*OPTIMIZER_STATE, AVERAGE_STATE)
                if f"{name}.{key}" in state
            }
    if scaler.is_enabled() and f"scaler.{SCALER_STATE[0]}" in state:
        scale, growth = (float(state[f"scaler.{key}"]) for key in SCALER_STATE)
        scaler.load_state_dict({**scaler.state_dict(), "scale": scale, "_growth_tracker": int(growth)})


def spread_state(
    optimizer: "torch.optim.Optimizer", parameters: "Mapping[str, torch.nn.Parameter]", world: "World"
) -> None:
    """Give every process the weights and AdamW's moments of the first, which alone needs moving averages.

    Raises:
        LostProcessError: Another process has ended.
    """
    import torch

    state = optimizer.state
    held = world.from_first([name for name, tensor in parameters.items() if tensor in state])
    for name, parameter in parameters.items():
        world.broadcast(parameter.data)
        if name in held:
            if not world.is_first:
                state[parameter] = {"step": torch.zeros((), device=parameter.device)} | {
                    key: torch.empty_like(parameter) for key in OPTIMIZER_STATE[1:]
                }
            for key in OPTIMIZER_STATE:
                world.broadcast(state[parameter][key])


def update_averages(optimizer: "torch.optim.Optimizer", decay: float, step: int) -> None:
    """Move the moving average of each parameter towards its present value.

    The share of the old average is `decay`, and less in the first steps: (1 + n) / (10 + n) after n updates, as in
    TensorFlow's `ExponentialMovingAverage`. A parameter's average starts with its first step.

    Args:
        optimizer: Keeps the averages.
        decay: Between 0 and 1.
        step: The number of the step that was taken, counted from 1.
    """
    from torch.optim.swa_utils import get_ema_multi_avg_fn

    moved = []
    for parameter, state in optimizer.state.items():
        if AVERAGE_STATE in state:
            moved.append((state[AVERAGE_STATE], parameter.detach()))
        else:
            state[AVERAGE_STATE] = parameter.detach().clone()
    if moved:
        averages, values = map(list, zip(*moved, strict=True))
        move = get_ema_multi_avg_fn(min(decay, step / (step + 9)))  # type: ignore[no-untyped-call]
        move(averages, values, step)


def put_averages(optimizer: "torch.optim.Optimizer") -> None:
    """Put the moving average of each parameter that has one in its place; nothing can train afterwards."""
    import torch

    with torch.no_grad():
        for parameter, state in optimizer.state.items():
            if AVERAGE_STATE in state:
                parameter.copy_(state[AVERAGE_STATE])


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
