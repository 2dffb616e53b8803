"""Data files whose names do not give their split: the files, what is expected, and how to rename them."""

import glob
import re
import shlex
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

from xmodctl.catalog.locations import Split
from xmodctl.data.files import COMPRESSIONS
from xmodctl.data.layouts import language_folders, names_split, says_about_data
from xmodctl.data.readers import FORMATS, SAVED, format_of, split_of
from xmodctl.languages import same
from xmodctl.languages.tags import read as read_language

_PARTS = re.compile(r"[^\W_]+")
MOST_LISTED = 5
"""Files that a message names."""
MOST_TEXTS = 100
"""Files that are looked at to find out whether each has a text."""
MOST_ALIKE = 2
"""Files with the same name in folders of languages that are renamed one by one."""


_CONVERTED = {
    ".spacy": "spaCy's binary files are not read; write `json.dumps(doc.to_json())` of each document as a line of "
    "{stem}.jsonl",
    ".zip": "archives are not read; unpack it, and give the file or the folder in it",
    ".ann": "brat's annotations are not read; write each document as a line of {stem}.jsonl, such as "
    '{{"text": "Ada sleeps", "spans": [[0, 3, "PER"]]}}',
    ".xmi": "UIMA's files are not read; export the annotations as CoNLL 2002",
}
"""Extensions of files that are not read -> what to do with such a file."""


def conversion_of(file: Path) -> str:
    """Return what to do with a file in a format of other programs that is not read, or an empty string."""
    return _CONVERTED.get(file.suffix.lower(), "").format(stem=file.stem)


def is_annotation(file: Path) -> bool:
    """Return whether a file has the annotations of the text beside it, as brat writes them."""
    return file.suffix.lower() == ".ann"


def texts_alone(folder: Path) -> list[Path]:
    """Return the first files in folders within a folder that rather have a text each: `train/positive/17.txt`."""
    files = (file for pattern in ("*/*.txt", "*/*/*.txt") for file in folder.glob(pattern))
    return [file for file in islice(files, MOST_TEXTS) if split_of(file).isdigit() or not names_split(file)]


def misnamed(
    folders: Sequence[Path],
    home: Path,
    shared: Path,
    split: Split,
    names: Mapping[Split, Sequence[str]],
    language: str,
    folder: Path | None = None,
) -> str:
    """Return what to do with the files of some folders that have no split's name, or an empty string without any.

    Args:
        folders: Where to look; files in folders within them are not listed.
        home: The folder in which the file of the split is expected.
        shared: The folder in which a file is expected whose name gives no language.
        split: The split that is looked for.
        names: The names that each split's file can have.
        language: The language that is looked for.
        folder: The data; files of its other languages are renamed by the same command.
    """
    files = [file for folder in folders for file in _files(folder, names)]
    readable = [file for file in files if format_of(file)]
    if not readable:
        files = [file for file in files if _split_in(file, names)]  # not such as README.md
        formats = ", ".join(extension for extension in FORMATS if extension != SAVED)
        if not files:
            return ""
        moves = {file: file.with_name(f"{file.name}.conll") for file in files}
        words = f", or, if each line is a word and its tag, run: {renaming(moves)}" if all(map(_is_text, files)) else ""
        return f"; there is {_some(files)}, in none of the formats that are read ({formats}): convert it{words}"
    in_language = [file for file in readable if file.parent == home or _is_in(file, language)]
    of_language = in_language or [file for file in readable if not _is_in_another(file, language)]
    of_split = [file for file in of_language if _split_in(file, names) == split]
    unclear = [] if of_split else [file for file in of_language if not _split_in(file, names)]
    shown = [*of_split, *unclear]
    if not of_language:
        return f"; there is {_some(readable)}"
    target = home if in_language else shared
    moves = {shown[0]: _renamed(shown[0], target, split)} if shown else {}
    for other in names:
        if (file := _only(of_language, other, names)) and len(of_split) < 2:
            moves.setdefault(file, _renamed(file, target, other))
    if folder:
        moves |= {file: to for file, to in clear_moves(folder, names).items() if file not in of_language}
    condition = "" if len(of_split) == 1 or not shown else f", if {shown[0].name} is the split {split}"
    listed = _some([*shown[:1], *(file for file in readable if file not in shown[:1])])
    return f"; there is {listed}: rename {'it' if len(moves) == 1 else 'them'}{condition}: {renaming(moves)}"


def _is_text(file: Path) -> bool:
    """Return whether the beginning of a file is that of a text."""
    with file.open("rb") as stream:
        beginning = stream.read(1024)
    return b"\0" not in beginning and not beginning.startswith((b"PK", b"%PDF"))


