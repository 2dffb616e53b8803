"""Arguments in the forms that Python and the command line give them, turned into one form each."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xmodctl.core.errors import UserError, did_you_mean

DEFAULT_MODEL = "facebook/xmod-base"
"""The base model if `--model` is not given."""

PRECISIONS = ("auto", "fp32", "tf32", "bf16", "fp16")
"""Values of `--precision`."""

POOLINGS = ("mean", "cls")
"""Values of `--pooling`: the mean over all tokens of a text, or its first token."""

TEXT_FORMATS = ("text", "jsonl", "csv", "tsv", "json", "parquet")
"""Formats of texts to embed."""

INPUT_FORMATS = (*TEXT_FORMATS, "conll")
"""Formats of rows to predict."""

ERRORS = 20
"""The worst errors per language that a report shows, unless `--errors` says otherwise."""

PLOTS = ("scores", "gaps", "heat-map", "curves")
"""The figures of a report."""

TERMINAL = "terminal"
"""What `--format` calls the table that the command line draws; it is never written to a file."""


def check_choice(option: str, value: str, allowed: Sequence[str]) -> None:
    """Refuse a value that is not allowed.

    Raises:
        UserError: `value` is not one of `allowed`.
    """
    if value not in allowed:
        raise UserError(f"{option} {value}: choose from {', '.join(allowed)}{did_you_mean(value, tuple(allowed))}")


def as_seeds(seeds: int | str | Sequence[int]) -> tuple[int, ...]:
    """Return the seeds that `--seeds 1,2,3`, a number, or numbers name.

    Raises:
        UserError: They are not different, non-negative whole numbers.
    """
    try:
        numbers = tuple(int(part) for part in seeds.split(",")) if isinstance(seeds, str) else seeds
    except ValueError:
        raise UserError(f"--seeds {seeds}: expected whole numbers such as 1,2,3") from None
    numbers = (numbers,) if isinstance(numbers, int) else tuple(numbers)
    if len(set(numbers)) < len(numbers) or any(seed < 0 for seed in numbers):
        raise UserError(f"--seeds {','.join(map(str, numbers))}: seeds must be different and not negative")
    return numbers


def as_paths(paths: str | Path | Sequence[str | Path]) -> tuple[str | Path, ...]:
    """Return one or several paths, or names, as a tuple."""
    return (paths,) if isinstance(paths, str | Path) else tuple(paths)


def as_selection(langs: str | Sequence[str]) -> str:
    """Return languages as `--langs` takes them: between commas."""
    return langs if isinstance(langs, str) else ",".join(langs)


def as_overrides(values: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return keys and values as `--set` takes them: it reads YAML, so it reads JSON."""
    return tuple(f"{key}={json.dumps(value)}" for key, value in (values or {}).items())


def check_limit(limit: int | None) -> None:
    """Refuse a limit that leaves no rows.

    Raises:
        UserError: It is below 1.
    """
    if limit is not None and limit < 1:
        raise UserError(f"--limit {limit}: give a whole number of rows, at least 1")
