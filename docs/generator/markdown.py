"""Pieces of Markdown."""

import re
from collections.abc import Iterable, Sequence


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; nothing if there are no rows."""
    lines = [f"| {' | '.join(map(cell, row))} |" for row in rows]
    if not lines:
        return ""
    return "\n".join([f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}", *lines, ""])


def cell(text: str) -> str:
    """Return text as it can stand in a table: in one line, and bars outside code are escaped.

    Python-Markdown takes a bar in code as it is, and shows a backslash before it.
    """
    parts = re.sub(r"\s+", " ", text).strip().split("`")
    return "`".join(part if number % 2 else part.replace("|", "\\|") for number, part in enumerate(parts))


def plain(text: str) -> str:
    """Return text in which nothing is markup; addresses are links."""
    escaped = re.sub(r"([\\*_<>\[\]#])", r"\\\1", text)
    return re.sub(r"https?://[^\s)\],;]+[^\s)\],;.:]", lambda match: f"<{_unescaped(match[0])}>", escaped)


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def page(title: str, *parts: str) -> str:
    """Return a page of parts, without those that are empty."""
    return "\n\n".join([f"# {title}", *(part.strip("\n") for part in parts if part.strip())]) + "\n"


def section(title: str, *parts: str, level: int = 2) -> str:
    """Return a section; nothing if all its parts are empty."""
    filled = [part.strip("\n") for part in parts if part.strip()]
    return "\n\n".join([f"{'#' * level} {title}", *filled]) if filled else ""


def code(text: str, language: str = "") -> str:
    """Return a code block."""
    return f"```{language}\n{text.rstrip()}\n```"
