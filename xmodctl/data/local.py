"""Local data: DIR/<language>/<split>.<ext> and other layouts, with any spelling of the language."""

import json
import os
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from xmodctl.catalog.locations import Split
from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError, did_you_mean
from xmodctl.core.messages import counted
from xmodctl.core.mistakes import Mistakes
from xmodctl.core.reading import file_and_sheet
from xmodctl.data import single_file
from xmodctl.data.files import COMPRESSIONS
from xmodctl.data.layouts import (
    Splits,
    are_parts,
    files_by_language,
    missing_part,
    says_about_data,
    shared_files,
    splits_in,
)
from xmodctl.data.misnamed import misnamed
from xmodctl.data.readers import FORMATS, SAVED, format_of, read
from xmodctl.data.single_file import is_single
from xmodctl.data.sources import (
    SPLIT_NAMES,
    DataSource,
    codes_of_language,
    joined_spellings,
    language_columns_of,
    language_in,
)
from xmodctl.kinds import KINDS
from xmodctl.languages import is_corpus, name, same
from xmodctl.languages.tags import meaning


def find(task: Task, folder: Path, language: str, split: Split, *, single_language: bool = False) -> DataSource:
    """Return the file of one language and split under `folder`: DIR/<language>/<split>.<ext>.

    Without language folders, DIR/<split>.<ext> may hold all languages, with a column that gives the language, or only
    this language if no other one is wanted (`single_language`). A single file may also hold all splits.

    Raises:
        UserError: There is no such folder, language or split, or there are two; the message lists what exists.
    """
    if is_single(folder):
        return single_file.find(task, folder, language, split, single_language=single_language)
    files = files_by_language(folder)
    matching = _of_language(task, files, language, split)
    shared = shared_files(folder) if not files else splits_in(folder)
    if shared if not files else split in shared and not any(split in files[code] for code in matching):
        columns = language_columns_of(task)
        source = _source(task, folder, language, shared, split)
        ends_at = task.language_ends_at
        codes = sum((_codes_in(task, path) for paths in shared.values() for path in paths), Counter())
        return replace(
            source,
            language_columns=columns,
            language_codes=codes_of_language(codes, language, split),
            language_ends_at=ends_at,
            single_language=not task.is_mixed
            and (single_language or (len(task.languages) == 1 and same(next(iter(task.languages)), language))),
        )
    if not matching:
        available = [*files]
        raise UserError(
            f"{folder} has no language {_named(language)}; it has {', '.join(available) or 'no folder with data'}"
            f"{did_you_mean(language, available)}; expected {folder / language / split}.jsonl or another format"
            f"{what_there_is(task, folder, language, split)}"
        )
    if len(matching) > 1 and all(map(is_corpus, matching)):
        corpora = " or ".join(matching)
        raise UserError(f"{folder} has several corpora in {_named(language)}; give {corpora} as the language")
    if len(matching) > 1:
        both = " and ".join(matching)
        raise UserError(f"{folder} has two folders for {_named(language)}, {both}; rename or remove one of them")
    (code,) = matching
    return _source(task, folder / code if (folder / code).is_dir() else folder, code, files[code], split)


