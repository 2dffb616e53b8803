"""Languages as people write them: which adapter is meant, what a language is called, who its relatives are."""

from xmodctl.languages.frequent import frequent_words
from xmodctl.languages.kinship import family, related
from xmodctl.languages.resolution import Match, resolve, same
from xmodctl.languages.selection import Expansion, Target, expand
from xmodctl.languages.tags import name, script

__all__ = [
    "Expansion",
    "Match",
    "Target",
    "expand",
    "family",
    "frequent_words",
    "name",
    "related",
    "resolve",
    "same",
    "script",
]
