"""Commands in several processes, each of which is started by itself, as `srun` and `torchrun` start them."""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

PROGRAM = (sys.executable, "-m", "xmodctl")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return int(free.getsockname()[1])


def start_apart(
    commands: Sequence[Sequence[str]], changes: Mapping[int, Mapping[str, str]] | None = None
) -> list[subprocess.Popen[str]]:
    """Start a command in each of several processes.

    Args:
        commands: The words of each.
        changes: Variables of some processes, by rank.
    """
    shared = {"WORLD_SIZE": str(len(commands)), "MASTER_ADDR": "localhost", "MASTER_PORT": str(free_port())}
    return [
        subprocess.Popen(
            words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env=os.environ | shared | {"RANK": str(rank)} | (changes or {}).get(rank, {}),
        )
        for rank, words in enumerate(commands)
    ]  # fmt: skip


def ends(started: Sequence[subprocess.Popen[str]], timeout: float = 120) -> list[tuple[int, str]]:
    """Return the exit codes of processes, and what they printed; a process that does not end fails the test."""
    with ExitStack() as stack:
        for process in started:
            stack.enter_context(process)
            stack.callback(process.kill)
        texts = [process.communicate(timeout=timeout)[1] for process in started]
    return [(process.returncode, " ".join(text.split())) for process, text in zip(started, texts, strict=True)]
