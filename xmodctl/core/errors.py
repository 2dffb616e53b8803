"""The one kind of failure a user can mend."""


class UserError(Exception):
    """What the user can mend: one clear sentence that names the place, what was seen, what is allowed, and the remedy.

    The command line prints it without a traceback and exits with code 2. Everything else that is raised is a bug.
    """


class PartialFailureError(Exception):
    """The command ran and kept its finished work, but a part of it failed (exit code 1)."""


LONGEST_WORD = 200
"""Characters of a word that something like it is looked for."""


def near_misses(word: str, choices: "list[str] | tuple[str, ...]", count: int = 3) -> list[str]:
    """Return the choices most like `word`, best first; letter case is ignored."""
    from difflib import get_close_matches

    if len(word) > LONGEST_WORD:  # no name of anything, and slow to compare
        return []
    folded = {choice.casefold(): choice for choice in reversed(choices)}
    return [folded[name] for name in get_close_matches(word.casefold(), list(folded), n=count, cutoff=0.6)]


def did_you_mean(word: str, choices: "list[str] | tuple[str, ...]") -> str:
    """Return `; did you mean X or Y?` for the choices most like `word`, or nothing."""
    found = near_misses(word, choices)
    return f"; did you mean {' or '.join(found)}?" if found else ""
