"""The fine-tuning loop: method only. It yields what happens; saving, logging and drawing are the caller's."""

import math
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from xmodctl.catalog.recipe import Recipe
from xmodctl.core.errors import UserError
from xmodctl.core.events import StepTaken
from xmodctl.model.batches import collate, sampled, training_batches
from xmodctl.model.precision import Precision
from xmodctl.run.checkpoints import Checkpoint, Progress

if TYPE_CHECKING:
    import torch

    from xmodctl.core.encoded import Encoded
    from xmodctl.model import Xmod


Batch = list[np.ndarray]  # one optimiser step: micro-batches of unit numbers
OPTIMIZER_STATE = ("step", "exp_avg", "exp_avg_sq")  # what AdamW keeps of a parameter


class Training:
    """One seed's fine-tuning: iterate over it to train; its state can be saved and restored between steps.

    Args:
        model: Frozen as the recipe says, with the source language's adapter active, or those of all in memory.
        rows: The encoded training rows.
        weights: How many terms of the loss each unit brings, shape (units,); a unit that brings none is left out.
        recipe: How to train.
        seed: Decides the order of the rows and dropout, together with the step: no random state needs saving.
        precision: What matrix products are computed in.
        pad_id: The tokenizer's padding id.
        languages: The number of each unit's language, shape (units,), where there are several; `rows` then carry
            `lang_ids`, by which each goes through its own adapter.
    """

    def __init__(
        self,
        model: "Xmod",
        rows: "Encoded",
        weights: np.ndarray,
        recipe: Recipe,
        *,
        seed: int,
        precision: Precision,
        pad_id: int,
        languages: np.ndarray | None = None,
    ) -> None:
        from accelerate import Accelerator

        self.accelerator = Accelerator(mixed_precision="no" if precision == "fp32" else precision)
        if self.accelerator.num_processes > 1:
            raise UserError("training runs in one process; start it without torchrun or accelerate launch")
        self.model, self.rows, self.weights, self.recipe, self.seed, self.precision, self.pad_id = (
            model, rows, weights, recipe, seed, precision, pad_id,
        )  # fmt: skip
        model.leave_padding_out()
        self.module, self.optimizer = self.accelerator.prepare(model.module, adamw(model.module, recipe))
        self.units = np.flatnonzero(weights)
        self.languages = np.zeros(len(self.units), dtype=np.int64) if languages is None else languages[self.units]
        self.language_count = 1 if languages is None else int(languages.max()) + 1
        self.steps_per_epoch = math.ceil(len(self.units) / recipe.batch_size)
        self.total_steps = total_steps(len(self.units), recipe)
        self.step = 0

    def __iter__(self) -> Iterator[StepTaken]:
        """Train from the present step to the last."""
        while self.step < self.total_steps:
            epoch, done = divmod(self.step, self.steps_per_epoch)
            for batch in self.batches(epoch)[done : done + self.total_steps - self.step]:
                yield self.take(batch)

    @property
    def epoch(self) -> float:
        """Epochs seen so far."""
        return self.step / self.steps_per_epoch

    @property
    def epoch_ends(self) -> tuple[int, ...]:
        """The steps that end an epoch, or the training."""
        return (*range(self.steps_per_epoch, self.total_steps, self.steps_per_epoch), self.total_steps)

    @property
    def ends_epoch(self) -> bool:
        """Whether the present step is the last of an epoch, or of the training."""
        return self.step % self.steps_per_epoch == 0 or self.step == self.total_steps

    def batches(self, epoch: int) -> list[Batch]:
        """Return this process's share of each batch of an epoch."""
        units = self.units[self.sampled(epoch)]
        batches = training_batches(
            self.rows.lengths[units],
            choices=self.rows.sizes[units],
            batch_size=self.recipe.batch_size,
            tokens_per_step=self.recipe.tokens_per_step,
            seed=self.seed,
            epoch=epoch,
            rank=self.accelerator.process_index,
            world=self.accelerator.num_processes,
        )
        return [[units[part] for part in batch] for batch in batches]

    def sampled(self, epoch: int) -> np.ndarray:
        """Return the places in `units` of those that come in an epoch: of one language, all."""
        return sampled(self.languages, alpha=self.recipe.sampling_alpha, seed=self.seed, epoch=epoch)

    @property
    def shares(self) -> list[int]:
        """How many units of an epoch are in each language."""
        counts: list[int] = np.bincount(self.languages[self.sampled(0)], minlength=self.language_count).tolist()
        return counts

    def take(self, batch: Batch) -> StepTaken:
        """Take one optimiser step; the gradient is that of the mean loss over the whole batch."""
        started = perf_counter()
        seed_step(self.seed, self.step, self.accelerator.process_index)
        learning_rate = self.recipe.learning_rate * schedule(self.recipe, self.step, self.total_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate

        self.module.train()
        loss = self.accumulate(batch)
        norm = self.clip()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if not math.isfinite(loss):
            raise UserError(
                f"the loss is {loss} at step {self.step + 1}; lower the learning rate "
                f"(--set learning_rate={self.recipe.learning_rate / 3:.1g}) or train with --precision fp32"
            )

        self.step += 1
        units = np.concatenate(batch)
        return StepTaken(
            step=self.step,
            total_steps=self.total_steps,
            epoch=self.epoch,
            loss=loss,
            learning_rate=learning_rate,
            gradient_norm=norm,
            examples=len(units),
            tokens=int(self.rows.tokens[units].sum()),
            seconds=perf_counter() - started,
            ends_epoch=self.ends_epoch,
        )

    def accumulate(self, batch: Batch) -> float:
        """Add up the gradients of the micro-batches, each weighted by its share of the batch's loss terms."""
        terms = self._over_processes(sum(float(self.weights[part].sum()) for part in batch))
        total = 0.0
        for number, part in enumerate(batch):
            last = number == len(batch) - 1
            inputs = self.to_device(part)
            with nullcontext() if last else self.accelerator.no_sync(self.module):
                share = float(self.weights[part].sum()) / terms
                loss = self.module(**inputs).loss * share
                # Several processes average their gradients; the batch wants their sum.
                self.accelerator.backward(loss * self.accelerator.num_processes)
            total += float(loss.detach())
        return self._over_processes(total)

    def clip(self) -> float:
        """Clip the gradient's norm as the recipe says and return what it was."""
        norm = self.accelerator.clip_grad_norm_(
            self.training_parameters().values(), self.recipe.gradient_clip or math.inf
        )
        return float(norm) if norm is not None else math.nan

    def to_device(self, part: np.ndarray) -> dict[str, "torch.Tensor"]:
        """Return a padded micro-batch on the device."""
        inputs = collate(self.rows, part, pad_id=self.pad_id)
        return {name: tensor.to(self.accelerator.device, non_blocking=True) for name, tensor in inputs.items()}

    def progress(self) -> Progress:
        """Return how far the training has come."""
        return Progress(self.step, self.total_steps, self.epoch, world=self.accelerator.num_processes)

    def training_parameters(self) -> dict[str, "torch.nn.Parameter"]:
        """Return the parameters that the optimiser changes."""
        return {name: one for name, one in self.model.module.named_parameters() if one.requires_grad}

    def trained(self) -> dict[str, "torch.Tensor"]:
        """Return the values of what trains, under their stock names."""
        from xmodctl.model import trained_tensors

        return trained_tensors(self.model)

    def put(self, tensors: "Mapping[str, torch.Tensor]") -> None:
        """Put back what `trained` returned."""
        from xmodctl.model import apply_delta

        apply_delta(self.model, tensors)

    def optimizer_state(self) -> dict[str, "torch.Tensor"]:
        """Return the optimiser's state as `<parameter>.<state>` -> tensor."""
        state = self.optimizer.optimizer.state
        return {
            f"{name}.{key}": state[parameter][key]
            for name, parameter in self.training_parameters().items()
            for key in OPTIMIZER_STATE
            if parameter in state  # not so the adapter of a language of which no row has come yet
        }

    def restore(self, checkpoint: Checkpoint) -> None:
        """Continue from a checkpoint: weights, optimiser state and step."""
        there, here = checkpoint.progress, self.progress()
        if (there.total_steps, there.world) != (here.total_steps, here.world):
            raise UserError(
                f"{checkpoint.folder} was saved by {there.world} processes on the way to step {there.total_steps:,}; "
                f"this command has {here.world} and {here.total_steps:,}: run it as before, or add --on-exists redo"
            )
        self.put(checkpoint.tensors())
        state = checkpoint.optimizer()
        for name, parameter in self.training_parameters().items():
            if f"{name}.{OPTIMIZER_STATE[0]}" not in state:
                continue
            self.optimizer.optimizer.state[parameter] = {
                key: state[f"{name}.{key}"].to(parameter.device) for key in OPTIMIZER_STATE
            }
        self.step = there.step

    def _over_processes(self, value: float) -> float:
        import torch

        if self.accelerator.num_processes == 1:
            return value
        total = self.accelerator.reduce(torch.tensor(value, device=self.accelerator.device), reduction="sum")
        return float(total)


def adamw(module: "torch.nn.Module", recipe: Recipe) -> "torch.optim.Optimizer":
    """Return fused AdamW over what trains; biases and LayerNorms are not decayed.

    Frozen parameters are not handed over, so that no decay can shrink them.
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
    """Return the optimiser steps of a training over `rows` units."""
    return max(1, round(recipe.epochs * math.ceil(rows / recipe.batch_size)))


def schedule(recipe: Recipe, step: int, total_steps: int) -> float:
    """Return the learning rate of a step (counted from 0) as a share of its peak."""
    warm_up = recipe.warmup_steps(total_steps)
    if step < warm_up:
        return (step + 1) / (warm_up + 1)
    left = (total_steps - step) / max(1, total_steps - warm_up)
    match recipe.schedule:
        case "linear":
            return left
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * (1 - left)))
        case "constant":
            return 1.0


def seed_step(seed: int, step: int, rank: int) -> None:
    """Seed the random numbers of one step, so that a continued run draws what an unbroken one would."""
    import torch

    torch.manual_seed(int(np.random.SeedSequence([seed, step, rank]).generate_state(1, np.uint64)[0] >> np.uint64(1)))
