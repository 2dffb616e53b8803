"""`xmodctl finetune`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xmodctl.cli import options
from xmodctl.cli.options import OUTPUT, TRAINING, choice

if TYPE_CHECKING:
    from xmodctl.model import Facts
    from xmodctl.run.plan import Plan
    from xmodctl.run.run import Run
    from xmodctl.training.planning import Asked, Cost, Resolved

PANEL = "Train"
ORDER = 1


def finetune(
    task: options.Task,
    lang: Annotated[
        str,
        typer.Option("--lang", metavar="LANG", help="The language to train in: `en_XX`, `en`, `English`; or several."),
    ],
    model: options.Model = options.DEFAULT_MODEL,
    recipe: options.Recipe = None,
    overrides: options.Overrides = None,
    seeds: options.Seeds = "1",
    shots: Annotated[
        int | None,
        typer.Option(
            "--shots",
            metavar="K",
            min=1,
            help="Train on K examples of each language of --shot-langs, too.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    shot_langs: Annotated[
        str,
        typer.Option("--shot-langs", metavar="LANGS", help="Languages of the examples.", rich_help_panel=TRAINING),
    ] = "",
    shot_seeds: Annotated[
        int,
        typer.Option(
            "--shot-seeds", metavar="N", min=1, help="One training for each of N draws.", rich_help_panel=TRAINING
        ),
    ] = 1,
    precision: options.Precision = "auto",
    data: options.Data = None,
    language_column: options.LanguageColumn = None,
    limit: options.Limit = None,
    out: options.RunOut = None,
    on_exists: options.OnExistingRun = "resume",
    track: Annotated[
        list[str] | None,
        typer.Option(
            "--track",
            metavar="tensorboard|wandb|trackio|mlflow",
            help="Send the curves there; may be repeated.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    dry_run: options.DryRun = False,
    json: options.Json = False,
) -> None:
    """Fine-tune a model in one language, or in several.

    Embeddings and language adapters stay frozen, so that every other language's adapter still fits afterwards. The
    run's folder keeps only the trained tensors; a command that was stopped goes on where it was when it is given again.

    Examples:

    - `xmodctl finetune --task xnli --lang en_XX`

    - `xmodctl finetune --task xnli --lang en --model mini --data data/xnli --seeds 1,2,3`

    - `xmodctl finetune --task xnli --lang de --recipe mine.yaml --set learning_rate=1e-5 --dry-run`

    - `xmodctl finetune --task paws-x --lang en,de --set sampling_alpha=0.3`

    - `xmodctl finetune --task xnli --lang en --shots 10 --shot-langs de,sw --shot-seeds 5`
    """
    from xmodctl.cli import display
    from xmodctl.core.arguments import as_seeds
    from xmodctl.training import trackers
    from xmodctl.training.planning import Asked, draws

    choice("--on-exists", on_exists, ("resume", "redo", "error"))
    trackers.check(track or ())
    changes = options.changes(overrides, language_column)
    asked = Asked(task, lang, model, recipe, changes, data, limit, precision, shots, shot_langs)
    asked, chosen = draws(asked, as_seeds(seeds), shot_seeds)
    if dry_run:
        show_plan(asked, chosen, out, as_json=json)
        return
    run = train(asked, chosen, out, on_exists, track or ())
    from_data = f" --data {data}" if data else ""
    if json:
        display.show_json(summary(run))
    else:
        display.show_text(f"run: {run.folder}")
        display.note(f"next: xmodctl eval-transfer --run {run.folder} --langs @task{from_data}")


def train(asked: "Asked", seeds: tuple[int, ...], out: Path | None, on_exists: str, track: Sequence[str] = ()) -> "Run":
    """Train what is not trained yet, drawing what happens.

    Raises:
        typer.Exit: The user stopped it (code 130).
    """
    from xmodctl.cli import display
    from xmodctl.cli.drawing import Drawing
    from xmodctl.core.signals import Interrupted
    from xmodctl.training import finetune as api

    try:
        with Drawing(display.TrainingProgress) as draw:
            return api.train(asked, seeds, out, on_exists, draw, track=track)
    except Interrupted as stopped:
        display.fail(str(stopped))
        raise typer.Exit(130) from stopped


def summary(run: "Run") -> dict[str, Any]:
    """Return what a finished training tells a program."""
    return {
        "run": str(run.folder),
        "state": run.state,
        "plan": run.plan.to_json(),
        "seeds": [{"seed": seed, "delta": str(run.delta(seed))} for seed in run.finished_seeds],
    }


def show_plan(asked: "Asked", seeds: tuple[int, ...], out: Path | None, *, as_json: bool) -> None:
    """Print the plan, each value with its origin, and what it costs."""
    from xmodctl.cli import display
    from xmodctl.model import look_up
    from xmodctl.run.folder import RUNS
    from xmodctl.training.planning import estimate, resolve_plan, row_counts

    resolved, facts = resolve_plan(asked, look_up)
    plan = resolved.plan
    cost = estimate(plan, facts, row_counts(plan, asked.data), len(seeds))
    folder = out or RUNS / plan.folder_name
    if as_json:
        display.show_json(
            {
                "plan": plan.to_json(),
                "origins": dict(resolved.origins),
                "seeds": list(seeds),
                "run": str(folder),
                "rows": cost.rows,
                "steps": cost.steps,
                "stages": [
                    {"task": task.name, "rows": rows, "steps": steps}
                    for task, (rows, steps) in zip(plan.earlier, cost.stages, strict=True)
                ],
                "parameters": {"total": cost.parameters.total, "trainable": cost.parameters.trainable},
                "memory_bytes": cost.memory,
                "disk_bytes": cost.disk,
                "notes": list(resolved.notes),
            }
        )
        return
    display.show(_plan_sheet(asked, resolved, facts, seeds, folder))
    display.show(
        display.sheet(
            ("parameters", "count", "trains"),
            [(name, f"{count:,}", "yes" if trains else "") for name, count, trains in cost.parameters.groups],
            title=f"{cost.parameters.trainable / 1e6:.1f} M of {cost.parameters.total / 1e6:.1f} M parameters train "
            f"({100 * cost.parameters.share:.1f} %)",
            right=("count",),
        )
    )
    display.show(display.sheet(("cost", "estimate"), _costs(plan, cost, len(seeds))))
    for told in resolved.notes:
        display.warn(told)
    display.note("dry run: nothing was downloaded or written")


def _plan_sheet(
    asked: "Asked", resolved: "Resolved[Plan]", facts: "Facts", seeds: tuple[int, ...], folder: Path
) -> Any:
    from xmodctl.cli import display

    plan = resolved.plan
    rows = [
        ("task", f"{plan.task.name} ({plan.task.kind})", "--task"),
        *((("trained first", _first(plan), resolved.origins["stages"]),) if plan.earlier else ()),
        ("language", ", ".join(plan.source_languages), "--lang"),
        *((("shots", f"{plan.shots.count} of {_shot_languages(plan)} a draw", "--shots"),) if plan.shots else ()),
        ("model", f"{plan.model}{'@' + plan.revision[:12] if plan.revision else ''}", facts.origin),
        ("data", plan.data or "the Hub", "--data" if plan.data else "default"),
        _seeds(plan, seeds),
        ("precision", plan.precision, "device" if asked.precision == "auto" else "--precision"),
        *((("limit", f"{plan.limit:,} rows", "--limit"),) if plan.limit else ()),
        ("run", str(folder), "default"),
        *(
            (key, as_told(getattr(plan.recipe, key)), origin)
            for key, origin in resolved.origins.items()
            if key not in ("name", "stages")
        ),
    ]
    return display.sheet(("plan", "value", "from"), rows)


def _first(plan: "Plan") -> str:
    stages = zip(plan.earlier, plan.recipe.stages, strict=True)
    return ", ".join(f"{task.name} ({plan.recipe.of_stage(stage).epochs:g} epochs)" for task, stage in stages)


def _shot_languages(plan: "Plan") -> str:
    return ", ".join(language for language, _ in plan.shots.languages) if plan.shots else ""


def _seeds(plan: "Plan", seeds: tuple[int, ...]) -> tuple[str, str, str]:
    told = ", ".join(map(str, seeds))
    if plan.shots:
        return "draws of shots", f"{told}; the training's seed is {plan.shots.training_seed}", "--shot-seeds"
    return "seeds", told, "--seeds" if seeds != (1,) else "default"


def as_told(value: Any) -> str:
    """Return a recipe's value as the plan shows it."""
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _costs(plan: "Plan", cost: "Cost", seeds: int) -> list[tuple[str, str]]:
    from xmodctl.cli.display import size

    unknown = "known after the download"
    stages = [
        (f"{task.name} first", f"{rows:,} rows, {steps:,} steps a seed" if rows and steps else unknown)
        for task, (rows, steps) in zip(plan.earlier, cost.stages, strict=True)
    ]
    return [
        *stages,
        ("training rows", f"{cost.rows:,}" if cost.rows else unknown),
        ("optimiser steps a seed", f"{cost.steps:,}" if cost.steps else unknown),
        ("memory", f"about {size(cost.memory)}"),
        (f"disk, {seeds} seed{'s' if seeds > 1 else ''}", f"about {size(cost.disk)}"),
    ]
