"""Clocks, and variants that take turns, so that a busy machine slows all of them equally."""

import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Figure:
    """The median of several rounds, with the minimum and the maximum."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Figure":
        """Summarize rounds."""
        return cls(statistics.median(values), min(values), max(values))


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> Figure:
    """Summarize the quotients of two variants, round by round."""
    return Figure.of([above / below for above, below in zip(numerators, denominators, strict=True)])


def take_turns(variants: Mapping[str, Callable[[int], float]], rounds: int) -> dict[str, list[float]]:
    """Measure every variant once per round, in reverse order in odd rounds. A variant gets the number of the round."""
    measured: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(rounds):
        for name in list(variants) if number % 2 == 0 else reversed(variants):
            measured[name].append(variants[name](number))
    return measured


def seconds(work: Callable[[], object], device: str) -> float:
    """Return what `work` costs: CPU seconds if this process has one thread, otherwise wall-clock seconds.

    CPU seconds do not depend on what other programs take from the machine.
    """
    if device == "cuda":
        torch.cuda.synchronize()
    wall_clock = device != "cpu" or torch.get_num_threads() > 1
    clock = time.perf_counter if wall_clock else time.process_time
    start = clock()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - start


def resident() -> dict[str, float]:
    """Return the process's memory in MB: resident, anonymous (not backed by a file) and its peak."""
    with open("/proc/self/status", encoding="ascii") as status:
        fields = dict(line.split(":", 1) for line in status)
    return {
        "resident": int(fields["VmRSS"].split()[0]) / 1024,
        "anonymous": int(fields["RssAnon"].split()[0]) / 1024,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
