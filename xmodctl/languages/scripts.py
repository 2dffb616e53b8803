"""Is this task, data, recipe, model and disk fit to run? Findings, before an hour is spent on finding out."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from xmodctl.languages import script

if TYPE_CHECKING:
    pass

FOREIGN_LETTERS = 0.2
"""Names, units and quotations make for some letters of another script in any text; more is a mistake in the data."""


@dataclass(frozen=True)
class Foreign:
    """Letters that are in another script than that of the language they are said to be."""

    own: int  # letters in the language's script
    total: int
    claimed: str  # the language's script, or its scripts
    most: str  # the script that most letters are in
    count: int  # letters in that one


def foreign(letters: Mapping[str, int], language: str) -> Foreign | None:
    """Return what letters of each script say against a text's being in a language; None if nothing does."""
    claimed = WRITTEN_WITH.get(script(language), (UNICODE_NAMES.get(script(language), ""),))
    total = sum(letters.values())
    own = sum(letters.get(each, 0) for each in claimed)
    if not total or not any(claimed) or own >= (1 - FOREIGN_LETTERS) * total:
        return None
    most, count = max(letters.items(), key=lambda pair: pair[1])
    return Foreign(own, total, " or ".join(each.lower() for each in claimed), most.lower(), count)


@lru_cache(maxsize=2**16)
def script_of(character: str) -> str | None:
    """Return the script of a letter, as the first word of its Unicode name (`CYRILLIC`), or None for other characters.

    The standard library has no table of scripts, and a letter's name begins with that of its script.
    """
    if not character.isalpha():
        return None
    return unicodedata.name(character, "").replace("-", " ").partition(" ")[0] or None


UNICODE_NAMES = {
    "Arab": "ARABIC", "Armn": "ARMENIAN", "Beng": "BENGALI", "Cyrl": "CYRILLIC", "Deva": "DEVANAGARI",
    "Ethi": "ETHIOPIC", "Geor": "GEORGIAN", "Grek": "GREEK", "Gujr": "GUJARATI", "Guru": "GURMUKHI", "Hebr": "HEBREW",
    "Khmr": "KHMER", "Knda": "KANNADA", "Laoo": "LAO", "Latn": "LATIN", "Mlym": "MALAYALAM", "Mong": "MONGOLIAN",
    "Mymr": "MYANMAR", "Orya": "ORIYA", "Sinh": "SINHALA", "Taml": "TAMIL", "Telu": "TELUGU", "Thaa": "THAANA",
    "Thai": "THAI", "Tibt": "TIBETAN", "Olck": "OL", "Tfng": "TIFINAGH", "Nkoo": "NKO", "Cher": "CHEROKEE",
    "Syrc": "SYRIAC", "Yiii": "YI", "Vaii": "VAI",
}  # fmt: skip
"""ISO 15924 -> how the names of the script's letters begin."""
WRITTEN_WITH = {
    "Hans": ("CJK",),
    "Hant": ("CJK",),
    "Jpan": ("CJK", "HIRAGANA", "KATAKANA"),
    "Kore": ("HANGUL", "CJK"),
}
"""Scripts that go by more than one name, or by another."""
