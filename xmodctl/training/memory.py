"""Micro-batches that do not fit into memory: they are halved, and the optimizer step is the same up to rounding."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from xmodctl.core.encoded import Encoded
from xmodctl.core.errors import UserError
from xmodctl.core.events import Notice

SMALLEST = 64
"""The smallest `tokens_per_step` of a recipe."""

_CPU_MESSAGES = ("not enough memory", "can't allocate memory")
"""What torch's allocator on CPUs says, in a RuntimeError."""


class OutOfMemoryError(Exception):
    """A micro-batch does not fit into memory.

    Args:
        part: The numbers of its units.
    """

    def __init__(self, part: np.ndarray) -> None:
        super().__init__("out of memory")
        self.part = part


@contextmanager
def memory_errors(part: np.ndarray) -> Iterator[None]:
    """Turn each way of running out of memory into `OutOfMemoryError`.

    Args:
        part: The numbers of the units of a micro-batch.
    """
    import torch

    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        is_memory = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if not is_memory and not any(message in str(error) for message in _CPU_MESSAGES):
            raise
        error.__traceback__ = None  # it holds the tensors of the micro-batch
        raise OutOfMemoryError(part) from None


@dataclass
class Memory:
    """The size of micro-batches that memory is known not to hold.

    The size is found anew by every process, so that a resumed training splits the same micro-batches.

    Args:
        rows: The encoded rows.
    """

    rows: Encoded
    too_large: int | None = field(default=None, init=False)  # padded tokens

    def fitting(self, batch: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return a batch with the micro-batches split that are too large."""
        return [half for part in batch for half in self._split(part)]

    def exceeded(self, part: np.ndarray, step: int, description: str) -> Notice:
        """Record that a micro-batch does not fit, and return the notice that says so.

        Args:
            part: The numbers of its units.
            step: The optimizer step, counted from 1.
            description: Names the units.

        Raises:
            UserError: It cannot be split.
        """
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        size = self._size(part)
        if len(part) == 1:
            raise UserError(
                f"memory does not hold {description} ({size:,} tokens) at step {step:,}; use a smaller --set "
                f"max_length={max(1, size // 2)}, or a device with more memory"
            )
        self.too_large = size
        remedy = f"--set tokens_per_step={max(SMALLEST, size // 2)}"
        return Notice(
            f"memory does not hold a micro-batch of {size:,} tokens at step {step:,}, so it is halved; the result is "
            f"the same up to rounding and dropout. To avoid the attempt, use {remedy}",
            caution=True,
        )

    def _split(self, part: np.ndarray) -> list[np.ndarray]:
        if self.too_large is None or len(part) == 1 or self._size(part) < self.too_large:
            return [part]
        middle = len(part) // 2
        return [*self._split(part[:middle]), *self._split(part[middle:])]

    def _size(self, part: np.ndarray) -> int:
        return len(part) * int(self.rows.lengths[part].max())
