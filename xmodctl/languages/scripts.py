"""The scripts of letters, and whether a text is in the script of its language."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from xmodctl.languages.tags import script

FOREIGN_LETTERS = 0.2
"""The largest share of letters in other scripts that names, units and quotations explain; more is a data problem."""


@dataclass(frozen=True)
class ScriptMismatch:
    """Letters of a text that is not in the script of its language."""

    expected: str  # the language's script, or its scripts
    in_expected: int  # letters in them
    main: str  # the script that most letters are in
    in_main: int  # letters in it
    total: int  # letters


def script_mismatch(letters: Mapping[str, int], language: str) -> ScriptMismatch | None:
    """Return how the letters of a text, counted by script, contradict its language; None if they do not."""
    expected = WRITTEN_WITH.get(script(language), (UNICODE_NAMES.get(script(language), ""),))
    total = sum(letters.values())
    in_expected = sum(letters.get(name, 0) for name in expected)
    if not total or not any(expected) or in_expected >= (1 - FOREIGN_LETTERS) * total:
        return None
    main, in_main = max(letters.items(), key=lambda pair: pair[1])
    names = " or ".join(name.lower() for name in expected)
    return ScriptMismatch(names, in_expected, main.lower(), in_main, total)


@lru_cache(maxsize=2**16)
def script_of(character: str) -> str | None:
    """Return the script of a letter, as the first word of its Unicode name (`CYRILLIC`), or None for other characters.

    The standard library has no table of scripts, but a letter's name starts with that of its script.
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
"""ISO 15924 code -> the first word in the names of the script's letters."""
WRITTEN_WITH = {
    "Hans": ("CJK",),
    "Hant": ("CJK",),
    "Jpan": ("CJK", "HIRAGANA", "KATAKANA"),
    "Kore": ("HANGUL", "CJK"),
}
"""Scripts whose letters have several first words in their names, or an unexpected one."""
