"""The language of the rows of one file, by the name of the file or of its folder."""

import re
from pathlib import Path

from xmodctl.core.reading import file_and_sheet
from xmodctl.data.layouts import is_split, named_by_both, names_split, treebank_of
from xmodctl.data.readers import split_of
from xmodctl.data.single_file import files_of_languages
from xmodctl.languages import same
from xmodctl.languages.tags import read as read_language


def language_of_input(inputs: object) -> str:
    """Return the language that the name of a file to read states, or an empty text, as for rows in memory."""
    is_file = isinstance(inputs, str | Path) and str(inputs) != "-"
    return language_named_by(file_and_sheet(str(inputs))[0]) if is_file else ""


def language_named_by(file: Path) -> str:
    """Return the language that names a file or its folder as data for training are named, or an empty text.

    These are LANGUAGE/SPLIT.EXT, SPLIT/LANGUAGE.EXT, SPLIT.LANGUAGE.EXT, and the names of Universal Dependencies. Other
    names count only if a file beside this one names another language in the same way, because short words are codes
    of languages, too: `my` in `my_test.csv`. If folder and file name different languages, neither counts.
    """
    file = file.absolute()
    name, folder = split_of(file), file.parent.name
    split, _, ending = name.rpartition(".")
    named = {
        folder if names_split(file) and read_language(folder) else "",
        name if is_split(folder) and not is_split(name) and read_language(name) else "",
        ending if names_split(Path(split)) and not is_split(ending) and read_language(ending) else "",
        treebank_of(file),
        _named_beside(file),
    } - {""}
    first = min(named, default="")
    return first if all(same(first, other) for other in named) else ""


def _named_beside(file: Path) -> str:
    """Return the language of a file in a folder whose files are named by several languages, or an empty text."""
    if not any(map(read_language, re.split(r"[._-]", split_of(file)))):
        return ""
    try:
        files = {path.name: language for path, language in files_of_languages(file.parent).items()}
        for language, splits in named_by_both(file.parent).items() if not files else ():
            files |= {path.name: language for paths in splits.values() for path in paths}
    except OSError:  # the folder cannot be listed, which takes no right to read the file
        return ""
    return files.get(file.name, "") if len({*files.values()}) > 1 else ""
