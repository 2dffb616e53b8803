"""Reading sets of labels: lists, delimited text, or one column of 0 and 1 per label -> 0 or 1 for each label."""

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from xmodctl.core.errors import UserError
from xmodctl.core.messages import quoted
from xmodctl.core.mistakes import NoGoldError, RowError
from xmodctl.kinds.labels import Labels, written_form
from xmodctl.kinds.literals import structure_in
from xmodctl.kinds.rows import NONE_IS_A_LIST, Raw, RowReader, SourceView, cell, read_text, single_column

if TYPE_CHECKING:
    import pyarrow as pa

SEPARATORS = "|;,"
"""What may separate labels in a text; the first of these that the text contains does."""
_QUOTED = re.compile(r"(['\"])(.*)\1")
_DOCCANO = re.compile(r"(?<=[^\s#])#(?=[^\s#])")
"""What separates them in doccano's CSV, if the text contains none of the others."""

BITS = {"0": 0, "0.0": 0, "false": 0, "no": 0, "1": 1, "1.0": 1, "true": 1, "yes": 1}
"""What says, in any letter case, whether a row has the label of a column."""


class LabelSets(RowReader):
    """Rows of texts and a `label`, which is 0 or 1 for each label of the task.

    A set is a list, or text that `SEPARATORS` separate; an empty one is a text without labels. If the task names
    several columns for `label`, each is the column of the label in its place, with 0 or 1.
    """

    gold_name = "set of labels"

    def __init__(self, columns: Sequence[str], labels: Labels, source: SourceView) -> None:
        """Read the `columns` that the source has, and `label`.

        Raises:
            UserError: The source has several columns for a text, or not one for each label.
        """
        self._texts = {name: single_column(source, name) for name in columns if name in source.columns}
        self._labels = labels
        self._allow_empty = source.published
        self._column = source.columns["label"]
        if not isinstance(self._column, str) and len(self._column) != len(labels.names):
            raise UserError(
                f"`columns.label` names {len(self._column)} columns ({', '.join(self._column)}), and the task has "
                f"{len(labels.names)} labels ({', '.join(labels.names)}); give one column of 0 and 1 per label, in the "
                "order of the labels, or one column that lists the labels of each row"
            )

    def schema(self) -> "pa.Schema":
        """Texts as strings, labels as lists of 0 and 1."""
        import pyarrow as pa

        return pa.schema([(column, pa.string()) for column in self._texts] + [("label", pa.list_(pa.int8()))])

    def row(self, raw: Raw) -> dict[str, Any]:
        """Check and rename."""
        row: dict[str, Any] = {}
        for column, name in self._texts.items():
            row[column] = read_text(raw, name, allow_empty=self._allow_empty)
        if isinstance(self._column, str):
            row["label"] = self._members(cell(raw, self._column, remedy=NONE_IS_A_LIST), self._column)
        else:
            row["label"] = [_bit(cell(raw, name), name) for name in self._column]
        return row

    def answers(self, row: Mapping[str, Any]) -> Iterable[Hashable]:
        """Return the set."""
        return (tuple(row["label"]),)

    def remedy(self) -> str:
        """Say how labels that the training data lacks become labels."""
        return self._labels.remedy()

    def is_certainly_hidden(self, answer: Hashable) -> bool:
        """Without any label, there is nothing to find."""
        return isinstance(answer, tuple) and not any(answer)

    def _members(self, value: Any, column: str) -> list[int]:
        items = self._items(value, column)
        if bits := self._bits(items, column):
            return bits
        members = [0] * len(self._labels.names)
        for item in items:
            if isinstance(item, list | dict) or item is None:
                raise RowError(f"`{column}` contains {quoted(item)}; expected a list of labels")
            members[self._labels.id_of(item, column)] = 1
        return members

    def _items(self, value: Any, column: str) -> list[Any]:
        """Return the labels of a cell as they are written."""
        if isinstance(value, list):
            return value
        if not isinstance(value, str) or self._labels.has(value):
            return [value]
        return separated(value, column)

    def _bits(self, items: Sequence[Any], column: str) -> list[int]:
        """Return a list of 0 and 1 for each label, or an empty list where the items are labels themselves."""
        count = len(self._labels.names)
        bits = [BITS.get(written_form(item) or "", -1) for item in items]
        if len(bits) != count or -1 in bits or any(map(self._labels.has, map(str, items))):
            return []
        if count == 2:
            raise RowError(
                f"`{column}` is {quoted(list(items))}, which may be 0 or 1 for each label, or ids of labels; write the "
                "names of the labels",
                f"`{column}` has two numbers that may be 0 or 1 for each label, or ids of labels; write the names",
            )
        return bits


def separated(value: str, column: str) -> list[Any]:
    """Return the labels in a text: a list in brackets, or labels that the first of `SEPARATORS` in the text separates.

    Braces may be around them, and quotes around each, as in the sets of Python (`{'a', 'b'}`) and arrays of PostgreSQL.

    Raises:
        RowError: It begins like a list, and is none.
    """
    text = value.strip()
    if text.startswith("["):
        return _json_list(text, column)
    if text == "set()":
        return []
    if text[:1] + text[-1:] == "{}" and structure_in(text) in (text, {}):
        return [_QUOTED.sub(r"\2", part) for part in separated(text[1:-1], column)]
    separator = next((mark for mark in SEPARATORS if mark in text), None)
    parts = text.split(separator) if separator else _DOCCANO.split(text)
    return [part.strip() for part in parts if part.strip()]


def _json_list(text: str, column: str) -> list[Any]:
    items = structure_in(text)
    if not isinstance(items, list):
        raise RowError(
            f'`{column}` is {quoted(text)}, which is not a list; write a|b, or ["a", "b"] with double quotes',
            f'`{column}` has text in brackets that is not a list; write a|b, or ["a", "b"] with double quotes',
        )
    return items


def _bit(value: Any, column: str) -> int:
    written = written_form(value)
    if written in ("-1", "-1.0"):
        raise NoGoldError(f"`{column}` is {quoted(value)}, which means that there is no gold label")
    if written is None or written.casefold() not in BITS:
        expected = "expected 0 or 1, for whether the row has this label"
        raise RowError(f"`{column}` is {quoted(value)}; {expected}", f"`{column}` is neither 0 nor 1; {expected}")
    return BITS[written.casefold()]
