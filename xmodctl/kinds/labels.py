"""Labels as data writes them: by name or by id, the same in every format."""

import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from xmodctl.core.errors import did_you_mean
from xmodctl.core.messages import quoted, shell_setting_of_mapping
from xmodctl.core.mistakes import NoGoldError, RowError

LABELS_SHOWN = 20
"""The labels that a message lists."""

MOST_REPEATED = 60
"""Labels that a remedy lists."""

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


class Labels:
    """A task's label names, the ids that data may write for them, and other names with the id they stand for.

    A value is read by the first of these rules that applies, whether it is text, a number or a boolean in its format:

    1. Written like a label or like one of the other names, in any letter case, it is that label.
    2. A number that equals another name (`1.0` and `1`) is that label; so is one that equals a label, where labels
       are whole numbers.
    3. -1 and `-` stand for no label.
    4. A whole number is the id of a label, from 0, unless labels are whole numbers; where there are two labels, false
       and true are 0 and 1. Where the labels have numbers in their names and that of another one is meant just as
       well, the value is refused.
    """

    def __init__(
        self,
        names: Sequence[str],
        others: Mapping[str, int] | None = None,
        *,
        by_position: bool = False,
        without_ids: bool = False,
    ):
        """Take the names in the order of their ids.

        Args:
            names: The names.
            others: Other names -> the id they stand for.
            by_position: The labels name positions, so that the numbers within names (`choice1`) say nothing.
            without_ids: The order of the names says nothing, so that a number is a label only if it is written in one.
        """
        self.names = names
        self._without_ids = without_ids
        self._by_position = by_position
        self._absent: dict[str, None] = {}  # labels of rows that the training data does not have
        self._unknown: dict[str, None] = {}  # labels of rows that the task does not have
        self._occurring: set[int] = set()
        others = others or {}
        self._ids = {name.casefold(): index for index, name in enumerate(names)} | {
            name: index for index, name in enumerate(names)
        }
        self._ids |= {name.casefold(): index for name, index in others.items()}
        self._other_numbers = {number: index for name, index in others.items() if (number := _number(name)) is not None}
        # Names that are digits themselves (Social IQa's 1, 2, 3) are never also read as ids.
        self._are_digits = any(name.isdigit() for name in names)
        read = _number if by_position else _number_within
        numbers = [read(name) for name in names]
        distinct = len(set(numbers)) == len(numbers) and None not in numbers
        self._numbers = {number: index for index, number in enumerate(numbers) if number is not None and distinct}

    def has(self, text: str) -> bool:
        """Return whether a text is written like a label, or like one of the other names."""
        return text.strip().casefold() in self._ids

    def id_of(self, value: Any, column: str) -> int:
        """Return the id of a label.

        Raises:
            NoGoldError: The value stands for no label (-1, "-").
            RowError: The value is not a label, or may be one or another.
        """
        label = self._read(value, column)
        self._occurring.add(label)
        return label

    def _read(self, value: Any, column: str) -> int:
        written = written_form(value)
        if written is not None and (label := self._ids.get(written, self._ids.get(written.casefold()))) is not None:
            return label
        number = self._number_of(written)
        if number in self._other_numbers:
            return self._other_numbers[number]
        if written == "-" or number == -1:
            raise NoGoldError(f"`{column}` is {quoted(value)}, which means that there is no gold label")
        if number is not None:
            by_number = self._by_number(number, value, column)
            if by_number is not None:
                return by_number
        raise RowError(self._refusal(value, written, column))

    def _number_of(self, written: str | None) -> Decimal | None:
        if written is None:
            return None
        if len(self.names) == 2 and written.casefold() in ("false", "true"):
            return Decimal(written.casefold() == "true")
        return _number(written)

    def _by_number(self, number: Decimal, value: Any, column: str) -> int | None:
        named = self._numbers.get(number)
        if number != number.to_integral_value():
            if named is None:
                raise RowError(
                    f"`{column}` is {quoted(value)}; labels are classes (for numbers: `kind: text-regression`)"
                )
            return named
        if not self.names:
            return int(number) if number >= 0 else None
        if self._are_digits or self._without_ids or not 0 <= number < len(self.names):
            return named if not self._without_ids or self._are_digits else None
        if named is not None and named != number:
            raise self._ambiguous(value, column, named, int(number))
        return int(number)

    def _ambiguous(self, value: Any, column: str, named: int, position: int) -> RowError:
        by_name = {str(number): self.names[index] for number, index in self._numbers.items()}
        by_id = {str(index): name for index, name in enumerate(self.names)}
        first, second = (shell_setting_of_mapping("labels_mapped", names) for names in (by_name, by_id))
        remedy = f"say which with `{first}` or `{second}`"
        names = f"the label {quoted(self.names[named])}, or {quoted(self.names[position])}, whose id is {position}"
        return RowError(
            f"`{column}` is {quoted(value)}, which may mean {names}; {remedy}",
            f"`{column}` is a number that may mean the label with this number or that with this id; {remedy}",
        )

    def remedy(self) -> str:
        """Say how labels that the training data or the task lacks become labels; empty if there were none."""
        if self._absent:
            return absent_labels_remedy([*self.names, *self._absent])
        labels = [name for index, name in enumerate(self.names) if index in self._occurring] + [*self._unknown]
        if not self._unknown or self._by_position or not 2 <= len(labels) < LABELS_SHOWN:
            return ""
        return f"; correct these rows, or name the labels of your data with --set {_labels_setting(labels)}"

    def _refusal(self, value: Any, written: str | None, column: str) -> str:
        if written == "":
            return f"`{column}` is empty; fill it in or remove the row"
        if not self.names:
            return (
                f"`{column}` is {quoted(value)}; expected the right choice: its number, from 0, its letter, or its "
                "text; correct or remove the row"
            )
        guess = did_you_mean(written or "", list(self.names))
        if self._without_ids and written:
            self._absent[written] = None
            return f"`{column}` is {quoted(written)}, which no row of the training data has{guess}"
        if written:
            self._unknown[written] = None
        more = f" and {len(self.names) - LABELS_SHOWN:,} more" if len(self.names) > LABELS_SHOWN else ""
        return f"`{column}` is {quoted(value)}; the labels are {', '.join(self.names[:LABELS_SHOWN])}{more}{guess}"


