"""The dry run: the plan of a fine-tuning and what it costs. Nothing is downloaded or written."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmodctl.core.events import warn
from xmodctl.core.requests import command
from xmodctl.training.request import FinetuneRequest

if TYPE_CHECKING:
    from xmodctl.model import Facts
    from xmodctl.run.plan import Plan
    from xmodctl.training.cost import Cost
    from xmodctl.training.planning import ResolvedPlan


@dataclass(frozen=True)
class DryRun:
    """What a fine-tuning would do and cost."""

    request: FinetuneRequest
    resolved: "ResolvedPlan[Plan]"
    model: "Facts"
    cost: "Cost"
    folder: Path  # of the run

    @property
    def plan(self) -> "Plan":
        """The plan."""
        return self.resolved.plan

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about the plan."""
        return (*self.resolved.remarks, *self.resolved.notes)

    def to_json(self) -> dict[str, Any]:
        """Return the dry run as plain JSON values."""
        plan, cost = self.plan, self.cost
        return {
            "plan": plan.to_json(),
            "origins": dict(self.resolved.origins),
            "seeds": list(self.request.run_seeds),
            "run": str(self.folder),
            "rows": cost.rows,
            "steps": cost.steps,
            "stages": [
                {"task": task.name, "rows": stage.rows, "steps": stage.steps}
                for task, stage in zip(plan.stage_tasks, cost.stages, strict=True)
            ],
            "parameters": {"total": cost.parameters.total, "trainable": cost.parameters.trainable},
            "tokens_per_step": cost.tokens,
            "memory_bytes": cost.memory,
            "disk_bytes": cost.disk,
            "notes": list(self.notes),
        }


@command(FinetuneRequest)
def plan_finetune(request: FinetuneRequest) -> DryRun:
    """Return what `finetune` would do and cost, as `xmodctl finetune --dry-run` does.

    Raises:
        UserError: You can fix something in the request, the data or the environment.
    """
    from xmodctl.model import look_up
    from xmodctl.training.cost import estimate, row_counts
    from xmodctl.training.finetune import run_folder
    from xmodctl.training.repeating import resolve_request, with_seeds

    request = with_seeds(request)
    resolved, model = resolve_request(request, look_up, request.listen or warn)
    folder = Path(resolved.plan.data) if resolved.plan.data else None
    cost = estimate(resolved.plan, model, row_counts(resolved.plan, folder), seeds=len(request.run_seeds))
    return DryRun(request, resolved, model, cost, run_folder(request, resolved.plan))
