"""What a task is, for people: its languages with the adapters of a model, and what its file says."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmodctl.catalog.catalog import task as find_task
from xmodctl.catalog.locations import Split
from xmodctl.catalog.task import Task
from xmodctl.core.arguments import DEFAULT_MODEL
from xmodctl.core.errors import UserError
from xmodctl.data.published import coverage
from xmodctl.languages import name, resolve

if TYPE_CHECKING:
    from xmodctl.model import Facts


@dataclass(frozen=True)
class TaskLanguage:
    """A language of a task."""

    code: str  # as the benchmark spells it
    name: str  # in English
    adapter: str | None  # of the model; None if it has none
    splits: tuple[Split, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {"code": self.code, "name": self.name, "adapter": self.adapter, "splits": list(self.splits)}


@dataclass(frozen=True)
class TaskDescription:
    """A task beside a model."""

    task: Task
    model: str
    languages: tuple[TaskLanguage, ...]
    knows_adapters: bool  # whether the model's languages are known without a download

    def to_json(self) -> dict[str, Any]:
        """Return what the task's file says, with what it includes, as plain JSON values."""
        return self.task.model_dump(mode="json")


def describe_task(task: str | Path, model: str | Path = DEFAULT_MODEL) -> TaskDescription:
    """Describe a task. Nothing is downloaded.

    Args:
        task: A shipped task's name or alias, or the path of a YAML file.
        model: The model whose adapters are looked up.

    Raises:
        UserError: There is no such task or model, or the file has mistakes.
    """
    from xmodctl.model import look_up

    described, facts = find_task(str(task)), look_up(str(model))
    covered = coverage(described)
    languages = [
        TaskLanguage(code, name(code), adapter_of(described, code, facts, str(model)), covered.get(code, ()))
        for code in described.languages
    ]
    return TaskDescription(described, str(model), tuple(languages), bool(facts.languages) or facts.open_languages)


def adapter_of(task: Task, code: str, facts: "Facts", model: str) -> str | None:
    """Return the adapter that data of a language goes through, or None if the model has none."""
    try:
        match = resolve(task.language_of(code), facts.languages or (), model=model, open_languages=facts.open_languages)
    except UserError:
        return None
    return match.adapter
