"""Memory that does not suffice: how every library says so, in one place, and one sentence about it."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from xmodctl.core.errors import UserError

REMEDY = "close other programs, or use a machine with more memory"

_MESSAGES = (
    "out of memory",  # CUDA, ROCm, MPS and XPU: "CUDA out of memory", "CUDA error: out of memory"
    "_status_alloc_failed",  # cuBLAS, cuDNN and the other libraries of CUDA
    "can't allocate memory",  # DefaultCPUAllocator
    "cannot allocate memory",  # a file that cannot be mapped
    "not enough memory",  # DefaultCPUAllocator on other systems
    "bad_alloc",
    "failed to map segment",  # a library that an import loads
)
_PANICS = ("pointer is null", "threadpoolbuilderror")
"""What panics of Rust libraries say if an object of Python or a thread cannot be made."""


class NotEnoughMemoryError(UserError):
    """There is not enough memory for what every further part of a command needs, too."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that there is not enough memory: of Python, NumPy, Arrow, torch, or the system.

    Torch raises `RuntimeError` for it and for much else, and an import that loads a library raises `ImportError`; only
    the message differs.
    """
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    text = str(error).lower()
    if is_panic(error):
        return any(message in text for message in _PANICS)
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError | ImportError) and any(message in text for message in _MESSAGES)
    )


def is_panic(error: BaseException) -> bool:
    """Return whether an error is the panic of a Rust library, such as tokenizers; each has a class of its own."""
    return type(error).__module__ == "pyo3_runtime" and not isinstance(error, Exception)


@contextmanager
def memory_errors(as_error: Callable[[], Exception]) -> Iterator[None]:
    """Turn each way of running out of memory into one error.

    Args:
        as_error: Makes that error.
    """
    try:
        yield
    except (MemoryError, OSError, RuntimeError, ImportError) as error:
        if not is_out_of_memory(error):
            raise
        error.__traceback__ = None  # it holds what fills the memory
        raise as_error() from None


@contextmanager
def enough_memory(what: str, remedy: str = REMEDY) -> Iterator[None]:
    """Turn memory that does not suffice into one sentence.

    Args:
        what: What memory must hold.
        remedy: What makes it hold that.

    Raises:
        NotEnoughMemoryError: There is not enough memory.
    """
    with memory_errors(lambda: NotEnoughMemoryError(f"there is not enough memory for {what}; {remedy}")):
        yield
