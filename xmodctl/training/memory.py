"""Micro-batches that do not fit into memory: they are halved, and the optimizer step is the same up to rounding."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from xmodctl.catalog.recipe import SMALLEST
from xmodctl.core.encoded import Encoded
from xmodctl.core.errors import UserError
from xmodctl.core.events import Notice
from xmodctl.model.memory import BatchLimit, padded_tokens


@dataclass
class Memory:
    """The micro-batches of a training, and their size that memory is known not to hold.

    Args:
        rows: The encoded rows.
    """

    rows: Encoded
    limit: BatchLimit = field(default_factory=BatchLimit, init=False)

    def fitting(self, batch: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return a batch with the micro-batches split that are too large."""
        return self.limit.fitting(self.rows.lengths, batch)

    def exceeded(self, part: np.ndarray, step: int, description: str) -> Notice:
        """Record that a micro-batch does not fit, and return the notice that says so.

        Args:
            part: The numbers of its units.
            step: The optimizer step, counted from 1.
            description: Names the units.

        Raises:
            UserError: It cannot be split.
        """
        size = padded_tokens(self.rows.lengths, part)
        self.limit.lower(size)
        if len(part) == 1:
            raise UserError(
                f"there is not enough memory for {description} ({size:,} tokens) at step {step:,}; use a smaller --set "
                f"max_length={max(1, size // 2)}, or a device with more memory"
            )
        remedy = f"--set tokens_per_step={max(SMALLEST, size // 2)}"
        return Notice(
            f"there is not enough memory for a micro-batch of {size:,} tokens at step {step:,}, so it is halved; the "
            "result is "
            f"the same up to rounding and dropout. To avoid the attempt, use {remedy}",
            caution=True,
        )
