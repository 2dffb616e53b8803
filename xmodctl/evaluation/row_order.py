"""The order of rows in a file that several jobs append to: that in which one job would have written them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xmodctl.core.files import whole_file
from xmodctl.run.run import score_key


def count_rows(path: Path) -> int:
    """Return the number of whole lines in a file; 0 if there is none."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


def put_in_order(path: Path, order: Mapping[tuple[Any, ...], int], since: int) -> None:
    """Sort the rows of one command's scores; the other rows keep their places.

    Args:
        path: The file, that no other process appends to now.
        order: The place of each score of the command: `score_key` -> number.
        since: The number of rows before those of these jobs, which also keep their places.
    """
    if not path.exists():
        return
    lines = [line + b"\n" for line in path.read_bytes().split(b"\n")[:-1]]
    places: list[tuple[int, int]] = []  # number of a line, place of its score
    for number, line in enumerate(lines[since:], since):
        value = json.loads(line) if line.strip() else {}
        key = score_key(value)
        if key in order:
            places.append((number, order[key]))
    ordered = sorted(places, key=lambda pair: pair[1])
    if ordered == places:
        return
    rows = list(lines)
    for (number, _), (origin, _) in zip(places, ordered, strict=True):
        rows[number] = lines[origin]
    with whole_file(path) as part:
        part.write_bytes(b"".join(rows))
