"""How messages show values and lists of names."""

import json
from collections.abc import Iterable

NAMES_SHOWN = 20
"""The names of columns or languages that a message lists."""

LONGEST_SHOWN = 60
"""Characters of a value or name that a message shows."""


def quoted(value: object) -> str:
    """Return a value as a message shows it: as JSON, shortened."""
    return _shortened(json.dumps(value, ensure_ascii=False, default=str))


def listed(names: Iterable[str]) -> str:
    """Return names as a message lists them: the first ones, shortened, and how many more there are."""
    shown = [_shortened(name) for name in names]
    more = f" and {len(shown) - NAMES_SHOWN:,} more" if len(shown) > NAMES_SHOWN else ""
    return ", ".join(shown[:NAMES_SHOWN]) + more


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 3] + "..."


def size_text(count: float) -> str:
    """Return a number of bytes with a decimal unit, such as `1.2 GB`."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
