"""Findings: what a check before a training reports."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Level = Literal["passed", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    level: Level
    check: str
    text: str

    def to_json(self) -> dict[str, Any]:
        """Return the finding as plain JSON values."""
        return asdict(self)


def passed(check_: str, text: str) -> Finding:
    """Return the finding of a check that found no problem."""
    return Finding("passed", check_, text)
