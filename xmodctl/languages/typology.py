"""How far languages are apart in structure: distances of URIEL+, through its library, which is an extra.

URIEL+ (Khan et al., COLING 2025, arXiv 2409.18472) holds features of syntax, phonology, and sound inventories for some
thousand languages. Its featural distance is the angle between two languages' features, of those known for both, from 0
(alike) to 1. Everything is in the installed library; nothing is downloaded.
"""

import logging
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from importlib import metadata
from typing import Any

import numpy as np

from xmodctl.core.errors import UserError
from xmodctl.languages.tags import members_of, read

DISTANCE = "featural"
"""The features that are compared: all that are typological."""

LEAST_SHARED = 50
"""Features that must be known of both languages: of a handful, any two languages may have the same."""

_FEATURES = 1  # where URIEL+ keeps typological features, beside families, places, and scripts


def typological_distances(language: str, others: Sequence[str]) -> dict[str, float]:
    """Return the distance of a language to each other one that URIEL+ knows features of, from 0 (alike) to 1.

    Args:
        language: A code or name.
        others: Codes or names; those that share fewer than `LEAST_SHARED` known features with it are omitted.

    Raises:
        UserError: The library is missing or cannot read its data, or it knows too few features of the language.
    """
    with _quiet_logging():
        database = _database()
        code = _known_as(language, database)
        if code is None or _known(code, database).sum() < LEAST_SHARED:
            raise UserError(
                f"{language} has too few typological features in URIEL+; choose weights on text in it with --mix-by "
                "text, or give weights, as in zu=0.7*sw+0.3*so"
            )
        known = {other: _known_as(other, database) for other in others}
        distances = {other: _distance(code, its, database) for other, its in known.items() if its}
    return {other: distance for other, distance in distances.items() if distance is not None}


def library_version() -> str:
    """Return the version of the library, which contains the data."""
    return metadata.version("urielplus")


@lru_cache(maxsize=1)
def _database() -> Any:
    """Return the library's database, which takes some seconds to read.

    Raises:
        UserError: The library is missing, or cannot read its data.
    """
    try:
        from urielplus.urielplus import URIELPlus
    except ImportError:
        raise UserError(
            "weights by typology need an extra: pip install 'xmodctl[typology]'; or choose them on text with "
            "--mix-by text"
        ) from None
    try:
        return URIELPlus()
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(
            f"urielplus cannot prepare its data: {error}; when it is first used, it writes four files into the folder "
            "that it is installed in: run the command once as a user who may write there, or install it again"
        ) from error


@contextmanager
def _quiet_logging() -> Iterator[None]:
    """Keep the library from adding a handler to the root logger, and its progress from being logged."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.addHandler(logging.NullHandler())  # with a handler there, `basicConfig` adds none
    root.setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def _known_as(language: str, database: Any) -> str | None:
    """Return the ISO 639-3 code under which most features of a language are known; None if none are.

    A macrolanguage is recorded under its own code, that of its most usual member, or both (`est` and `ekk`).
    """
    tag = read(language)
    if tag is None:
        return None
    import langcodes

    codes = [langcodes.get(code).to_alpha3() for code in (tag.variety, tag.language, *members_of(tag.language))]
    counts = {code: int(_known(code, database).sum()) for code in codes}
    best = max(counts, key=lambda code: counts[code])
    return best if counts[best] else None


def _known(code: str, database: Any) -> "np.ndarray":
    """Return which typological features of a language are known, shape (features,)."""
    values = database.data[_FEATURES]  # languages, features, sources; -1 is unknown
    places = np.flatnonzero(np.asarray(database.langs[_FEATURES]) == code)
    if not len(places):
        return np.zeros(values.shape[1], bool)
    known: np.ndarray = (values[places[0]] != -1).any(axis=-1)
    return known


def _distance(language: str, other: str, database: Any) -> float | None:
    """Return the distance of two languages; None if too few features are known of both."""
    if (_known(language, database) & _known(other, database)).sum() < LEAST_SHARED:
        return None
    return 0.0 if language == other else float(database.new_distance(DISTANCE, [language, other]))
