"""Local data: DIR/<language>/<split>.<ext>, the language's folder in any spelling that names it."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from xmodctl.catalog.task import Split, Task
from xmodctl.core.errors import UserError, did_you_mean
from xmodctl.core.mistakes import Mistakes
from xmodctl.data.opening import COMPRESSIONS
from xmodctl.data.readers import READERS, SAVED, format_of, read, split_of
from xmodctl.data.sources import Source, language_in
from xmodctl.languages import name, same

SPLIT_NAMES: dict[Split, tuple[str, ...]] = {
    "train": ("train",),
    "validation": ("validation", "dev", "valid", "val"),
    "test": ("test",),
}
"""What the file of a split may be called."""


LANGUAGE_COLUMNS = ("language", "lang", "locale")
"""Where files hold several languages: the columns that may tell which, in the order in which they are looked for."""


def find(task: Task, folder: Path, language: str, split: Split, *, sole: bool = False) -> Source:
    """Return the file of one language and split under `folder`: DIR/<language>/<split>.<ext>.

    Without a folder for the language, DIR/<split>.<ext> may hold all languages, told apart by a column, or that
    language alone if it is the sole one that is asked for.

    Raises:
        UserError: There is no such folder, language or split (what there is, is told), or there are two.
    """
    folders = _folders(folder)
    matching = _of_language(task, folders, language)
    if not folders and (shared := _splits(folder)):
        columns = (task.language_column,) if task.language_column else LANGUAGE_COLUMNS
        source = _source(task, folder, shared, split)
        ends_at = task.language_ends_at
        return replace(source, language=language, language_columns=columns, language_ends_at=ends_at, sole=sole)
    if not matching:
        there = [one.name for one in folders]
        raise UserError(
            f"{folder} has no language {_called(language)}; it has {', '.join(there) or 'no folder with data'}"
            f"{did_you_mean(language, there)} (expected {folder / language / split}.jsonl or another format)"
        )
    if len(matching) > 1:
        both = " and ".join(one.name for one in matching)
        raise UserError(f"{folder} has two folders for {_called(language)}, {both}; rename or remove one of them")
    return _source(task, matching[0], _splits(matching[0]), split)


def _of_language(task: Task, folders: list[Path], language: str) -> list[Path]:
    """Return the folders that a language may mean: by their names, or else by what the task says of them."""
    if named := [one for one in folders if one.name == language or same(one.name, language)]:
        return named
    meant = [one for one in folders if task.is_in_language(one.name, language)]
    # Of several corpora of one language, the one trained on.
    return [one for one in meant if one.name == task.source_language] or meant


def _source(task: Task, folder: Path, splits: Mapping[Split, list[Path]], split: Split) -> Source:
    """Return the one file of a split in `folder`, which is called as its language."""
    files = splits.get(split, [])
    if not files:
        there = ", ".join(splits) or "no split"
        formats = ", ".join(ending for ending in READERS if ending != SAVED)
        raise UserError(
            f"{folder} has no split `{split}`; it has {there} "
            f"(a file of it ends in {formats}, perhaps with {', '.join(COMPRESSIONS)} behind)"
        )
    if len(files) > 1:
        both = " and ".join(file.name for file in files)
        raise UserError(f"{folder} has two files for the split `{split}`, {both}; rename or remove one of them")
    path = files[0]
    return Source(
        files={path: str(path)}, origin=str(path), language=folder.name, split=split, columns=dict(task.columns)
    )


def coverage(task: Task, folder: Path) -> dict[str, tuple[Split, ...]]:
    """Return the languages under `folder` with their splits; files that hold several languages are read for it."""
    covered = {one.name: tuple(_splits(one)) for one in _folders(folder)}
    columns = (task.language_column,) if task.language_column else LANGUAGE_COLUMNS
    for split, (path, *_) in _splits(folder).items():
        mistakes = Mistakes(str(path))
        found: set[str] = set()
        for _, raw in read(path, str(path), task.columns, mistakes, all_columns=True)[1]:
            found |= {spelt for column in columns if (spelt := language_in(raw.get(column), task.language_ends_at))}
        for language in sorted(found):
            covered[language] = (*covered.get(language, ()), split)
    return covered


def _folders(folder: Path) -> list[Path]:
    """Return the folders that hold a file of some split, by name."""
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise UserError(f"--data {folder} {what}; it takes a folder with <language>/<split>.jsonl inside")
    try:
        return sorted(one for one in folder.iterdir() if one.is_dir() and not one.name.startswith(".") and _splits(one))
    except OSError as error:
        raise UserError(f"cannot read {error.filename}: {error.strerror}") from error


def _splits(folder: Path) -> dict[Split, list[Path]]:
    """Return the files of each split that `folder` holds."""
    files = [file for file in sorted(folder.iterdir()) if format_of(file) and not file.name.startswith(".")]
    found = {split: [file for file in files if split_of(file).lower() in names] for split, names in SPLIT_NAMES.items()}
    return {split: files for split, files in found.items() if files}


def _called(language: str) -> str:
    """Return a language as the user spelt it, with its name where that says more."""
    known = name(language)
    return f"`{language}`" if known.casefold() == language.casefold() else f"`{language}` ({known})"
