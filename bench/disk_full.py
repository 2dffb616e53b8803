"""Fill the disk under commands, and compare what they leave with unbroken runs: `python -m bench.disk_full --out DIR`.

Results, cache and temporary files are in a file system in memory (tmpfs) of one of several sizes. Each command must end
with exit code 0 (what could not be written was a cache), or with 2 and one message without a traceback. Then there is
space, the same commands run again to their end, and every file is compared with that of a run whose disk was never
full, as in `bench.kills`. Mounting needs the rights of root.
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.forked import preload
from bench.kill_scenarios import Scenario, scenarios, write_inputs_apart
from bench.kills import Workplace, compare, whole

NAMES = (
    "nli",
    "ner",
    "language, head not cached",
    "training and sweep",
    "predict",
    "embed",
    "report",
    "export",
    "convert",
)
"""The scenarios that are used, in turn."""

ROOM = 2**30
"""Bytes of a disk that is never full."""


@dataclass(frozen=True)
class Disk:
    """A file system in memory, mounted on a folder."""

    folder: Path

    def resize(self, size: int) -> None:
        """Mount it with a size in bytes, or change its size."""
        options = f"size={size}"
        if self.folder.is_mount():
            options = f"remount,{options}"
        self.folder.mkdir(parents=True, exist_ok=True)
        _system("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.folder))

    def remove(self) -> None:
        """Unmount it, with all that is in it."""
        if self.folder.is_mount():
            _system("umount", "--lazy", str(self.folder))

    @property
    def used(self) -> int:
        """The bytes in use."""
        status = os.statvfs(self.folder)
        return (status.f_blocks - status.f_bfree) * status.f_frsize


def _system(program: str, *words: str) -> None:
    subprocess.run([shutil.which(program) or program, *words], check=True)


def fill(place: Workplace, disk: Disk, scenario: Scenario, share: float) -> tuple[str, list[str]]:
    """Run a scenario on a disk that holds a share of what it writes; return how it ended, and what is wrong."""
    disk.remove()
    start, end, _ = whole(place, scenario)
    disk.resize(ROOM)
    place.restore(start)
    before = disk.used
    needed = sum(path.stat().st_size for path in end.rglob("*") if path.is_file()) - sum(
        path.stat().st_size for path in start.rglob("*") if path.is_file()
    )
    disk.resize(before + int(share * needed) // 4096 * 4096 + 4096)
    wrong: list[str] = []
    ended = "all was written"
    for words in scenario.commands:
        with place.start(words) as process:
            code = process.wait(timeout=300)
        text = place.errors.read_text(encoding="utf-8", errors="replace")
        if "Traceback" in text or code not in (0, 1, 2):
            wrong.append(f"{words[0]} ends with {code}: {text[-300:]}")
        if code:
            message = [line for line in text.splitlines() if line.startswith("Error: ")]
            ended = f"{words[0]}: exit code {code}"
            if len(message) != 1:
                wrong.append(f"{words[0]} ends with {len(message)} messages: {text[-300:]}")
            break
    disk.resize(ROOM)
    for words in scenario.commands:
        place.run(words)
    return ended, [*wrong, *compare(end, place.state)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rounds, and return 1 if a command or a file is wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench.disk_full", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="holds inputs and runs")
    options = parser.parse_args(arguments)
    if os.geteuid():
        print("skipped: only root can mount a file system of a given size")
        return 0
    place = Workplace(options.out.resolve(), is_forked=True)
    disk, draw = Disk(place.state), random.Random(options.seed)
    disk.remove()
    write_inputs_apart(place.inputs)
    os.environ.update(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", HF_HOME=str(place.folder / "hf"))
    preload()
    known = {scenario.name: scenario for scenario in scenarios()}
    plan = [known[name] for name in NAMES]
    failures = 0
    ends: Counter[str] = Counter()
    try:
        for number in range(options.rounds):
            scenario, share = plan[number % len(plan)], draw.random()
            ended, wrong = fill(place, disk, scenario, share)
            ends[ended] += 1
            failures += bool(wrong)
            print(
                f"round {number + 1} {scenario.name}, room for {share:.0%}: {ended}; {'; '.join(wrong) or 'the same'}"
            )
    finally:
        disk.remove()
    print(f"{options.rounds - failures} of {options.rounds} rounds the same; {dict(ends)}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
