"""How a command ends: exit code 0 done, 1 a part failed, 2 an error you can fix, 130 interrupted."""

import errno
import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

import typer
from typer.core import TyperGroup

from xmodctl.cli.loader import Commands, hide_types
from xmodctl.cli.screening import screened

FIXES = {
    errno.ENOSPC: "the disk is full; free some space, then run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some space, then run the same command again",
    errno.EACCES: "permission denied; choose a folder that you can write to, such as --out DIR",
    errno.EPERM: "not permitted; choose a folder that you can write to, such as --out DIR",
    errno.EROFS: "the disk is read-only; choose another folder, such as --out DIR",
    errno.ENOTDIR: "a part of that path is a file, not a folder; choose another folder",
    errno.EISDIR: "that path is a folder, but a file is expected",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
}
"""Failures of the operating system that you can fix, and how."""


class Group(TyperGroup):
    """Runs a command, and turns errors that you can fix into one message and an exit code."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = Commands()

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the options as the help shows them."""
        parameters = super().get_params(ctx)
        hide_types(parameters)
        return parameters

    def invoke(self, ctx: Any) -> Any:
        """Invoke the command."""
        from xmodctl.cli.drawing import draw_notice
        from xmodctl.cli.loading import announcing
        from xmodctl.core.errors import PartialFailureError, UserError
        from xmodctl.core.events import listening

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _interrupt)
        try:
            with listening(draw_notice), announcing(), screened():
                return super().invoke(ctx)
        except UserError as error:
            _fail(str(error))
            raise typer.Exit(2) from error
        except PartialFailureError as error:
            _fail(str(error))
            raise typer.Exit(1) from error
        except OSError as error:
            if error.errno is None:
                raise
            path = f"{error.filename}: " if error.filename else ""
            _fail(f"{path}{FIXES.get(error.errno) or f'{error.strerror}; check the path and its disk'}")
            raise typer.Exit(2) from error
        except KeyboardInterrupt as error:
            _fail(str(error) or "interrupted; run the same command again to resume")
            raise typer.Exit(130) from error


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt; Python ignores what is raised in `__del__`, so from there the signal is sent again."""
    while frame:
        if frame.f_code.co_name == "__del__":
            again = threading.Timer(0.01, os.kill, (os.getpid(), number))
            again.daemon = True
            again.start()
            return
        frame = frame.f_back
    raise KeyboardInterrupt


def _fail(text: str) -> None:
    from xmodctl.cli.display import fail

    sys.stdout.flush()
    fail(text)
