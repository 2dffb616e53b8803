"""Every way of running out of memory is recognized, and nothing else is."""

import errno

import numpy as np
import pyarrow as pa
import pytest
import torch

from xmodctl.core.memory import NotEnoughMemoryError, enough_memory, is_out_of_memory

OUT_OF_MEMORY = [
    MemoryError(),
    pa.lib.ArrowMemoryError("malloc of size 64 failed"),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    getattr(torch, "AcceleratorError", RuntimeError)("CUDA error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("HIP out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("MPS backend out of memory (MPS allocated: 9.05 GB)"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough memory: you tried"),
    RuntimeError("unable to mmap 4096 bytes from file <x>: Cannot allocate memory (12)"),
    RuntimeError("std::bad_alloc"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
]
OTHERS = [
    RuntimeError("CUDA error: an illegal memory access was encountered"),
    RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
    OSError(errno.ENOSPC, "No space left on device"),
    ValueError("out of memory"),
    KeyboardInterrupt(),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=repr)
def test_memory_that_does_not_suffice_is_recognized_and_is_one_sentence(error):
    assert is_out_of_memory(error)
    message = r"^there is not enough memory for the model; use a smaller one$"
    with pytest.raises(NotEnoughMemoryError, match=message), enough_memory("the model", "use a smaller one"):
        raise error


@pytest.mark.parametrize("error", OTHERS, ids=repr)
def test_other_errors_stay_what_they_are(error):
    assert not is_out_of_memory(error)
    with pytest.raises(type(error)) as raised, enough_memory("the model"):
        raise error
    assert raised.value is error


def test_what_numpy_cannot_allocate_is_recognized():
    with pytest.raises(NotEnoughMemoryError), enough_memory("an array"):
        np.empty(2**60, dtype=np.int8)


def test_what_torch_cannot_allocate_is_recognized():
    with pytest.raises(NotEnoughMemoryError), enough_memory("a tensor"):
        torch.empty(2**60, dtype=torch.int8)
