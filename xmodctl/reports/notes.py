"""Notes: what a reader must know to interpret the numbers. What holds for several languages or runs is said once."""

from collections.abc import Sequence
from dataclasses import dataclass, field

NAMED = 6
"""How many languages a note names."""


@dataclass
class Notes:
    """Collects notes, each with the languages or the runs that it is about."""

    subjects: dict[str, list[str]] = field(default_factory=dict)  # note -> languages or runs; none: the whole report

    def add(self, note: str, subject: str = "") -> None:
        """Add a note about a language, about a run, or about the whole report."""
        self.subjects.setdefault(note, []).extend([subject] if subject else [])

    @property
    def lines(self) -> tuple[str, ...]:
        """The notes, one sentence each."""
        return tuple(f"{listed(names)}: {note}" if names else note for note, names in self.subjects.items())


def listed(names: Sequence[str]) -> str:
    """Return names between commas; of many, the first and how many more there are."""
    names = list(dict.fromkeys(names))
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
