"""Reading rows: a raw row, as the data has it -> the kind's own columns, checked."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from xmodctl.core.errors import UserError
from xmodctl.core.messages import listed, quoted
from xmodctl.core.mistakes import RowError
from xmodctl.kinds.labels import Labels
from xmodctl.kinds.literals import structure_in

if TYPE_CHECKING:
    import pyarrow as pa

Columns = Mapping[str, str | list[str]]
"""The kind's columns -> the columns of the data."""

Raw = Mapping[str, Any]
"""A row as the data has it."""


FILL_IN = "fill it in or remove the row"
"""What to do with a row that lacks a value."""
SEVERAL_LABELS = "each text has one label here; for any number of labels, use --task multi-label"


class SourceView(Protocol):
    """What a kind reads of a data source: one language and split."""

    @property
    def columns(self) -> Columns:
        """The kind's columns -> the columns of this data."""

    @property
    def labels(self) -> tuple[str, ...]:
        """How this data writes the task's labels, in their order; empty where it writes them as the task does."""

    @property
    def language(self) -> str:
        """The language, as the data spells it."""

    @property
    def split(self) -> str:
        """`train`, `validation`, or `test`."""

    @property
    def published(self) -> bool:
        """Whether the data comes from the Hub: a benchmark is scored as published, and the user cannot fix it."""


class RowReader(ABC):
    """Turns the raw rows of one source into rows of a kind."""

    gold_name: ClassVar[str] = "label"
    """What messages call the gold answer."""

    @abstractmethod
    def schema(self) -> "pa.Schema":
        """Return the types of the kind's columns, without `id`."""

    def begin(self, first: Raw, again: Callable[[], Iterable[Raw]]) -> None:  # noqa: B027  (most kinds need nothing)
        """Prepare for the rows of a file: `first` and the others, all of which `again` reads once more."""

    def notes(self) -> tuple[str, ...]:
        """Return what the user should know about the rows that were read."""
        return ()

    def remedy(self) -> str:
        """Return the end of the message about rows that could not be read."""
        return ""

    @abstractmethod
    def row(self, raw: Raw) -> dict[str, Any]:
        """Return one row in the kind's columns, without `id`.

        Raises:
            NoGoldError: The row has no gold answer.
            RowError: The row cannot be used.
        """

    @abstractmethod
    def answers(self, row: Mapping[str, Any]) -> Iterable[Hashable]:
        """Return the gold answers of a row; where all rows have the same, the true ones may be hidden."""

    def is_certainly_hidden(self, answer: Hashable) -> bool:
        """Return whether rows that all have this gold answer cannot be scored; otherwise they are only remarkable."""
        return True


class LabeledTexts(RowReader):
    """Rows of texts and a `label`."""

    def __init__(self, columns: Sequence[str], labels: "Labels", source: SourceView) -> None:
        """Read the `columns` that the source has, and `label`.

        Raises:
            UserError: The source has several columns for one of them.
        """
        self.texts = {name: single_column(source, name) for name in columns if name in source.columns}
        self.label = single_column(source, "label")
        self._labels = labels
        self._allow_empty = source.published

    def schema(self) -> "pa.Schema":
        """Texts as strings, labels as ids."""
        import pyarrow as pa

        return pa.schema([(column, pa.string()) for column in self.texts] + [("label", pa.int64())])

    def row(self, raw: Raw) -> dict[str, Any]:
        """Check and rename."""
        row: dict[str, Any] = {}
        for column, name in self.texts.items():
            row[column] = read_text(raw, name, allow_empty=self._allow_empty)
        row["label"] = self.gold(raw)
        return row

    def gold(self, raw: Raw) -> Any:
        """Return the label of a row.

        Raises:
            NoGoldError: There is none.
            RowError: It is not a label.
        """
        value = only_item(cell(raw, self.label))
        if value == []:
            raise RowError(f"`{self.label}` is an empty list, so the row has no label; {FILL_IN}")
        if isinstance(value, list):
            rule = f"{SEVERAL_LABELS}, or correct the row"
            raise RowError(f"`{self.label}` is {quoted(value)}; {rule}", f"`{self.label}` is a list; {rule}")
        return self._labels.id_of(value, self.label)

    def answers(self, row: Mapping[str, Any]) -> Iterable[Hashable]:
        """Return the label's id."""
        return (row["label"],)

    def remedy(self) -> str:
        """Say how labels that the training data lacks become labels."""
        return self._labels.remedy()

    def is_certainly_hidden(self, answer: Hashable) -> bool:
        """A diagnostic set may have one class."""
        return False


