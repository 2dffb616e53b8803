"""Kill commands at random moments, and compare what they leave with unbroken runs: `python -m bench.kills --rounds 60`.

Each round takes one of the scenarios: it starts each of its commands, kills it (SIGKILL) one to three times at random
moments, and lets it finish. Then every file is compared with that of a run that was never killed, in the folders of
results, in the cache, and in the folder of temporary files: all must have the same names and the same bytes. In JSON,
seconds and dates may differ. Both runs use the same paths.

Moments are spread over the whole of a command: a quarter over all of its time, half over the time from the first file
that it writes, a quarter over its end. A command that ends before it is killed is repeated from the same files with
another moment, so that every round has at least one kill of each of its commands. A round draws from the seed and its
number: `--first` repeats a single one, or divides many.
"""

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.compare_versions import value_differences
from bench.forked import Forked, preload
from bench.kill_scenarios import Scenario, Words, scenarios, write_inputs_apart

FOLDERS = ("results", "cache", "temporary")
MOST_KILLS = 3
LAST = 0.4
"""Seconds that are the end of a command, with its last files."""
TRIES = 12
"""Moments after which a command that is never met is an error."""
_DATE = re.compile(rb"\d{4}-\d\d-\d\dT[0-9:+]+")
VOLATILE = {"created", "made", "seconds", "started", "finished", "tokens_per_second"}