def sorted_labels(names: Iterable[str]) -> tuple[str, ...]:
    """Return labels in order, numbers by their value; of names that are equal but for their case, the first."""
    distinct = dict[str, str]()
    for name in names:
        distinct.setdefault(name.casefold(), name)
    numbers = {name: _number(name) for name in distinct.values()}
    if all(number is not None and number == number.to_integral_value() for number in numbers.values()):
        whole = {int(number) for number in numbers.values() if number is not None}
        return tuple(str(number) for number in sorted(whole))
    return tuple(sorted(distinct.values()))


def absent_labels_remedy(labels: Sequence[str]) -> str:
    """Return the end of a message about labels that the training data does not have; `labels` are all of them."""
    if len(labels) > MOST_REPEATED:
        return "; correct or remove these rows, or add rows with these labels to the training data"
    return f"; correct these rows, or train with --set {_labels_setting(labels)}, which counts them as wrong"


def _labels_setting(labels: Sequence[str]) -> str:
    """Return the setting that names all labels, as a shell takes it."""
    return shlex.quote(f"labels={json.dumps(list(labels), ensure_ascii=False)}")


def written_form(value: Any) -> str | None:
    """Return a text, a number or a boolean as text files write it, and None for anything else."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).strip() if isinstance(value, str | int | float | Decimal) else None


def _number(text: str) -> Decimal | None:
    if not _NUMBER.fullmatch(text):
        return None
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def _number_within(name: str) -> Decimal | None:
    """Return the number in a name that has one, such as 1 in `1 star`."""
    numbers = list(_NUMBER.finditer(name))
    return _number(numbers[0].group()) if len(numbers) == 1 else None
