"""Lists and objects in cells of text, as CSV files have them: JSON, what Python and NumPy print, or words."""

import ast
import json
import re
import warnings
from typing import Any

LONGEST = 2**20
"""Characters; a longer text is not read as what Python prints."""
_ITEM = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[+-]?\d+(?:\.\d*)?"""
_ARRAY = re.compile(rf"\[\s*(?:{_ITEM})(?:\s+(?:{_ITEM}))+\s*\]", re.DOTALL)
_ITEMS = re.compile(_ITEM, re.DOTALL)
"""What NumPy prints, and with it `datasets` and pandas: no commas, so that Python would join the texts."""


def structure_in(value: Any) -> Any:
    """Return the list or object that a text is, as JSON, Python, or NumPy writes it; return anything else as it is."""
    text = value.strip() if isinstance(value, str) else ""
    if text[:1] + text[-1:] not in ("[]", "{}"):
        return value
    for read in (_numpy, json.loads, _python):
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


def _numpy(text: str) -> Any:
    is_array = len(text) <= LONGEST and _ARRAY.fullmatch(text)
    return [ast.literal_eval(item) for item in _ITEMS.findall(text)] if is_array else None


def _python(text: str) -> Any:
    if len(text) > LONGEST:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes that Python does not know
        return ast.literal_eval(_WithoutArrays().visit(ast.parse(text.strip(), mode="eval")))


class _WithoutArrays(ast.NodeTransformer):
    """Replaces `array([...], dtype=...)` and `np.int64(1)`, as objects with these are printed, by what they hold."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Return what NumPy's value holds, and any other call as it is."""
        match node.func:
            case ast.Name("array") | ast.Attribute(ast.Name("np")) if len(node.args) == 1:
                return node.args[0]
        return node
