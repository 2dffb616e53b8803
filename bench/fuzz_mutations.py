"""Mutations of files for `bench.fuzz`: damage to bytes, other values in JSON, and files that are something else."""

import copy
import json
import struct
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import strategies as st

Draw = Callable[[st.SearchStrategy[Any]], Any]

_WIDE = "utf-16-le"

DEEP = 3000
"""Levels of brackets: more than Python's recursion limit."""

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"
PAGE = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Proxy</body></html>"

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 7, 2**31, 2**63, 10**30, 10**400, -(10**400), 1e308, -0.0, 0.5,
    float("nan"), float("inf"),
    "", " ", "\n", "x", "1", "0", "nan", "null", "-1", "\ud800", "\0", "\x1b[2J", "[bold]", "../../../etc/passwd",
    "/etc/passwd", "x" * 5000, "é\u202e", "en_XX", [], {}, [[]], [{}], [None], [""], [1, 2, 3], ["a", "b"], {"": None},
    {"a": 1}, {"a": {"b": []}}, [10**400], {"text": ["x"], "answer_start": [10**9]}, {"text": [], "answer_start": [-1]},
)  # fmt: skip
"""What takes the place of a value."""

WHOLE: tuple[bytes, ...] = (
    b"", b"\0", b"\0" * 4096, b"\xff" * 64, b"\n", b"\r\r\r", b" ", b"null", b"[]", b"{}", b"[[]]", b"[{}]", b"0",
    b"NaN",
    b'""', b"1e999", b"9" * 5000, b"[" * DEEP, b"[" * DEEP + b"]" * DEEP, b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    b"- " * DEEP, b"&a [*a, *a]", b"a: &a [x]\nb: *a", b"!!python/object/apply:os.system ['true']", b"%YAML 9.9\n---\n",
    POINTER, PAGE, b"\x1f\x8b\x08\0", b"PK\x03\x04", b"\x80\x04.", b"PAR1" + b"\0" * 20 + b"PAR1", b"BZh9",
    b"\xfd7zXZ\0",
    struct.pack("<Q", 2**62) + b"{}", struct.pack("<Q", 2) + b"{}", struct.pack("<Q", 8) + b'{"a":{}}',
    b'{"a": "\\ud800"}', b"\xef\xbb\xbf{}", "\ufeffa".encode("utf-16-le"), b"a\tb\nc", b'"', b'"a""b', b",,,\n,,",
)  # fmt: skip
"""What takes the place of a file."""

BITS: tuple[bytes, ...] = (
    b"\0", b"\n", b"\r", b"\t", b'"', b"'", b"{", b"}", b"[", b"]", b",", b":", b"\\", b"\xff", b"\xc3",
    b"\xed\xa0\x80",
    b"\x1b[2J", b"\xe2\x80\xae", b"NaN", b"-", b"9" * 400, b"null", b"\xef\xbb\xbf", b"&", b"*", b"!!", b"#", b"\x85",
    b"\xe2\x80\xa8",
)  # fmt: skip
"""What is put between two bytes."""


@st.composite
def mutated(draw: Draw, content: bytes, *, structured: bool = True) -> bytes:
    """Draw a damaged form of a file.

    Args:
        draw: Draws from a strategy.
        content: The file.
        structured: Whether to change values within JSON and within the headers of safetensors files, too.
    """
    ways: list[Callable[[Draw, bytes], bytes]] = [_bytes_changed, _bytes_changed, _whole]
    if structured and (change := _structure(content)):
        ways = [*ways, change, change, change, change]
    changed: bytes = draw(st.sampled_from(ways))(draw, content)
    return changed


def _whole(draw: Draw, content: bytes) -> bytes:
    others: list[bytes] = [*WHOLE, content + content, content[::-1], b"\xef\xbb\xbf" + content]
    try:
        text = content.decode()
        others += [text.encode("utf-16"), text.encode("utf-32-le"), text.encode("latin-1", "replace") + b"\xe9"]
        others += [text.replace("\n", "\r").encode(), text.replace("\n", "\r\n").encode(), text.upper().encode()]
    except UnicodeDecodeError:
        pass
    chosen: bytes = draw(st.sampled_from(others))
    return chosen


