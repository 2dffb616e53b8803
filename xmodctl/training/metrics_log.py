"""The record of a training: one JSON line per step and per validation."""

from pathlib import Path
from typing import Any

from xmodctl.core import jsonl


class MetricsLog:
    """An append-only `metrics.jsonl`; lines past the step that a training resumes from are dropped."""

    def __init__(self, path: Path, *, keep_until: int) -> None:
        self.path = path
        self.validations: dict[int, float] = {}  # step -> score, percent
        kept: list[dict[str, Any]] = []
        if path.exists():
            for _, value in jsonl.read(path, remedy="train again with --on-exists redo", append_only=True):
                if value["step"] <= keep_until:
                    kept.append(value)
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
