"""One run from its plan to its deltas: encodings, model, training, checkpoints. Yields what happens."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmodctl.core.files import write_text

if TYPE_CHECKING:
    pass


class MetricsLog:
    """The append-only record of a training; lines past the step that a run continues from are dropped."""

    def __init__(self, path: Path, *, keep_until: int) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.validations: dict[int, float] = {}  # step -> score
        kept: list[str] = []
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    value = json.loads(line)
                except json.JSONDecodeError:
                    continue  # torn by a crash
                if value["step"] <= keep_until:
                    kept.append(line)
                    self._note(value)
        write_text(path, "".join(line + "\n" for line in kept))

    def add(self, value: dict[str, Any]) -> None:
        """Append one line."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(value) + "\n")
        self._note(value)

    def validated(self, step: int) -> bool:
        """Return whether the model of this step has been scored."""
        return step in self.validations

    def _note(self, value: dict[str, Any]) -> None:
        if "metric" in value:
            self.validations[value["step"]] = value["value"]
