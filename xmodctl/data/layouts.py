"""Folders of local data: which of their files has which language and split, by the names of folders and files."""

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from xmodctl.catalog.locations import Split
from xmodctl.core.errors import UserError
from xmodctl.data.readers import format_of, split_of
from xmodctl.data.sources import SPLIT_NAMES
from xmodctl.languages import same
from xmodctl.languages.tags import read as read_language

Splits = dict[Split, list[Path]]
"""The files of each split."""

_OF_NAME: dict[str, Split] = {name: split for split, names in SPLIT_NAMES.items() for name in names}
_ABOUT = (
    "readme", "license", "licence", "citation", "changelog", "notice", "metadata", "dataset_info", "dataset_infos",
    "dataset_dict",
)  # fmt: skip
"""Names of files that are no data."""
_SEPARATOR = re.compile(r"([._-])")
_TREEBANK = re.compile(r"([a-z]{2,3}_[a-z0-9]+)-ud-(train|dev|test)")
"""The name of a file of Universal Dependencies, of which a folder may have several treebanks."""
_PART = re.compile(r"(.*?)[._-]?(\d+)(?:-of-(\d+))?")
"""The name of a file that has a part of a split: `train-00000-of-00002`, or `0000` in a folder of parts."""


def splits_in(folder: Path) -> Splits:
    """Return the files in a folder whose names are those of splits; one with parts has several."""
    files = data_files_in(folder)
    splits: Splits = {split: [f for f in files if _name(f).lower() in names] for split, names in SPLIT_NAMES.items()}
    return {split: files for split, files in splits.items() if files}


def files_by_language(folder: Path) -> dict[str, Splits]:
    """Return the files of each language and split: LANGUAGE/SPLIT.EXT, SPLIT/LANGUAGE.EXT, or with both in their names.

    Raises:
        UserError: The folder cannot be read.
    """
    if of_folders := {path.name: _splits_of_language(path) for path in language_folders(folder)}:
        return of_folders
    if treebanks := _treebanks(folder):
        return treebanks
    if shared := splits_in(folder):
        return _in_split_folders(folder, besides=shared)
    return _in_split_folders(folder) or named_by_both(folder)


def _treebanks(folder: Path) -> dict[str, Splits]:
    """Return the files of treebanks as Universal Dependencies publishes them: UD_German-GSD/de_gsd-ud-train.conllu."""
    places = [folder, *(path for path in _folders_in(folder) if path.name.startswith("UD_"))]
    named = [(file, _TREEBANK.fullmatch(split_of(file))) for place in places for file in data_files_in(place)]
    return _by_language([(file, name[1], _OF_NAME[name[2]]) for file, name in named if name])


def treebank_of(file: Path) -> str:
    """Return the treebank that names a file of Universal Dependencies, or an empty text."""
    named = _TREEBANK.fullmatch(split_of(file))
    return named[1] if named else ""


def shared_files(folder: Path) -> Splits:
    """Return the files of each split that may hold several languages: SPLIT.EXT, NAME_SPLIT.EXT, or SPLIT/ANY.EXT."""
    if splits := splits_in(folder) or _named_alike(folder):
        return splits
    files = {split: data_files_in(path) for path, split in _split_folders(folder)}
    return files if all(len(of_split) == 1 or are_parts(of_split) for of_split in files.values()) else {}


def are_parts(files: Sequence[Path]) -> bool:
    """Return whether files are the parts of one split: `train-00000-of-00002.parquet`, or `0000.parquet`."""
    parts = [match for file in files if (match := _PART.fullmatch(split_of(file)))]
    numbers = {int(part[2]) for part in parts}
    return len(numbers) == len(files) and len({(part[1], part[3]) for part in parts}) == 1


def missing_part(files: Sequence[Path]) -> str:
    """Return the name of a part of a split that is missing, or an empty string if none is."""
    parts = [(file, match) for file in files if (match := _PART.fullmatch(split_of(file))) and match[3]]
    if not parts:
        return ""
    file, match = parts[0]
    have = {int(part[2]) for _, part in parts}
    first = 1 if int(match[3]) in have else 0
    absent = sorted({*range(first, first + int(match[3]))} - have)
    number = f"{absent[0]:0{len(match[2])}}" if absent else ""
    return f"{file.name[: match.start(2)]}{number}{file.name[match.end(2) :]}" if absent else ""


def language_folders(folder: Path) -> list[Path]:
    """Return the folders that hold a file whose name is that of a split, by name.

    Raises:
        UserError: The folder cannot be read.
    """
    if not folder.is_dir():
        problem = "is not a folder" if folder.exists() else "does not exist"
        raise UserError(f"--data {folder} {problem}; give a folder that contains <language>/<split>.jsonl")
    try:
        return [path for path in _folders_in(folder) if _splits_of_language(path)]
    except OSError as error:
        raise UserError(f"cannot read {error.filename}: {error.strerror}") from error


def names_split(file: Path) -> bool:
    """Return whether a part of a file's name is that of a split: `xnli.test.hr.csv`."""
    return any(part.casefold() in _OF_NAME for part in re.split(r"[._-]", file.name))


def is_split(name: str) -> bool:
    """Return whether a name is that of a split."""
    return name.casefold() in _OF_NAME


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
    return [path for path in sorted(folder.iterdir()) if format_of(path) and not says_about_data(path)]


