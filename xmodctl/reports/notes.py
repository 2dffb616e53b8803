"""Notes: what a reader must know to interpret the numbers. A note that holds for several languages is given once."""

from collections.abc import Sequence
from dataclasses import dataclass, field

NAMED = 6
"""How many languages a note names."""


@dataclass
class Notes:
    """Collects notes, each with the languages that it is about."""

    languages: dict[str, list[str]] = field(default_factory=dict)  # note -> languages; none: about the whole report

    def add(self, note: str, language: str = "") -> None:
        """Add a note about a language, or about the whole report."""
        self.languages.setdefault(note, []).extend([language] if language else [])

    @property
    def lines(self) -> tuple[str, ...]:
        """The notes, one sentence each."""
        return tuple(f"{listed(codes)}: {note}" if codes else note for note, codes in self.languages.items())


def listed(names: Sequence[str]) -> str:
    """Return names between commas; of many, the first and how many more there are."""
    names = list(dict.fromkeys(names))
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