@dataclass(frozen=True)
class Workplace:
    """The folders of a benchmark; commands always work in `state`, so that the paths in files are equal."""

    folder: Path
    is_forked: bool = False

    @property
    def inputs(self) -> Path:
        """What commands read."""
        return self.folder / "inputs"

    @property
    def state(self) -> Path:
        """What commands write: `results`, `cache` and `temporary`."""
        return self.folder / "state"

    @property
    def errors(self) -> Path:
        """What the last command has printed."""
        return self.folder / "errors.txt"

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables of a command, but for those of this process."""
        return {
            "XMODCTL_CACHE": str(self.state / "cache"), "TMPDIR": str(self.state / "temporary"),
            "HF_HOME": str(self.folder / "hf"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1",
        }  # fmt: skip

    def prepare(self) -> None:
        """Write what commands read; in a process that forks commands, import what they need."""
        write_inputs_apart(self.inputs)
        if self.is_forked:
            os.environ.update(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", HF_HOME=str(self.folder / "hf"))
            preload()

    def placed(self, words: Words) -> Words:
        """Return a command with the paths of this workplace."""
        results = self.state / "results"
        return tuple(word.replace("IN/", f"{self.inputs}/").replace("OUT/", f"{results}/") for word in words)

    def start(self, words: Words) -> "subprocess.Popen[bytes] | Forked":
        """Start a command."""
        words, environment = self.placed(words), {**os.environ, **self.variables}
        if self.is_forked:
            return Forked(words, environment, self.errors)
        with self.errors.open("w") as errors:
            command = [sys.executable, "-m", "xmodctl", *words]
            return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=errors)

    def run(self, words: Words) -> "Times":
        """Run a command to its end, and return when it wrote.

        Args:
            words: The command.

        Raises:
            SystemExit: It fails.
        """
        began, before, first = time.perf_counter(), signature(self.state), None
        with self.start(words) as process:
            while process.poll() is None:
                if first is None and signature(self.state) != before:
                    first = time.perf_counter() - began
                time.sleep(0.005)
        if process.returncode:
            raise SystemExit(f"{' '.join(words)} ends with {process.returncode}: {self.errors.read_text()}")
        duration = time.perf_counter() - began
        return Times(duration, duration - first if first else 0.0)

    def keep(self, name: str) -> Path:
        """Copy what commands have written, and return the copy."""
        copy = self.folder / name
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.state, copy, symlinks=True)
        return copy

    def restore(self, copy: Path | None) -> None:
        """Go back to a copy; None is a start without any file."""
        for name in FOLDERS:  # not the folder itself, which may be a file system of its own
            shutil.rmtree(self.state / name, ignore_errors=True)
        if copy:
            shutil.copytree(copy, self.state, symlinks=True, dirs_exist_ok=True)
        for name in FOLDERS:
            (self.state / name).mkdir(parents=True, exist_ok=True)


@dataclass(frozen=True)
class Times:
    """How long a command takes, and how long from the first file that it writes."""

    duration: float
    writing: float


def signature(folder: Path) -> int:
    """Return a number that changes when a file does, but for locks."""
    state = []
    for place, _, names in os.walk(folder):
        for name in names:
            if name.endswith(".lock"):
                continue
            with suppress(FileNotFoundError):
                status = (Path(place) / name).stat()
                state.append((place, name, status.st_mtime_ns, status.st_size))
    return hash(tuple(sorted(state)))


def whole(place: Workplace, scenario: Scenario) -> tuple[Path, Path, list[Times]]:
    """Run a scenario without a kill, once; return what is there before and after it, and the times of its commands."""
    name = f"whole/{scenario.name}"
    start, end, known = (place.folder / name / part for part in ("start", "end", "times.json"))
    if not known.exists():
        shutil.rmtree(place.folder / name, ignore_errors=True)
        place.restore(None)
        for words in scenario.before:
            place.run(words)
        place.keep(f"{name}/start")
        times = [place.run(words) for words in scenario.commands]
        if scenario.is_warm:
            shutil.rmtree(start / "cache")
            shutil.copytree(place.state / "cache", start / "cache")
            place.restore(start)
            times = [place.run(words) for words in scenario.commands]
        place.keep(f"{name}/end")
        known.write_text(json.dumps([[value.duration, value.writing] for value in times]))
    return start, end, [Times(*value) for value in json.loads(known.read_text())]


def kill(place: Workplace, words: Words, times: Times, draw: random.Random) -> float | None:
    """Start a command and kill it at a random moment; return None, or its seconds if it ended before."""
    moment, share = draw.random(), draw.random()
    before = signature(place.state)
    with place.start(words) as process:
        began = time.perf_counter()
        if moment < 0.25 or not times.writing:
            due = began + share * times.duration
        elif moment < 0.75:
            while process.poll() is None and signature(place.state) == before:
                time.sleep(0.003)
            due = time.perf_counter() + share * times.writing
        else:
            due = began + times.duration - share * LAST
        try:
            process.wait(timeout=max(0.0, due - time.perf_counter()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            if process.returncode < 0:  # it may have ended by itself meanwhile
                return None
    return time.perf_counter() - began


def broken(place: Workplace, scenario: Scenario, times: Sequence[Times], draw: random.Random) -> tuple[int, int]:
    """Run a scenario with kills; return how many there were, and how many left an unfinished file or folder."""
    kills = unfinished = 0
    for words, first in zip(scenario.commands, times, strict=True):
        expected = first
        for _ in range(draw.randint(1, MOST_KILLS)):
            before = place.keep("before")
            for _ in range(TRIES):
                seconds = kill(place, words, expected, draw)
                if seconds is None:
                    break
                place.restore(before)  # the machine is faster now, or little is left to do
                expected = Times(min(0.8 * expected.duration, seconds), min(0.8 * expected.writing, seconds))
            else:
                if not kills:
                    raise SystemExit(f"{' '.join(words)} always ends before it is killed")
                break  # what an earlier kill left to do is too short for another one
            kills += 1
            unfinished += any(place.state.rglob(".*.part"))
        has_run = (place.state / "results" / "run" / "run.json").exists()
        place.run(scenario.continued if scenario.continued and has_run else words)
    return kills, unfinished


def compare(expected: Path, state: Path) -> Iterator[str]:
    """Yield how the files of two folders differ, and what is left over."""
    names = [{str(path.relative_to(folder)) for path in folder.rglob("*")} for folder in (expected, state)]
    yield from (f"{name} is missing" for name in sorted(names[0] - names[1]))
    yield from (f"{name} is left over" for name in sorted(names[1] - names[0]))
    for name in sorted(names[0] & names[1]):
        first, second = expected / name, state / name
        if Path(name).parent.parts[:1] == ("temporary",):
            yield f"{name} is left over, even without a kill"
        if not second.is_file() or first.read_bytes() == second.read_bytes():
            continue
        if _DATE.sub(b"", first.read_bytes()) == _DATE.sub(b"", second.read_bytes()) and Path(name).suffix == ".html":
            continue
        if Path(name).suffix in (".json", ".jsonl") and "predictions" not in Path(name).parts:
            differences = list(value_differences(_values(first), _values(second)))
            yield from (f"{name}{difference}" for difference in differences)
        else:
            yield f"{name} differs"


def _values(path: Path) -> Any:
    """Return the values in a JSON file, without seconds and dates."""
    text = path.read_text(encoding="utf-8")
    return _lasting(json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.splitlines()])


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lasting(inner) for key, inner in value.items() if key not in VOLATILE}
    return [_lasting(inner) for inner in value] if isinstance(value, list) else value


def parsed(
    program: str, description: str | None, arguments: list[str], *, rounds: int, can_fork: bool = True
) -> argparse.Namespace:
    """Return the options of a benchmark that runs rounds of scenarios."""
    parser = argparse.ArgumentParser(prog=f"python -m {program}", description=description)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--first", type=int, default=1, metavar="N", help="begin with round N, as of all rounds")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no round after so many minutes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", metavar="TEXT", help="only scenarios whose name contains it")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="holds inputs and runs")
    if can_fork:
        parser.add_argument(
            "--forked", action="store_true", help="fork processes that have imported everything: faster"
        )
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Run the rounds, and return 1 if a file differs, or if no round began."""
    options, began = parsed("bench.kills", __doc__, arguments, rounds=60), time.monotonic()
    place = Workplace(options.out.resolve(), options.forked)
    place.prepare()
    plan = [scenario for scenario in scenarios() if options.only in scenario.name]
    rounds = failures = kills = unfinished = 0
    for number in range(options.first, options.first + options.rounds):
        if time.monotonic() - began > 60 * options.minutes:
            break
        scenario, draw = plan[(number - 1) % len(plan)], random.Random(f"{options.seed} {number}")
        start, end, times = whole(place, scenario)
        place.restore(start)
        count, parts = broken(place, scenario, times, draw)
        differences = list(compare(end, place.state))
        rounds, failures = rounds + 1, failures + bool(differences)
        kills, unfinished = kills + count, unfinished + parts
        print(f"round {number} {scenario.name}: {count} kills, {'; '.join(differences) or 'the same'}", flush=True)
        if differences:
            place.keep(f"failed/{number}")
    print(
        f"{rounds - failures} of {rounds} rounds the same after {kills} kills, "
        f"{unfinished} of which left something unfinished"
    )
    return 1 if failures or not rounds else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
