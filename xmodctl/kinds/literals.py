"""Lists and objects in cells of text, as CSV files have them: JSON, what Python prints, or words between spaces."""

import ast
import json
import warnings
from typing import Any

LONGEST = 2**20
"""Characters; a longer text is not read as what Python prints."""


def structure_in(value: Any) -> Any:
    """Return the list or object that a text is, as JSON or as Python prints it; return anything else as it is."""
    text = value.strip() if isinstance(value, str) else ""
    if text[:1] + text[-1:] not in ("[]", "{}"):
        return value
    for read in (json.loads, _python):
        try:
            structure = read(text)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
        if isinstance(structure, list | dict):
            return structure
    return value


def words_in(value: Any) -> Any:
    """Return the list that a text is, or its parts between spaces or commas; return other values as they are."""
    structure = structure_in(value)
    if not isinstance(structure, str):
        return structure
    parts = structure.split()
    return parts if len(parts) > 1 else [part.strip() for part in structure.split(",") if part.strip()]


def _python(text: str) -> Any:
    if len(text) > LONGEST:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes that Python does not know
        return ast.literal_eval(text)
