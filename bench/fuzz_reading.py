"""What reads the files that `bench.fuzz` damages: commands, in this process."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from command_line import CHANGED, run
from tiny import build_tiny_model

__all__ = ["CHANGED", "CrashError", "Target", "build_tiny_model", "command", "commands", "digest"]


class CrashError(Exception):
    """A command ended in a traceback."""


@dataclass(frozen=True)
class Target:
    """Files that are damaged one at a time, and what reads them.

    `read` raises UserError for damage, and returns what it read otherwise. If `sealed`, no damaged file may be used:
    what is read must be what was read before the damage.
    """

    build: Callable[[Path], None]
    files: tuple[str, ...]  # patterns, relative to the folder that `build` fills
    read: Callable[[Path], Any]
    structured: bool = True
    sealed: bool = False
    writes: bool = False  # whether `read` changes files, so that all of them are restored


def command(*words: object) -> str:
    """Run a command, and return what it printed.

    Raises:
        CrashError: It ended in a traceback.
    """
    result = run(*words)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    if result.exit_code not in (0, 1, 2) or "Usage:" in result.output:
        raise CrashError(f"exit code {result.exit_code}: {result.output}")
    if result.exit_code == 2:
        _refused.append(result.output)
    return result.stdout


_refused: list[str] = []


def commands(*calls: Sequence[object]) -> None:
    """Run commands.

    Raises:
        UserError: At least one of them ended with exit code 2.
        CrashError: One ended in a traceback.
    """
    from xmodctl.core.errors import UserError

    _refused.clear()
    for words in calls:
        command(*words)
    if _refused:
        raise UserError(_refused[0])


def digest(tensors: Mapping[str, Any]) -> list[tuple[str, bytes]]:
    """Return the names and the bytes of tensors."""
    return [(name, tensors[name].contiguous().numpy().tobytes()) for name in sorted(tensors)]
