"""Two quick checks that a text is in its language: the script of its letters, and frequent words."""

import re
from collections import Counter
from collections.abc import Sequence

from xmodctl.languages import frequent_words, name, same
from xmodctl.languages.kinship import shared_branch
from xmodctl.languages.scripts import script_mismatch, script_of

ANOTHER = 0.07
"""A text counts as another language's if this share of its words is in that language's list, and at least twice the
share in the list of its stated language. In paragraphs of Wikipedia and in the Bible, 9 to 33 % of the words are in the
list of the text's language, and at most 6 % in that of an unrelated one."""
ANOTHER_UNKNOWN = 0.15
"""The same if there is no list for the stated language."""
CLOSE = 3
"""Two languages that share this many branches are too similar to be distinguished by word lists."""
_WORD = re.compile(r"[^\s\d!-/:-@\[-`{-~¡¿«»‘“”„‚…–—·،؛؟۔।॥]+")
"""Characters between spaces and punctuation; an apostrophe written as ’ can be a letter."""


def cautions(language: str, texts: Sequence[str]) -> tuple[str, ...]:
    """Return cautions about a sample of a language's text: one sentence, or none."""
    caution = _another_script(language, texts) or _another_language(language, texts)
    return (caution,) if caution else ()


def _another_script(language: str, texts: Sequence[str]) -> str | None:
    letters = Counter(filter(None, map(script_of, "".join(texts))))
    if not letters:
        return "the text has no letters"
    if not (mismatch := script_mismatch(letters, language)):
        return None
    return (
        f"{mismatch.in_expected / mismatch.total:.0%} of the letters are in the usual script of {name(language)} "
        f"({mismatch.expected}), {mismatch.in_main / mismatch.total:.0%} are {mismatch.main}: is it the right text?"
    )


def _another_language(language: str, texts: Sequence[str]) -> str | None:
    words = Counter(word.casefold() for text in texts for word in _WORD.findall(text))
    if not words:
        return None
    total = words.total()
    shares = {other: sum(words[word] for word in known) / total for other, known in frequent_words().items()}
    expected = next((share for other, share in shares.items() if same(other, language)), None)
    best = max(shares, key=shares.__getitem__)
    if expected is None:
        if shares[best] < ANOTHER_UNKNOWN or len(shared_branch(best, language)) >= CLOSE:
            return None
        against = ""
    else:
        if shares[best] < ANOTHER or shares[best] < 2 * expected:
            return None
        against = f", {expected:.0%} of {name(language)}"
    return f"{shares[best]:.0%} of the words are frequent words of {name(best)}{against}: is it the right text?"
