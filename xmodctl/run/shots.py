"""The few examples of target languages that a seed trains on: recorded, so that a sweep never scores them."""

import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xmodctl.core.errors import UserError
from xmodctl.core.files import read_json, write_json
from xmodctl.core.schema import validator
from xmodctl.languages import same
from xmodctl.run.plan import Plan


@dataclass(frozen=True)
class DrawnShots:
    """The examples of one language that a seed draws."""

    language: str  # as the data spells it
    adapter: str
    split: str
    origin: str
    ids: tuple[str, ...]
    digests: tuple[str, ...]  # by which a row is known whatever its id


def write_shots(path: Path, drawn: Sequence[DrawnShots]) -> None:
    """Record which examples a seed trains on."""
    write_json(
        path,
        [
            {
                "language": shots.language,
                "adapter": shots.adapter,
                "split": shots.split,
                "origin": shots.origin,
                "ids": list(shots.ids),
                "sha256": list(shots.digests),
            }
            for shots in drawn
        ],
    )


def refuse_shots(path: Path, language: str, split: str, rows: Collection[dict[str, Any]]) -> None:
    """Refuse rows of the split that a seed drew its shots from, where some of them were drawn.

    Args:
        path: What `write_shots` wrote for the seed.
        language: The language of the rows, as the data spells it.
        split: Their split.
        rows: What would be scored.

    Raises:
        UserError: Some were.
    """
    for shots in _stored_shots(path) if path.exists() else ():
        if shots.split != split or not same(shots.language, language):
            continue
        if trained := set(shots.digests) & set(row_digests(rows)):
            raise UserError(
                f"{len(trained)} of the {len(rows):,} rows of {language} {split} were trained on "
                f"(--shots, listed in {path}); score rows that were not, such as --split test"
            )


def _stored_shots(path: Path) -> list[DrawnShots]:
    try:
        return [
            validator(DrawnShots).validate_python({**value, "digests": value["sha256"]}) for value in read_json(path)
        ]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{path} is damaged, so it is not known which rows were trained on; restore it, or train again with "
            "--on-exists redo"
        ) from error


def shots_of(plan: Plan, language: str) -> int:
    """Return how many examples of a language a plan trains on besides those of its sources."""
    if plan.shots and any(same(data, language) for data, _ in plan.shots.languages):
        return plan.shots.count
    return 0


def row_digests(rows: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    """Return a digest of each row, its id left aside."""

    def digest(row: dict[str, Any]) -> str:
        content = json.dumps({name: value for name, value in row.items() if name != "id"}, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:32]

    return tuple(digest(row) for row in rows)
