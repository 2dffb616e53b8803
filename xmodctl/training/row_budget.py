"""A total budget of training rows over all source languages, so that one source and several can be compared."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from xmodctl.core.errors import UserError
from xmodctl.data import Rows

SEED = 1
"""The seed of the draw, the same for all seeds of a run."""


def shares(budget: int, available: Sequence[int]) -> list[int]:
    """Return how many rows of each language are trained on: equal numbers, as far as there are that many.

    Raises:
        UserError: There are fewer rows than the budget, or it leaves a language without any.
    """
    if budget > sum(available):
        raise UserError(f"--rows {budget}: there are only {sum(available):,} training rows; use at most that many")
    if budget < len(available):
        raise UserError(f"--rows {budget}: there are {len(available)} training languages; use at least one row of each")
    chosen = [0] * len(available)
    while (left := budget - sum(chosen)) > 0:
        open_ = [number for number, count in enumerate(available) if chosen[number] < count]
        for position, number in enumerate(open_):
            more = left // len(open_) + (position < left % len(open_))
            chosen[number] = min(available[number], chosen[number] + more)
    return chosen


def drawn(languages: Sequence[Rows], budget: int) -> list[Rows]:
    """Return the rows of each language that a budget leaves, drawn at random and in their order.

    A language's draw depends on its code alone, so that a smaller one is a part of a larger one.

    Raises:
        UserError: There are fewer rows than the budget, or it leaves a language without any.
    """
    counts = shares(budget, [len(rows) for rows in languages])
    return [_drawn(rows, count) for rows, count in zip(languages, counts, strict=True)]


def _drawn(rows: Rows, count: int) -> Rows:
    language = hashlib.sha256(rows.language.encode()).digest()[:8]
    order = np.random.default_rng([SEED, int.from_bytes(language, "big")]).permutation(len(rows))
    chosen = np.sort(order[:count])
    digest = hashlib.sha256(f"{rows.fingerprint} {chosen.tolist()}".encode()).hexdigest()
    note = f"{count:,} of {len(rows):,} rows of {rows.origin} in {rows.language} are trained on (--rows)"
    return replace(rows, arrow=rows.arrow.take(chosen), fingerprint=digest, notes=(*rows.notes, note))
