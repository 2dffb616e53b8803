"""Where the rows of one language and split come from: files on this disk, whoever put them there."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from xmodctl.catalog.task import Split

Columns = Mapping[str, str | list[str]]
"""The kind's columns -> the columns of the data."""


@dataclass(frozen=True)
class Source:
    """The files that hold one language and split, and what is known about them."""

    files: Mapping[Path, str]  # path -> what messages call it
    origin: str  # what a result row calls them all
    language: str  # as the data spells it
    split: Split
    columns: Columns
    published: bool = False  # comes from the Hub: a benchmark is scored as it was published, the user cannot mend it
    language_columns: tuple[str, ...] = ()  # the files hold several languages: the first of these tells which
    language_ends_at: str = ""  # what follows the language in that column, as in `english-42`
    sole: bool = False  # nothing but `language` is asked for: where no column tells, all rows are in it
    labels: tuple[str, ...] = ()  # how the data writes the task's labels, where it has other names for them


def language_in(cell: object, ends_at: str) -> str | None:
    """Return the language that a cell of the language column names, or None."""
    if not isinstance(cell, str):
        return None
    return (cell.partition(ends_at)[0] if ends_at else cell).strip() or None


def names_of(columns: Columns) -> list[str]:
    """Return the data's columns in the order of the kind's."""
    return [name for names in columns.values() for name in ([names] if isinstance(names, str) else names)]
