"""The record of a training: one JSON line per step and per validation."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xmodctl.core import jsonl
from xmodctl.core.errors import UserError
from xmodctl.core.reading import check_file


class MetricsLog:
    """An append-only `metrics.jsonl`; lines past the step that a training resumes from are dropped."""

    def __init__(self, path: Path, *, keep_until: int) -> None:
        self.path = path
        self.validations: dict[int, float] = {}  # step -> score, percent
        kept = [value for value in _lines(path) if value["step"] <= keep_until]
        for value in kept:
            self._note(value)
        jsonl.write(path, kept)

    def add(self, value: dict[str, Any]) -> None:
        """Append one line."""
        jsonl.append(self.path, value, durable=False)
        self._note(value)

    def is_validated(self, step: int) -> bool:
        """Return whether the model of this step has been scored."""
        return step in self.validations

    def _note(self, value: dict[str, Any]) -> None:
        if "metric" in value:
            self.validations[value["step"]] = value["value"]


def logged_steps(path: Path) -> int | None:
    """Return the last step before any damage to a log; None if there is no log.

    Raises:
        UserError: It is no file.
    """
    check_file(path)
    if not path.exists():
        return None
    return max((value["step"] for value in _lines(path)), default=0)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a log up to the first that is damaged; what comes after it is trained again."""
    if not path.exists():
        return
    try:
        for _, value in jsonl.read(path, remedy="", append_only=True):
            if not isinstance(value.get("step"), int) or ("metric" in value and not _is_number(value.get("value"))):
                return
            yield value
    except UserError:
        return


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
