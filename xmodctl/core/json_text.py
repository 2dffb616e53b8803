"""JSON as text: the only place that decides how values which JSON does not have are written."""

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any


def json_text(value: Any, *, indent: int | None = None) -> str:
    """Return a value as JSON; a number that is not finite becomes null, because JSON has no NaN."""
    try:
        return json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    except ValueError:
        return json.dumps(_without_nan(value), indent=indent, ensure_ascii=False, allow_nan=False)


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(inner) for inner in value]
    return value
