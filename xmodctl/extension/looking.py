"""Is this text in the language it is said to be in? Two cheap looks: the script of its letters, and frequent words."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

from xmodctl.checking import foreign, script_of
from xmodctl.languages import name, same
from xmodctl.languages.kinship import shared_branch
from xmodctl.mini import demonstration_folder

ANOTHER = 0.25
"""A text with this share of its words in another language's list is taken for that language's. Seen in paragraphs of
Wikipedia: 30 to 55 % of the words are in the list of their own language for most, under 10 % in an unrelated one's."""
CLOSE = 3
"""Branches that two languages share which are too close to be told apart by a list of words."""
_WORD = re.compile(r"[^\W\d_]+")


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
    words = [word.casefold() for text in texts for word in _WORD.findall(text)]
    if not words:
        return None
    shares = {other: sum(word in known for word in words) / len(words) for other, known in _words().items()}
    own = next((share for other, share in shares.items() if same(other, language)), 0.0)
    best = max(shares, key=shares.__getitem__)
    if shares[best] < ANOTHER or own > shares[best] - 0.1 or same(best, language):
        return None
    if not own and len(shared_branch(best, language)) >= CLOSE:
        return None
    return f"{shares[best]:.0%} of the words are {name(best)}: is the text in {name(language)}?"


@cache
def _words() -> dict[str, frozenset[str]]:
    """Return the words of the demonstration's sentences by language, of those that put blanks between words."""
    found: dict[str, set[str]] = {}
    for kind in ("nli", "mc", "ner"):
        for folder in sorted(path for path in demonstration_folder(kind).iterdir() if path.is_dir()):
            words = found.setdefault(folder.name, set())
            for line in (folder / "test.jsonl").read_text(encoding="utf-8").splitlines():
                words.update(word.casefold() for text in _texts(json.loads(line)) for word in _WORD.findall(text))
    return {language: frozenset(words) for language, words in found.items() if language not in ("th", "zh")}


def _texts(row: dict[str, Any]) -> list[str]:
    if "tokens" in row:  # names say nothing about a language
        return [word for word, tag in zip(row["tokens"], row["ner_tags"], strict=True) if tag == "O"]
    return [row[column] for column in ("premise", "hypothesis", "choice1", "choice2") if column in row]
