"""Several jobs on one run, one of which is killed: `python -m bench.jobs --rounds 20 --out DIR`.

Each round takes one of the scenarios of `bench.kills` and starts two to four jobs with each of its commands. One of
them is killed (SIGKILL) at a random moment. When all have ended, one more job does what is left, if anything is. A
command whose job has ended before is repeated from the same files with an earlier moment, so that a job of each command
is killed. Then:

- no seed and no adapter was trained by two of the jobs that were not killed; a score that was computed twice would be a
  second row,
- every job ended with exit code 0 or 3, and the last one with 0,
- every file equals that of a single job, as in `bench.kills`.
"""

import random
import re
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from bench.forked import Forked
from bench.kill_scenarios import Scenario, Words, scenarios
from bench.kills import TRIES, Workplace, compare, parsed, whole

NAMES = ("seeds", "sweep", "training and sweep", "two languages, heads not cached", "language, two seeds")
"""The scenarios, of `bench.kills`, that have several pieces."""
JOBS = (2, 3, 4)
ONCE = re.compile(r"^(seed \d+): (?:training|continuing|resum)|^(\w+, seed \d+): [\d,]+ other tensors", re.MULTILINE)
"""What a job prints when it begins to train a seed, and when it has trained an adapter."""


@dataclass(frozen=True)
class JobPlace(Workplace):
    """A workplace of several commands at once, each with its own messages."""

    name: str = "job"

    @property
    def errors(self) -> Path:
        """What the command of this name has printed."""
        return self.folder / f"{self.name}.txt"


@dataclass(frozen=True)
class Round:
    """What became of one round."""

    jobs: int
    killed: bool
    problems: tuple[str, ...]


def share(place: JobPlace, words: Words, duration: float, draw: random.Random) -> Round:
    """Start jobs with one command, kill one of them, and start one more; return what is wrong."""
    places = [replace(place, name=f"job-{number}") for number in range(draw.choice(JOBS))]
    started: list[subprocess.Popen[bytes] | Forked] = [each.start(words) for each in places]
    time.sleep(draw.random() * 1.2 * duration)
    victim = draw.randrange(len(started))
    killed = started[victim].poll() is None
    if killed:
        started[victim].kill()
    codes = [process.wait() for process in started]
    killed = codes[victim] < 0  # it may have ended by itself meanwhile
    last = replace(place, name="last")
    with last.start(words) as process:
        codes.append(process.wait())
    logs = [each.errors.read_text() for each in (*places, last)]
    alive = [number for number in range(len(codes)) if number != victim or not killed]
    problems = [f"a job ended with {codes[n]}: {logs[n][-300:]}" for n in alive if codes[n] not in (0, 3)]
    if codes[-1]:
        problems.append(f"the last job ended with {codes[-1]}")
    counts = Counter("".join(match.groups("")) for n in alive for match in ONCE.finditer(logs[n]))
    problems += [f"{piece} was done {count} times" for piece, count in counts.items() if count > 1]
    return Round(len(started), killed, tuple(problems))


def problems_of(place: JobPlace, scenario: Scenario, draw: random.Random) -> tuple[int, int, list[str]]:
    """Run a scenario with several jobs; return how many jobs and kills there were, and what is wrong."""
    start, end, times = whole(place, scenario)
    place.restore(start)
    rounds: list[Round] = []
    missed = []
    for words, time_of in zip(scenario.commands, times, strict=True):
        before = place.keep("before")
        for attempt in range(TRIES):
            if attempt:
                place.restore(before)
            rounds.append(share(place, words, time_of.duration * 0.7**attempt, draw))
            if rounds[-1].killed:
                break
        else:
            missed.append(f"each job of {words[0]} ended before its moment")
    problems = [*missed, *(problem for each in rounds for problem in each.problems)]
    return (
        sum(each.jobs for each in rounds),
        sum(each.killed for each in rounds),
        [*problems, *compare(end, place.state)],
    )


def main(arguments: list[str]) -> int:
    """Run the rounds, and return 1 if anything is wrong, or if no round began."""
    options, began = parsed("bench.jobs", __doc__, arguments, rounds=20), time.monotonic()
    place = JobPlace(options.out.resolve(), options.forked)
    place.prepare()
    known = {scenario.name: scenario for scenario in scenarios()}
    plan = [known[name] for name in NAMES if options.only in name]
    rounds = failures = jobs = kills = 0
    for number in range(options.first, options.first + options.rounds):
        if time.monotonic() - began > 60 * options.minutes:
            break
        scenario = plan[(number - 1) % len(plan)]
        started, killed, problems = problems_of(place, scenario, random.Random(f"{options.seed} {number}"))
        rounds, failures = rounds + 1, failures + bool(problems)
        jobs, kills = jobs + started, kills + killed
        text = f"round {number} {scenario.name}: {started} jobs, {killed} killed, {'; '.join(problems) or 'the same'}"
        print(text, flush=True)
        if problems:
            place.keep(f"failed/{number}")
    print(f"{rounds - failures} of {rounds} rounds the same with {jobs} jobs, {kills} of which were killed")
    return 1 if failures or not rounds else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
