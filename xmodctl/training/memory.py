"""Micro-batches that do not fit into memory: they are halved, and the optimizer step is the same up to rounding."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from xmodctl.core.encoded import Encoded
from xmodctl.core.errors import UserError
from xmodctl.core.events import Notice
from xmodctl.model.memory import free_cache

SMALLEST = 64
"""The smallest `tokens_per_step` of a recipe."""


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
        free_cache()
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
