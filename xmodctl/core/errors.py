"""The failures that commands report, and suggestions for misspelled words."""

import errno


class UserError(Exception):
    """A failure that the user can fix: one clear sentence with the place, what was seen, what is allowed, and the fix.

    The command line prints it without a traceback and exits with code 2. Every other exception is a bug.
    """


class PartialFailureError(Exception):
    """The command ran and saved its finished work, but a part of it failed (exit code 1)."""


class InProgressError(Exception):
    """The command did what was free and saved it; other jobs are doing the rest (exit code 3).

    Args:
        message: Which parts, and who does them.
        result: What the command returns for the parts that are done, if there is any.
    """

    def __init__(self, message: str, result: object = None) -> None:
        super().__init__(message)
        self.result = result


class LostProcessError(Exception):
    """Another process that works on the same has ended; its message, or its launcher's, says why (exit code 2)."""


LONGEST_WORD = 200
"""Characters; for longer words there are no suggestions."""


def near_misses(word: str, choices: "list[str] | tuple[str, ...]", count: int = 3) -> list[str]:
    """Return the choices most similar to `word`, best first, ignoring case."""
    from difflib import get_close_matches

    if len(word) > LONGEST_WORD:  # not a name, and slow to compare
        return []
    folded = {choice.casefold(): choice for choice in reversed(choices)}
    return [folded[name] for name in get_close_matches(word.casefold(), list(folded), n=count, cutoff=0.6)]


def did_you_mean(word: str, choices: "list[str] | tuple[str, ...]") -> str:
    """Return ` (did you mean X or Y?)` for the choices most similar to `word`, or an empty string."""
    similar = near_misses(word, choices)
    return f" (did you mean {' or '.join(similar)}?)" if similar else ""


def reason_of(error: OSError) -> str:
    """Return why a file or folder cannot be made; making a folder where a file or a broken link is says `exists`."""
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return "a part of this path is a file or a broken link, not a folder"
    return error.strerror or str(error)
