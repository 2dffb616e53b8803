"""Data sets: which data a score was measured on, from the origin and the fingerprint that its row holds."""

import os
import re
from pathlib import Path, PurePath

from xmodctl.languages import same

HUB = "the Hub's"
"""Begins the name of a benchmark that was read from the Hub."""

SPLIT_FILES = ("train", "validation", "dev", "valid", "val", "test")
"""The names of files that hold one split; a file with another name is a data set by itself."""

_HUB_ORIGIN = re.compile(r"[\w.-]+(/[\w.-]+)?@[\w.-]+:")


def fingerprint_of(data: str) -> str:
    """Return the fingerprint in a row's `data`, which is `origin#fingerprint`: a hash of the rows as they were read."""
    return data.rpartition("#")[2]


def data_set_of(data: str, language: str, task: str, folder: str | None = None) -> str:
    """Return the data set that a row's `data` belongs to: the folder that holds its languages, or the Hub's benchmark.

    Args:
        data: `origin#fingerprint`.
        language: The language of the row.
        task: The name of the run's task, whose files on the Hub are one data set.
        folder: What `--data` named, as an absolute path; it may be the folder of one language. None if not known.
    """
    if is_on_hub(data):
        return hub_data_set(task)
    inferred = folder_of(data, language)
    place = data.rpartition("#")[0] if inferred is None else os.path.realpath(inferred)
    return place if folder is None or PurePath(folder).is_relative_to(place) else folder


def hub_data_set(task: str) -> str:
    """Return the data set of a task's files on the Hub."""
    return f"{HUB} {task}"


def whole_data_set(folder: Path, language: str) -> str:
    """Return the data set that `--data` names: what it names, or the parent of a folder of one language."""
    folder = folder.resolve()
    return str(folder.parent if folder.is_dir() and _is_of(folder.name, language) else folder)


def is_on_hub(data: str) -> bool:
    """Return whether a row's `data` was read from the Hub."""
    return _HUB_ORIGIN.match(data.rpartition("#")[0]) is not None


def folder_of(data: str, language: str) -> str | None:
    """Return the folder or file that `--data` named when a row's local `data` was read, or None if there is none."""
    path = PurePath(data.rpartition("#")[0])
    if path.suffix and path.name.partition(".")[0].casefold() not in SPLIT_FILES:
        return str(path)
    if len(path.parts) < 2:
        return None
    return str(path.parent.parent if _is_of(path.parent.name, language) else path.parent)


def short_names(data_sets: list[str]) -> dict[str, str]:
    """Return a short name for each data set: the end of its path, with as many folders as make it unique."""
    paths = {name: PurePath(name).parts for name in data_sets if os.path.isabs(name)}
    depth = 1
    while len({parts[-depth:] for parts in paths.values()}) < len(paths):
        depth += 1
    return {name: str(PurePath(*paths[name][-depth:])) if name in paths else name for name in data_sets}


def _is_of(folder: str, language: str) -> bool:
    """Return whether a folder's name is a language's, or that of a treebank in it, such as `en_ewt`."""
    return same(folder, language) or re.split("[_-]", folder)[0] == re.split("[_-]", language)[0]
