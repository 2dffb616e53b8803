"""The languages of a file to label: those without an adapter are found before the first row is labeled."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from xmodctl.core.errors import UserError
from xmodctl.core.messages import NAMES_SHOWN, quoted
from xmodctl.core.mistakes import RowError
from xmodctl.data.survey import Uses


def refuse_languages(
    name: str,
    objects: Iterable[tuple[str, Mapping[str, Any]]],
    spelling_of: Callable[[Mapping[str, Any]], str | None],
    adapter_of: Callable[[str], str],
) -> None:
    """Refuse a file with rows in languages that have no adapter, or that do not say theirs.

    Args:
        name: The file.
        objects: Its rows with their places.
        spelling_of: Returns the language of a row: empty if its cell is, None if nothing gives it.
        adapter_of: Returns the adapter of a language, or raises a `UserError`.

    Raises:
        UserError: It names these languages and their first rows.
    """
    lacking: dict[str, Uses] = {}
    reasons: dict[str, str] = {}
    known: set[str | None] = {None}
    with suppress(RowError):  # which is reported with its row, after the rows before it
        for place, raw in objects:
            spelling = spelling_of(raw)
            if spelling in known or spelling is None:
                continue
            if spelling not in lacking:
                problem = _problem(spelling, adapter_of)
                if not problem:
                    known.add(spelling)
                    continue
                lacking[spelling], reasons[spelling] = Uses(), problem
            lacking[spelling].add(place)
    if lacking:
        counts = "; ".join(f"{quoted(spelling)} ({lacking[spelling]})" for spelling in [*lacking][:NAMES_SHOWN])
        reason = next(filter(None, reasons.values()))
        raise UserError(
            f"{name} has rows in languages without an adapter: {counts}; correct or remove these rows, or give one "
            f"adapter for all rows with --lang LANG: {reason}"
        )


def _problem(spelling: str, adapter_of: Callable[[str], str]) -> str:
    """Return why a language cannot be used, or an empty string if it can."""
    if not spelling:
        return "a row does not give its language"
    try:
        adapter_of(spelling)
    except UserError as error:
        return str(error)
    return ""
