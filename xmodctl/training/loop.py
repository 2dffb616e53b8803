"""The training loop: the method and nothing else. Saving, logging and drawing are up to the caller."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from xmodctl.catalog.recipe import Recipe
from xmodctl.core.errors import UserError
from xmodctl.core.events import Listener, StepTaken, report
from xmodctl.core.signals import NO_SIGNAL, Interrupted, adopt, requested
from xmodctl.model.batches import collate, sampled, training_batches
from xmodctl.model.inference import best_device
from xmodctl.model.memory import OutOfMemoryError, batch_errors
from xmodctl.model.parts import Part, computing
from xmodctl.model.precision import Precision, autocast
from xmodctl.model.storing import store_narrow
from xmodctl.model.transfer import HOST, mask_on_host, on_device, own_gradients
from xmodctl.run.checkpoints import Checkpoint, Progress
from xmodctl.training.code_switching import CodeSwitching
from xmodctl.training.losses import mean_loss
from xmodctl.training.memory import Memory, optimizer_memory
from xmodctl.training.optimization import (
    adamw,
    put_averages,
    put_state,
    schedule,
    seed_step,
    set_learning_rate,
    spread_state,
    state_of,
    total_steps,
    update_averages,
)
from xmodctl.training.peak_memory import with_fitting_tokens, with_tokens_of_checkpoint
from xmodctl.training.readings import Batch, Gradient, Readings
from xmodctl.training.world import World

if TYPE_CHECKING:
    import torch

    from xmodctl.core.encoded import Encoded
    from xmodctl.model import Xmod


class Training:
    """The training of one seed: iterate over it to train. Between two steps, its state can be saved and restored.

    Several processes that train together each compute their share of every batch (`World`); all take the same steps, up
    to rounding those of one process. Matrix products are computed in `precision`; weights that train, gradients and the
    optimizer's state are fp32. In fp16 the loss is scaled, so that small gradients do not vanish (Micikevicius et al.,
    Mixed Precision Training, ICLR 2018). On an accelerator, losses are read every few steps (`Readings`).

    Args:
        model: Frozen as the recipe says, with the training language's adapter active; with several languages, all
            their adapters in memory.
        rows: The encoded training rows.
        weights: How many terms of the loss each unit brings, shape (units,); units with none are skipped.
        recipe: How to train.
        seed: Decides the order of rows and dropout, together with the step: no random state needs saving.
        precision: fp32, tf32, bf16 or fp16.
        pad_id: The tokenizer's padding id.
        languages: With several languages, the number of each unit's language, shape (units,); `rows` then carry
            `lang_ids`, which select the adapter of each row.
        describe: Names units in messages.
        world: The processes that train together.
        switching: What replaces words of the rows, if the recipe asks for it.
    """

    host: tuple[str, ...] = HOST  # inputs that stay in the host's memory
    stores_narrow = True  # frozen weights, on an accelerator

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
        world: World = World(),  # noqa: B008 (frozen)
        switching: CodeSwitching | None = None,
    ) -> None:
        import torch

        self.model, self.rows, self.weights, self.seed, self.precision, self.pad_id = (
            model, rows, weights, seed, precision, pad_id,
        )  # fmt: skip
        self.describe, self.memory, self.world = describe, Memory(rows, packed=recipe.variable_length), world
        self.switching = switching
        self.recipe = with_fitting_tokens(recipe, model, precision, world)
        model.leave_padding_out()
        self.device = torch.device(best_device())
        self.readings = Readings.of(self.device)
        self.module = model.module.to(self.device)
        if self.stores_narrow and self.device.type != "cpu":
            store_narrow(self.module, precision)
        if recipe.compile:
            model.compile_steps()
        self.host = (*self.host, *mask_on_host(model, precision))
        self.optimizer = adamw(self.module, recipe)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "fp16")
        self.units = np.flatnonzero(weights)
        self.languages = np.zeros(len(self.units), dtype=np.int64) if languages is None else languages[self.units]
        self.language_count = 1 if languages is None else int(languages.max()) + 1
        self.steps_per_epoch = math.ceil(len(self.units) / recipe.batch_size)
        self.total_steps, self.step = total_steps(len(self.units), recipe), 0

    def __iter__(self) -> Iterator[StepTaken]:
        """Train from the present step to the last."""
        for batch in self.remaining():
            self.update(batch, self.gradient(batch))
            yield from self.read()

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
            tokens_per_step=int(self.recipe.tokens_per_step),
            seed=self.seed,
            epoch=epoch,
            fixed_shapes=self.recipe.compile,
            real=self.rows.tokens[units] if self.recipe.variable_length else None,
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

    def take(self, batch: Batch) -> list[StepTaken]:
        """Take one optimizer step with the gradient of the mean loss over the whole batch; return the steps read."""
        self.update(batch, self.gradient(batch))
        return list(self.read())

    def gradient(self, batch: Batch, listen: Listener = report) -> Gradient:
        """Compute the gradient of the mean loss over a batch, and clip it.

        Micro-batches that do not fit into memory are halved: the gradient is then the same up to rounding, and up to
        dropout, which is drawn for each micro-batch.

        Args:
            batch: The batch.
            listen: Is called with a notice if there is not enough memory.

        Raises:
            UserError: The loss or the gradient is not finite, or one unit alone does not fit into memory.
        """
        started = perf_counter()
        self.module.train()
        while True:
            seed_step(self.seed, self.step)
            self.optimizer.zero_grad(set_to_none=True)
            parts = self.memory.fitting(batch)
            too_large, loss = len(parts), self.readings.zero(self.device)
            try:
                loss = self.accumulate(parts)
            except OutOfMemoryError as error:
                too_large = next(number for number, part in enumerate(parts) if part is error.part)
            too_large = self.world.least(too_large)  # all processes halve the same micro-batches
            if too_large == len(parts):
                break
            listen(self.memory.exceeded(parts[too_large], self.step + 1, self.describe, self.device))
        return self.clipped(batch, self.add_up(loss) if self.world.size > 1 else loss, started)

    def clipped(self, batch: Batch, loss: "float | torch.Tensor", started: float) -> Gradient:
        """Clip the gradient of a batch that lies in the parameters, and return it with the loss.

        Raises:
            UserError: The loss or the gradient is not finite.
        """
        scale = self.readings.scale(self.scaler, self.device)
        with self.holding_optimizer():
            norm = self.clip()
        gradient = Gradient(loss, norm, scale, started)
        if self.readings.at_once:
            self.check_finite(batch, gradient, self.step + 1)
        return gradient

    def check_finite(self, batch: Batch, gradient: Gradient, step: int) -> None:
        """Refuse a loss or gradient that is not finite: on a CPU, before the optimizer uses it."""
        if not (value := gradient.flaw):
            return
        lower = f"use a lower learning rate (--set learning_rate={self.recipe.learning_rate / 3:.1g})"
        remedy = lower if step > 1 else "check the weights of the model, which no step has changed yet"
        precision = "" if self.precision == "fp32" else ", train with --precision fp32"
        raise UserError(
            f"{value} is not finite at step {step:,} of {self.total_steps:,} with seed {self.seed}, in a "
            f"batch of {self.describe(np.concatenate(batch))}; {remedy}{precision}, "
            "or remove these rows if their texts are damaged"
        )

    def update(self, batch: Batch, gradient: Gradient) -> None:
        """Take one optimizer step with the gradient that `gradient` left in the parameters.

        Raises:
            UserError: There is not enough memory for the optimizer's state. The weights may have changed in part.
        """
        learning_rate = self.recipe.learning_rate * schedule(self.recipe, self.step, self.total_steps)
        set_learning_rate(self.optimizer, learning_rate)
        with self.holding_optimizer():
            self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        if self.recipe.moving_decay:
            update_averages(self.optimizer, self.recipe.moving_decay, self.step)
        units = np.concatenate(batch)
        step = StepTaken(
            step=self.step,
            total_steps=self.total_steps,
            epoch=self.epoch,
            loss=math.nan,
            learning_rate=learning_rate,
            gradient_norm=math.nan,
            examples=len(units),
            tokens=int(self.rows.tokens[units].sum()),
            seconds=perf_counter() - gradient.started,
            ends_epoch=self.ends_epoch,
        )
        self.readings.add(step, batch, gradient)

    def read(self, *, early: bool = False) -> Iterator[StepTaken]:
        """Yield the steps since the last reading, with their losses: on a CPU one, on an accelerator several or none.

        Args:
            early: Do not wait until it is time to read.

        Raises:
            UserError: A loss or a gradient is not finite; the steps before it were yielded.
        """
        if early or self.ends_epoch or self.readings.are_due:
            for step, batch, gradient in self.readings.read():
                self.check_finite(batch, gradient, step.step)
                yield step

    def accumulate(self, batch: Batch) -> "float | torch.Tensor":
        """Add up the gradients of the micro-batches, each weighted by its share of the batch's loss terms.

        Raises:
            OutOfMemoryError: A micro-batch does not fit into memory.
        """
        terms, total = self.terms(batch), self.readings.zero(self.device)
        for part in batch:
            own = part if self.world.size == 1 else part[self.world.share(self.rows.tokens[part])]
            with batch_errors(part), computing(None if own is part else Part.of(self.rows, part, own)):
                if not len(own):  # its random numbers are drawn, because those of the next part follow them
                    self.skip(part[:1])
                    continue
                inputs = on_device(self.collate(own), self.device, host=self.host)
                with autocast(self.device, self.precision):
                    loss: Any = mean_loss(self.module, inputs, self.recipe.rdrop)
                loss = loss.float() * (float(self.weights[own].sum()) / terms)
                self.scaler.scale(loss).backward()
                if self.recipe.compile:
                    own_gradients(self.training_parameters().values())
                total = total + self.readings.number(loss)
        return total

    def terms(self, batch: Batch) -> float:
        """Return how many terms the loss of a batch has."""
        return sum(float(self.weights[part].sum()) for part in batch)

    def skip(self, part: np.ndarray) -> None:
        """Draw the random numbers of a micro-batch without a gradient."""
        import torch

        with torch.no_grad(), autocast(self.device, self.precision):
            mean_loss(self.module, on_device(self.collate(part), self.device, host=self.host), self.recipe.rdrop)

    def add_up(self, loss: "float | torch.Tensor") -> "float | torch.Tensor":
        """Add up the gradients and losses of all processes, and return the loss of the whole batch.

        Raises:
            Interrupted: One of the processes was asked to stop; all of them stop before this step.
            LostProcessError: Another process has ended.
        """
        trained = list(self.training_parameters().values())
        stopping, total = self.world.add_up(trained, float(requested() is not None), loss)
        if stopping:
            adopt(self.world.least(requested() or NO_SIGNAL))
            raise Interrupted
        return total

    def holding_optimizer(self) -> AbstractContextManager[None]:
        """Refuse with one sentence if there is not enough memory for the optimizer: no smaller batch would help."""
        return optimizer_memory(self.recipe, self.device, step=self.step + 1, seed=self.seed)

    def clip(self) -> "float | torch.Tensor":
        """Clip the norm of the gradient as the recipe says, and return what it was."""
        import torch

        self.scaler.unscale_(self.optimizer)
        limit = self.recipe.gradient_clip or math.inf
        return self.readings.number(torch.nn.utils.clip_grad_norm_(self.training_parameters().values(), limit))

    def collate(self, part: np.ndarray) -> dict[str, "torch.Tensor"]:
        """Return a padded micro-batch; with R-Drop, `switched` are the code-switched tokens of the second pass."""
        inputs = collate(self.rows, part, pad_id=self.pad_id)
        if self.switching is not None:
            name = "switched" if self.recipe.rdrop else "input_ids"
            inputs[name] = self.switching.switched(inputs["input_ids"], part, seed=self.seed, step=self.step)
        return inputs

    def progress(self) -> Progress:
        """Return how far the training has come."""
        return Progress(self.step, self.total_steps, self.epoch, self.world.size, int(self.recipe.tokens_per_step))

    def training_parameters(self) -> dict[str, "torch.nn.Parameter"]:
        """Return the parameters that the optimizer changes."""
        return {name: tensor for name, tensor in self.module.named_parameters() if tensor.requires_grad}

    def trained(self) -> dict[str, "torch.Tensor"]:
        """Return the values of what trains, under their stock names."""
        from xmodctl.model import trained_tensors

        return trained_tensors(self.model)

    def averages(self) -> "dict[str, torch.Tensor]":
        """Return the moving averages of what trains, under their stock names; they take the place of the weights."""
        put_averages(self.optimizer)
        return self.trained()

    def put(self, tensors: "Mapping[str, torch.Tensor]") -> None:
        """Put back what `trained` returned."""
        from xmodctl.model import apply_delta

        apply_delta(self.model, tensors)

    def optimizer_state(self) -> dict[str, "torch.Tensor"]:
        """Return the optimizer's state as `<parameter>.<state>` -> tensor, and in fp16 that of the scaler."""
        return state_of(self.optimizer, self.scaler, self.training_parameters())

    def spread(self) -> None:
        """Give every process the weights, the optimizer's state, and the step of the first.

        Raises:
            LostProcessError: Another process has ended.
        """
        if self.world.size == 1:
            return
        own = [self.scaler.state_dict(), self.step, self.recipe.tokens_per_step]
        scaler, self.step, tokens = self.world.from_first(own)
        self.recipe = with_tokens_of_checkpoint(self.recipe, tokens)
        spread_state(self.optimizer, self.training_parameters(), self.world)
        self.scaler.load_state_dict(scaler)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Resume from a checkpoint: weights, optimizer state and step.

        Raises:
            UserError: It belongs to a training of another length.
        """
        saved = checkpoint.progress
        if saved.total_steps != self.total_steps:
            raise UserError(
                f"{checkpoint.folder} belongs to a training of {saved.total_steps:,} steps, but this one "
                f"has {self.total_steps:,}; repeat the command that began it, or start over with --on-exists redo"
            )
        self.recipe = with_tokens_of_checkpoint(self.recipe, saved.tokens)
        self.put(checkpoint.tensors())
        put_state(self.optimizer, self.scaler, self.training_parameters(), checkpoint.optimizer())
        self.step = saved.step
