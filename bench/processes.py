"""Processes that train together against threads of one process: `python -m bench.processes`.

Two processes of one thread take turns with one process of two threads on the same batches. All stay alive between their
turns, so that only optimizer steps are timed; with `--sweep`, the logits of the same rows, as `eval-transfer` shares
them. `--json FILE` stores the rates of all rounds.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch

from bench import lengths, sides
from bench.checkpoints import folder_of
from bench.timing import Figure, ratios, take_turns
from xmodctl.core.encoded import Encoded
from xmodctl.evaluation.sharing import Processes, Work, compute_share
from xmodctl.model import Xmod, look_up
from xmodctl.training.loop import Training
from xmodctl.training.world import World

WARM_UP = 99
"""The number of a round that is not counted: its steps allocate."""


@dataclass(frozen=True)
class Turn:
    """What one turn of a process took."""

    tokens: int  # of the batches, whoever computes them
    seconds: float  # wall-clock
    cpu_seconds: float
    waited: float  # of the wall-clock seconds, those in which gradients were added up or outputs sent
    outcome: float  # the loss of the last step, or the mean absolute logit of a sweep; 0 in the other processes of one


class Team:
    """Processes that train together, started once; each turn they take the same number of steps."""

    def __init__(self, processes: int, threads: int, options: argparse.Namespace) -> None:
        """Start the processes and wait until all of them have a model."""
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        shared = {"WORLD_SIZE": processes, "MASTER_ADDR": "localhost", "MASTER_PORT": port, "OMP_NUM_THREADS": threads}
        command = [sys.executable, "-m", "bench.processes", "--model", options.model, "--steps", str(options.steps)]
        command += ["--sweep", str(options.sweep)] if options.sweep else []
        self.members = [
            subprocess.Popen(
                [*command, "--work"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=os.environ | {name: str(value) for name, value in (shared | {"RANK": rank}).items()},
            )
            for rank in range(processes)
        ]

    def __enter__(self) -> "Team":
        """Return the team."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End the processes."""
        for member in self.members:
            if kind is not None:
                member.kill()
            member.communicate()

    def take_turn(self, number: int) -> list[Turn]:
        """Let all processes take the steps of a round, and return what they took."""
        for member in self.members:
            assert member.stdin is not None
            print(number, file=member.stdin, flush=True)
        turns = []
        for member in self.members:
            assert member.stdout is not None
            if not (line := member.stdout.readline()):
                raise SystemExit(f"a process ended with exit code {member.wait()}")
            turns.append(Turn(**json.loads(line)))
        return turns


class TimedWorld(World):
    """Adds up how long the process waits for gradients, or for outputs."""

    waited = 0.0

    def add_up(
        self, parameters: Sequence[torch.nn.Parameter], stopping: float, loss: float | torch.Tensor
    ) -> tuple[float, float | torch.Tensor]:
        """Add up gradients, as training does."""
        with waiting():
            return super().add_up(parameters, stopping, loss)

    def gather(self, value: Any, arrays: Sequence[np.ndarray]) -> list[tuple[Any, list[np.ndarray]]]:
        """Send outputs to the first process, as a sweep does."""
        with waiting():
            return super().gather(value, arrays)


@contextmanager
def waiting() -> Iterator[None]:
    """Count the seconds of a block as waiting."""
    start = time.perf_counter()
    yield
    TimedWorld.waited += time.perf_counter() - start


