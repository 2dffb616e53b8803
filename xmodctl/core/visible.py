"""Invisible characters made visible: controls, zero-width characters, and direction marks."""

import json
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_JOINERS = "\u200c\u200d"
_FIRST_JOINING = "\u0600"  # the scripts before it (Latin, Greek, Cyrillic, Armenian, Hebrew) do not use joiners
_LAYOUT = "\n\t"
_BLANK = frozenset("\u2028\u2029\u034f\u115f\u1160\u3164\uffa0")  # separators and fillers, which have other categories


@dataclass(frozen=True)
class VisiblePiece:
    """A piece of visible text, or an invisible character by its code."""

    text: str
    hidden: bool = False  # an invisible character: `text` is its code, such as `U+200B`
    title: str = ""  # the character's name


def pieces(text: str) -> Iterator[VisiblePiece]:
    """Split a text into visible and invisible pieces: controls, zero-width and direction marks, lone surrogates.

    Joiners count as visible where they shape a letter or an emoji: after a character of a script that uses them.
    """
    visible = ""
    for position, character in enumerate(text):
        if not _is_hidden(character) or (character in _JOINERS and _shapes(text, position)):
            visible += character
            continue
        if visible:
            yield VisiblePiece(visible)
        visible = ""
        yield VisiblePiece(
            f"U+{ord(character):04X}", hidden=True, title=unicodedata.name(character, "control character")
        )
    if visible:
        yield VisiblePiece(visible)


def plain(text: str) -> str:
    """Return the text with each invisible character written as `<U+200B>`."""
    return "".join(f"<{piece.text}>" if piece.hidden else piece.text for piece in pieces(text))


def printable(text: str) -> str:
    """Return text for a terminal: nothing in it moves the cursor, sets colors, or changes the direction of a line.

    Line ends and tabs stay. Everything that the command line prints has been through this function.
    """
    if text.replace("\n", "").replace("\t", "").isprintable() and _BLANK.isdisjoint(text):
        return text
    return "\r\n".join(plain(part) for part in text.split("\r\n"))


def printable_json(text: str) -> str:
    """Return JSON with the same value in which invisible characters are escapes, such as `\\u001b`."""
    if printable(text) == text:
        return text
    return "".join(
        json.dumps(chr(int(piece.text.removeprefix("U+"), 16)))[1:-1] if piece.hidden else piece.text
        for piece in pieces(text)
    )


def one_line(text: str) -> str:
    """Return the text on one line, with invisible characters written as `<U+200B>`."""
    return " ".join(plain(text).split())


def _is_hidden(character: str) -> bool:
    if character in _LAYOUT or (character.isprintable() and character not in _BLANK):
        return False
    # Controls, format characters, surrogates, private use.
    return character in _BLANK or unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co")


def _shapes(text: str, position: int) -> bool:
    return 0 < position < len(text) - 1 and text[position - 1] >= _FIRST_JOINING and not text[position + 1].isspace()


_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def without_formula(value: Any) -> Any:
    """Return the value of a cell: text that a spreadsheet would run as a formula has an apostrophe before it.

    Source: OWASP, CSV Injection (owasp.org/www-community/attacks/CSV_Injection). Numbers stay numbers.
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
