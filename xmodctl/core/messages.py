"""How messages show values and lists of names."""

import json
import re
import shlex
from collections.abc import Iterable

NAMES_SHOWN = 20
"""The names of columns or languages that a message lists."""

LONGEST_SHOWN = 60
"""Characters of a value or name that a message shows."""


class FileNote(str):
    """A note about a whole file, such as what separates its columns: the same for every language in it."""

    __slots__ = ()


class ReadingNote(FileNote):
    """A note on how a file is read, which asks for nothing."""

    __slots__ = ()


def quoted(value: object) -> str:
    """Return a value as a message shows it: as JSON, shortened."""
    return shortened(json.dumps(value, ensure_ascii=False, default=str))


def listed(names: Iterable[str]) -> str:
    """Return names as a message lists them: the first ones, shortened, and how many more there are."""
    shown = [shortened(name) for name in names]
    more = f" and {len(shown) - NAMES_SHOWN:,} more" if len(shown) > NAMES_SHOWN else ""
    return ", ".join(shown[:NAMES_SHOWN]) + more


def shortened(text: str) -> str:
    """Return a text as a message shows it: without its end if it is long."""
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 3] + "..."


def counted(count: int, noun: str) -> str:
    """Return a count with its noun, such as `1 row` and `1,200 rows`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def size_text(count: float) -> str:
    """Return a number of bytes with a decimal unit, such as `1.2 GB`."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def shell_setting(key: str, value: str | None) -> str:
    """Return the option that sets a key to a text, as a shell passes it on: `--set columns.text=premise`.

    Text that YAML would read as something else is in quotes; None is written `none`, which removes an optional column.
    """
    if value is None:
        return f"--set {key}=none"
    plain = re.fullmatch(r"\w[\w./ +@%-]*", value) and value == value.strip() and value.casefold() not in _YAML_NULLS
    return "--set " + shlex.quote(f"{key}={value if plain else json.dumps(value, ensure_ascii=False)}")


def shell_setting_of_mapping(key: str, values: dict[str, str]) -> str:
    """Return the option that sets a key to a mapping of texts, as a shell passes it on."""
    return "--set " + shlex.quote(f"{key}={json.dumps(values, ensure_ascii=False)}")


_YAML_NULLS = ("null", "none", "~", "")