def what_there_is(task: Task, folder: Path, language: str, split: Split) -> str:
    """Return what to do with files that a folder has in place of a split that is missing, or an empty string.

    They are looked for in the language's folder, else in the folder itself, else in its folders without data.
    """
    if is_single(folder):
        return ""
    inside = [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    codes = codes_of(task, [path.name for path in inside], language)
    of_language = [path for path in inside if path.name in codes]
    home = of_language[0] if of_language else folder / language
    shared = home if files_by_language(folder) else folder
    places = (of_language, [folder], [path for path in inside if not splits_in(path)])
    answers = (misnamed(folders, home, shared, split, SPLIT_NAMES, language, folder) for folders in places)
    return next(filter(None, answers), "")


def codes_of(task: Task, codes: Collection[str], language: str) -> list[str]:
    """Return the codes that a language's data may have: by their spelling, else by the task's languages.

    Of several corpora of one language, it is the one trained on.
    """
    if is_corpus(language):
        return [code for code in codes if code == language]
    matching = [code for code in codes if task.is_in_language(code, language)]
    if is_corpus(task.source_language) and task.source_language in matching:
        return [task.source_language]
    plain = [code for code in codes if not is_corpus(code)]
    own = [code for code in plain if meaning(code) == meaning(language)]
    return own or [code for code in plain if same(code, language)] or matching


def _of_language(task: Task, files: Mapping[str, Splits], language: str, split: Split) -> list[str]:
    """Return the codes that match a language; of several corpora, those that have the split."""
    codes = codes_of(task, files, language)
    matching = [code for code in files if code in codes]
    if all(map(is_corpus, codes)):
        return [code for code in matching if split in files[code]] or matching
    return matching


def _source(task: Task, folder: Path, language: str, splits: Splits, split: Split) -> DataSource:
    """Return the one file of a split of a language; `folder` has its files."""
    files = splits.get(split, [])
    if not files:
        formats = ", ".join(extension for extension in FORMATS if extension != SAVED)
        raise UserError(
            f"{folder} has no split `{split}`; it has {', '.join(splits) or 'no split'} "
            f"(the extension of a data file is {formats}, optionally followed by {', '.join(COMPRESSIONS)})"
            f"{misnamed([folder], folder, folder, split, SPLIT_NAMES, language)}"
        )
    if len(files) > 1 and not are_parts(files):
        both = " and ".join(file.name for file in files)
        raise UserError(f"{folder} has two files for the split `{split}`, {both}; rename or remove one of them")
    if missing := missing_part(files):
        raise UserError(f"{folder} lacks a part of the split `{split}`: {missing}; copy it there")
    return DataSource(
        files={path: str(path) for path in files},
        origin=str(files[0]) if len(files) == 1 else f"{files[0]} and {counted(len(files) - 1, 'further part')}",
        language=language,
        split=split,
        columns=dict(task.columns),
        numbered=task.numbered_columns,
        plain_tags=KINDS[task.kind].plain_tags,
        tagged_text=task.tagged_text,
    )


def coverage(task: Task, folder: Path) -> dict[str, tuple[Split, ...]]:
    """Return the languages under `folder` with their splits; files with several languages are read to find out."""
    if is_single(folder):
        return single_file.coverage(task, folder)
    covered = {language: tuple(splits) for language, splits in files_by_language(folder).items()}
    shared = shared_files(folder) if not covered else splits_in(folder)
    counts = {split: sum((_codes_in(task, path) for path in paths), Counter()) for split, paths in shared.items()}
    spelling = joined_spellings(sum(counts.values(), Counter()))
    for split in shared:
        for language in sorted({spelling[code] for code in counts[split]}):
            covered[language] = (*covered.get(language, ()), split)
    if shared and not covered and len(task.languages) == 1:
        covered = dict.fromkeys(task.languages, tuple(shared))
    own = next((language for language in covered if same(language, task.source_language)), "")
    unnamed = [split for split in shared if not counts[split] and own and split not in covered[own]]
    return {**covered, own: (*unnamed, *covered[own])} if unnamed else covered


MOST_FILES = 100
"""Files whose codes are kept."""
_CODES: dict[str, Counter[str]] = {}
"""The codes of languages in the files that were read last, by what the files are and how they are read."""


def _codes_in(task: Task, path: Path) -> Counter[str]:
    """Return the codes in a file's language column, and how many rows have each.

    Raises:
        UserError: The file cannot be read.
    """
    columns = language_columns_of(task)
    plain_tags = KINDS[task.kind].plain_tags
    status = file_and_sheet(path)[0].stat()
    reading = (task.columns, columns, task.language_ends_at, dict(task.numbered_columns), plain_tags)
    key = json.dumps([os.path.realpath(path), status.st_size, status.st_mtime_ns, reading])
    if key not in _CODES:
        rows = read(
            path, str(path), task.columns, Mistakes(str(path)), all_columns=True, numbered=task.numbered_columns,
            plain_tags=plain_tags,
        )[1]  # fmt: skip
        cells = (language_in(raw.get(column), task.language_ends_at) for _, raw in rows for column in columns)
        codes = Counter(language for language in cells if language)
        if len(_CODES) >= MOST_FILES:
            _CODES.clear()
        _CODES[key] = codes
    return _CODES[key]


def data_files(folder: Path) -> list[tuple[Path, str, Split]]:
    """Return the files under `folder`, each with the language that names it, or an empty text, and its split."""
    by_language = files_by_language(folder)
    parts = {**by_language, "": splits_in(folder) if by_language else shared_files(folder)}
    return [
        (path, language, split)
        for language, splits in parts.items()
        for split, paths in splits.items()
        for path in (paths if are_parts(paths) else paths[:1])
    ]


def unread_files(folder: Path) -> list[Path]:
    """Return the files in a format of data, in the folder or in one within it, whose names do not give their split."""
    inside = [path for path in folder.iterdir() if path.is_dir() and not format_of(path)]
    files = [path for place in (folder, *inside) for path in place.iterdir() if not says_about_data(path)]
    used = {path for path, _, _ in data_files(folder)}
    return sorted(path for path in files if format_of(path) and path not in used)


def _named(language: str) -> str:
    """Return a language as the user spelled it, with its name if that says more."""
    known = name(language)
    return f"`{language}`" if known.casefold() == language.casefold() else f"`{language}` ({known})"
