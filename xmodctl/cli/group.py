"""The group of all commands: gives them defaults, and turns errors that you can fix into a message and an exit code."""

import errno
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from xmodctl.cli.launching import end_with_launcher, ending_together, is_follower, meet_others, silence_follower, speak
from xmodctl.cli.loader import HELP_OPTIONS, Commands, hide_types
from xmodctl.cli.output import SWITCHES, hoisted, output_of
from xmodctl.cli.screening import screened
from xmodctl.core.environment import ExitCode, is_one_of_several
from xmodctl.core.memory import REMEDY, is_out_of_memory, is_panic

if TYPE_CHECKING:
    from xmodctl.core.signals import StopSignals

NOT_ENOUGH = f"there is not enough memory for this command; {REMEDY}"
FIXES = {
    errno.ENOSPC: "the disk is full; free some space, then run the same command again",
    errno.EFBIG: "the file is larger than a limit allows; raise it (ulimit -f), or choose a disk with larger files",
    errno.EMFILE: "more files are open than a limit allows; raise it (ulimit -n), then run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some space, then run the same command again",
    errno.EACCES: "permission denied; choose a folder that you can write to, such as --out DIR",
    errno.EPERM: "not permitted; choose a folder that you can write to, such as --out DIR",
    errno.ENOMEM: f"there is not enough memory; {REMEDY}",
    errno.EROFS: "the disk is read-only; choose another folder, such as --out DIR",
    errno.ENOTDIR: "a part of that path is a file, not a folder; choose another folder",
    errno.EISDIR: "that path is a folder, but a file is expected",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
}
"""Failures of the operating system that you can fix, and how."""

ARGUMENTS = "xmodctl.arguments"
"""Where a context keeps the words of the command line."""


