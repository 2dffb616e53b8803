"""One run from its plan to its deltas: encodings, model, training, checkpoints. Yields what happens."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmodctl.core.errors import UserError

if TYPE_CHECKING:
    pass


from collections.abc import Mapping
from typing import TYPE_CHECKING

from xmodctl.core.errors import did_you_mean

if TYPE_CHECKING:
    pass


def seeds_from(text: str) -> tuple[int, ...]:
    """Read `--seeds 1,2,3`.

    Raises:
        UserError: It is no list of different whole numbers.
    """
    try:
        seeds = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"--seeds {text}: expected whole numbers such as 1,2,3") from None
    if len(set(seeds)) < len(seeds) or any(seed < 0 for seed in seeds):
        raise UserError(f"--seeds {text}: each seed once, none negative")
    return seeds


DEFAULT_MODEL = "facebook/xmod-base"


def one_of(option: str, value: str, allowed: tuple[str, ...]) -> None:
    """Refuse a value that is none of those allowed.

    Raises:
        UserError: It is not.
    """
    if value not in allowed:
        raise UserError(f"{option} {value}: choose {', '.join(allowed)}{did_you_mean(value, allowed)}")


def _several(adapters: Path | str | Sequence[Path | str]) -> tuple[Path | str, ...]:
    return (adapters,) if isinstance(adapters, Path | str) else tuple(adapters)


def _between_commas(langs: str | Sequence[str]) -> str:
    return langs if isinstance(langs, str) else ",".join(langs)


def as_set(overrides: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return keys and values as `--set` takes them, which reads YAML: so it reads JSON."""
    return tuple(f"{key}={json.dumps(value)}" for key, value in (overrides or {}).items())


def as_seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    """Return seeds as `--seeds` reads them.

    Raises:
        UserError: One is there twice, or negative.
    """

    return seeds_from(",".join(map(str, [seeds] if isinstance(seeds, int) else seeds)))
