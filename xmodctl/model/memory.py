"""Batches for which there is not enough memory: they are halved as often as necessary; the results stay the same."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from xmodctl.core.errors import UserError
from xmodctl.core.events import Notice, report
from xmodctl.core.memory import REMEDY, memory_errors

if TYPE_CHECKING:
    import torch

Units = NDArray[np.int64]
Result = TypeVar("Result")


class OutOfMemoryError(Exception):
    """There is not enough memory for a batch.

    Args:
        part: The numbers of its units.
    """

    def __init__(self, part: Units) -> None:
        super().__init__("out of memory")
        self.part = part


@contextmanager
def batch_errors(part: Units) -> Iterator[None]:
    """Turn each way of running out of memory into `OutOfMemoryError`.

    Args:
        part: The numbers of the units of a batch.
    """
    with memory_errors(lambda: OutOfMemoryError(part)):
        yield


@dataclass
class BatchLimit:
    """The size of batches that memory is known not to hold.

    Every process finds the size again, so that work that continues splits the same batches.
    """

    too_large: int | None = None  # tokens

    def fitting(self, size_of: Callable[[Units], int], batch: Iterable[Units]) -> list[Units]:
        """Return parts of a batch, with those halved that are too large.

        Args:
            size_of: Returns the tokens of a part.
            batch: The numbers of the units of each part.
        """
        return [half for part in batch for half in self._split(size_of, part)]

    def lower(self, size: int) -> None:
        """Record that there is not enough memory for a batch of so many tokens."""
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self.too_large = size

    def _split(self, size_of: Callable[[Units], int], part: Units) -> list[Units]:
        if self.too_large is None or len(part) == 1 or size_of(part) < self.too_large:
            return [part]
        middle = len(part) // 2
        return [*self._split(size_of, part[:middle]), *self._split(size_of, part[middle:])]


def padded_tokens(lengths: NDArray[np.integer], part: Units) -> int:
    """Return the tokens of a batch, padding included."""
    return len(part) * int(lengths[part].max())


def in_halves(
    batches: Iterable[Units],
    lengths: NDArray[np.integer],
    limit: BatchLimit,
    compute: Callable[[Units], Result],
    *,
    device: "torch.device",
    shorter: str = "",
) -> Iterator[tuple[Units, Result]]:
    """Yield each batch, or the parts it must be halved into, and what is computed from it.

    Results are the same up to rounding, which depends on the shape of matrix products.

    Args:
        batches: The numbers of the units of each batch.
        lengths: Tokens of each unit.
        limit: What is known about memory; more becomes known.
        compute: Computes the result of a batch.
        device: What it is computed on.
        shorter: The option that makes units shorter, up to its value, such as `--set max_length=`.

    Raises:
        UserError: There is not enough memory for a single unit.
    """
    size_of = partial(padded_tokens, lengths)
    for batch in batches:
        waiting = limit.fitting(size_of, [batch])
        while waiting:
            part = waiting.pop(0)
            try:
                with batch_errors(part):
                    result = compute(part)
            except OutOfMemoryError:
                size = size_of(part)
                limit.lower(size)
                if len(part) == 1:
                    option = f"use a smaller {shorter}{max(1, size // 2)}, or " if shorter else ""
                    raise UserError(
                        f"there is not enough memory for one row of {size:,} tokens; {option}{more_memory(device)}"
                    ) from None
                report(Notice(_halved(size), caution=True))
                waiting = limit.fitting(size_of, [part, *waiting])
                continue
            yield part, result


def more_memory(device: "torch.device") -> str:
    """Return how a command gets more memory, as the end of a message."""
    if device.type == "cpu":
        return REMEDY
    processor = ", or compute on the CPU: put CUDA_VISIBLE_DEVICES= before the command"
    return f"use a device with more memory{processor if device.type == 'cuda' else ''}"


def _halved(size: int) -> str:
    return (
        f"there is not enough memory for a batch of {size:,} tokens, so batches of this size are halved; the result "
        "is the same up to rounding"
    )