class Group(TyperGroup):
    """Runs a command, and turns errors that you can fix into one message and an exit code."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands: Commands = Commands()

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run a command line. Processes that work together meet before they read anything that one of them may lack."""
        from xmodctl.core.errors import LostProcessError, UserError
        from xmodctl.core.signals import STOPPED, STOPPING, stop_signals

        if not self._is_shared((args[0] if args else extra.get("args")) or sys.argv[1:]):
            return super().main(*args, **extra)
        try:
            meet_others()
        except UserError as error:
            _fail(str(error))
            sys.exit(ExitCode.FIXABLE)
        except LostProcessError:
            sys.exit(ExitCode.FIXABLE)
        with stop_signals(acknowledge, STOPPING) as stop:  # from here on, the others are to know of a signal
            try:
                return super().main(*args, **extra)
            except SystemExit as error:
                if error.code in STOPPED and stop.requested is not None:
                    sys.exit(stop.exit_code)
                raise

    def _is_shared(self, words: Sequence[str]) -> bool:
        """Return whether several processes run a command together."""
        if not is_one_of_several() or {"--dry-run", *HELP_OPTIONS} & set(words):
            return False
        command = next((self.commands[word] for word in words if word in self.commands), self)
        return any(option.name == "processes" for option in command.params)

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the options as the help shows them."""
        parameters = super().get_params(ctx)
        hide_types(parameters)
        return parameters

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help, which lists the commands."""
        with self.commands.brief():
            super().format_help(ctx, formatter)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Remember the words of the command: a message may show how to repeat it."""
        ctx.meta[ARGUMENTS] = list(args)
        if any(word in SWITCHES or word.startswith("--log-file") for word in args):
            args = hoisted(args, self._flags(args))
        with _speaking():
            return super().parse_args(ctx, args)

    def _flags(self, args: list[str]) -> frozenset[str]:
        """Return the options of a command line's command that take no value."""
        command = next((self.commands[word] for word in args if word in self.commands), self)
        parts = (command, *getattr(command, "commands", {}).values())
        flags = [option for part in parts for option in part.params if getattr(option, "is_flag", False)]
        return frozenset((*HELP_OPTIONS, *(name for flag in flags for name in (*flag.opts, *flag.secondary_opts))))

    def invoke(self, ctx: Any) -> Any:
        """Invoke the command, and print what it says as its options ask for."""
        from xmodctl.core.errors import UserError
        from xmodctl.core.signals import STOPPING, stop_signals

        words = ctx.meta[ARGUMENTS]
        options = {name: ctx.params.get(name) for name in ("quiet", "verbose", "log_file")}
        if is_follower():  # the first process writes the log
            options["log_file"] = None
        with stop_signals(acknowledge, STOPPING) as stop:
            try:
                with output_of([ctx.command_path, *words], **options):
                    return self._invoke(ctx, stop)
            except UserError as error:  # of these options
                _fail(str(error))
                raise typer.Exit(ExitCode.FIXABLE) from error

    def _invoke(self, ctx: Any, stop: "StopSignals") -> Any:
        from xmodctl.cli.display import warn
        from xmodctl.cli.drawing import draw_notice
        from xmodctl.cli.loading import announcing
        from xmodctl.core.errors import InProgressError, PartialFailureError, UserError
        from xmodctl.core.events import listening
        from xmodctl.core.signals import Interrupted

        silence_follower()
        end_with_launcher()
        try:
            with listening(draw_notice), announcing(), screened(), _speaking(), ending_together():
                result = super().invoke(ctx)
                sys.stdout.flush()
                return result
        except UserError as error:
            _fail(str(error))
            raise typer.Exit(ExitCode.FIXABLE) from error
        except InProgressError as error:
            warn(str(error))
            raise typer.Exit(ExitCode.IN_PROGRESS) from error
        except PartialFailureError as error:
            if not is_follower():  # the others have the same, and may not have ended yet
                _print_failure(str(error))
            raise typer.Exit(ExitCode.PARTIAL) from error
        except (MemoryError, RuntimeError, ImportError) as error:
            if not is_out_of_memory(error):
                raise
            _fail(NOT_ENOUGH)
            raise typer.Exit(ExitCode.FIXABLE) from error
        except OSError as error:
            if error.errno is None:
                raise
            raise typer.Exit(fail_system(error)) from error
        except KeyboardInterrupt as error:
            where = error.where if isinstance(error, Interrupted) else ""
            command = repeated(ctx.command_path, ctx.meta[ARGUMENTS], has_begun_again=stop.has_begun_again)
            _say_stopped(where, command)
            raise typer.Exit(stop.exit_code) from error
        except BaseException as error:  # the panic of a Rust library is no Exception
            if not (is_panic(error) and is_out_of_memory(error)):
                raise
            _fail(NOT_ENOUGH)
            raise typer.Exit(ExitCode.FIXABLE) from error

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the name of a command, the command, and its words, and give it its defaults; its help needs none."""
        if not ctx.resilient_parsing and args[0] not in self.commands and not args[0].startswith("-"):
            from xmodctl.cli.suggestions import refuse_command

            refuse_command(args, list(self.commands))
        name, command, words = super().resolve_command(ctx, args)
        if not ctx.resilient_parsing and not set(words) & set(HELP_OPTIONS):
            from xmodctl.cli.defaults import give_defaults

            give_defaults(ctx, command, words)
        return name, command, words


def repeated(program: str, words: list[str], *, has_begun_again: bool = False) -> str:
    """Return a command line that continues a command that was stopped.

    It is the same; without `--on-exists redo`, if the folder holds only what this command has done again.
    """
    words = list(words)
    while (
        has_begun_again
        and (place := next((i for i, word in enumerate(words) if word.startswith("--on-exists")), None)) is not None
    ):
        del words[place : place + (1 if "=" in words[place] else 2)]
    return f"{program} {shlex.join(words)}"


def acknowledge(number: int) -> None:
    """Say at once that a signal has arrived. It may interrupt a print, so nothing buffered is used."""
    import signal

    start = "\r\x1b[2K" if sys.stderr.isatty() else ""
    with suppress(OSError):
        os.write(2, f"{start}{signal.Signals(number).name} received, stopping ...\n".encode())


def _say_stopped(where: str, command: str) -> None:
    from xmodctl.cli.display import note

    with suppress(OSError):
        sys.stdout.flush()
        note(f"stopped{where and ' '}{where}; to continue, run: {command}", always=True)


def fail_system(error: OSError) -> int:
    """Say what the operating system refuses, and return the exit code."""
    try:
        sys.stdout.flush()
    except OSError:
        _discard_output()
    if error.errno == errno.EPIPE and not error.filename:  # the reader of the output has ended
        return ExitCode.PARTIAL
    path = f"{error.filename}: " if error.filename else ""
    _fail(f"{path}{FIXES.get(error.errno or 0) or f'{error.strerror}; check the path and its disk'}")
    return ExitCode.FIXABLE


def _discard_output() -> None:
    """Let everything printed from now on go nowhere, so that Python's own flush at its end does not fail again."""
    with suppress(OSError, ValueError):
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, sys.stdout.fileno())
        os.close(sink)


@contextmanager
def _speaking() -> Iterator[None]:
    """Let a process that is silent say what is wrong with its options."""
    try:
        yield
    except BaseException as error:
        if hasattr(error, "format_message"):
            speak()
        raise


def _fail(text: str) -> None:
    speak()
    _print_failure(text)


def _print_failure(text: str) -> None:
    from xmodctl.cli.display import fail

    with suppress(OSError):
        sys.stdout.flush()
    fail(text)
