"""Losses and gradient norms of steps that an accelerator has not finished: they are read together."""

import math
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from xmodctl.core.events import StepTaken

if TYPE_CHECKING:
    import torch

READ_EVERY = 16
"""Steps between two readings on an accelerator: reading waits until it has finished what was asked of it."""

Batch = list[np.ndarray]  # one optimizer step: micro-batches of unit numbers


@dataclass(frozen=True)
class Gradient:
    """A gradient that lies in the parameters; its numbers may still be on the device."""

    loss: "float | torch.Tensor"  # mean over the batch
    norm: "float | torch.Tensor"  # before clipping
    scale: "float | torch.Tensor"  # what fp16 multiplied the loss by
    started: float  # by `perf_counter`, when its computation began

    @property
    def flaw(self) -> str | None:
        """The number that is not finite, if one is not.

        In fp16 a gradient may overflow: the scaler then skips the step and halves the scale of the loss, down to 1.
        """
        loss, norm = float(self.loss), float(self.norm)
        if math.isfinite(loss) and (math.isfinite(norm) or float(self.scale) > 1):
            return None
        return f"the gradient (norm {norm})" if math.isfinite(loss) else f"the loss ({loss})"


@dataclass
class Readings:
    """Steps whose numbers have not been read, in order.

    Args:
        every: Steps between two readings: 1 on a CPU, where numbers are read at once.
        sharing: Trainings that take their steps together: each took an equal share of the time.
    """

    every: int
    sharing: int = 1
    unread: list[tuple[StepTaken, Batch, Gradient]] = field(default_factory=list, init=False)
    since: float = field(default_factory=perf_counter, init=False)  # the last reading

    @classmethod
    def of(cls, device: "torch.device") -> "Readings":
        """Return the readings of a device."""
        return cls(1 if device.type == "cpu" else READ_EVERY)

    @property
    def at_once(self) -> bool:
        """Whether each number is read as soon as it is computed."""
        return self.every == 1

    @property
    def are_due(self) -> bool:
        """Whether enough steps wait."""
        return len(self.unread) >= self.every

    def zero(self, device: "torch.device") -> "float | torch.Tensor":
        """Return a zero to which numbers are added."""
        import torch

        return 0.0 if self.at_once else torch.zeros((), device=device)

    def number(self, value: "torch.Tensor") -> "float | torch.Tensor":
        """Return a number of the device: read, if numbers are read at once."""
        return float(value.detach()) if self.at_once else value.detach()

    def scale(self, scaler: "torch.amp.GradScaler", device: "torch.device") -> "float | torch.Tensor":
        """Return what fp16 multiplies the loss by; 1 in other precisions."""
        import torch

        return self.number(scaler.scale(torch.ones((), device=device))) if scaler.is_enabled() else 1.0

    def add(self, step: StepTaken, batch: Batch, gradient: Gradient) -> None:
        """Add a step, whose loss and norm are those of `gradient`."""
        if self.at_once:
            step = replace(
                step,
                loss=float(gradient.loss),
                gradient_norm=float(gradient.norm),
                seconds=step.seconds / self.sharing,
            )
        self.unread.append((step, batch, gradient))

    def read(self) -> list[tuple[StepTaken, Batch, Gradient]]:
        """Return the steps that wait, with their numbers, and forget them.

        An accelerator works through them without a pause: each then took an equal share of the time.
        """
        unread, self.unread = self.unread, []
        if self.at_once or not unread:
            return unread
        import torch

        numbers = [number for _, _, own in unread for number in (own.loss, own.norm, own.scale)]
        device = next(number.device for number in numbers if isinstance(number, torch.Tensor))
        values = torch.stack([torch.as_tensor(number, device=device).float() for number in numbers]).tolist()
        now = perf_counter()
        seconds, self.since = (now - max(self.since, unread[0][2].started)) / len(unread) / self.sharing, now
        read = []
        for (step, batch, own), loss, norm, scale in zip(unread, values[::3], values[1::3], values[2::3], strict=True):
            known = replace(step, loss=loss, gradient_norm=norm, seconds=seconds)
            read.append((known, batch, replace(own, loss=loss, norm=norm, scale=scale)))
        return read
