"""Files that commands keep in a folder, and the one rule for the files that `--out` and `--log-file` name."""

import os
import stat
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from xmodctl.adapters.packages import FACTS, VOCABULARY, WEIGHTS
from xmodctl.core.errors import UserError
from xmodctl.core.files import check_can_write
from xmodctl.core.reading import file_and_sheet

DELTA = "delta.safetensors"
ROWS_BEFORE = ".rows-before"
"""The file that says how many rows there were before the jobs of an unfinished sweep."""

PAGES = ("report.html", "report.train.html", "report.validation.html")
"""What `report` writes into the folder of a run; it can be written again."""
RUN_FILES = (
    "run.json", "results.jsonl", ROWS_BEFORE, *PAGES,
    "predictions/*/*.seed-*.jsonl", "tensorboard/seed-*/events.out.tfevents.*", "seed-*/shots.json",
    *(
        f"{folder}/{name}"
        for folder in ("seed-*", "seed-*/stage-*")
        for name in (DELTA, "metrics.jsonl", "checkpoints/step-*", "kept/*.safetensors")
    ),
)  # fmt: skip
"""Patterns of all files and folders in the folder of a run; others are the user's."""
LANGUAGE_FILES = (
    "extension.json", "*.start.json", "seed-*/*.metrics.jsonl", "seed-*/*.training/step-*",
    *(f"seed-*/*/{name}" for name in (WEIGHTS, FACTS, VOCABULARY)),
)  # fmt: skip
"""Patterns of all files and folders in the folder of `add-language`."""
_PACKAGE_FILES = (FACTS, WEIGHTS, VOCABULARY)
_MODEL_FILES = ("config.json", "model*.safetensors", "*.safetensors.index.json", "pytorch_model*", "tokenizer*")
_FOLDERS = (
    ("run.json", "a run", RUN_FILES), ("extension.json", "an added language", LANGUAGE_FILES),
    (FACTS, "an adapter package", _PACKAGE_FILES), ("config.json", "a model", _MODEL_FILES),
)  # fmt: skip
"""The file that marks a folder, what the folder is, and patterns of the files that are its own."""


def check_output(
    path: str | Path,
    option: str = "--out",
    *,
    inputs: Iterable[str | Path | None] = (),
    data: Iterable[str | Path | None] = (),
    pages: bool = False,
) -> None:
    """Refuse a file that must not be replaced, or cannot be written, before what it is to hold is computed.

    Args:
        path: The file; its folder need not exist.
        option: The option that names it.
        inputs: What the command reads: files, `-` for standard input, or None.
        data: The data of runs, which other commands read: files, folders, or None.
        pages: Whether it may be a run's report.

    Raises:
        UserError: It is an input, data of a run, a pipe, a socket, a device, a folder, a file that a run, an added
            language, a package, or a model consists of, or nothing can be written there.
    """
    path = Path(path)
    if any(source is not None and is_same(path, source) for source in inputs):
        raise UserError(f"{option} {path} is the input, which it would replace; choose another file")
    if any(source is not None and (is_same(path, source) or _is_in(path, Path(source))) for source in data):
        raise UserError(f"{option} {path} is data of a run, which it would replace; choose another file")
    check_not_own(path, option, pages=pages)
    check_can_write(path, option)
    check_no_stream(path, option, remedy=f"choose another file, or print to standard output without {option}")


def check_no_stream(path: Path, option: str, *, remedy: str = "choose another file") -> None:
    """Refuse what is not a file: opening a pipe waits endlessly for its reader.

    Raises:
        UserError: It is a pipe, a socket, or a device.
    """
    if path.exists() and not path.is_dir() and not stat.S_ISREG(path.stat().st_mode):
        raise UserError(f"{option} {path} is a pipe, a socket, or a device, and not a regular file; {remedy}")


def check_not_own(path: Path, option: str, *, pages: bool = False) -> None:
    """Refuse a file that a run, an added language, an adapter package, or a model consists of.

    Raises:
        UserError: It is one.
    """
    for place in _places(path):
        for folder in place.parents:
            for marker, noun, patterns in _FOLDERS:
                names = place.relative_to(folder).parts
                if _is_one_of(names, set(patterns) - set(PAGES if pages else ())) and (folder / marker).is_file():
                    raise UserError(f"{option} {path} is a file of {noun}, {folder}; choose another name")


def _places(path: Path) -> Iterator[Path]:
    """Yield where a file is, and where it is if it is a link."""
    absolute = path.expanduser().absolute()
    try:
        yield absolute.parent.resolve() / absolute.name
        yield absolute.resolve()
    except (OSError, RuntimeError):  # links that go around in a circle
        yield absolute


def _is_one_of(names: tuple[str, ...], patterns: Iterable[str]) -> bool:
    """Return whether the names of a path, or those of a folder in it, have one of the patterns."""
    parts = (pattern.split("/") for pattern in patterns)
    return any(len(names) >= len(part) and all(map(fnmatchcase, names, part)) for part in parts)


def _is_in(path: Path, folder: Path) -> bool:
    """Return whether a path is a file that exists in a folder, or in one within it."""
    return folder.is_dir() and path.is_file() and path.resolve().is_relative_to(folder.resolve())


def is_same(path: Path, source: str | Path) -> bool:
    """Return whether a path is a file that is read, which may be standard input (`-`)."""
    try:
        read_from = os.fstat(0) if str(source) == "-" else os.stat(file_and_sheet(source)[0])
        return os.path.samestat(read_from, path.stat())
    except (OSError, ValueError):
        return False
