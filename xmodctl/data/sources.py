"""Where the rows of one language and split come from: files on this disk, local or downloaded."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from xmodctl.catalog.locations import Split, TaggedText
from xmodctl.catalog.task import Task
from xmodctl.data.usual_names import LANGUAGE_COLUMNS
from xmodctl.kinds.rows import Columns
from xmodctl.languages import same
from xmodctl.languages.tags import meaning

SPLIT_NAMES: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("validation", "dev", "valid", "val", "development"),
    "test": ("test", "testing"),
}
"""The names that the file of a split can have."""


@dataclass(frozen=True)
class DataSource:
    """The files that hold one language and split, and how to read them."""

    files: Mapping[Path, str]  # path -> its name in messages
    origin: str  # the name of all of them together in result rows
    language: str  # as the data spells it
    split: Split
    columns: Columns
    published: bool = False  # from the Hub: a benchmark is scored as published, and the user cannot fix it
    language_columns: tuple[
        str, ...
    ] = ()  # the files hold several languages: the first of these that exists says which
    language_codes: Collection[str] = ()  # what that column has in the language's rows; empty: any code that agrees
    language_ends_at: str = ""  # what follows the language in that column, as in `english-42`
    single_language: bool = False  # only `language` is wanted: if no column gives the language, all rows are in it
    numbered: Mapping[str, int] = field(default_factory=dict)  # columns of files whose first one counts words
    plain_tags: bool = False  # any text may be the tag of a word
    row_splits: Mapping[int, Split] | None = (
        None  # of each row of a single file, by its number; None: all are of `split`
    )
    tagged_text: TaggedText | None = None  # the text that words and tags are made from
    column_keys: Mapping[str, str] = field(default_factory=dict)  # column -> the task's key that names it, if another
    labels: tuple[str, ...] = ()  # how the data writes the task's labels, if it has other names for them


def language_columns_of(task: Task) -> tuple[str, ...]:
    """Return the columns that may give a row's language: the task's, else those with a usual name.

    None does in data whose rows all go through one adapter, nor does a column that something else is read from: an
    adapter that is chosen by a gold label gives the label away.
    """
    if task.is_mixed:
        return ()
    if task.language_column:
        return (task.language_column,)
    used = names_of(task.columns)
    return tuple(name for name in LANGUAGE_COLUMNS if name not in used)


def language_in(cell: object, ends_at: str) -> str | None:
    """Return the language that a cell of the language column names, or None."""
    if not isinstance(cell, str):
        return None
    return (cell.partition(ends_at)[0] if ends_at else cell).strip() or None


def joined_spellings(codes: Mapping[str, int]) -> dict[str, str]:
    """Return for each code of a language column the most frequent one that means the same: `en` for `EN` and `eng`.

    Args:
        codes: The codes, and the number of their rows.
    """
    first: dict[object, str] = {}
    for code in sorted(codes, key=lambda each: -codes[each]):
        first.setdefault(meaning(code), code)
    return {code: first[meaning(code)] for code in codes}


def codes_of_language(codes: Iterable[str], language: str, split: Split) -> list[str]:
    """Return the codes in data that a language means: its own if there is one (`de`), else all that agree (`de-AT`).

    So no row is scored in two languages of the data. All that agree are trained on.
    """
    agreeing = [code for code in codes if same(code, language)]
    own = [code for code in agreeing if meaning(code) == meaning(language)]
    return agreeing if split == "train" else own or agreeing


def names_of(columns: Columns) -> list[str]:
    """Return the data's columns in the order of the kind's."""
    return [name for names in columns.values() for name in ([names] if isinstance(names, str) else names)]