def work(options: argparse.Namespace) -> None:
    """Take the turns whose numbers come through standard input, and print what each took."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    world = TimedWorld.join("bench")
    folder = folder_of(options.model)
    facts = look_up(str(folder))
    assert facts.languages is not None
    source = "en_XX" if "en_XX" in facts.languages else facts.languages[0]
    rows = lengths.encoded("xnli", lengths.training_lengths("xnli", 4000)[0], facts.config["vocab_size"])
    model = sides.ours(folder, "sequence", [source], "cpu")
    if options.sweep:
        model.store_for_scoring("fp32")
        turn = partial(sweep, world, model, rows, np.arange(options.sweep))
    else:
        turn = partial(steps, sides.our_training(model, rows, "fp32", world=world), rows, options.steps)
    for number in map(int, sys.stdin):
        TimedWorld.waited = 0.0
        start, cpu_start = time.perf_counter(), time.process_time()
        tokens, outcome = turn(number)
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
        print(json.dumps(asdict(Turn(tokens, seconds, cpu_seconds, TimedWorld.waited, outcome))), flush=True)


def steps(loop: Training, rows: Encoded, count: int, number: int) -> tuple[int, float]:
    """Take the optimizer steps of a round; return the tokens of their batches and the last loss."""
    chosen = sides.typical(loop.batches(number), rows, count, number)
    losses = [step.loss for parts in chosen for step in loop.take(parts)]
    return sum(int(rows.tokens[part].sum()) for parts in chosen for part in parts), losses[-1]


def sweep(world: World, model: Xmod, rows: Encoded, chosen: np.ndarray, _: int) -> tuple[int, float]:
    """Compute logits together; return the tokens and, in the first process, the mean absolute logit."""
    tokens = int(rows.tokens[chosen].sum())
    if not world.is_first:
        compute_share(world, model, *world.message(None))
        return tokens, 0.0
    [logits] = Processes(world).compute(model, [Work(rows, model.languages[0], sides.PAD, chosen=chosen)], "fp32")
    return tokens, float(np.abs(np.stack([logits[unit] for unit in chosen])).mean())


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.processes", description=__doc__)
    parser.add_argument("--model", default="base", help="base, mini, tiny, or a checkpoint (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=2, help="optimizer steps per turn (default: %(default)s)")
    parser.add_argument("--sweep", type=int, default=0, metavar="ROWS", help="logits of so many rows instead")
    parser.add_argument("--processes", type=int, default=2, help="against as many threads (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures of all turns to this file")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.work:
        work(options)
        return
    folder_of(options.model)  # built once, before several processes look for it
    threads_name, processes_name = f"1 process, {options.processes} threads", f"{options.processes} processes, 1 thread"
    with ExitStack() as teams:
        sides_of = {
            threads_name: teams.enter_context(Team(1, options.processes, options)),
            processes_name: teams.enter_context(Team(options.processes, 1, options)),
        }
        turns: dict[str, list[list[Turn]]] = {name: [] for name in sides_of}

        def measured(number: int, name: str) -> float:
            turn = sides_of[name].take_turn(number)
            turns[name].append(turn)
            return turn[0].tokens / turn[0].seconds

        variants = {name: partial(measured, name=name) for name in sides_of}
        for variant in variants.values():
            variant(WARM_UP)
        rates = take_turns(variants, options.rounds)
    per_turn = 1 if options.sweep else options.steps
    for name, values in rates.items():
        counted = turns[name][1:]
        cpu = Figure.of([sum(member.cpu_seconds for member in turn) / per_turn for turn in counted])
        waited = Figure.of([turn[0].waited / turn[0].seconds for turn in counted])
        print(
            f"{name}: {Figure.of(values).median:,.0f} tokens/s ({min(values):,.0f}-{max(values):,.0f}), "
            f"{cpu.median:.1f} CPU seconds per {'sweep' if options.sweep else 'step'} ({cpu.low:.1f}-{cpu.high:.1f}), "
            f"{waited.median:.0%} of the time {'sends outputs' if options.sweep else 'adds up gradients'}"
        )
    efficiency = ratios(rates[processes_name], rates[threads_name])
    pairs = zip(turns[threads_name], turns[processes_name], strict=True)
    difference = max(abs(alone[0].outcome - together[0].outcome) / alone[0].outcome for alone, together in pairs)
    print(f"efficiency: {efficiency.median:.2f} ({efficiency.low:.2f}-{efficiency.high:.2f})")
    print(f"largest relative difference of {'logits' if options.sweep else 'losses'}: {difference:.1e}")
    if options.json:
        document = {name: [[asdict(member) for member in turn] for turn in taken] for name, taken in turns.items()}
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
