"""Data files whose names do not give their split: the files, what is expected, and how to rename them."""

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from xmodctl.catalog.locations import Split
from xmodctl.data.files import COMPRESSIONS
from xmodctl.data.readers import FORMATS, SAVED, format_of, split_of

_PARTS = re.compile(r"[^\W_]+")
MOST_LISTED = 5
"""Files that a message names."""


def misnamed(folders: Sequence[Path], home: Path, split: Split, names: Mapping[Split, Sequence[str]]) -> str:
    """Return what to do with the files of some folders that have no split's name, or an empty string without any.

    Args:
        folders: Where to look; files in folders within them are not listed.
        home: The folder in which the file of the split is expected.
        split: The split that is looked for.
        names: The names that each split's file can have.
    """
    files = [file for folder in folders for file in _files(folder, names)]
    readable = [file for file in files if format_of(file)]
    if not readable:
        files = [file for file in files if _split_in(file, names)]  # not such as README.md
        formats = ", ".join(extension for extension in FORMATS if extension != SAVED)
        return f"; there is {_some(files)}, in no format that is read ({formats}): convert it" if files else ""
    of_split = [file for file in readable if _split_in(file, names) == split]
    shown = (of_split or readable)[0]
    command = shlex.join(["mv", str(shown), str(home / f"{split}{_endings(shown)}")])
    if shown.parent != home:
        command = f"{shlex.join(['mkdir', '-p', str(home)])} && {command}"
    condition = "" if len(of_split) == 1 else f", if it is the split {split}"
    return (
        f"; there is {_some([shown, *(file for file in readable if file != shown)])}: rename it{condition}: {command}"
    )


def _is_named(file: Path, names: Mapping[Split, Sequence[str]]) -> bool:
    return any(split_of(file).lower() in spellings for spellings in names.values())


def _files(folder: Path, names: Mapping[Split, Sequence[str]]) -> list[Path]:
    files = [file for file in sorted(folder.iterdir()) if not file.name.startswith(".") and not _is_plain_folder(file)]
    return [file for file in files if not (format_of(file) and _is_named(file, names))]


def _is_plain_folder(path: Path) -> bool:
    return path.is_dir() and not format_of(path)


def _some(files: Sequence[Path]) -> str:
    more = f" and {len(files) - MOST_LISTED:,} more" if len(files) > MOST_LISTED else ""
    return ", ".join(str(file) for file in files[:MOST_LISTED]) + more


def _split_in(file: Path, names: Mapping[Split, Sequence[str]]) -> Split | None:
    """Return the one split that a part of the file's name gives: `test` in `xnli.test.hr.csv`."""
    parts = {part.casefold() for part in _PARTS.findall(file.name)}
    splits = [split for split, spellings in names.items() if parts & set(spellings)]
    return splits[0] if len(splits) == 1 else None


def _endings(file: Path) -> str:
    """Return the extensions of the format and of the compression."""
    if file.is_dir():
        return ""
    compression = file.suffix if file.suffix.lower() in COMPRESSIONS else ""
    return Path(file.name.removesuffix(compression)).suffix + compression
