"""The steps of several seeds in one pass: losses, gradients and everything else stay each seed's own."""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from xmodctl.core.errors import UserError
from xmodctl.core.events import Listener, StepsTaken, report
from xmodctl.core.messages import listed
from xmodctl.core.signals import deferred
from xmodctl.model.memory import OutOfMemoryError, batch_errors, more_memory
from xmodctl.model.precision import autocast
from xmodctl.model.transfer import on_device
from xmodctl.run.checkpoints import checkpoint_steps, newest_step, remove_newer, remove_others
from xmodctl.training.loop import Training
from xmodctl.training.metrics_log import logged_steps
from xmodctl.training.open_training import CHECKPOINTS, METRICS, OpenTraining
from xmodctl.training.optimization import seed_step
from xmodctl.training.readings import Batch, Gradient
from xmodctl.training.resumable import run_steps

if TYPE_CHECKING:
    import torch

    from xmodctl.model.seeds import Streams

Parts = tuple["np.ndarray | None", ...]  # a micro-batch of each seed; None where it has no more


class SeedsTogether:
    """The trainings of several seeds, which stand at one step and take each step together.

    Args:
        trainings: On the same rows, with one recipe. They share their frozen weights from now on.
    """

    def __init__(self, trainings: Sequence[Training]) -> None:
        from xmodctl.model.seeds import SeedModels

        assert len({training.step for training in trainings}) == 1, "trainings that take steps together"
        self.trainings = trainings
        self.models = SeedModels([training.model for training in trainings])
        for training in trainings:
            training.readings.sharing = len(trainings)

    def gradients(self, batches: Sequence[Batch], listen: Listener = report) -> list[Gradient]:
        """Compute the gradient of each seed's batch, and clip it.

        Micro-batches that do not fit into memory together are halved.

        Args:
            batches: The next batch of each seed.
            listen: Is called with a notice if there is not enough memory.

        Raises:
            UserError: The loss or the gradient of a seed is not finite, or one unit of each does not fit into memory.
        """
        started = perf_counter()
        while True:
            for training in self.trainings:
                training.module.train()
                training.optimizer.zero_grad(set_to_none=True)
            self.models.zero_gradients()
            streams = self._streams()
            fitting = [each.memory.fitting(batch) for each, batch in zip(self.trainings, batches, strict=True)]
            parts = list(zip_longest(*fitting))
            try:
                losses = self._accumulate(batches, parts, streams)
                break
            except OutOfMemoryError as error:
                too_large = next(each for each in parts if any(part is error.part for part in each))
            self._halve(too_large, listen)
        self.models.give_gradients()
        return [
            training.clipped(batch, loss, started)
            for training, batch, loss in zip(self.trainings, batches, losses, strict=True)
        ]

    def _streams(self) -> "Streams | None":
        """Seed the random numbers of the step: on a CPU those of each seed, on an accelerator one stream for all."""
        import torch

        from xmodctl.model.seeds import Streams

        first, states = self.trainings[0], []
        for training in reversed(self.trainings):
            seed_step(training.seed, first.step)
            states.append(torch.get_rng_state())
        return Streams(states[::-1]) if self.models.packs else None

    def _accumulate(
        self, batches: Sequence[Batch], parts: Sequence[Parts], streams: "Streams | None"
    ) -> "list[float | torch.Tensor]":
        """Add up the gradients of all micro-batches, and return the loss of each seed.

        Raises:
            OutOfMemoryError: Micro-batches do not fit into memory together.
        """
        import torch

        terms = [training.terms(batch) for training, batch in zip(self.trainings, batches, strict=True)]
        totals = [training.readings.zero(training.device) for training in self.trainings]
        for each in parts:
            with batch_errors(next(part for part in each if part is not None)):
                scaled = []
                for seed, loss in self._losses(each, streams).items():
                    training = self.trainings[seed]
                    share = float(training.weights[each[seed]].sum()) / terms[seed]
                    weighted = loss.float() * share
                    scaled.append(training.scaler.scale(weighted))
                    totals[seed] = totals[seed] + training.readings.number(weighted)
                torch.autograd.backward(scaled)
        return totals

    def _losses(self, parts: Parts, streams: "Streams | None") -> "dict[int, torch.Tensor]":
        """Return the mean loss of each seed's micro-batch, by the number of the seed."""
        first = self.trainings[0]
        inputs = [
            None if part is None else on_device(training.collate(part), training.device, host=training.host)
            for training, part in zip(self.trainings, parts, strict=True)
        ]
        with autocast(first.device, first.precision):
            return self.models.losses(inputs, streams)

    def _halve(self, parts: Parts, listen: Listener) -> None:
        """Halve the micro-batches that do not fit into memory together.

        Raises:
            UserError: None of them can be halved.
        """
        first = self.trainings[0]
        notices = [
            training.memory.exceeded(part, first.step + 1, training.describe, training.device)
            for training, part in zip(self.trainings, parts, strict=True)
            if part is not None and len(part) > 1
        ]
        if not notices:
            raise UserError(
                f"there is not enough memory for one row of each of {len(self.trainings)} seeds at step "
                f"{first.step + 1:,}; train one seed after the other with --set seeds_together=false, or "
                f"{more_memory(first.device)}"
            )
        listen(notices[0])


