"""Columns that a file must have: what is said about one that is missing, and which other one may be meant."""

import re
from collections.abc import Collection, Sequence

from xmodctl.core.errors import LONGEST_WORD, UserError
from xmodctl.core.messages import listed, quoted, shell_setting
from xmodctl.data.files import DataFile
from xmodctl.data.sources import DataSource, names_of
from xmodctl.kinds import KINDS
from xmodctl.kinds.rows import Raw
from xmodctl.languages import same

SIMILAR = 0.6
"""Names whose similarity is lower are not suggested."""

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+")
_TELLING = 2
"""Characters; a word of a name that is this short (`A`, `2`) distinguishes it from its siblings."""


def check_columns(file: DataFile, number: int, raw: Raw, source: DataSource) -> None:
    """Refuse a file whose first row lacks a column.

    Raises:
        UserError: The message suggests a column that nothing else is read from, or says how to do without.
    """
    in_use = {name for name in names_of(source.columns) if name in raw}
    for column, names in source.columns.items():
        missing = [name for name in ([names] if isinstance(names, str) else names) if name not in raw]
        if not missing or column == "id":  # rows without ids are numbered
            continue
        taken = in_use | _other_roles(column)
        free = [name for name in raw if name not in taken]
        guess = nearest(missing[0], free, source.language) or nearest(column, free, source.language)
        key = f"{source.column_keys.get(column, 'columns')}.{column}"
        remedy = shell_setting(key, guess or "NAME") if isinstance(names, str) else f"--set {key}='[A, B]'"
        raise UserError(
            f"{file.at(number)}: no column `{missing[0]}` for the {column} (found {listed(raw) or 'none'}); "
            f"give the column with {remedy}{_without(column, source)}"
        )


def _without(column: str, source: DataSource) -> str:
    """Return how to do without an optional column."""
    if not any(column in kind.optional and set(source.columns) >= set(kind.required) for kind in KINDS.values()):
        return ""
    reason = "each row has one text" if column == "text_pair" else "the data has no such column"
    return f", or, if {reason}, do without it: {shell_setting(f'columns.{column}', None)}"


def _other_roles(column: str) -> set[str]:
    """Return what kinds of task call their other columns: data that has one of these names means that."""
    return {name for kind in KINDS.values() for name in (*kind.required, *kind.optional)} - {column}


def nearest(wanted: str, names: Sequence[str], language: str = "") -> str | None:
    """Return the name that is most likely meant, or None if none is similar.

    A name that has all words of the wanted one comes first (`sentence_A_Ja` for `sentence_A`), of several such the one
    with the language, and then the one with the fewest further words. Other names are compared by edits; one that has
    another short word (`sentence_B`) is a sibling, and never meant.
    """
    words = _words_of(wanted)
    with_all = [name for name in names if words <= _words_of(name)]
    if words and with_all:
        return min(with_all, key=lambda name: (not _names_language(_words_of(name) - words, language), len(name)))
    scored = [
        (similarity(wanted.casefold(), name.casefold()), name)
        for name in names
        if max(len(wanted), len(name)) <= LONGEST_WORD
        and _may_be_similar(wanted.casefold(), name.casefold())
        and not _is_sibling(words, _words_of(name))
    ]
    best = max(scored, key=lambda pair: pair[0], default=(0.0, ""))
    return best[1] if best[0] >= SIMILAR else None


def similarity(first: str, second: str) -> float:
    """Return 1 minus the edits (insert, delete, replace, swap neighbors) per character of the longer text."""
    before, row = list[int](), list(range(len(second) + 1))
    for i, letter in enumerate(first, start=1):
        before_that, before, row = before, row, [i]
        for j, other in enumerate(second, start=1):
            edits = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == second[j - 2] and first[i - 2] == other:
                edits = min(edits, before_that[j - 2] + 1)
            row.append(edits)
    return 1 - row[-1] / max(len(first), len(second), 1)


def _may_be_similar(first: str, second: str) -> bool:
    """Return whether enough letters of the second are in the first: the rest are edits. A wide table has many names."""
    return sum(map(first.__contains__, second)) >= SIMILAR * max(len(first), len(second))


def _is_sibling(words: Collection[str], others: Collection[str]) -> bool:
    short = {word for word in words if len(word) <= _TELLING or word.isdigit()}
    other_short = {word for word in others if len(word) <= _TELLING or word.isdigit()}
    return bool(short - other_short and other_short - short)


def _names_language(words: Collection[str], language: str) -> bool:
    return bool(language) and any(same(word, language) for word in words)


def _words_of(name: str) -> set[str]:
    return {word.casefold() for word in _WORDS.findall(name)}


def checked_header(file: DataFile, names: Sequence[str]) -> list[str | None]:
    """Return the names of a table's columns, None for those that have the same name and are not needed.

    Raises:
        UserError: Several columns have the name of one that is needed.
    """
    repeated = repeated_columns(names)
    for name in file.needed_columns:
        if name in repeated:
            places = " and ".join(map(str, repeated[name]))
            raise UserError(
                f"{file.name}: columns {places} are all called {quoted(name)}; rename or remove all but the right one"
            )
    return [None if name in repeated else name for name in names]


def repeated_columns(header: Sequence[str]) -> dict[str, list[int]]:
    """Return the names that occur more than once, each with its positions from 1."""
    places: dict[str, list[int]] = {}
    for position, name in enumerate(header, start=1):
        places.setdefault(name, []).append(position)
    return {name: positions for name, positions in places.items() if len(positions) > 1}
