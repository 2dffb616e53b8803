"""Shards: a fixed share of a command's work, for jobs that divide it without talking to each other."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self, TypeVar

from xmodctl.core.environment import SLURM_TASK
from xmodctl.core.errors import UserError
from xmodctl.core.events import Listener, Notice
from xmodctl.core.messages import counted

T = TypeVar("T")

LARGEST = 10**6
"""Shards; more is a mistake."""


@dataclass(frozen=True)
class Shard:
    """One of `count` shares; `number` counts from 1. The default is everything."""

    number: int = 1
    count: int = 1
    is_default: bool = field(default=False, compare=False)  # nobody asked for it: it is that of a task of an array

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read I/N.

        Raises:
            UserError: It is something else, or I is not one of 1 to N.
        """
        match = re.fullmatch(r"([0-9]{1,7})/([0-9]{1,7})", text.strip())
        if match is None:
            raise UserError(f"--shard {text}: give the number of the share and how many there are, as in --shard 2/4")
        number, count = int(match[1]), int(match[2])
        if not 1 <= count <= LARGEST or not 1 <= number <= count:
            raise UserError(f"--shard {text}: with N shares, give one of 1/N to N/N, as in --shard 2/4")
        return cls(number, count)

    @classmethod
    def of_array(cls, environment: Mapping[str, str]) -> Self | None:
        """Return the share of a task of a SLURM array, or None outside an array.

        Raises:
            UserError: The numbers of the array's tasks are not equally spaced.
        """
        defaults = {"ID": "", "COUNT": "", "MIN": "0", "STEP": "1"}
        texts = [environment.get(f"SLURM_ARRAY_TASK_{name}", default) for name, default in defaults.items()]
        if not all(text.isdecimal() and len(text) < 10 for text in texts):
            return None
        task, count, first, step = map(int, texts)
        number, rest = divmod(task - first, max(step, 1))
        if rest or not 0 <= number < count:
            raise UserError(
                f"the array's task {task} is not a share of {count}, because the numbers of its tasks are not evenly "
                "spaced; give the share with --shard I/N, or --shard 1/1 for everything"
            )
        return cls(number + 1, count, is_default=True)

    @classmethod
    def chosen(cls, text: str | None, listen: Listener) -> Self:
        """Return the share that `--shard` names, or else that of the task of a SLURM array, which a notice names."""
        if text is not None:
            return cls.parse(text)
        shard = cls.of_array(os.environ)
        if shard is None or shard.count == 1:
            return cls()
        listen(
            Notice(
                f"shard: {shard}, from {SLURM_TASK.name}={SLURM_TASK.value} (do everything in each job: --shard 1/1)"
            )
        )
        return shard

    def refuse_redo(self, on_exists: str) -> None:
        """Refuse to delete a training that other shards share.

        Raises:
            UserError: This is one share of several, and `on_exists` is `redo`.
        """
        if on_exists == "redo" and self.count > 1:
            raise UserError(
                f"--on-exists redo deletes what other shards do, and this is shard {self}; delete the folder before "
                "the first job starts, or do everything in one job with --shard 1/1"
            )

    def of(self, items: Sequence[T]) -> Sequence[T]:
        """Return this share of items: consecutive ones, because neighbors share a model or data.

        An array with more tasks than there are items divides something else, or its jobs take what is free.

        Raises:
            UserError: There are fewer items than the shares that were asked for, so that this one has none.
        """
        if self.is_default and len(items) < self.count:
            return items
        start, end = (len(items) * number // self.count for number in (self.number - 1, self.number))
        if items and start == end:
            raise UserError(
                f"shard {self} has no work, because the command has only {counted(len(items), 'part')}; give at most "
                f"{counted(len(items), 'share')}, such as --shard 1/{len(items)}"
            )
        return items[start:end]


EVERYTHING = Shard()


def check_shard(text: str | None) -> None:
    """Refuse a share that does not exist.

    Raises:
        UserError: It is not I/N, or I is not one of 1 to N.
    """
    if text is not None:
        Shard.parse(text)
