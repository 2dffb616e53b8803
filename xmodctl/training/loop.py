"""The training loop: the method and nothing else. Saving, logging and drawing are up to the caller."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from xmodctl.catalog.recipe import Recipe
from xmodctl.core.environment import WORLD_SIZE
from xmodctl.core.errors import UserError
from xmodctl.core.events import Listener, StepTaken, report
from xmodctl.core.memory import enough_memory
from xmodctl.model.batches import collate, sampled, training_batches
from xmodctl.model.inference import best_device
from xmodctl.model.memory import OutOfMemoryError, batch_errors, more_memory
from xmodctl.model.precision import Precision, autocast
from xmodctl.run.checkpoints import Checkpoint, Progress
from xmodctl.training.memory import Memory

if TYPE_CHECKING:
    import torch

    from xmodctl.core.encoded import Encoded
    from xmodctl.model import Xmod


Batch = list[np.ndarray]  # one optimizer step: micro-batches of unit numbers
OPTIMIZER_STATE = ("step", "exp_avg", "exp_avg_sq")  # what AdamW keeps per parameter
SCALER_STATE = ("scale", "_growth_tracker")  # what changes in the scaler of fp16


@dataclass(frozen=True)
class Gradient:
    """A gradient that lies in the parameters."""

    loss: float  # mean over the batch
    norm: float  # before clipping
    started: float  # by `perf_counter`, when its computation began


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
        describe: Names units in messages.

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
        describe: Callable[[np.ndarray], str] = lambda units: f"{len(units):,} units",
    ) -> None:
        import torch

        if int(WORLD_SIZE.value or "1") > 1:
            raise UserError("training runs in one process; start it without torchrun or accelerate launch")
        self.model, self.rows, self.weights, self.recipe, self.seed, self.precision, self.pad_id = (
            model, rows, weights, recipe, seed, precision, pad_id,
        )  # fmt: skip
        self.describe, self.memory = describe, Memory(rows)
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
        return map(self.take, self.remaining())

    def remaining(self) -> Iterator[Batch]:
        """Yield the batches from the present step to the last; each step is taken before the next batch."""
        while self.step < self.total_steps:
            epoch, done = divmod(self.step, self.steps_per_epoch)
            yield from self.batches(epoch)[done : done + self.total_steps - self.step]

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
        return self.update(batch, self.gradient(batch))

    def gradient(self, batch: Batch, listen: Listener = report) -> Gradient:
        """Compute the gradient of the mean loss over a batch, and clip it.

        Micro-batches that do not fit into memory are halved: the gradient is then the same up to rounding, and up to
        dropout, which is drawn for each micro-batch.

        Args:
            batch: The batch.
            listen: Is called with a notice if memory does not suffice.

        Raises:
            UserError: The loss or the gradient is not finite, or one unit alone does not fit into memory.
        """
        started = perf_counter()
        self.module.train()
        while True:
            seed_step(self.seed, self.step)
            self.optimizer.zero_grad(set_to_none=True)
            try:
                loss = self.accumulate(self.memory.fitting(batch))
                break
            except OutOfMemoryError as error:
                listen(self.memory.exceeded(error.part, self.step + 1, self.describe(error.part)))
        with self.holding_optimizer():
            norm = self.clip()
        self.check_finite(batch, loss, norm)
        return Gradient(loss, norm, started)

    def check_finite(self, batch: Batch, loss: float, norm: float) -> None:
        """Refuse a loss or gradient that is not finite, before the optimizer uses it.

        In fp16 a gradient may overflow: the scaler then skips the step and halves the scale of the loss. It is refused
        when even a loss that is not scaled up overflows.
        """
        is_scaled = self.scaler.is_enabled() and self.scaler.get_scale() > 1
        if math.isfinite(loss) and (math.isfinite(norm) or is_scaled):
            return
        value = f"the gradient (norm {norm})" if math.isfinite(loss) else f"the loss ({loss})"
        rate = f"--set learning_rate={self.recipe.learning_rate / 3:.1g}"
        precision = "" if self.precision == "fp32" else ", train with --precision fp32"
        raise UserError(
            f"{value} is not finite at step {self.step + 1:,} of {self.total_steps:,} with seed {self.seed}, in a "
            f"batch of {self.describe(np.concatenate(batch))}; use a lower learning rate ({rate}){precision}, or "
            "remove these rows if their texts are damaged"
        )

    def update(self, batch: Batch, gradient: Gradient) -> StepTaken:
        """Take one optimizer step with the gradient that `gradient` left in the parameters.

        Raises:
            UserError: Memory does not hold the optimizer's state. The weights may have changed in part.
        """
        learning_rate = self.recipe.learning_rate * schedule(self.recipe, self.step, self.total_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        with self.holding_optimizer():
            self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        units = np.concatenate(batch)
        return StepTaken(
            step=self.step,
            total_steps=self.total_steps,
            epoch=self.epoch,
            loss=gradient.loss,
            learning_rate=learning_rate,
            gradient_norm=gradient.norm,
            examples=len(units),
            tokens=int(self.rows.tokens[units].sum()),
            seconds=perf_counter() - gradient.started,
            ends_epoch=self.ends_epoch,
        )

    def accumulate(self, batch: Batch) -> float:
        """Add up the gradients of the micro-batches, each weighted by its share of the batch's loss terms.

        Raises:
            OutOfMemoryError: A micro-batch does not fit into memory.
        """
        terms = sum(float(self.weights[part].sum()) for part in batch)
        total = 0.0
        for part in batch:
            with batch_errors(part):
                inputs = {
                    name: tensor.to(self.device, non_blocking=True) for name, tensor in self.collate(part).items()
                }
                with autocast(self.device, self.precision):
                    loss = self.module(**inputs).loss
                loss = loss.float() * (float(self.weights[part].sum()) / terms)
                self.scaler.scale(loss).backward()
                total += float(loss.detach())
        return total

    @contextmanager
    def holding_optimizer(self) -> Iterator[None]:
        """Turn memory that does not hold the optimizer's work into one sentence: no smaller batch would help."""
        can_freeze = self.recipe.freeze in ("adapters", "none")
        fewer = "train fewer parameters with --set freeze=embeddings+adapters, or " if can_freeze else ""
        what = f"the gradient and the optimizer's state at step {self.step + 1:,} with seed {self.seed}"
        with enough_memory(what, f"{fewer}{more_memory(self.device)}; the last checkpoint stays"):
            yield

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
        """Return the optimizer's state as `<parameter>.<state>` -> tensor, and in fp16 that of the scaler."""
        import torch

        state, scaler = self.optimizer.state, self.scaler.state_dict()
        return {
            f"{name}.{key}": state[parameter][key]
            for name, parameter in self.training_parameters().items()
            for key in OPTIMIZER_STATE
            if parameter in state  # the adapter of a language has none until its first row was seen
        } | {f"scaler.{key}": torch.tensor(float(scaler[key])) for key in SCALER_STATE if scaler}

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
        if self.scaler.is_enabled() and f"scaler.{SCALER_STATE[0]}" in state:
            scale, growth = (float(state[f"scaler.{key}"]) for key in SCALER_STATE)
            self.scaler.load_state_dict({**self.scaler.state_dict(), "scale": scale, "_growth_tracker": int(growth)})
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
