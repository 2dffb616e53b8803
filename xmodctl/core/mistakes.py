"""Mistakes in rows: collected while a file is read, and reported together."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from xmodctl.core.errors import UserError

SHOWN = 5
"""Causes of mistakes that a message lists; the rest are counted."""

PLACES_SHOWN = 3
"""Places that a message lists for one cause."""

_CAUSES_KEPT = 1000


class RowError(Exception):
    """One row cannot be used; the message says why, without the place.

    `causes` say it without what differs from row to row, such as the position in the row; rows with the same cause are
    reported together. By default, the message is the cause.
    """

    def __init__(self, message: str, *causes: str) -> None:
        super().__init__(message)
        self.causes = causes or (message,)


class NoGoldError(RowError):
    """The row has no gold label (MNLI's `-`, SNLI's -1, a hidden test set)."""


@dataclass
class _Finding:
    """The rows that have one cause."""

    message: str  # of the first row
    places: list[str] = field(default_factory=list)
    count: int = 0


class MistakesError(UserError):
    """Rows of a file have mistakes.

    Args:
        message: What is wrong where, in one message.
        findings: Cause -> where it is first, and in how many rows.
        remedy: What to do, as the message ends.
    """

    def __init__(self, message: str, findings: Mapping[str, tuple[str, int]], remedy: str) -> None:
        super().__init__(message)
        self.findings = findings
        self.remedy = remedy


class SameAnswerError(UserError):
    """All rows of a split have the same gold answer, or none has one.

    Args:
        message: What that means for the split.
        cause: The data and what is wrong with it, which its splits may have in common.
    """

    def __init__(self, message: str, cause: str) -> None:
        super().__init__(message)
        self.cause = cause


class Mistakes:
    """The mistakes of a data file by their cause, each with its first places, and how many there are."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.count = 0
        self._findings: dict[str, _Finding] = {}

    def add(self, place: str, message: str, *causes: str) -> None:
        """Record a row that has a mistake, or several with a cause each; without causes, the message is the cause."""
        self.count += 1
        for number, cause in enumerate(causes or (message,)):
            if cause not in self._findings and len(self._findings) == _CAUSES_KEPT:
                continue
            finding = self._findings.setdefault(cause, _Finding(cause if number else message))
            finding.count += 1
            if len(finding.places) < PLACES_SHOWN:
                finding.places.append(place)

    def raise_any(self, remedy: str = "") -> None:
        """Raise one error that lists the mistakes, if there are any, and ends with a remedy.

        Raises:
            MistakesError: There are mistakes.
        """
        if not self.count:
            return
        findings = {cause: (finding.places[0], finding.count) for cause, finding in self._findings.items()}
        raise MistakesError(self._message(remedy), findings, remedy)

    def _message(self, remedy: str) -> str:
        lines = [self._line(cause, finding) for cause, finding in self._findings.items()]
        if self.count == 1:
            finding = next(iter(self._findings.values()))
            return f"{finding.places[0]}: {finding.message}{remedy}"
        if len(lines) == 1:
            return f"{self.origin}: {lines[0]}{remedy}"
        shown = sum(finding.count for finding in list(self._findings.values())[:SHOWN])
        more = [f"and {self.count - shown:,} more"] if len(lines) > SHOWN and self.count > shown else []
        listed = "\n".join(f"  {line}" for line in lines[:SHOWN] + more)
        return f"{self.origin} has {self.count:,} mistakes:\n{listed}{remedy}"

    def _line(self, cause: str, finding: _Finding) -> str:
        """Return what a message says of one cause: one row with its place, or how many rows and the first places."""
        if finding.count == 1:
            return f"{finding.places[0]}: {finding.message}"
        places = [place.removeprefix(self.origin).strip() for place in finding.places]
        first = ", ".join(f"line {place[1:]}" if place[:1] == ":" else place for place in places)
        dots = ", ..." if finding.count > len(places) else ""
        return f"{cause}: {finding.count:,} rows ({first}{dots})"
