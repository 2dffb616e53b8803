"""Running out of memory: recognized in one place, and answered by computing a batch in halves."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np

from xmodctl.core.errors import UserError

Result = TypeVar("Result")

MESSAGES = (
    "out of memory",  # CUDA and its drivers, where torch raises no error of its own
    "not enough memory",  # torch's allocator on CPUs, Windows
    "can't allocate memory",  # the same, Linux and macOS
    "ALLOC_FAILED",  # CUBLAS_STATUS_ALLOC_FAILED, CUDNN_STATUS_ALLOC_FAILED, CUSOLVER, CUSPARSE
)
"""What libraries say, in a RuntimeError, when memory does not suffice."""


class OutOfMemoryError(Exception):
    """A batch does not fit into memory.

    Args:
        part: The numbers of its units.
    """

    def __init__(self, part: np.ndarray) -> None:
        super().__init__("out of memory")
        self.part = part


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory does not suffice."""
    if isinstance(error, MemoryError):
        return True
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(message in str(error) for message in MESSAGES)


@contextmanager
def memory_errors(part: np.ndarray) -> Iterator[None]:
    """Turn each way of running out of memory into `OutOfMemoryError`.

    Args:
        part: The numbers of the units of a batch.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        error.__traceback__ = None  # it holds the tensors of the batch
        raise OutOfMemoryError(part) from None


def free_cache() -> None:
    """Return to the device what torch keeps for later tensors."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def in_halves(
    batches: Iterator[np.ndarray], compute: Callable[[np.ndarray], Result], lengths: np.ndarray
) -> Iterator[tuple[np.ndarray, Result]]:
    """Compute batches one by one; a batch that memory does not hold is halved, as often as necessary.

    A halved batch is padded less, so its results are the same up to rounding. Later batches of that size are halved
    without another attempt.

    Args:
        batches: The numbers of the units of each batch.
        compute: Computes a batch without side effects.
        lengths: The number of tokens of each unit.

    Raises:
        UserError: Memory does not hold one unit alone.
    """
    too_large = None
    for batch in batches:
        waiting = [batch]
        while waiting:
            part = waiting.pop()
            size = len(part) * int(lengths[part].max(initial=0))
            if too_large is None or size < too_large or len(part) == 1:
                try:
                    with memory_errors(part):
                        result = compute(part)
                except OutOfMemoryError:
                    free_cache()
                    if len(part) == 1:
                        raise UserError(
                            f"memory does not hold a text of {size:,} tokens; close other programs that use the "
                            "device, or use one with more memory"
                        ) from None
                    too_large = size
                else:
                    yield part, result
                    continue
            middle = len(part) // 2
            waiting += [part[middle:], part[:middle]]
