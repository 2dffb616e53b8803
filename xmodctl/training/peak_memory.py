"""The memory that a training needs: weights, optimizer, activations, and on a CPU what the process takes besides.

It is predicted before the training starts, and `tokens_per_step: auto` follows from it. `python -m bench.memory`
compares predictions with the resident memory of trainings.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xmodctl.catalog.recipe import AUTO, SMALLEST, Recipe
from xmodctl.core.events import Notice, report
from xmodctl.model.precision import Precision, narrow_type
from xmodctl.training.masked_lm.masking import MASKED_SHARE

if TYPE_CHECKING:
    import torch

    from xmodctl.model import ParameterReport, Xmod
    from xmodctl.training.world import World

PROCESS = 540_000_000
"""Bytes of a process that trains a model without size on a CPU: Python, torch, transformers, PyArrow, their buffers."""
PIECE = 1_250
"""Bytes that a piece of the tokenizer's vocabulary takes."""
USED = 0.8
"""The share of free memory that `auto` uses: other programs need some, and allocators leave gaps."""


@dataclass(frozen=True)
class MemoryNeeds:
    """What a training needs, in bytes.

    The peak is the start of a backward pass from the second step on: weights, AdamW's two moments, what the forward
    pass kept, and the gradients that earlier micro-batches of the step have left; or the step's end, with all of them.
    """

    process: int  # on a CPU, besides the model
    weights: int
    gradients: int  # of all that trains; each of AdamW's moments is as large
    per_token: float  # kept for the backward pass
    unit: int  # tokens of the longest unit
    batch: int  # tokens of a batch of such units

    def peak(self, tokens: int) -> int:
        """Return the bytes at the peak, with at most so many tokens in a forward pass."""
        micro = min(self.batch, max(self.unit, tokens // self.unit * self.unit))
        earlier = self.gradients if self.batch > micro else 0
        kept = round(self.per_token * micro)
        return self.process + self.weights + 2 * self.gradients + max(self.gradients, earlier + kept)

    def fitting(self, free: int) -> int:
        """Return the tokens of a forward pass that free memory holds: a power of two, and no more than a batch has.

        Args:
            free: Bytes; the process itself is not among what it must hold.
        """
        room = USED * free - self.weights - 3 * self.gradients
        tokens = SMALLEST
        while tokens < self.batch and self.per_token * 2 * tokens <= room:
            tokens *= 2
        return tokens

    def tokens(self, recipe: Recipe) -> int:
        """Return the recipe's tokens of a forward pass; with `auto`, those that fit now."""
        return self.fitting(free_memory(_device())) if recipe.tokens_per_step == AUTO else int(recipe.tokens_per_step)


def memory_needs(
    config: Mapping[str, Any],
    head: str,
    parameters: "ParameterReport",
    recipe: Recipe,
    precision: Precision,
    *,
    trains: Callable[[str], bool],
    seeds: int = 1,
) -> MemoryNeeds:
    """Return what a training needs if its texts have `max_length` tokens.

    Args:
        config: The model's configuration.
        head: The name of its head.
        parameters: How many there are, and how many of them train.
        recipe: How to train.
        precision: The precision of matrix products.
        trains: Whether the parameter with a name trains.
        seeds: How many train together: each has what trains, its optimizer and its activations, and all share the rest.
    """
    from xmodctl.model import longest_input
    from xmodctl.model.activations import kept_per_token

    device = _device()
    length = min(recipe.max_length, longest_input(config))
    kept = kept_per_token(
        config,
        head,
        trains=trains,
        length=length,
        precision=precision,
        device=device,
        dropout=recipe.dropout,
        attention_dropout=recipe.attention_dropout,
        packed=recipe.variable_length,
    )
    if head == "masked-lm":  # logits of the masked tokens, their softmax, and its gradient
        kept += 3 * 4 * MASKED_SHARE * config["vocab_size"]
    unit = length * (2 if head == "choice" else 1)
    trainable = seeds * parameters.trainable
    kept_copies = 2 if recipe.moving_decay else 1  # of what trains
    weights = 4 * (parameters.total - parameters.trainable + kept_copies * trainable)
    on_cpu = device.type == "cpu"
    if not on_cpu and narrow_type(precision) is not None:  # frozen linear layers are narrow, trained ones cast
        embeddings = sum(total for group, total, _ in parameters.groups if group == "embeddings")
        weights += 2 * trainable - 2 * max(0, parameters.total - parameters.trainable - embeddings)
    return MemoryNeeds(
        process=PROCESS + PIECE * config["vocab_size"] if on_cpu else 0,
        weights=weights,
        gradients=4 * trainable,
        per_token=seeds * kept * (2 if recipe.rdrop else 1),  # R-Drop keeps what both passes leave
        unit=unit,
        batch=recipe.batch_size * unit,
    )


def needs_of(model: "Xmod", recipe: Recipe, precision: Precision) -> MemoryNeeds:
    """Return what the training of a model needs that is frozen as the recipe says, as `memory_needs` does."""
    from xmodctl.model.freezing import group_of, report_of

    trained = {group_of(name) for name, tensor in model.module.named_parameters() if tensor.requires_grad}
    return memory_needs(
        model.module.config.to_dict(),
        model.head,
        report_of(model.module),
        recipe,
        precision,
        trains=lambda name: group_of(name) in trained,
    )


def with_fitting_tokens(recipe: Recipe, model: "Xmod", precision: Precision, world: "World") -> Recipe:
    """Return the recipe of a training that starts now: `auto` becomes the tokens that fit, and a notice says how many.

    Args:
        recipe: How to train.
        model: Frozen as the recipe says, and not on the device yet.
        precision: The precision of matrix products.
        world: The processes that train together: all of them use what fits on each device.
    """
    if recipe.tokens_per_step != AUTO:
        return recipe
    needs = needs_of(model, recipe, precision)
    free = free_memory(_device())
    tokens = world.least(needs.fitting(free))
    report(Notice(f"tokens_per_step: auto is {tokens:,} here, with {free / 1e9:.1f} GB of free memory"))
    return recipe.model_copy(update={"tokens_per_step": tokens})


def with_tokens_of_checkpoint(recipe: Recipe, tokens: int | None) -> Recipe:
    """Return the recipe of a training that resumes: `auto` stays what it was, so that the training gives the same bits.

    Args:
        recipe: With the tokens that fit now.
        tokens: Those of the checkpoint; None if it does not record them.
    """
    if tokens is None or tokens == recipe.tokens_per_step:
        return recipe
    report(Notice(f"tokens_per_step: auto stays {tokens:,}, as before the training was interrupted"))
    return recipe.model_copy(update={"tokens_per_step": tokens})


def free_memory(device: "torch.device") -> int:
    """Return the bytes of memory that a device has left.

    On CUDA, torch keeps what earlier trainings of the process have freed, such as those of other seeds: it is free.
    """
    import psutil
    import torch

    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + kept
    return int(psutil.virtual_memory().available)


def _device() -> "torch.device":
    import torch

    from xmodctl.model.inference import best_device

    return torch.device(best_device())
