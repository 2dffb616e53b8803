"""Two cheap checks that a text is in the language it should be in: the script of its letters, and frequent words."""

import re
from collections import Counter
from collections.abc import Sequence

from xmodctl.languages import frequent_words, name, same
from xmodctl.languages.kinship import shared_branch
from xmodctl.languages.scripts import script_mismatch, script_of

OTHER_LANGUAGE = 0.07
"""A text counts as another language's if this share of its words is in that language's list, and at least twice the
share that is in the list of the language it should be in. Measured on Wikipedia paragraphs and the Bible: 9 to 33% of
the words are in the list of their own language, and at most 6% in the list of an unrelated one."""
OTHER_LANGUAGE_WITHOUT_LIST = 0.15
"""The same if there is no list for the language that the text should be in."""
CLOSE_RELATIVES = 3
"""Languages that share this many branches of the family tree are too close for word lists to distinguish."""
_WORD = re.compile(r"[^\s\d!-/:-@\[-`{-~¡¿«»‘“”„‚…–—·،؛؟۔।॥]+")
"""A run of characters without spaces and punctuation; the apostrophe ’ may be a letter."""


def cautions(language: str, texts: Sequence[str]) -> tuple[str, ...]:
    """Return what looks wrong in a sample of a language's text, one sentence each.

    Args:
        language: The language that the text should be in.
        texts: The sample.
    """
    caution = _other_script(language, texts) or _other_language(language, texts)
    return (caution,) if caution else ()


def _other_script(language: str, texts: Sequence[str]) -> str | None:
    letters = Counter(filter(None, map(script_of, "".join(texts))))
    if not letters:
        return "the text contains no letters"
    if not (mismatch := script_mismatch(letters, language)):
        return None
    return (
        f"{mismatch.in_expected / mismatch.total:.0%} of the letters are in the usual script of {name(language)} "
        f"({mismatch.expected}), and {mismatch.in_main / mismatch.total:.0%} are {mismatch.main}; is this "
        "the right text?"
    )


def _other_language(language: str, texts: Sequence[str]) -> str | None:
    words = Counter(word.casefold() for text in texts for word in _WORD.findall(text))
    if not words:
        return None
    total = words.total()
    shares = {other: sum(words[word] for word in known) / total for other, known in frequent_words().items()}
    share = next((share for other, share in shares.items() if same(other, language)), None)
    best = max(shares, key=shares.__getitem__)
    if share is None:
        related = len(shared_branch(best, language)) >= CLOSE_RELATIVES
        if shares[best] < OTHER_LANGUAGE_WITHOUT_LIST or related:
            return None
        comparison = ""
    else:
        if shares[best] < OTHER_LANGUAGE or shares[best] < 2 * share:
            return None
        comparison = f", {share:.0%} in {name(language)}"
    return f"{shares[best]:.0%} of the words are frequent in {name(best)}{comparison}; is this the right text?"
