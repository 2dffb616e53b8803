"""Findings: what a check before a training reports."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from xmodctl.core.errors import UserError
from xmodctl.core.messages import counted
from xmodctl.core.mistakes import SHOWN, MistakesError, SameAnswerError

PLACES = 4
"""Files that a finding about several names."""

NOT_READ = "not read by this training: "
"""Before mistakes in rows of languages that are not trained in, which another training or sweep may read."""

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


def unreadable(failures: Mapping[str, UserError], unread: Mapping[str, UserError] | None = None) -> Iterator[Finding]:
    """Yield a finding for each cause that rows cannot be used, however many files have it; errors come first.

    Args:
        failures: Name of a file's rows, such as `de test` -> why they cannot be used.
        unread: The same for rows that the training does not read: mistakes in these alone are warnings.
    """
    warnings: list[Finding] = []
    for text, names in _causes({**failures, **(unread or {})}):
        if unread and all(name in unread for name in names):
            warnings.append(Finding("warning", "rows", f"{NOT_READ}{text}"))
        else:
            yield Finding("error", "rows", text)
    yield from warnings


def _causes(failures: Mapping[str, UserError]) -> Iterator[tuple[str, Collection[str]]]:
    """Yield each cause, as a finding says it, with the names of the files' rows that have it."""
    files: dict[str, dict[str, MistakesError]] = {}  # cause -> the files that have it
    for name, error in failures.items():
        if isinstance(error, MistakesError):
            for cause in error.findings:
                files.setdefault(cause, {})[name] = error
    shared_names = {name for names in files.values() if len(names) > 1 for name in names}
    messages: dict[str, tuple[str, list[str]]] = {}  # cause -> the first message, and the files that have it
    for name, error in failures.items():
        if name not in shared_names:
            cause = error.cause if isinstance(error, SameAnswerError) else str(error)
            messages.setdefault(cause, (str(error), []))[1].append(name)
    for message, names in messages.values():
        yield f"{first_names(names)}: {message}", names
    shared = {cause: errors for cause, errors in files.items() if shared_names & errors.keys()}
    texts = [_in_files(cause, shared[cause]) for cause in list(shared)[:SHOWN]]
    for number, (text, remedy) in enumerate(texts):
        is_repeated = any(remedy == later for _, later in texts[number + 1 :])
        yield text if is_repeated else f"{text}{remedy}", [*shared.values()][number]
    if len(shared) > SHOWN:
        rows = sum(error.findings[cause][1] for cause in list(shared)[SHOWN:] for error in shared[cause].values())
        names = [name for cause in list(shared)[SHOWN:] for name in shared[cause]]
        yield f"and {len(shared) - SHOWN:,} more causes: {rows:,} rows", names


def _in_files(cause: str, errors: Mapping[str, MistakesError]) -> tuple[str, str]:
    """Return in which files a cause is, and in how many of their rows; and what to do."""
    (first, error), *others = errors.items()
    place, count = error.findings[cause]
    counts = [f"{counted(count, 'row')} in {first}"]
    counts += [f"{other.findings[cause][1]:,} in {name}" for name, other in others]
    remedy = max((each.remedy for each in errors.values()), key=len)
    return f"{cause}: {first_names(counts, ' files')} (first: {place})", remedy


def first_names(names: Sequence[str], noun: str = "", most: int = PLACES) -> str:
    """Return the first names, and how many more there are."""
    rest = len(names) - most
    more = f" and {rest} more{noun.removesuffix('s') if rest == 1 else noun}" if rest > 0 else ""
    return f"{', '.join(names[:most])}{more}"
