"""Mistakes in rows: collected while a file is read, and reported together."""

from xmodctl.core.errors import UserError

SHOWN = 5
"""Mistakes that a message lists; the rest are counted."""


class RowError(Exception):
    """One row cannot be used; the message says why, without the place."""


class NoGoldError(RowError):
    """The row has no gold label (MNLI's `-`, SNLI's -1, a hidden test set)."""


class Mistakes:
    """The first mistakes of a data file, each with its place, and how many there are."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.first: list[str] = []
        self.count = 0

    def add(self, place: str, message: str) -> None:
        """Record one mistake."""
        self.count += 1
        if len(self.first) < SHOWN:
            self.first.append(f"{place}: {message}")

    def raise_any(self) -> None:
        """Raise one UserError that lists the mistakes, if there are any."""
        if not self.count:
            return
        if self.count == 1:
            raise UserError(self.first[0])
        more = [f"and {self.count - SHOWN:,} more"] if self.count > SHOWN else []
        raise UserError(
            f"{self.origin} has {self.count:,} mistakes:\n" + "\n".join(f"  {line}" for line in self.first + more)
        )