def go_back_to_shared_step(folders: Sequence[Path]) -> int | None:
    """Remove checkpoints after the newest step of which every seed has one, and return that step.

    A process that is killed while it saves leaves seeds at different steps. Trained alone from there, they would have
    the weights of a training that was never stopped up to rounding only.

    Args:
        folders: Those of the seeds. Nothing in them is verified.

    Returns:
        The step; 0 if the process was killed while it saved its first checkpoints, so that some have none. None if
        there is no such step: more would be trained again than since the last checkpoint.
    """
    saved = {folder: checkpoint_steps(folder / CHECKPOINTS) for folder in folders}
    shared = set.intersection(*map(set, saved.values()))
    step = max(shared, default=0)
    if not shared:
        last = max(max(steps, default=0) for steps in saved.values())
        logged = [logged_steps(folder / METRICS) or 0 for folder in folders]
        if any(len(steps) > 1 for steps in saved.values()) or min(logged) < last:
            return None
    for folder in folders:
        remove_newer(folder / CHECKPOINTS, step)
    return step


def run_together(opened: Sequence[OpenTraining], listen: Listener) -> None:
    """Train several seeds from their present step to the last, of which all but the first then have a checkpoint.

    The delta of a seed may be written before the process is killed: the others must not take steps again without it.

    Args:
        opened: The trainings, which stand at one step.
        listen: Is called with each step of all seeds.

    Raises:
        Interrupted: The user asked to stop; the last step that was taken is saved.
    """
    trainings = [each.training for each in opened]
    together = SeedsTogether(trainings)

    def save() -> None:
        _record(opened, listen, early=True)
        for each in opened:
            each.resumable.save_interrupted(listen)

    run_steps(
        trainings[0],
        zip(*(training.remaining() for training in trainings), strict=True),
        take=lambda batches: _take_step(opened, batches, together.gradients(batches, listen), listen),
        end_epoch=lambda: _end_epoch(opened),
        save=save,
        name=f"seeds {listed([str(each.seed) for each in opened])}",
    )
    for each in opened[1:]:
        if newest_step(each.resumable.checkpoints) < each.training.step:
            each.resumable.save(listen)


def _end_epoch(opened: Sequence[OpenTraining]) -> None:
    for each in opened:
        each.end_epoch()


def _take_step(
    opened: Sequence[OpenTraining], batches: Sequence[Batch], gradients: Sequence[Gradient], listen: Listener
) -> None:
    """Take a step of all seeds, log what has been read of earlier ones, and save checkpoints if they are due.

    A signal waits until all seeds stand at one step.
    """
    is_due = False
    with deferred():
        for each, batch, gradient in zip(opened, batches, gradients, strict=True):
            each.training.update(batch, gradient)
        is_due = opened[0].resumable.is_due
        _record(opened, listen, early=is_due)
        if is_due:
            for each in opened:
                each.resumable.save(listen)
    if is_due:
        for each in opened:
            remove_others(each.resumable.checkpoints, each.training.step)


def _record(opened: Sequence[OpenTraining], listen: Listener, *, early: bool) -> None:
    """Log the steps that are read, in the log of each seed, and report them together."""
    read = [list(each.training.read(early=early)) for each in opened]
    for steps in zip(*read, strict=True):
        for each, step in zip(opened, steps, strict=True):
            each.resumable.log.add(asdict(step))
        listen(StepsTaken({each.seed: step for each, step in zip(opened, steps, strict=True)}))
