"""Weights of adapters as they are written: `sw+so`, `0.7*sw+0.3*so`, and `mix` for weights that are to be found."""

import re
from collections.abc import Sequence
from fractions import Fraction

from xmodctl.core.errors import UserError
from xmodctl.core.messages import shortened

MIX, NONE = "mix", "none"
"""What stands for weights that are to be found, and for a part that adds nothing."""

_NUMBER = re.compile(r"\d{1,9}(\.\d{1,6})?|\.\d{1,6}")
_NEGATIVE = re.compile(r"(?<!\d[eE])-\s*(\d+\.?\d*|\.\d+)\s*\*\s*([\w-]+)")

Weights = Sequence[tuple[str, Fraction]]
"""Adapters and their weights."""


def is_to_be_found(text: str) -> bool:
    """Return whether a mixture is `mix`."""
    return text.strip().casefold() == MIX


def parsed(item: str, text: str) -> list[tuple[str, Fraction]]:
    """Return the names and weights in a mixture as it is written.

    Raises:
        UserError: It is not a mixture; the message names `item`.
    """
    item = shortened(item)
    if negative := _NEGATIVE.search(text):
        raise UserError(
            f"{item}: the weight of {negative[2]} is negative; weights are at least 0, so give 0*{negative[2]}"
        )
    weighted = [part.strip().rpartition("*") for part in text.split("+")]
    if not all(name.strip() for _, _, name in weighted) or any("*" in weight for weight, _, _ in weighted):
        raise UserError(f"{item} is not a mixture; join adapters with `+`, such as zu=sw+so or zu=0.7*sw+0.3*so")
    if any(is_to_be_found(name) for _, _, name in weighted):
        raise UserError(
            f"{item}: `{MIX}` chooses the weights of all adapters, so write it alone, as in zu={MIX}, or join adapters"
        )
    if len({bool(star) for _, star, _ in weighted}) > 1:
        raise UserError(f"{item}: give a weight to every adapter, such as zu=0.7*sw+0.3*so, or to none")
    for weight, star, _ in weighted:
        if star and not _NUMBER.fullmatch(weight.strip()):
            written = shortened(weight.strip())
            raise UserError(
                f"{item}: the weight {written!r} is not a decimal number below a billion; give one with at most six "
                "decimal places, such as 0.7"
            )
    weights = [(name.strip(), Fraction(weight.strip()) if star else Fraction(1)) for weight, star, name in weighted]
    if not any(weight for _, weight in weights):
        raise UserError(f"{item}: all weights are 0; give at least one adapter a weight above 0, such as 1")
    return weights
