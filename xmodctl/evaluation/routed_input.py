"""Rows of input in parts, each row through the adapter of its language."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from xmodctl.core.errors import UserError
from xmodctl.core.events import Listener, Notice
from xmodctl.kinds.inputs import InputRow
from xmodctl.languages import resolve

if TYPE_CHECKING:
    from xmodctl.model import Xmod

Item = TypeVar("Item")

RESIDENT = 16
"""Adapters that are in memory together; each has as many parameters as a small layer."""

MOST_CHARACTERS = 2**20
"""A part of the input ends at the latest when it has this many characters, so that memory stays bounded."""


@dataclass(frozen=True)
class AdapterNames:
    """Finds the adapter of a language as the input spells it, once for each spelling."""

    languages: Sequence[str]  # the model's, and those of packages
    model: str
    open_languages: bool
    listen: Listener
    _known: dict[str, str] = field(default_factory=dict)

    def __call__(self, language: str) -> str:
        """Return the adapter of a language.

        Raises:
            UserError: The model has none.
        """
        if language not in self._known:
            match = resolve(language, self.languages, model=self.model, open_languages=self.open_languages)
            if match.note:
                self.listen(Notice(match.note, caution=True))
            self._known[language] = match.adapter
        return self._known[language]


def with_first(first: InputRow | None, rows: Generator[InputRow, None, None]) -> Generator[InputRow, None, None]:
    """Yield a row that was read ahead, and then the others; to close this closes their file."""
    with closing(rows):
        if first is not None:
            yield first
        yield from rows


def in_parts(rows: Iterable[InputRow], most_rows: int) -> Iterator[Sequence[InputRow]]:
    """Yield rows in parts of bounded size. If reading fails, the rows before the failure are yielded first."""
    return grouped(rows, most_rows, lambda row: _characters(row.row))


def grouped(
    items: Iterable[Item], most: int, characters: Callable[[Item], int] = lambda _: 0
) -> Iterator[Sequence[Item]]:
    """Yield items in groups of bounded size. If reading fails, the items before the failure are yielded first.

    Args:
        items: What is read.
        most: The most items of a group.
        characters: Returns the size of an item; a group ends when it has `MOST_CHARACTERS`.
    """
    group: list[Item] = []
    size = 0
    try:
        for item in items:
            group.append(item)
            size += characters(item)
            if len(group) == most or size >= MOST_CHARACTERS:
                yield group
                group, size = [], 0
    except UserError:
        if group:
            yield group
        raise
    if group:
        yield group


def by_adapter(part: Sequence[InputRow]) -> Iterator[tuple[str, list[int]]]:
    """Yield each adapter of a part with the numbers of its rows."""
    for adapter in dict.fromkeys(row.adapter for row in part):
        yield adapter, [number for number, row in enumerate(part) if row.adapter == adapter]


def activate(model: "Xmod", adapter: str) -> None:
    """Activate an adapter, and keep those that were used before in memory, up to a number of them."""
    if adapter not in model.languages:
        model.swap([*model.languages, adapter][-RESIDENT:])
    model.activate(adapter)


def with_input(result: dict[str, Any], written: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result of a row with columns of the row, which never replace those of the result."""
    if not written:
        return result
    columns = {
        key if key not in result else f"input.{key}": value
        for key, value in written.items()
        if key not in result or result[key] != value
    }
    return {"id": result["id"], **columns, **result}


def _characters(row: Mapping[str, Any]) -> int:
    return sum(len(value) if isinstance(value, str) else sum(map(len, value)) for value in row.values())