def _bytes_changed(draw: Draw, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, max(0, len(changed) - 1)))
        end = min(len(changed), start + draw(st.sampled_from([1, 2, 8, 40, 400])))
        match draw(st.sampled_from(["flip", "truncate", "insert", "duplicate", "remove", "zero"])):
            case "flip" if changed:
                changed[start] ^= 1 << draw(st.integers(0, 7))
            case "truncate":
                del changed[start:]
            case "insert":
                changed[start:start] = draw(st.sampled_from(BITS))
            case "duplicate":
                changed[start:start] = changed[start:end]
            case "remove":
                del changed[start:end]
            case _:
                changed[start:end] = bytes(end - start)
    return bytes(changed)


def _structure(content: bytes) -> Callable[[Draw, bytes], bytes] | None:
    """Return how to change values in a file, if it is a JSON document, lines of JSON, or has a header of JSON."""
    if content[1:2] == b"\0" and (changed := _wide_structure(content)):
        return changed
    try:
        json.loads(content)
        return _document
    except (ValueError, RecursionError):
        pass
    try:
        json.loads(content.splitlines()[0])
        return _line
    except (ValueError, IndexError, RecursionError):
        pass
    try:
        json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return _header
    except (ValueError, RecursionError):
        return None


def _wide_structure(content: bytes) -> Callable[[Draw, bytes], bytes] | None:
    """Return how to change values in a file of JSON in UTF-16, without its mark."""
    try:
        change = _structure(content.decode(_WIDE).encode())
    except UnicodeDecodeError:
        return None
    if change is None:
        return None
    return lambda draw, raw: (
        change(draw, raw.decode(_WIDE).encode()).decode("utf-8", "surrogatepass").encode(_WIDE, "surrogatepass")
    )


def _document(draw: Draw, content: bytes) -> bytes:
    return _changed_json(draw, json.loads(content)).encode("utf-8", "surrogatepass")


def _line(draw: Draw, content: bytes) -> bytes:
    lines = content.splitlines()
    number = draw(st.integers(0, len(lines) - 1))
    lines[number] = _changed_json(draw, json.loads(lines[number])).encode("utf-8", "surrogatepass")
    return b"\n".join(lines) + b"\n"


def _header(draw: Draw, content: bytes) -> bytes:
    length = int.from_bytes(content[:8], "little")
    header = _changed_json(draw, json.loads(content[8 : 8 + length])).encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(header)) + header + content[8 + length :]


def _changed_json(draw: Draw, value: Any) -> str:
    """Return JSON in which one to three values have been replaced, removed, renamed, nested, or exchanged."""
    root = {"": copy.deepcopy(value)}
    for _ in range(draw(st.integers(1, 3))):
        holder, key = draw(st.sampled_from(list(_places(root))))
        match draw(st.sampled_from(["replace", "replace", "replace", "remove", "rename", "nest", "exchange"])):
            case "remove" if holder is not root:
                del holder[key]
            case "rename" if isinstance(holder, dict) and holder is not root:
                holder[draw(st.sampled_from(["", "x", "\ud800", "__class__", key.upper(), f"{key} "]))] = holder.pop(
                    key
                )
            case "nest":
                holder[key] = draw(st.sampled_from([[holder[key]], {"": holder[key]}, [holder[key]] * 3]))
            case "exchange":
                other, place = draw(st.sampled_from(list(_places(root))))
                holder[key] = copy.deepcopy(other[place])
            case _:
                holder[key] = copy.deepcopy(draw(st.sampled_from(VALUES)))
    ascii_only = draw(st.booleans())
    return json.dumps(root[""], ensure_ascii=ascii_only)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container with every key of it."""
    stack = [value]
    while stack:
        container = stack.pop()
        for key in list(container) if isinstance(container, dict) else range(len(container)):
            yield container, key
            if isinstance(container[key], dict | list) and container[key]:
                stack.append(container[key])
