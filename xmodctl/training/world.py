"""The processes that work together: each computes its share of every batch, and all take the same step.

Gradients are added up, not averaged: each process weights its rows by their share of the whole batch's loss terms. The
first process alone writes files and draws; the others follow it.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from time import sleep
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from xmodctl.core.errors import LostProcessError, UserError
from xmodctl.core.messages import counted
from xmodctl.core.signals import deferred
from xmodctl.core.versions import versions
from xmodctl.training.meeting import has_met, launched_as, meet, take_device

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

ALONE = 2**19
"""Bytes from which on a gradient is added up by itself, without being copied."""

GRACE = 5.0
"""Seconds that a process waits after it lost another, whose launcher then ends it: that one has the message."""


@dataclass(frozen=True)
class World:
    """Which of how many processes this one is; one alone by default."""

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls, command: str) -> "World":
        """Join the processes that a launcher started, if one did: `--processes`, `torchrun`, or `accelerate launch`.

        Args:
            command: What this process was started to do: from here on, all must exchange the same messages.

        Raises:
            UserError: The launcher's variables make no sense, the first process does not answer, or it was started with
                another command or has another version of xmodctl.
            LostProcessError: Another process has ended.
        """
        rank, size = launched_as()
        if size == 1:
            return cls()
        if not has_met():
            meet(rank, size)
        world = cls(rank, size)
        world.check_equal(
            {"command": command, "version of xmodctl": versions().get("xmodctl"), "kind of device": take_device()}
        )
        return world

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and draws."""
        return self.rank == 0

    def agreed_stops(self) -> AbstractContextManager[None]:
        """Several processes stop together, between two steps; one alone stops at once."""
        return deferred() if self.size > 1 else nullcontext()

    def check_batches(self, count: int, noun: str) -> None:
        """Refuse batches of which some processes would never have a share.

        Args:
            count: What a batch has.
            noun: What messages call it.

        Raises:
            UserError: A batch has fewer than there are processes.
        """
        if self.size > count:
            raise UserError(
                f"{self.size} processes share batches of {counted(count, noun)}, so some would have none; "
                f"use --processes {count} or fewer"
            )

    def share(self, sizes: np.ndarray) -> np.ndarray:
        """Return which elements of a batch this process computes, ascending: the sizes of all shares are alike.

        The largest elements are dealt first, each to the process with the least so far.
        """
        if self.size == 1:
            return np.arange(len(sizes))
        loads = np.zeros(self.size)
        owner = np.empty(len(sizes), dtype=np.int64)
        for element in np.argsort(-sizes, kind="stable"):
            owner[element] = loads.argmin()
            loads[owner[element]] += sizes[element]
        return np.flatnonzero(owner == self.rank)

    def add_up(
        self, parameters: "Sequence[torch.nn.Parameter]", stopping: float, loss: "float | torch.Tensor"
    ) -> "tuple[float, float | torch.Tensor]":
        """Add up the gradients of all processes in each of them, and return the sums of both numbers.

        A parameter that has a gradient in no process keeps none. A loss that is a tensor stays on its device, so that
        nothing waits for it: what the host must know travels through the host's memory.

        Raises:
            LostProcessError: Another process has ended.
        """
        import torch

        is_read = not isinstance(loss, torch.Tensor)
        numbers = [*(float(parameter.grad is not None) for parameter in parameters), stopping, *([loss] * is_read)]
        sums = torch.tensor(numbers, dtype=torch.float64)
        _sum(sums)
        held, (stopping, *total) = sums[: len(parameters)].tolist(), sums[len(parameters) :].tolist()
        _sum_gradients([parameter for parameter, count in zip(parameters, held, strict=True) if count])
        if isinstance(loss, torch.Tensor):
            _sum(loss)
        return stopping, (loss if isinstance(loss, torch.Tensor) else total[0])

    def least(self, number: int) -> int:
        """Return the least of the numbers of all processes.

        Raises:
            LostProcessError: Another process has ended.
        """
        if self.size == 1:
            return number
        import torch
        import torch.distributed as dist

        value = torch.tensor(number)
        with _noticing_losses():
            dist.all_reduce(value, op=dist.ReduceOp.MIN)
        return int(value)

    def broadcast(self, tensor: "torch.Tensor") -> None:
        """Fill a tensor of every process with that of the first.

        Raises:
            LostProcessError: Another process has ended.
        """
        import torch.distributed as dist

        with _noticing_losses():
            dist.broadcast(tensor, 0)

    def from_first(self, value: Any) -> Any:
        """Return the first process's value, a JSON value, in every process; the others' values are not used.

        Raises:
            LostProcessError: Another process has ended.
        """
        return self.message(value)[0]

    def message(self, value: Any, arrays: Sequence[np.ndarray] = ()) -> tuple[Any, list[np.ndarray]]:
        """Return the first process's JSON value and arrays in every process; those of the others are not used.

        Raises:
            LostProcessError: Another process has ended.
        """
        if self.size == 1:
            return value, list(arrays)
        import torch
        import torch.distributed as dist

        content = torch.from_numpy(_packed(value, arrays)) if self.is_first else torch.empty(0, dtype=torch.uint8)
        length = torch.tensor([len(content)])
        with _noticing_losses():
            dist.broadcast(length, 0)
            content = content if self.is_first else torch.empty(int(length), dtype=torch.uint8)
            dist.broadcast(content, 0)
        return _unpacked(content.numpy())

    def gather(self, value: Any, arrays: Sequence[np.ndarray]) -> list[tuple[Any, list[np.ndarray]]]:
        """Return the JSON values and arrays of all processes in the first one, by rank; nothing in the others.

        Raises:
            LostProcessError: Another process has ended.
        """
        if self.size == 1:
            return [(value, list(arrays))]
        import torch
        import torch.distributed as dist

        if not self.is_first:
            content = torch.from_numpy(_packed(value, arrays))
            with _noticing_losses():
                dist.send(torch.tensor([len(content)]), 0)
                dist.send(content, 0)
            return []
        gathered = [(value, list(arrays))]
        for rank in range(1, self.size):
            length = torch.zeros(1, dtype=torch.int64)
            with _noticing_losses():
                dist.recv(length, rank)
                content = torch.empty(int(length), dtype=torch.uint8)
                dist.recv(content, rank)
            gathered.append(_unpacked(content.numpy()))
        return gathered

    def after_first(self, work: Callable[[], T]) -> T:
        """Return what some work returns, which the other processes begin when the first one has done it.

        Raises:
            LostProcessError: Another process has ended.
        """
        if not self.is_first:
            self.wait()
        result = work()
        if self.is_first:
            self.wait()
        return result

    def wait(self) -> None:
        """Wait for the first process.

        Raises:
            LostProcessError: Another process has ended.
        """
        self.from_first(None)

    def check_equal(self, values: Mapping[str, Any]) -> None:
        """Refuse processes that were started with other values.

        Raises:
            UserError: This process has different values from the first.
            LostProcessError: Another process has ended.
        """
        if self.size == 1:
            return
        firsts = self.from_first(dict(values))
        own = json.loads(json.dumps(dict(values)))
        if different := sorted(key for key in own.keys() | firsts.keys() if own.get(key) != firsts.get(key)):
            remedy = "start the same command with the same files in every process"
            if different == ["precision"]:
                remedy = "if their GPUs differ, name a precision that all of them have, such as --precision fp32"
            raise UserError(
                f"process {self.rank} was started with a different plan from the first one ({', '.join(different)}); "
                f"{remedy}"
            )


