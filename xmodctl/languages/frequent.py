"""The frequent words of languages, by which running text is told apart."""

from functools import lru_cache

from xmodctl.languages.tags import load_table


@lru_cache(maxsize=1)
def frequent_words() -> dict[str, frozenset[str]]:
    """Return frequent words in lower case by language, of languages that put blanks between words."""
    return {language: frozenset(words.split()) for language, words in load_table("frequent.yaml").items()}
