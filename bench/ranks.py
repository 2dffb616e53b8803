"""Kill one of the processes of a command: `python -m bench.ranks --rounds 20 --out DIR`.

Each round takes one of the scenarios of `bench.kills`, starts its commands with `--processes`, kills one of the
processes (SIGKILL) at a random moment, and repeats the command. Then:

- the command ended within 30 seconds, with exit code 2 and one message, which names the process,
- no process is left,
- every file equals that of an unbroken run in as many processes, as in `bench.kills`.
"""

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import psutil

from bench.kill_scenarios import Scenario, Words, scenarios
from bench.kills import TRIES, Workplace, compare, parsed, whole
from xmodctl.core.environment import RANK, ExitCode

NAMES = ("nli", "language", "sweep", "seeds", "language, two seeds")
COUNTS = (2, 3)
LIMIT = 30.0
"""Seconds in which a command must end after one of its processes is killed."""


@dataclass(frozen=True)
class Kill:
    """What became of a command after one of its processes was killed."""

    seconds: float  # until it ended
    problems: tuple[str, ...]


def in_processes(scenario: Scenario, count: int) -> Scenario:
    """Return a scenario whose commands start several processes."""
    commands = tuple((*words, "--processes", str(count)) for words in scenario.commands)
    return replace(scenario, name=f"{scenario.name}, {count} processes", commands=commands)


def lives(process: psutil.Process) -> bool:
    """Return whether a process has not ended."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def ranks(launcher: psutil.Process) -> dict[int, psutil.Process]:
    """Return the processes that a launcher has started, by their number."""
    started = {}
    for process in launcher.children(recursive=True):
        try:
            rank = process.environ().get(RANK.name, "")
        except psutil.Error:  # it has ended
            continue
        if rank:
            started[int(rank)] = process
    return started


def kill_one(place: Workplace, words: Words, count: int, duration: float, draw: random.Random) -> Kill | None:
    """Start a command, kill one of its processes, and return what is wrong; None if the command ended before."""
    victim, wait = draw.randrange(count), draw.random() * duration
    with place.start(words) as process:
        launcher = psutil.Process(process.pid)
        while process.poll() is None and len(started := ranks(launcher)) < count:
            time.sleep(0.02)
        try:
            process.wait(timeout=wait)
        except subprocess.TimeoutExpired:
            pass
        else:
            return None
        began = time.monotonic()
        if not lives(started[victim]):  # the command ends, too
            process.wait()
            return None
        started[victim].kill()
        try:
            process.wait(timeout=2 * LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
        seconds = time.monotonic() - began
    return Kill(seconds, tuple(_problems(place, started, victim, process.returncode, seconds)))


def _problems(
    place: Workplace, started: dict[int, psutil.Process], victim: int, code: int | None, seconds: float
) -> Iterator[str]:
    """Yield what is wrong with the end of a command."""
    text = place.errors.read_text()
    message = f"process {victim} of {len(started)} was terminated by SIGKILL"
    if seconds > LIMIT:
        yield f"it ended after {seconds:.0f} s"
    if code != ExitCode.FIXABLE or text.count("Error:") != 1 or message not in " ".join(text.split()):
        yield f"it ended with {code}: {text[-500:]}"
    if "Traceback" in text:
        yield f"a traceback: {text[-500:]}"
    _, alive = psutil.wait_procs(started.values(), timeout=1)
    yield from (f"process {each.pid} is left" for each in alive)


def main(arguments: list[str]) -> int:
    """Run the rounds, and return 1 if anything is wrong, or if no round began."""
    options, began = parsed("bench.ranks", __doc__, arguments, rounds=20, can_fork=False), time.monotonic()
    place = Workplace(options.out.resolve())
    place.prepare()
    known = {scenario.name: scenario for scenario in scenarios()}
    plan = [(known[name], count) for count in COUNTS for name in NAMES if options.only in name]
    kills: list[Kill] = []
    rounds = failures = 0
    for number in range(options.first, options.first + options.rounds):
        if time.monotonic() - began > 60 * options.minutes:
            break
        scenario, count = plan[(number - 1) % len(plan)]
        draw = random.Random(f"{options.seed} {number}")
        own, problems = round_of(place, in_processes(scenario, count), count, draw)
        rounds, failures, kills = rounds + 1, failures + bool(problems), kills + own
        print(f"round {number} {scenario.name}, {count} processes: {'; '.join(problems) or 'the same'}", flush=True)
        if problems:
            place.keep(f"failed/{number}")
    longest = max((kill.seconds for kill in kills), default=0.0)
    print(f"{rounds - failures} of {rounds} rounds the same after {len(kills)} kills; ended within {longest:.1f} s")
    return 1 if failures or not rounds else 0


def round_of(place: Workplace, scenario: Scenario, count: int, draw: random.Random) -> tuple[list[Kill], list[str]]:
    """Kill one process of each command of a scenario and repeat the command; return the kills and what is wrong."""
    start, end, times = whole(place, scenario)
    place.restore(start)
    kills = []
    for words, time_of in zip(scenario.commands, times, strict=True):
        before, duration = place.keep("before"), time_of.duration
        for _ in range(TRIES):
            kill = kill_one(place, words, count, duration, draw)
            if kill:
                kills.append(kill)
                break
            place.restore(before)
            duration *= 0.7
        place.run(words)
    problems = [problem for kill in kills for problem in kill.problems]
    return kills, [*problems, *([] if kills else ["every command ended before"]), *compare(end, place.state)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