def only_item(value: Any) -> Any:
    """Return the item of a list of one, which labeling tools write for one label; return other values as they are."""
    structure = structure_in(value)
    if not isinstance(structure, list):
        return value
    return structure[0] if len(structure) == 1 else structure


def single_column(source: SourceView, column: str) -> str:
    """Return the data's name of a column that must be a single one.

    Raises:
        UserError: The task names several.
    """
    name = source.columns[column]
    if isinstance(name, str):
        return name
    raise UserError(f"`columns.{column}` names several columns ({', '.join(name)}); it takes one")


NONE_IS_A_LIST = "write [] if there are none, or remove the row"
"""What to do with a row that lacks a list which may be empty."""


def cell(raw: Raw, name: str, *, remedy: str = FILL_IN) -> Any:
    """Return the value of a column that the row must have.

    Args:
        raw: The row.
        name: The column.
        remedy: What to do if it is missing.

    Raises:
        RowError: The row does not have it, or it is null.
    """
    try:
        value = raw[name]
    except KeyError:
        problem = f"the row has no `{name}`"
        raise RowError(f"{problem}, only {listed(raw) or 'nothing'}; {remedy}", f"{problem}; {remedy}") from None
    if value is None:
        raise RowError(f"`{name}` is empty (null); {remedy}")
    if isinstance(value, float) and math.isnan(value):
        raise RowError(f"`{name}` is empty (NaN); {remedy}")
    return value


def read_text(raw: Raw, name: str, *, allow_empty: bool = False) -> str:
    """Return the text of a column.

    Raises:
        RowError: It is missing, is not text, or is empty without `allow_empty`.
    """
    value = cell(raw, name)
    if not isinstance(value, str):
        raise RowError(f"`{name}` is {quoted(value)}; expected text")
    if not allow_empty and (not value or value.isspace()):
        raise RowError(f"`{name}` is empty; {FILL_IN}")
    return checked_text(value, name)


def read_texts(raw: Raw, name: str, *, allow_empty: bool = False) -> list[str]:
    """Return the list of texts of a column.

    Raises:
        RowError: It is missing, is not a list of texts, or has an empty one without `allow_empty`.
    """
    value = structure_in(cell(raw, name))
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        raise RowError(f"`{name}` is {quoted(value)}; expected a list of texts")
    if not allow_empty:
        if not value:
            raise RowError(f"`{name}` is an empty list; {FILL_IN}")
        for position, part in enumerate(value, start=1):
            if not part or part.isspace():
                raise RowError(
                    f"`{name}` item {position} is empty; fill it in or remove it",
                    f"`{name}` has an empty item; fill it in or remove it",
                )
    return [checked_text(part, name) for part in value]


LONGEST_TEXT = 2**24
"""Characters; tokenizing a longer text takes gigabytes of memory."""


def checked_text(value: str, name: str) -> str:
    """Return a text that can be written as UTF-8.

    Raises:
        RowError: It contains an unpaired surrogate, or is far too long.
    """
    if len(value) > LONGEST_TEXT:
        longest = f"the limit is {LONGEST_TEXT:,}"
        raise RowError(f"`{name}` has {len(value):,} characters; split it, {longest}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            surrogate = f"\\u{ord(value[error.start]):04x}"
            raise RowError(
                f"`{name}` contains an unpaired surrogate ({surrogate}), which is half a character"
            ) from None
    return value
