"""The tables of `runs show`, and dates and scores of runs as people write them."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from xmodctl.cli.display import Sheet, sheet
from xmodctl.core.messages import counted, size_text

if TYPE_CHECKING:
    from xmodctl.run.showing import RunDetails

DAYS_AGO = 14
"""Up to this age, a date is given as days; then it is a date."""


def detail_tables(details: "RunDetails") -> list[Sheet]:
    """Return the tables of a run: what it is, its seeds, and its scores."""
    summary = details.summary
    use = ", in use by a process now" if details.in_use else ""
    parts = ", ".join(f"{name} {size_text(size)}" for name, size in details.sizes.items() if size)
    rows = [
        ("state", f"{summary.state}{use}"),
        *details.plan.items(),
        ("size", f"{size_text(summary.size)} ({parts})"),
        ("created", dated(summary.created)),
        ("last changed", dated(details.changed)),
        ("trained with", ", ".join(f"{name} {version}" for name, version in details.versions.items())),
    ]
    seeds = [(str(seed), state) for seed, state in details.seeds.items()]
    tables = [sheet(("run", summary.run), rows), sheet(("seed", "state"), seeds)]
    if details.scores:
        scores = [
            (
                each.data_set,
                each.split + (f", LIMITED to {counted(each.limited, 'row')}" if each.limited else ""),
                each.metric,
                str(len(each.languages)),
                score(each.source),
                score(each.transfer),
            )
            for each in details.scores
        ]
        numbers = ("languages", "source", "transfer")
        tables.append(sheet(("scored data", "split", "metric", *numbers), scores, right=numbers))
    return tables


def score(value: float | None) -> str:
    """Return a score in percent; nothing if there is none."""
    return "" if value is None else f"{value:.1f}"


def dated(time: str) -> str:
    """Return an ISO 8601 time with its age: `2026-10-01 12:30 UTC, 3 days ago`."""
    moment = _moment(time)
    if moment is None:
        return time
    age = ago(time)
    date = f"{moment:%Y-%m-%d %H:%M} UTC"
    return date if date.startswith(age) else f"{date}, {age}"


def ago(time: str, now: datetime | None = None) -> str:
    """Return how long ago an ISO 8601 time was, or its date if that was weeks ago; a text that is no time as it is."""
    moment = _moment(time)
    if moment is None:
        return time
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    if seconds < 0 or seconds >= DAYS_AGO * 24 * 3600:
        return f"{moment:%Y-%m-%d}"
    for unit, length in (("day", 24 * 3600), ("hour", 3600)):
        if seconds >= length:
            return f"{counted(int(seconds // length), unit)} ago"
    return f"{int(seconds // 60)} min ago" if seconds >= 60 else "just now"


def _moment(time: str) -> datetime | None:
    try:
        return datetime.fromisoformat(time).astimezone(UTC)
    except ValueError:
        return None
