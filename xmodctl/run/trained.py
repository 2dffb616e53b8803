"""The trained model of one seed: the base model with its delta and the adapters in use."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from xmodctl.catalog.task import Task
from xmodctl.core.safetensors_io import DamagedFileError
from xmodctl.kinds import KINDS
from xmodctl.run.deltas import check_delta, load_delta
from xmodctl.run.run import Run

if TYPE_CHECKING:
    from xmodctl.adapters.mixtures import Attached
    from xmodctl.model import Source, Xmod
from xmodctl.model.inference import best_device


@dataclass(frozen=True)
class Trained:
    """The model of one seed of a run, in memory."""

    model: "Xmod"
    seed: int
    step: int
    selected_on: str
    settings: Mapping[str, Any] = field(default_factory=dict)  # keys of the task that were chosen after training

    @classmethod
    def load(
        cls,
        run: Run,
        source: "Source",
        seed: int,
        language: str,
        *,
        device: str | None = None,
        packages: "Sequence[Attached]" = (),
    ) -> Self:
        """Load the base with one language, the head of the run's task, the delta of one seed, and packages."""
        from xmodctl.adapters.attaching import attach
        from xmodctl.model import apply_delta, load

        tensors, facts = load_delta(run.delta(seed), source, remedy=run.retraining(seed))
        kind = KINDS[run.plan.task.kind]
        outputs = kind.outputs(run.plan.task)
        model = load(
            source,
            kind.head,
            [run.plan.source_languages[0] if language in {package.language for package in packages} else language],
            num_labels=len(outputs) or None,
            id2label=dict(enumerate(outputs)) or None,
            problem_type=kind.problem_type,
            device=device or best_device(),
        )
        model.variable_length = run.plan.recipe.variable_length
        apply_delta(model, tensors)
        for package in packages:
            attach(model, package)
        if language not in model.languages:
            model.swap([language])
        return cls(model, seed, int(facts.get("step", 0)), str(facts.get("selected_on", "")), _settings(facts))

    def settled(self, task: Task) -> Task:
        """Return a task with the values that were chosen for this seed.

        Raises:
            UserError: A value is not one of the task's.
        """
        return _settled(task, self.settings, origin=f"the delta of seed {self.seed}")


def settled_task(run: Run, seed: int) -> Task:
    """Return the run's task with the values that were chosen for a seed; the model is not loaded.

    Raises:
        UserError: A value is not one of the task's.
    """
    task = run.plan.task
    if not KINDS[task.kind].chosen_keys(task):
        return task
    try:
        facts = json.loads(check_delta(run.delta(seed)).get("facts", "{}"))
    except (DamagedFileError, OSError, ValueError, RecursionError):
        return task  # loading the model reports it
    return _settled(task, _settings(facts), origin=str(run.delta(seed)))


def _settings(facts: Any) -> Mapping[str, Any]:
    settings = facts.get("settings") if isinstance(facts, dict) else None
    return settings if isinstance(settings, dict) else {}


def _settled(task: Task, settings: Mapping[str, Any], *, origin: str) -> Task:
    chosen = {key: settings[key] for key in KINDS[task.kind].chosen_keys(task) if key in settings}
    return task.with_values(chosen, origin=origin) if chosen else task
