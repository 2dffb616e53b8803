"""The tables of a dry run: the plan with the origin of each value, the parameters, and the cost."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from xmodctl.cli.display import Sheet, sheet
from xmodctl.core.messages import counted, size_text

if TYPE_CHECKING:
    from xmodctl.training.dry_run import DryRun

UNKNOWN = "known after the download"


class AnyDryRun(Protocol):
    """What the dry runs of all commands have."""

    @property
    def notes(self) -> Sequence[str]:
        """What the user should know."""

    def to_json(self) -> dict[str, Any]:
        """Return the dry run as plain JSON values."""


D = TypeVar("D", bound=AnyDryRun)


def plan_tables(dry_run: "DryRun", origins: Mapping[str, str]) -> list[Sheet]:
    """Return the tables of a dry run, given the origins of the model, the data, and the folder."""
    parameters = dry_run.cost.parameters
    trainable, total = parameters.trainable / 1e6, parameters.total / 1e6
    return [
        sheet(("plan", "value", "from"), _plan_rows(dry_run, origins)),
        sheet(
            ("parameters", "count", "trains"),
            [(name, f"{count:,}", "yes" if trains else "") for name, count, trains in parameters.groups],
            title=f"{trainable:.1f} M of {total:.1f} M parameters are trainable ({100 * parameters.share:.1f}%)",
            right=("count",),
        ),
        sheet(("cost", "estimate"), _cost_rows(dry_run)),
    ]


def show_dry_run(
    dry_run: D, tables: Callable[[D, Mapping[str, str]], list[Sheet]], origins: Mapping[str, str], *, as_json: bool
) -> None:
    """Print a dry run: its tables and notes, or one JSON document."""
    from xmodctl.cli import display

    if as_json:
        document = dry_run.to_json()
        display.show_json({**document, "origins": {**origins, **document["origins"]}})
        return
    for table in tables(dry_run, origins):
        display.show(table)
    for text in dry_run.notes:
        display.warn(text)
    display.note("dry run: nothing was downloaded or written")


def _plan_rows(dry_run: "DryRun", options: Mapping[str, str]) -> list[tuple[str, str, str]]:
    plan, request, origins = dry_run.plan, dry_run.request, dry_run.resolved.origins

    def chosen(option: str) -> str:
        return "--from-run" if request.from_run else option

    rows = [("task", f"{plan.task.name} ({plan.task.kind})", chosen("--task"))]
    if plan.stage_tasks:
        stages = zip(plan.stage_tasks, plan.recipe.stages, strict=True)
        names = [f"{task.name} ({plan.recipe.of_stage(stage).epochs:g} epochs)" for task, stage in stages]
        rows.append(("stages before", ", ".join(names), origins["stages"]))
    rows.append(("language", ", ".join(plan.source_languages), chosen("--lang")))
    if plan.shots:
        languages = ", ".join(language for language, _ in plan.shots.languages)
        rows.append(("shots", f"{plan.shots.count} examples per language and draw: {languages}", chosen("--shots")))
    rows += [
        (
            "model",
            f"{plan.model}{'@' + plan.revision[:12] if plan.revision else ''}",
            options["model"],
        ),
        ("data", plan.data or "the Hub", options["data"]),
        _seeds(dry_run, options),
        ("precision", plan.precision, chosen("device") if request.precision == "auto" else "--precision"),
    ]
    if plan.rows:
        rows.append(("rows", f"{plan.rows:,} in total", chosen("--rows")))
    if plan.limit:
        rows.append(("limit", f"{plan.limit:,} rows", chosen("--limit")))
    rows.append(("run", str(dry_run.folder), options["run"]))
    keys = [key for key in origins if key not in ("name", "stages")]
    return rows + [(key, recipe_value(getattr(plan.recipe, key)), origins[key]) for key in keys]


def _seeds(dry_run: "DryRun", options: Mapping[str, str]) -> tuple[str, str, str]:
    shots, seeds = dry_run.plan.shots, dry_run.request.run_seeds
    listed = ", ".join(map(str, seeds))
    if shots:
        return "draws of shots", f"{listed}; all trained with seed {shots.training_seed}", "--shot-seeds"
    return "seeds", listed, options["seeds"]


def recipe_value(value: Any) -> str:
    """Return a recipe's value as tables show it."""
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _cost_rows(dry_run: "DryRun") -> list[tuple[str, str]]:
    plan, cost, seeds = dry_run.plan, dry_run.cost, len(dry_run.request.run_seeds)
    stages = [
        (
            f"stage {task.name}",
            f"{stage.rows:,} rows, {stage.steps:,} steps per seed" if stage.rows and stage.steps else UNKNOWN,
        )
        for task, stage in zip(plan.stage_tasks, cost.stages, strict=True)
    ]
    return [
        *stages,
        ("training rows", f"{cost.rows:,}" if cost.rows else UNKNOWN),
        ("optimizer steps per seed", f"{cost.steps:,}" if cost.steps else UNKNOWN),
        ("tokens per forward pass", f"at most {cost.tokens:,}"),
        ("memory", f"about {size_text(cost.memory)}"),
        (f"disk, {counted(seeds, 'seed')}", f"about {size_text(cost.disk)}"),
    ]
