"""Micro-batches that do not fit into memory: they are halved, and the optimizer step is the same up to rounding."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from xmodctl.catalog.recipe import SHORTEST, SMALLEST, Recipe
from xmodctl.core.encoded import Encoded
from xmodctl.core.errors import UserError
from xmodctl.core.events import Notice
from xmodctl.core.memory import enough_memory
from xmodctl.model.memory import BatchLimit, more_memory, padded_tokens

if TYPE_CHECKING:
    import torch


@dataclass
class Memory:
    """The micro-batches of a training, and their size that memory is known not to hold.

    Args:
        rows: The encoded rows.
        packed: Whether micro-batches have no padding on a GPU: only real tokens count.
    """

    rows: Encoded
    packed: bool = False
    limit: BatchLimit = field(default_factory=BatchLimit, init=False)

    def fitting(self, batch: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return a batch with the micro-batches split that are too large."""
        return self.limit.fitting(self.size_of, batch)

    def size_of(self, part: np.ndarray) -> int:
        """Return the tokens of a micro-batch, with its padding if it has one."""
        return int(self.rows.tokens[part].sum()) if self.packed else padded_tokens(self.rows.lengths, part)

    def exceeded(
        self, part: np.ndarray, step: int, describe: Callable[[np.ndarray], str], device: "torch.device"
    ) -> Notice:
        """Record that a micro-batch does not fit, and return the notice that says so.

        Args:
            part: The numbers of its units.
            step: The optimizer step, counted from 1.
            describe: Names units.
            device: The device that trains.

        Raises:
            UserError: It cannot be split.
        """
        size = self.size_of(part)
        self.limit.lower(size)
        if len(part) == 1:
            shorter = f"use a smaller --set max_length={size // 2}, or " if size // 2 >= SHORTEST else ""
            raise UserError(
                f"there is not enough memory for {describe(part)} ({size:,} tokens) at step {step:,}; {shorter}"
                f"{more_memory(device)}"
            )
        remedy = f". To avoid the attempt, use --set tokens_per_step={size // 2}" if size // 2 >= SMALLEST else ""
        return Notice(
            f"there is not enough memory for a micro-batch of {size:,} tokens at step {step:,}, so it is halved; the "
            f"result is the same up to rounding and dropout{remedy}",
            caution=True,
        )


@contextmanager
def optimizer_memory(recipe: Recipe, device: "torch.device", *, step: int, seed: int) -> Iterator[None]:
    """Refuse with one sentence if there is not enough memory for the gradient and the optimizer's state.

    Args:
        recipe: How the model is trained.
        device: The device that trains.
        step: The optimizer step, counted from 1.
        seed: That of the training.

    Raises:
        UserError: There is not enough memory.
    """
    can_freeze = recipe.freeze in ("adapters", "none")
    fewer = "train fewer parameters with --set freeze=embeddings+adapters, or " if can_freeze else ""
    what = f"the gradient and the optimizer's state at step {step:,} with seed {seed}"
    with enough_memory(what, f"{fewer}{more_memory(device)}; the last checkpoint is kept"):
        yield
