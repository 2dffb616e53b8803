"""Languages: from any spelling to an adapter, names, scripts, and related languages."""

from xmodctl.languages.frequent import frequent_words
from xmodctl.languages.kinship import family, related
from xmodctl.languages.resolution import Match, likely_meant, resolve, same, variety
from xmodctl.languages.selection import Expansion, Target, expand
from xmodctl.languages.tags import MIXED, base, is_corpus, meaning, name, script

__all__ = [
    "MIXED",
    "Expansion",
    "Match",
    "Target",
    "base",
    "expand",
    "family",
    "frequent_words",
    "is_corpus",
    "likely_meant",
    "meaning",
    "name",
    "related",
    "resolve",
    "same",
    "script",
    "variety",
]
