"""Characters that nobody sees, told from those that everybody does."""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

_JOINERS = "\u200c\u200d"
_FIRST_JOINING = "\u0600"  # the scripts before it (Latin, Greek, Cyrillic, Armenian, Hebrew) have no use for joiners
_LAYOUT = "\n\t"
_BLANK = frozenset(
    "\u2028\u2029\u034f\u115f\u1160\u3164\uffa0"
)  # separators and fillers, which count as something else


@dataclass(frozen=True)
class Piece:
    """A stretch of text, or the name of a character that has no shape."""

    text: str
    hidden: bool = False  # then `text` is such as `U+200B`
    title: str = ""  # the character's name


def pieces(text: str) -> Iterator[Piece]:
    """Split a text into what is seen and what is not: controls, zero-width and direction marks, half characters.

    Joiners stay where they shape a letter or an emoji: behind a character of a script that uses them.
    """
    seen = ""
    for position, character in enumerate(text):
        if not _is_hidden(character) or (character in _JOINERS and _shapes(text, position)):
            seen += character
            continue
        if seen:
            yield Piece(seen)
        seen = ""
        yield Piece(f"U+{ord(character):04X}", hidden=True, title=unicodedata.name(character, "control character"))
    if seen:
        yield Piece(seen)


def plain(text: str) -> str:
    """Return the text with each hidden character written as `<U+200B>`."""
    return "".join(f"<{piece.text}>" if piece.hidden else piece.text for piece in pieces(text))


def one_line(text: str) -> str:
    """Return the text on one line, hidden characters written out."""
    return " ".join(plain(text).split())


def _is_hidden(character: str) -> bool:
    if character in _LAYOUT or (character.isprintable() and character not in _BLANK):
        return False
    # Controls, format characters, half characters, private ones.
    return character in _BLANK or unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co")


def _shapes(text: str, position: int) -> bool:
    return 0 < position < len(text) - 1 and text[position - 1] >= _FIRST_JOINING and not text[position + 1].isspace()
