"""JSON as text: the only place that decides how values which JSON does not have are written."""

import json
import re
from collections.abc import Mapping
from math import isfinite
from typing import Any

_SURROGATE = re.compile("[\ud800-\udfff]")
"""Halves of characters: UTF-8 cannot express them, a JSON escape can."""


def json_text(value: Any, *, indent: int | None = None) -> str:
    """Return a value as JSON; a number that is not finite becomes null, because JSON has no NaN."""
    try:
        text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    except ValueError:
        text = json.dumps(_without_nan(value), indent=indent, ensure_ascii=False, allow_nan=False)
    return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(inner) for inner in value]
    return value
