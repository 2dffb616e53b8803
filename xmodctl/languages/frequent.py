"""Frequent words, which identify the language of running text."""

from functools import lru_cache

from xmodctl.languages.tags import load_table


@lru_cache(maxsize=1)
def frequent_words() -> dict[str, frozenset[str]]:
    """Return lower-case frequent words by language, for languages that put spaces between words."""
    return {language: frozenset(words.split()) for language, words in load_table("frequent.yaml").items()}
