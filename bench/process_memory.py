"""The memory of processes that train together: `python -m bench.process_memory --out DIR`.

The same training of a model of the size of xmod-base, with random weights and two languages, is started with each
number of processes. While it runs, the kernel's figures of each process are read: its resident memory, the part of it
that is its own (anonymous), and the pages of the checkpoint's file that are mapped, in proportion to how many processes
share them. The figures are the largest of each process, and the largest sum over all processes at one time, without the
launcher.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, Popen

import psutil

from bench.memory import BATCH, KINDS, LENGTH, SIZES, write_model, write_rows
from bench.ranks import ranks

PAUSE = 0.1
"""Seconds between two readings."""


@dataclass(frozen=True)
class Reading:
    """The memory of one process at one time, in bytes."""

    resident: int
    own: int  # anonymous: no file and no other process has these pages
    checkpoint: int  # resident pages of the checkpoint's file
    share: int  # all pages, each divided by how many processes map it
    checkpoint_share: int  # the checkpoint's pages, divided in the same way

    @classmethod
    def of(cls, process: psutil.Process, checkpoint: Path) -> "Reading":
        """Read what the kernel knows of a process.

        Raises:
            Error: The process has ended.
        """
        maps = process.memory_maps(grouped=True)
        mapped = [each for each in maps if each.path == str(checkpoint)]
        return cls(
            resident=sum(each.rss for each in maps),
            own=sum(each.anonymous for each in maps),
            checkpoint=sum(each.rss for each in mapped),
            share=sum(each.pss for each in maps),
            checkpoint_share=sum(each.pss for each in mapped),
        )


@dataclass(frozen=True)
class Peaks:
    """The largest figures of a training, in bytes: per process the largest of all, and their sums."""

    processes: int
    resident: int
    own: int
    checkpoint: int
    together: int  # of all processes at one time
    checkpoint_together: int


def measured(words: Sequence[str], count: int, checkpoint: Path) -> Peaks:
    """Run a command in so many processes, and return their peaks.

    Raises:
        SystemExit: The command failed.
    """
    readings: list[list[Reading]] = []
    more = ["--processes", str(count)] if count > 1 else []
    with Popen([*words, *more], stdout=DEVNULL) as launcher:
        parent = psutil.Process(launcher.pid)
        while launcher.poll() is None:
            members = list(ranks(parent).values()) if count > 1 else [parent]
            try:
                readings.append([Reading.of(member, checkpoint) for member in members])
            except psutil.Error:  # it has ended meanwhile
                continue
            time.sleep(PAUSE)
    if launcher.returncode:
        raise SystemExit(f"{' '.join([*words, *more])} ends with {launcher.returncode}")
    single = [reading for members in readings for reading in members]
    return Peaks(
        count,
        max(each.resident for each in single),
        max(each.own for each in single),
        max(each.checkpoint for each in single),
        max(sum(each.share for each in members) for members in readings),
        max(sum(each.checkpoint_share for each in members) for members in readings),
    )


def row_of(peaks: Peaks) -> str:
    """Return the peaks as a row of the table."""
    values = (peaks.resident, peaks.own, peaks.checkpoint, peaks.together, peaks.checkpoint_together)
    return f"| {peaks.processes} | {' | '.join(f'{value / 1e9:.2f} GB' for value in values)} |"


def main(arguments: Sequence[str]) -> int:
    """Measure, and print a table; return 1 if the memory of a process grows by more than `--within` percent."""
    parser = argparse.ArgumentParser(prog="python -m bench.process_memory", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the model and runs are written")
    parser.add_argument("--processes", default="1,2,3", metavar="N,N", help="the first is compared")
    parser.add_argument("--size", choices=SIZES, default="base", help="of the model (default: %(default)s)")
    parser.add_argument("--kind", choices=KINDS, default="nli", help="of the task (default: %(default)s)")
    parser.add_argument("--within", type=float, default=5, help="percent (default: %(default)s)")
    options = parser.parse_args(arguments)
    out = options.out.resolve()
    model = out / options.size
    write_rows(out / options.kind, options.kind)
    write_model(options.size, model)
    settings = ("epochs=1", f"batch_size={BATCH}", f"max_length={LENGTH}", "stride=8", "stages=[]")
    words = [
        sys.executable, "-m", "xmodctl", "finetune", "--task", KINDS[options.kind], "--lang", "en", "--model",
        str(model), "--data", str(out / options.kind), "--out", str(out / "run"), "--precision", "fp32", "--on-exists",
        "redo", "--quiet", *(word for setting in settings for word in ("--set", setting)),
    ]  # fmt: skip
    print("| processes | a process, resident | its own | of the checkpoint | all together | of the checkpoint |")
    print("|---" * 6 + "|")
    peaks = []
    for count in map(int, options.processes.split(",")):
        peaks.append(measured(words, count, model / "model.safetensors"))
        print(row_of(peaks[-1]), flush=True)
    return int(any(each.own > (1 + options.within / 100) * peaks[0].own for each in peaks))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
