"""What the processes of a command say when they end, so that all of them end, and only one says why.

The first process hears from all others, and they hear from it. Each says with which exit code it ends; a connection
that closes without a word belongs to a process that was killed. The first that fails may print its message. The others
end with the same exit code: at their next message to each other, or after `PATIENCE`, whatever they are doing.
"""

import os
import signal
from collections.abc import Callable, Iterable
from threading import Event, Lock, Thread, Timer
from time import monotonic
from typing import TYPE_CHECKING

from xmodctl.core.environment import ExitCode, is_started_by_xmodctl
from xmodctl.core.signals import STOPPED, requested

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

SPEAK = -1
"""The first process's answer to one that may print its message."""

DONE = (ExitCode.SUCCESS, ExitCode.PARTIAL, ExitCode.IN_PROGRESS)
"""Exit codes of processes that have done their part: the others continue."""

PATIENCE = 10.0
"""Seconds after which a process ends that is busy while another one has failed."""

ECHO = 1.0
"""Seconds in which the signal that stopped another process reaches this one, too, if it was sent to all."""

SENDING = 2.0
"""Seconds after which a process that does not listen is left alone."""


class Partners:
    """The other processes of a command.

    Args:
        rank: Which process this one is.
        size: How many there are.
        group: The group through which they speak.
        hush: Is called when another process has failed: what this one prints from now on is of no use.
        say: Prints a message.
    """

    def __init__(
        self, rank: int, size: int, group: "ProcessGroup", hush: Callable[[], None], say: Callable[[str], None]
    ) -> None:
        self.rank, self.size, self.group, self.hush, self.say = rank, size, group, hush, say
        self.code: int | None = None  # with which all end
        self.speaker: int | None = None  # may print its message
        self.killed: int | None = None  # has ended without a word, which this process reports
        self.has_reported = False
        self._choosing, self._ending, self._decided = Lock(), Lock(), Event()

    @property
    def heard(self) -> Iterable[int]:
        """The processes that this one hears, and that hear it."""
        return (0,) if self.rank else range(1, self.size)

    def listen(self) -> None:
        """Begin to hear the others."""
        for partner in self.heard:
            Thread(target=self._hear, args=(partner,), daemon=True).start()

    def may_speak(self, code: int) -> bool:
        """Return whether this process, which fails, is the one that prints its message; let all end.

        Args:
            code: The exit code.
        """
        self.has_reported = True
        if self.rank == 0:
            return self._choose(0, code)
        if self.code is None:
            self._send((0,), code)
            self._decided.wait(PATIENCE)
        return self.speaker == self.rank or self.code is None or self.code in DONE

    def leave(self, code: int) -> None:
        """Let the others know that this process ends, unless they do."""
        if not self.has_reported:
            self.has_reported = True
            self._send(self.heard, code)

    def lose(self, reason: str) -> int:
        """Return the exit code of a process whose messages to the others fail, or end it, if they have failed.

        Args:
            reason: What to say if no process is known to have ended.
        """
        self._decided.wait(PATIENCE)
        if self.code is None:
            if self.may_speak(ExitCode.FIXABLE):
                self.say(f"the processes have lost each other ({reason}); run the same command again to continue")
            return ExitCode.FIXABLE
        if self.code not in (*DONE, *STOPPED):
            self.end()
        return self.code

    def end(self) -> None:
        """End this process, because another one has failed."""
        with self._ending:  # whoever comes second waits for the end
            if self.killed is not None and not is_started_by_xmodctl():  # else the command that started it says so
                self.say(
                    f"process {self.killed} of {self.size} ended without a message: it was killed, or its machine "
                    "failed; run the same command again to continue from the last checkpoint"
                )
            os._exit(ExitCode.FIXABLE if self.code is None else self.code)

    def _hear(self, partner: int) -> None:
        """Hear a process until it ends."""
        import torch
        import torch.distributed as dist

        word, has_spoken = torch.zeros(1, dtype=torch.int64), False
        while True:
            try:
                dist.recv(word, partner, group=self.group)
            except RuntimeError:
                break
            has_spoken = True
            self._take(partner, int(word))
        if not has_spoken:
            self._choose(partner, ExitCode.FIXABLE, is_killed=True)

    def _take(self, partner: int, word: int) -> None:
        """Do what the word of a process asks for."""
        if word == SPEAK:
            self.speaker = self.rank
            self._decided.set()
        elif word in STOPPED:
            _later(ECHO, self._stop, word)
        elif word not in DONE:
            self._choose(partner, word)
        elif self.rank:
            self.code = word
            self._decided.set()

    def _choose(self, speaker: int, code: int, *, is_killed: bool = False) -> bool:
        """Return whether a process is the first that has failed; if so, let it print its message, and let all end.

        For one that was killed, the first process has the message, or if it was that one, the second.
        """
        with self._choosing:
            if self.code is not None:
                return False
            self.code, self.speaker = code, speaker
            if is_killed and self.rank in (0, 1):
                self.killed = speaker
        if speaker != self.rank:
            self.hush()
            _later(PATIENCE, self.end)
        if self.rank == 0:
            self.has_reported = True
            self._send([partner for partner in self.heard if partner != speaker], code)
            self._send([speaker] if speaker else [], SPEAK)
        self._decided.set()
        return True

    def _stop(self, code: int) -> None:
        """Stop like another process that a signal has stopped, unless this one stops already."""
        if requested() is None:
            self.code = code
            self._decided.set()
            os.kill(os.getpid(), signal.SIGINT if code == ExitCode.INTERRUPTED else signal.SIGTERM)

    def _send(self, partners: Iterable[int], word: int) -> None:
        """Send a word to processes that still listen."""
        import torch
        import torch.distributed as dist

        def send(partner: int) -> None:
            try:
                dist.send(torch.tensor([word]), partner, group=self.group)
            except RuntimeError:  # it has ended
                return

        sending = [Thread(target=send, args=(partner,), daemon=True) for partner in partners]
        for thread in sending:
            thread.start()
        deadline = monotonic() + SENDING
        for thread in sending:
            thread.join(max(0.0, deadline - monotonic()))


def _later(seconds: float, action: Callable[..., None], *arguments: object) -> None:
    timer = Timer(seconds, action, arguments)
    timer.daemon = True
    timer.start()
