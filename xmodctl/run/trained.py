"""The trained model of one seed: the base model with its delta and the adapters in use."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from xmodctl.kinds import KINDS
from xmodctl.run.deltas import load_delta
from xmodctl.run.run import Run

if TYPE_CHECKING:
    from xmodctl.adapters.packages import Package
    from xmodctl.model import Source, Xmod
from xmodctl.model.inference import best_device


@dataclass(frozen=True)
class Trained:
    """The model of one seed of a run, in memory."""

    model: "Xmod"
    seed: int
    step: int
    selected_on: str

    @classmethod
    def load(
        cls,
        run: Run,
        source: "Source",
        seed: int,
        language: str,
        *,
        device: str | None = None,
        packages: "Sequence[Package]" = (),
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
            num_labels=len(outputs),
            id2label=dict(enumerate(outputs)),
            problem_type=kind.problem_type,
            device=device or best_device(),
        )
        apply_delta(model, tensors)
        for package in packages:
            attach(model, package)
        if language not in model.languages:
            model.swap([language])
        return cls(model, seed, int(facts.get("step", 0)), str(facts.get("selected_on", "")))