def _packed(value: Any, arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Return a JSON value and arrays as bytes."""
    head = json.dumps([value, [(array.dtype.str, array.shape) for array in arrays]]).encode()
    parts = [np.array([len(head)]).view(np.uint8), np.frombuffer(head, dtype=np.uint8)]
    return np.concatenate([*parts, *(np.ascontiguousarray(array).reshape(-1).view(np.uint8) for array in arrays)])


def _unpacked(content: np.ndarray) -> tuple[Any, list[np.ndarray]]:
    """Return what was packed."""
    start = 8 + int(content[:8].view(np.int64)[0])
    value, shapes = json.loads(bytes(content[8:start]))
    arrays = []
    for kind, shape in shapes:
        end = start + np.dtype(kind).itemsize * math.prod(shape)
        arrays.append(np.frombuffer(content[start:end].tobytes(), dtype=kind).reshape(shape))
        start = end
    return value, arrays


def _sum(*tensors: "torch.Tensor") -> None:
    """Put the sums over all processes into tensors; all of them travel at once."""
    import torch.distributed as dist

    with _noticing_losses():
        for sent in [dist.all_reduce(tensor, async_op=True) for tensor in tensors]:
            sent.wait()


def _sum_gradients(parameters: "Sequence[torch.nn.Parameter]") -> None:
    """Put the sums over all processes into the gradients of parameters; one that has none here counts as zeros.

    Large gradients are added up in place: a copy of all of them would cost more time than it saves, and memory. Small
    ones travel together.
    """
    import torch

    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.contiguous()
    gradients = [(parameter, parameter.grad) for parameter in parameters if parameter.grad is not None]
    small = [(parameter, gradient) for parameter, gradient in gradients if gradient.nbytes < ALONE]
    together = [torch.cat([gradient.flatten() for _, gradient in small])] if small else []
    _sum(*(gradient for _, gradient in gradients if gradient.nbytes >= ALONE), *together)
    for sums in together:
        parts = torch.split(sums, [gradient.numel() for _, gradient in small])
        for (parameter, gradient), part in zip(small, parts, strict=True):
            parameter.grad = part.view_as(gradient)


@contextmanager
def _noticing_losses() -> Iterator[None]:
    import torch.distributed as dist

    try:
        yield
    except (dist.DistBackendError, RuntimeError) as error:
        sleep(GRACE)
        raise LostProcessError(str(error).splitlines()[0]) from error
