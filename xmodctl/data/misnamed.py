"""Data files whose names do not give their split: the files, what is expected, and how to rename them."""

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from xmodctl.catalog.locations import Split
from xmodctl.data.files import COMPRESSIONS
from xmodctl.data.layouts import says_about_data
from xmodctl.data.readers import FORMATS, SAVED, format_of, split_of
from xmodctl.languages import same
from xmodctl.languages.tags import read as read_language

_PARTS = re.compile(r"[^\W_]+")
MOST_LISTED = 5
"""Files that a message names."""


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


def misnamed(
    folders: Sequence[Path], home: Path, shared: Path, split: Split, names: Mapping[Split, Sequence[str]], language: str
) -> str:
    """Return what to do with the files of some folders that have no split's name, or an empty string without any.

    Args:
        folders: Where to look; files in folders within them are not listed.
        home: The folder in which the file of the split is expected.
        shared: The folder in which a file is expected whose name gives no language.
        split: The split that is looked for.
        names: The names that each split's file can have.
        language: The language that is looked for.
    """
    files = [file for folder in folders for file in _files(folder, names)]
    readable = [file for file in files if format_of(file)]
    if not readable:
        files = [file for file in files if _split_in(file, names)]  # not such as README.md
        formats = ", ".join(extension for extension in FORMATS if extension != SAVED)
        return (
            f"; there is {_some(files)}, in none of the formats that are read ({formats}): convert it" if files else ""
        )
    in_language = [file for file in readable if file.parent == home or _is_in(file, language)]
    usable = in_language or [file for file in readable if not _is_in_another(file, language)]
    of_split = [file for file in usable if _split_in(file, names) == split]
    if not usable:
        return f"; there is {_some(readable)}"
    shown = (of_split or usable)[0]
    target = home if in_language else shared
    others = {other: file for other in names if other != split and (file := _only(usable, other, names))}
    moves = [
        shlex.join(["mv", str(file), str(target / f"{each}{_endings(file)}")])
        for each, file in ({split: shown} | (others if len(of_split) == 1 else {})).items()
    ]
    first = [shlex.join(["mkdir", "-p", str(target)])] if shown.parent != target else []
    condition = "" if len(of_split) == 1 else f", if it is the split {split}"
    listed = _some([shown, *(file for file in readable if file != shown)])
    return f"; there is {listed}: rename {'it' if len(moves) == 1 else 'them'}{condition}: {' && '.join(first + moves)}"


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
        parts = {part.casefold() for part in _PARTS.findall(name)}
        splits = [split for split, spellings in names.items() if parts & set(spellings)]
        if splits:
            return splits[0] if len(splits) == 1 else None
    return None


def _endings(file: Path) -> str:
    """Return the extensions of the format and of the compression."""
    if file.is_dir():
        return ""
    compression = file.suffix if file.suffix.lower() in COMPRESSIONS else ""
    return Path(file.name.removesuffix(compression)).suffix + compression