def clear_moves(folder: Path, names: Mapping[Split, Sequence[str]]) -> dict[Path, Path]:
    """Return the files of a folder whose language and split are clear though they are not read -> how to name them.

    They are in a folder of their language, which has no file that is read, or have the language in their names.
    """
    moves: dict[Path, Path] = {}
    read = language_folders(folder)
    for place in sorted(folder.iterdir()):
        if _is_plain_folder(place) and read_language(place.name) and place not in read:
            files = [file for file in _files(place, names) if format_of(file)]
            of_split = {split: _only(files, split, names) for split in names}
            moves |= {file: _renamed(file, place, split) for split, file in of_split.items() if file}
    by_target: dict[Path, list[Path]] = {}
    for file in _files(folder, names) if not read else ():
        splits = _splits_in(file.name, names)
        codes = [part for part in _PARTS.findall(split_of(file)) if len(part) > 1 and read_language(part)]
        if format_of(file) and len(splits) == len(codes) == 1:
            by_target.setdefault(_renamed(file, folder / codes[0], splits[0]), []).append(file)
    return moves | {files[0]: to for to, files in by_target.items() if len(files) == 1}


def renaming(moves: Mapping[Path, Path]) -> str:
    """Return one command of a shell that renames files; where many folders have the same name, it is a loop."""
    folders = dict.fromkeys(to.parent for file, to in moves.items() if to.parent != file.parent)
    commands = [shlex.join(["mkdir", "-p", *map(str, folders)])] if folders else []
    alike: dict[tuple[Path, str, str], list[Path]] = {}
    for file, to in moves.items():
        place = file.parent.parent if file.parent == to.parent else file
        alike.setdefault((place, file.name, to.name), []).append(file)
    for (place, name, new_name), files in alike.items():
        if len(files) > MOST_ALIKE and sorted(place.glob(f"*/{glob.escape(name)}")) == sorted(files):
            every = f"{shlex.quote(str(place))}/*/{shlex.quote(name)}"
            commands.append(f'for file in {every}; do mv "$file" "${{file%/*}}"/{shlex.quote(new_name)}; done')
        else:
            commands += [shlex.join(["mv", str(file), str(moves[file])]) for file in files]
    return " && ".join(commands)


def _renamed(file: Path, folder: Path, split: Split) -> Path:
    return folder / f"{split}{_endings(file)}"


def _only(files: Sequence[Path], split: Split, names: Mapping[Split, Sequence[str]]) -> Path | None:
    """Return the one file of a split, or None if there is none or several."""
    of_split = [file for file in files if _split_in(file, names) == split]
    return of_split[0] if len(of_split) == 1 else None


def _is_in(file: Path, language: str) -> bool:
    """Return whether a part of a file's name, or of its folder's, is a code of the language."""
    return any(same(part, language) for part in _parts(file))


def _is_in_another(file: Path, language: str) -> bool:
    """Return whether a part of a file's name is a code of two letters for another language."""
    return any(len(part) == 2 and read_language(part) is not None and not same(part, language) for part in _parts(file))


def _parts(file: Path) -> list[str]:
    return _PARTS.findall(split_of(file).casefold()) + _PARTS.findall(file.parent.name.casefold())


def _is_named(file: Path, names: Mapping[Split, Sequence[str]]) -> bool:
    return any(split_of(file).lower() in spellings for spellings in names.values())


def _files(folder: Path, names: Mapping[Split, Sequence[str]]) -> list[Path]:
    files = [file for file in sorted(folder.iterdir()) if not says_about_data(file) and not _is_plain_folder(file)]
    return [file for file in files if not (format_of(file) and _is_named(file, names))]


def _is_plain_folder(path: Path) -> bool:
    return path.is_dir() and not format_of(path)


def _some(files: Sequence[Path]) -> str:
    more = f" and {len(files) - MOST_LISTED:,} more" if len(files) > MOST_LISTED else ""
    return ", ".join(str(file) for file in files[:MOST_LISTED]) + more


def _split_in(file: Path, names: Mapping[Split, Sequence[str]]) -> Split | None:
    """Return the one split that a part of the file's name gives: `test` in `xnli.test.hr.csv`; else of its folder's."""
    for name in (file.name, file.parent.name):
        if splits := _splits_in(name, names):
            return splits[0] if len(splits) == 1 else None
    return None


def _splits_in(name: str, names: Mapping[Split, Sequence[str]]) -> list[Split]:
    parts = {part.casefold() for part in _PARTS.findall(name)}
    return [split for split, spellings in names.items() if parts & set(spellings)]


def _endings(file: Path) -> str:
    """Return the extensions of the format and of the compression."""
    if file.is_dir():
        return ""
    compression = file.suffix if file.suffix.lower() in COMPRESSIONS else ""
    return Path(file.name.removesuffix(compression)).suffix + compression
