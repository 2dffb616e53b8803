"""The training loop: the method and nothing else. Saving, logging and drawing are up to the caller."""

import math
import os
from collections.abc import Iterator, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from xmodctl.catalog.recipe import Recipe
from xmodctl.core.errors import UserError
from xmodctl.core.events import StepTaken
from xmodctl.model.batches import collate, sampled, training_batches
from xmodctl.model.inference import best_device
from xmodctl.model.precision import Precision, autocast
from xmodctl.run.checkpoints import Checkpoint, Progress

if TYPE_CHECKING:
    import torch

    from xmodctl.core.encoded import Encoded
    from xmodctl.model import Xmod


Batch = list[np.ndarray]  # one optimizer step: micro-batches of unit numbers
OPTIMIZER_STATE = ("step", "exp_avg", "exp_avg_sq")  # what AdamW keeps per parameter


class Training:
    """The training of one seed: iterate over it to train. Between two steps, its state can be saved and restored.

    It runs in one process. Matrix products are computed in `precision`; weights, gradients and the optimizer's state
    are fp32. In fp16 the loss is scaled, so that small gradients do not vanish (Micikevicius et al., Mixed Precision
    Training, ICLR 2018).

    Args:
        model: Frozen as the recipe says, with the training language's adapter active; with several languages, all
            their adapters in memory.
        rows: The encoded training rows.
        weights: How many terms of the loss each unit brings, shape (units,); units with none are skipped.
        recipe: How to train.
        seed: Decides the order of rows and dropout, together with the step: no random state needs saving.
        precision: fp32, bf16 or fp16.
        pad_id: The tokenizer's padding id.
        languages: With several languages, the number of each unit's language, shape (units,); `rows` then carry
            `lang_ids`, which select the adapter of each row.

    Raises:
        UserError: The process is one of several that were launched together.
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
        import torch

        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise UserError("training runs in one process; start it without torchrun or accelerate launch")
        self.model, self.rows, self.weights, self.recipe, self.seed, self.precision, self.pad_id = (
            model, rows, weights, recipe, seed, precision, pad_id,
        )  # fmt: skip
        model.leave_padding_out()
        self.device = torch.device(best_device())
        self.module = model.module.to(self.device)
        self.optimizer = adamw(self.module, recipe)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "fp16")
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
        """Return the batches of an epoch."""
        units = self.units[self.sampled(epoch)]
        batches = training_batches(
            self.rows.lengths[units],
            choices=self.rows.sizes[units],
            batch_size=self.recipe.batch_size,
            tokens_per_step=self.recipe.tokens_per_step,
            seed=self.seed,
            epoch=epoch,
        )
        return [[units[part] for part in batch] for batch in batches]

    def sampled(self, epoch: int) -> np.ndarray:
        """Return the indexes into `units` of those that an epoch uses; with a single language, all of them."""
        return sampled(self.languages, alpha=self.recipe.sampling_alpha, seed=self.seed, epoch=epoch)

    @property
    def shares(self) -> list[int]:
        """How many units each language contributes to an epoch."""
        counts: list[int] = np.bincount(self.languages[self.sampled(0)], minlength=self.language_count).tolist()
        return counts

    def take(self, batch: Batch) -> StepTaken:
        """Take one optimizer step; the gradient is that of the mean loss over the whole batch."""
        started = perf_counter()
        seed_step(self.seed, self.step)
        learning_rate = self.recipe.learning_rate * schedule(self.recipe, self.step, self.total_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate

        self.module.train()
        loss = self.accumulate(batch)
        gradient_norm = self.clip()
        self.scaler.step(self.optimizer)
        self.scaler.update()
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
            gradient_norm=gradient_norm,
            examples=len(units),
            tokens=int(self.rows.tokens[units].sum()),
            seconds=perf_counter() - started,
            ends_epoch=self.ends_epoch,
        )

    def accumulate(self, batch: Batch) -> float:
        """Add up the gradients of the micro-batches, each weighted by its share of the batch's loss terms."""
        terms = sum(float(self.weights[part].sum()) for part in batch)
        total = 0.0
        for part in batch:
            inputs = {name: tensor.to(self.device, non_blocking=True) for name, tensor in self.collate(part).items()}
            with autocast(self.device, self.precision):
                loss = self.module(**inputs).loss
            loss = loss.float() * (float(self.weights[part].sum()) / terms)
            self.scaler.scale(loss).backward()
            total += float(loss.detach())
        return total

    def clip(self) -> float:
        """Clip the norm of the gradient as the recipe says, and return what it was."""
        import torch

        self.scaler.unscale_(self.optimizer)
        limit = self.recipe.gradient_clip or math.inf
        return float(torch.nn.utils.clip_grad_norm_(self.training_parameters().values(), limit))

    def collate(self, part: np.ndarray) -> dict[str, "torch.Tensor"]:
        """Return a padded micro-batch."""
        return collate(self.rows, part, pad_id=self.pad_id)

    def progress(self) -> Progress:
        """Return how far the training has come."""
        return Progress(self.step, self.total_steps, self.epoch, world=1)

    def training_parameters(self) -> dict[str, "torch.nn.Parameter"]:
        """Return the parameters that the optimizer changes."""
        return {name: tensor for name, tensor in self.module.named_parameters() if tensor.requires_grad}

    def trained(self) -> dict[str, "torch.Tensor"]:
        """Return the values of what trains, under their stock names."""
        from xmodctl.model import trained_tensors

        return trained_tensors(self.model)

    def put(self, tensors: "Mapping[str, torch.Tensor]") -> None:
        """Put back what `trained` returned."""
        from xmodctl.model import apply_delta

        apply_delta(self.model, tensors)

    def optimizer_state(self) -> dict[str, "torch.Tensor"]:
        """Return the optimizer's state as `<parameter>.<state>` -> tensor."""
        state = self.optimizer.state
        return {
            f"{name}.{key}": state[parameter][key]
            for name, parameter in self.training_parameters().items()
            for key in OPTIMIZER_STATE
            if parameter in state  # the adapter of a language has none until its first row was seen
        }

    def restore(self, checkpoint: Checkpoint) -> None:
        """Resume from a checkpoint: weights, optimizer state and step.

        Raises:
            UserError: It belongs to a training of another length.
        """
        saved = checkpoint.progress
        if (saved.total_steps, saved.world) != (self.total_steps, 1):
            processes = f" in {saved.world} processes" if saved.world > 1 else ""
            raise UserError(
                f"{checkpoint.folder} belongs to a training of {saved.total_steps:,} steps{processes}, but this one "
                f"has {self.total_steps:,}; repeat the command that began it, or start over with --on-exists redo"
            )
        self.put(checkpoint.tensors())
        state = checkpoint.optimizer()
        for name, parameter in self.training_parameters().items():
            if f"{name}.{OPTIMIZER_STATE[0]}" not in state:
                continue
            self.optimizer.state[parameter] = {
                key: state[f"{name}.{key}"].to(parameter.device) for key in OPTIMIZER_STATE
            }
        self.step = saved.step


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