def says_about_data(path: Path) -> bool:
    """Return whether a file is hidden or by its name no data, but says something about it: `README.txt`."""
    return path.name.startswith(".") or path.name.partition(".")[0].casefold() in _ABOUT


def _folders_in(folder: Path) -> list[Path]:
    paths = [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    return [path for path in paths if not format_of(path)]


def _split_folders(folder: Path) -> list[tuple[Path, Split]]:
    """Return the folders with data whose names are those of splits."""
    named = [(path, _OF_NAME.get(path.name.casefold())) for path in _folders_in(folder)]
    return [(path, split) for path, split in named if split and data_files_in(path)]


def _in_split_folders(folder: Path, besides: Collection[Split] = ()) -> dict[str, Splits]:
    """Return the files of SPLIT/LANGUAGE.EXT, without some splits, or nothing if a file there has another name.

    Files LANGUAGE.EXT beside these folders are for training, unless there are others.
    """
    folders = [(path, split) for path, split in _split_folders(folder) if split not in besides]
    files = [(file, split_of(file), split) for path, split in folders for file in data_files_in(path)]
    if not all(read_language(language) for _, language, _ in files):
        return {}
    if files and "train" not in {*besides, *(split for _, split in folders)}:
        train: Split = "train"
        files += [(file, name, train) for file in data_files_in(folder) if read_language(name := split_of(file))]
    return _by_language(files)


def named_by_both(folder: Path) -> dict[str, Splits]:
    """Return the files of SPLIT.LANGUAGE.EXT, LANGUAGE_SPLIT.EXT, or NAME-LANGUAGE.SPLIT.EXT, if these are languages.

    There are several languages, because short words are codes of languages, too: `my` in `my_test.csv`.
    """
    named = _with_splits(folder)
    codes = _languages_in({rest for rest, _ in named.values()})
    return _by_language([(file, codes[rest], split) for file, (rest, split) in named.items()]) if codes else {}


def _named_alike(folder: Path) -> Splits:
    """Return the files of each split if their names are the same but for that, and may name no other language.

    These are such as `tickets_train.csv` and `tickets_test.csv`.
    """
    named = _with_splits(folder)
    rests = {rest.casefold() for rest, _ in named.values()}
    words = {word for rest in rests for word in _pieces(rest.replace(folder.name.casefold(), ""))}
    if len(rests) != 1 or any(_may_be_another(word, folder.name) for word in words):
        return {}
    splits: Splits = {split: [file for file in named if named[file][1] == split] for split in SPLIT_NAMES}
    return {split: files for split, files in splits.items() if files}


def _splits_of_language(folder: Path) -> Splits:
    """Return the files of each split in a folder that may be of a language."""
    return splits_in(folder) or (_named_alike(folder) if read_language(folder.name) else {})


def _with_splits(folder: Path) -> dict[Path, tuple[str, Split]]:
    """Return the files of a folder whose names have one split among other words: these words, and the split."""
    named = {}
    for file in data_files_in(folder):
        pieces = _pieces(_name(file))
        places = [place for place, piece in enumerate(pieces) if piece.casefold() in _OF_NAME]
        if len(places) == 1 and len(pieces) > 1:
            (place,) = places
            rest = [*pieces[: max(place - 1, 0)], *pieces[place + (1 if place else 2) :]]
            named[file] = "".join(rest), _OF_NAME[pieces[place].casefold()]
    return named


def _languages_in(names: Collection[str]) -> dict[str, str]:
    """Return the language in each of several names, without what all begin or end with, or nothing if one has none."""
    pieces = {name: _pieces(name) for name in names}
    if len(names) < 2:
        return {}
    begin = _common([*pieces.values()])
    end = _common([each[::-1] for each in pieces.values()])
    for dropped, cut in ((first, last) for first in range(begin + 1) for last in range(end + 1)):
        codes = {name: "".join(each[dropped : len(each) - cut]) for name, each in pieces.items()}
        if all(map(read_language, codes.values())):
            return codes
    return {}


def _common(names: Sequence[Sequence[str]]) -> int:
    """Return how many words all names begin with."""
    return next((place for place, words in enumerate(zip(*names, strict=False)) if len({*words}) > 1), 0)


def _may_be_another(word: str, language: str) -> bool:
    """Return whether a word of a name may be the code of a language, other than the given one."""
    return len(word) == 2 and read_language(word) is not None and not same(word, language)


def _name(file: Path) -> str:
    """Return the name of a file without its format, and without the number of its part."""
    name = split_of(file)
    match = _PART.fullmatch(name)
    return match[1] if match and match[3] else name


def _pieces(name: str) -> list[str]:
    """Return the words of a name and what separates them, in turn."""
    return _SEPARATOR.split(name)


def _by_language(files: list[tuple[Path, str, Split]]) -> dict[str, Splits]:
    by_language: dict[str, Splits] = {}
    for file, language, split in files:
        by_language.setdefault(language, {}).setdefault(split, []).append(file)
    ordered = {language: sorted(splits, key=[*SPLIT_NAMES].index) for language, splits in by_language.items()}
    return {language: {split: by_language[language][split] for split in ordered[language]} for language in ordered}
