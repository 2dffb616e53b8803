"""Is this text in the language it is said to be in? Two cheap looks: the script of its letters, and frequent words."""

import re
from collections import Counter
from collections.abc import Sequence

from xmodctl.languages import frequent_words, name, same
from xmodctl.languages.kinship import shared_branch
from xmodctl.languages.scripts import foreign, script_of

ANOTHER = 0.07
"""A text with this share of its words in a language's list, and twice the share that is in the list of the language it
is said to be in, is taken for the former's. Seen in paragraphs of Wikipedia and in the Bible: 9 to 33 % of the words
are in their own language's list, and of unrelated languages' at most 6 %."""
ANOTHER_UNKNOWN = 0.15
"""The same where there is no list of the language it is said to be in."""
CLOSE = 3
"""Branches that two languages share which are too close to be told apart by a list of words."""
_WORD = re.compile(r"[^\s\d!-/:-@\[-`{-~¡¿«»‘“”„‚…–—·،؛؟۔।॥]+")
"""What stands between blanks and punctuation; an apostrophe that is written ’ may be a letter."""


def cautions(language: str, texts: Sequence[str]) -> tuple[str, ...]:
    """Return what may be other than meant in a sample of a language's text: a sentence, or nothing."""
    told = _another_script(language, texts) or _another_language(language, texts)
    return (told,) if told else ()


def _another_script(language: str, texts: Sequence[str]) -> str | None:
    letters = Counter(filter(None, map(script_of, "".join(texts))))
    if not letters:
        return "the text has no letters"
    if not (found := foreign(letters, language)):
        return None
    return (
        f"{found.own / found.total:.0%} of the letters are in the usual script of {name(language)} "
        f"({found.claimed}), {found.count / found.total:.0%} are {found.most}: is it another text?"
    )


def _another_language(language: str, texts: Sequence[str]) -> str | None:
    words = Counter(word.casefold() for text in texts for word in _WORD.findall(text))
    if not words:
        return None
    total = words.total()
    shares = {other: sum(words[word] for word in known) / total for other, known in frequent_words().items()}
    own = next((share for other, share in shares.items() if same(other, language)), None)
    best = max(shares, key=shares.__getitem__)
    if own is None:
        if shares[best] < ANOTHER_UNKNOWN or len(shared_branch(best, language)) >= CLOSE:
            return None
        against = ""
    else:
        if shares[best] < ANOTHER or shares[best] < 2 * own:
            return None
        against = f", {own:.0%} of {name(language)}"
    return f"{shares[best]:.0%} of the words are frequent ones of {name(best)}{against}: is it another text?"
