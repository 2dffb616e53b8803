"""Where messages are printed: what `-q`, `-v`, and `--log-file` change.

Results are printed on standard output. Everything else (notes, progress, warnings, errors) is printed on standard error
and, with `--log-file`, in that file, too: one line per message with its time, no control sequences, and no bars.
"""

import logging
import os
import shlex
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from xmodctl.core.errors import UserError, reason_of
from xmodctl.core.visible import printable

NO_BARS = ("HF_HUB_DISABLE_PROGRESS_BARS", "HF_DATASETS_DISABLE_PROGRESS_BARS")
"""Variables that turn off the bars of libraries."""


@dataclass
class Output:
    """What is printed of a command, besides its results."""

    quiet: bool = False  # errors alone
    verbose: bool = False  # details, too
    log: TextIO | None = None

    def write(self, text: str) -> None:
        """Write a message to the log, if there is one."""
        if self.log is not None:
            lines = printable(text).split("\n")
            with suppress(OSError, ValueError):  # a full disk does not stop a training
                self.log.write(f"{datetime.now():%Y-%m-%d %H:%M:%S} " + "\n  ".join(lines) + "\n")
                self.log.flush()


_DEFAULT = Output()
_output: ContextVar[Output] = ContextVar("output")


def current_output() -> Output:
    """Return what is printed of the command that runs."""
    return _output.get(_DEFAULT)


@contextmanager
def output_of(
    words: Sequence[str], *, quiet: bool | None, verbose: bool | None, log_file: str | Path | None
) -> Iterator[Output]:
    """Print what a command says in the way that the options ask for.

    Args:
        words: The command.
        quiet: Whether to print errors alone.
        verbose: Whether to print details.
        log_file: A file to append all messages to.

    Raises:
        UserError: The file cannot be written, or the options contradict each other.
    """
    if quiet and verbose:
        raise UserError("-q prints less and -v prints more; give only one of them")
    output = Output(bool(quiet), bool(verbose), None if log_file is None else _opened(Path(log_file), words))
    token = _output.set(output)
    try:
        with _libraries(output):
            output.write(f"$ {words[0]} {shlex.join(words[1:])}")
            if verbose:
                _say_versions()
            yield output
    except BaseException as error:
        code = getattr(error, "exit_code", None)
        if hasattr(error, "format_message"):  # about the options of the command
            output.write(f"Error: {error.format_message()}")
        if code is None:
            output.write("".join(traceback.format_exception(error)).rstrip())
        output.write(f"exit code {1 if code is None else int(code)}")
        raise
    else:
        output.write("exit code 0")
    finally:
        _output.reset(token)
        if output.log is not None:
            output.log.close()


def _say_versions() -> None:
    from xmodctl.cli.display import detail
    from xmodctl.core.versions import versions

    detail(", ".join(f"{name} {version}" for name, version in versions().items()))


def _opened(path: Path, words: Sequence[str]) -> TextIO:
    from xmodctl.run.written import check_no_stream, check_not_own, is_same

    check_not_own(path, "--log-file")
    if sum(is_same(path, word.rpartition("=")[2]) for word in words) > 1:  # one is the log's own
        raise UserError(f"--log-file {path} is a file of this command, to which it would be appended; choose another")
    try:
        check_no_stream(path.expanduser(), "--log-file")
        path.expanduser().parent.mkdir(parents=True, exist_ok=True)
        return path.expanduser().open("a", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UserError(f"cannot write --log-file {path}: {reason_of(error)}; choose another file") from error


class _Records(logging.Handler):
    """Prints log records of libraries as Python does without a handler, and writes them to the log."""

    def __init__(self, output: Output) -> None:
        super().__init__(logging.INFO if output.verbose else logging.WARNING)
        self.output = output

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        from xmodctl.cli.display import note

        note(f"{record.name}: {record.getMessage()}")


@contextmanager
def _libraries(output: Output) -> Iterator[None]:
    """Send records and warnings of libraries to the output, and turn off their bars if it is quiet."""
    if not (output.quiet or output.verbose or output.log):
        yield
        return
    from xmodctl.cli.display import warn
    from xmodctl.cli.screening import unusable_gpu

    def show(message: Any, category: type[Warning], *_: object, **__: object) -> None:
        warn(unusable_gpu(str(message)) or f"{category.__name__}: {message}")

    handler, root, show_warning = _Records(output), logging.getLogger(), warnings.showwarning
    level, before = root.level, {name: os.environ.get(name) for name in NO_BARS}
    root.addHandler(handler)
    warnings.showwarning = show
    if output.verbose:
        root.setLevel(logging.INFO)
    if output.quiet:
        os.environ.update(dict.fromkeys(NO_BARS, "1"))
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        warnings.showwarning = show_warning
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def hoisted(words: Sequence[str], flags: frozenset[str]) -> list[str]:
    """Return a command's words with `-q`, `-v`, and `--log-file FILE` in front, wherever they are.

    Args:
        words: The words.
        flags: The options of the command that take no value; a word after another option may be its value.
    """
    front: list[str] = []
    rest: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        before = rest[-1] if rest else ""
        if word == "--":
            rest += [word, *left]
            break
        if before.startswith("-") and "=" not in before and before not in flags:
            rest.append(word)
        elif word in SWITCHES or word.startswith("--log-file="):
            front.append(word)
        elif word == "--log-file" and left:
            front += [word, left.pop(0)]
        else:
            rest.append(word)
    return [*front, *rest]


SWITCHES = ("-q", "--quiet", "-v", "--verbose")
"""Options of all commands that take no value."""
