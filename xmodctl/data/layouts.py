"""Folders of local data: which of their files has which language and split, by the names of folders and files."""

import re
from pathlib import Path

from xmodctl.catalog.locations import Split
from xmodctl.core.errors import UserError
from xmodctl.data.readers import format_of, split_of
from xmodctl.data.sources import SPLIT_NAMES
from xmodctl.languages.tags import read as read_language

Splits = dict[Split, list[Path]]
"""The files of each split."""

_OF_NAME: dict[str, Split] = {name: split for split, names in SPLIT_NAMES.items() for name in names}
_FIRST = re.compile(rf"({'|'.join(_OF_NAME)})[._-](.+)", re.IGNORECASE)
_LAST = re.compile(rf"(.+)[._-]({'|'.join(_OF_NAME)})", re.IGNORECASE)


def splits_in(folder: Path) -> Splits:
    """Return the files in a folder whose names are those of splits."""
    files = data_files_in(folder)
    splits: Splits = {
        split: [file for file in files if split_of(file).lower() in names] for split, names in SPLIT_NAMES.items()
    }
    return {split: files for split, files in splits.items() if files}


def files_by_language(folder: Path) -> dict[str, Splits]:
    """Return the files of each language and split: LANGUAGE/SPLIT.EXT, SPLIT/LANGUAGE.EXT, or SPLIT.LANGUAGE.EXT.

    Raises:
        UserError: The folder cannot be read.
    """
    if of_folders := {path.name: splits_in(path) for path in language_folders(folder)}:
        return of_folders
    return {} if splits_in(folder) else _in_split_folders(folder) or _named_by_both(folder)


def shared_files(folder: Path) -> Splits:
    """Return the files of each split that may hold several languages: SPLIT.EXT, or the only file of a folder SPLIT."""
    if splits := splits_in(folder):
        return splits
    files = {split: data_files_in(path) for path, split in _split_folders(folder)}
    return files if all(len(of_split) == 1 for of_split in files.values()) else {}


def language_folders(folder: Path) -> list[Path]:
    """Return the folders that hold a file whose name is that of a split, by name.

    Raises:
        UserError: The folder cannot be read.
    """
    if not folder.is_dir():
        problem = "is not a folder" if folder.exists() else "does not exist"
        raise UserError(f"--data {folder} {problem}; give a folder that contains <language>/<split>.jsonl")
    try:
        return [path for path in _folders_in(folder) if splits_in(path)]
    except OSError as error:
        raise UserError(f"cannot read {error.filename}: {error.strerror}") from error


def names_split(file: Path) -> bool:
    """Return whether a part of a file's name is that of a split: `xnli.test.hr.csv`."""
    return any(part.casefold() in _OF_NAME for part in re.split(r"[._-]", file.name))


def only_files_of_languages(folder: Path) -> dict[Path, str]:
    """Return the only file of each folder with the language that names the folder, or nothing if others are there."""
    files: dict[Path, str] = {}
    for path in _folders_in(folder):
        inside = data_files_in(path)
        if len(inside) != 1 or names_split(inside[0]) or not read_language(path.name):
            return {}
        files[inside[0]] = path.name
    return files


def data_files_in(folder: Path) -> list[Path]:
    """Return the files of a folder in a format of data, by name."""
    return [file for file in sorted(folder.iterdir()) if format_of(file) and not file.name.startswith(".")]


def _folders_in(folder: Path) -> list[Path]:
    paths = [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    return [path for path in paths if not format_of(path)]


def _split_folders(folder: Path) -> list[tuple[Path, Split]]:
    """Return the folders with data whose names are those of splits."""
    named = [(path, _OF_NAME.get(path.name.casefold())) for path in _folders_in(folder)]
    return [(path, split) for path, split in named if split and data_files_in(path)]


def _in_split_folders(folder: Path) -> dict[str, Splits]:
    """Return the files of SPLIT/LANGUAGE.EXT, or nothing if a file there has another name."""
    files = [(file, split_of(file), split) for path, split in _split_folders(folder) for file in data_files_in(path)]
    return _by_language(files) if all(read_language(language) for _, language, _ in files) else {}


def _named_by_both(folder: Path) -> dict[str, Splits]:
    """Return the files of SPLIT.LANGUAGE.EXT or LANGUAGE_SPLIT.EXT, or nothing if a file there has another name.

    There are several languages, because short words are codes of languages, too: `my` in `my_test.csv`.
    """
    files: list[tuple[Path, str, Split]] = []
    for file in data_files_in(folder):
        name = split_of(file)
        if match := _FIRST.fullmatch(name):
            split, language = match.groups()
        elif match := _LAST.fullmatch(name):
            language, split = match.groups()
        else:
            return {}
        if not read_language(language):
            return {}
        files.append((file, language, _OF_NAME[split.casefold()]))
    by_language = _by_language(files)
    return by_language if len(by_language) > 1 else {}


def _by_language(files: list[tuple[Path, str, Split]]) -> dict[str, Splits]:
    by_language: dict[str, Splits] = {}
    for file, language, split in files:
        by_language.setdefault(language, {}).setdefault(split, []).append(file)
    ordered = {language: sorted(splits, key=[*SPLIT_NAMES].index) for language, splits in by_language.items()}
    return {language: {split: by_language[language][split] for split in ordered[language]} for language in ordered}
