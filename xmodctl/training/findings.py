"""Findings: what a check before a training reports."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from xmodctl.core.errors import UserError
from xmodctl.core.mistakes import SHOWN, MistakesError

PLACES = 4
"""Files that a finding about several names."""

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


def unreadable(failures: Mapping[str, UserError]) -> Iterator[Finding]:
    """Yield a finding for each cause that rows cannot be used, however many files have it.

    Args:
        failures: Name of a file's rows, such as `de test` -> why they cannot be used.
    """
    causes: dict[str, list[str]] = {}  # -> the files that have it
    for name, error in failures.items():
        if isinstance(error, MistakesError):
            for cause in error.findings:
                causes.setdefault(cause, []).append(name)
    alone = {name for name in failures if all(names == [name] for names in causes.values() if name in names)}
    messages: dict[str, list[str]] = {}
    for name in failures:
        if name in alone:
            messages.setdefault(str(failures[name]), []).append(name)
    for message, names in messages.items():
        more = f" and {len(names) - PLACES} more" if len(names) > PLACES else ""
        yield Finding("error", "rows", f"{', '.join(names[:PLACES])}{more}: {message}")
    shared = {cause: names for cause, names in causes.items() if not alone.issuperset(names)}
    texts = [_in_files(cause, {name: failures[name] for name in shared[cause]}) for cause in list(shared)[:SHOWN]]
    for number, (text, remedy) in enumerate(texts):
        is_repeated = any(remedy == later for _, later in texts[number + 1 :])
        yield Finding("error", "rows", text if is_repeated else f"{text}{remedy}")
    if len(shared) > SHOWN:
        rows = sum(_rows(failures[name], cause) for cause in list(shared)[SHOWN:] for name in shared[cause])
        yield Finding("error", "rows", f"and {len(shared) - SHOWN:,} more causes: {rows:,} rows")


def _in_files(cause: str, failures: Mapping[str, UserError]) -> tuple[str, str]:
    """Return in which files a cause is, and in how many of their rows; and what to do."""
    counts = [f"{_rows(error, cause):,} in {name}" for name, error in failures.items()]
    counts[0] = counts[0].replace(" in ", " row in " if counts[0].startswith("1 ") else " rows in ", 1)
    more = f" and {len(counts) - PLACES} more files" if len(counts) > PLACES else ""
    first = next(error for error in failures.values() if isinstance(error, MistakesError))
    remedy = max((error.remedy for error in failures.values() if isinstance(error, MistakesError)), key=len)
    return f"{cause}: {', '.join(counts[:PLACES])}{more} (first: {first.findings[cause][0]})", remedy


def _rows(error: UserError, cause: str) -> int:
    return error.findings[cause][1] if isinstance(error, MistakesError) and cause in error.findings else 0
