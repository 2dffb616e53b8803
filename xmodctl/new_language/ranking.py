"""What `add-language` found about a language's initialization, kept for the command that continues it.

Ranking adapters takes minutes with a large model, and what an adapter starts from decides its weights: the file is used
only if it is what was written.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from xmodctl.adapters.written_weights import MIX
from xmodctl.core.errors import UserError
from xmodctl.core.files import read_json, write_json
from xmodctl.core.json_text import json_text
from xmodctl.core.schema import validator
from xmodctl.new_language.adapter_initialization import AUTO, sources_of
from xmodctl.training.masked_lm.ranking import Candidate

_DIGEST = "sha256"


@dataclass(frozen=True)
class Ranking:
    """The model's adapters by their loss on a language's text, the best first, and what to initialize from."""

    candidates: tuple[Candidate, ...]
    start: str


def write_ranking(path: Path, ranking: Ranking) -> None:
    """Write a ranking with the sha256 of what it says."""
    value = {"start": ranking.start, "candidates": [asdict(candidate) for candidate in ranking.candidates]}
    write_json(path, value | {_DIGEST: _digest(value)})


def read_ranking(path: Path, init_from: str, adapters: Callable[[], Sequence[str]]) -> Ranking | None:
    """Return the ranking that a file has; None if there is no file, or if it is damaged.

    Files of earlier versions have no sha256: they must name the adapters that there are, and begin with what was asked
    for.

    Args:
        path: The file.
        init_from: What was asked for.
        adapters: Returns the adapters that are ranked.
    """
    try:
        value = read_json(path)
        stated = value.pop(_DIGEST, None)
        ranking = validator(Ranking).validate_python(value)
        if set(value) != {"start", "candidates"} or stated not in (None, _digest(value)):
            return None
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    names = [candidate.adapter for candidate in ranking.candidates]
    if stated is None and (sorted(names) != sorted(adapters()) or not _can_start(ranking.start, init_from, names)):
        return None
    return ranking if names else None


def _can_start(start: str, init_from: str, ranked: Sequence[str]) -> bool:
    """Return whether an adapter that is to start from `init_from` can start so, with these adapters, the best first."""
    if init_from == MIX:
        try:
            return set(sources_of(start)) <= set(ranked)
        except UserError:
            return False
    return start == (ranked[0] if init_from == AUTO else init_from)


def _digest(value: Any) -> str:
    return hashlib.sha256(json_text(value).encode()).hexdigest()
