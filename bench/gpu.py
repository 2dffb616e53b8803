"""What decides on a GPU besides arithmetic: kernel launches, and memory."""

from collections.abc import Callable, Iterable
from typing import Any

import torch

LAUNCHES = frozenset(
    {
        "cudaLaunchKernel", "cudaLaunchKernelExC", "cudaLaunchCooperativeKernel", "cuLaunchKernel", "cuLaunchKernelEx",
        "cudaGraphLaunch", "hipLaunchKernel", "hipExtLaunchKernel", "hipModuleLaunchKernel", "hipExtModuleLaunchKernel",
        "hipGraphLaunch",
    }
)  # fmt: skip
"""The calls by which a host lets a GPU work, as torch's profiler names them. A CUDA graph is one launch."""


def launches(work: Callable[[], object]) -> int:
    """Return how many times `work` launches a kernel or a graph of kernels."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
        work()
        torch.cuda.synchronize()
    return launches_among(profiled.key_averages())


def launches_among(events: Iterable[Any]) -> int:
    """Return how many of a profile's events, which have a `key` and a `count`, are launches."""
    return sum(event.count for event in events if event.key in LAUNCHES)


def memory_of(work: Callable[[], object], module: torch.nn.Module, optimizer: torch.optim.Optimizer | None) -> int:
    """Return the bytes at the peak of `work`: what the model and its optimizer take, and what is added meanwhile.

    Other models that are on the device do not count.
    """
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work()
    torch.cuda.synchronize()
    added = torch.cuda.max_memory_allocated() - before
    return added + held(module, optimizer)


def held(module: torch.nn.Module, optimizer: torch.optim.Optimizer | None) -> int:
    """Return the bytes of a model's tensors and of an optimizer's state; a storage that is shared counts once."""
    tensors = [*module.parameters(), *module.buffers()]
    for state in optimizer.state.values() if optimizer else ():
        tensors += [value for value in state.values() if isinstance(value, torch.Tensor)]
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())
