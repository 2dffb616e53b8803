"""`xmodctl finetune`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xmodctl.cli import options
from xmodctl.cli.defaults import from_command_line
from xmodctl.cli.launching import launch_unless_launched
from xmodctl.cli.loading import say_loading
from xmodctl.cli.options import OUTPUT, TRAINING

if TYPE_CHECKING:
    from xmodctl.run.run import Run
    from xmodctl.training.dry_run import DryRun

PANEL = "Train"
ORDER = 1


Task = Annotated[
    str, typer.Option("--task", metavar="TASK", help="A shipped task or your own YAML file. Required with --lang.")
]
Languages = Annotated[
    str,
    typer.Option(
        "--lang", metavar="LANG", help="The language to train in: `en_XX`, `en`, `English`; or several: `en,de`."
    ),
]
FromRun = Annotated[
    Path | None,
    typer.Option(
        "--from-run",
        metavar="RUN",
        help=(
            "Repeat the plan of a run with the changes given by --set; replaces --task, --lang, and the other options."
        ),
    ),
]
Seeds = Annotated[
    str | None,
    typer.Option(
        "--seeds",
        metavar="N[,N...]",
        help="Comma-separated seeds; one training run per seed. Default: 1, or the seeds of --from-run.",
        rich_help_panel=TRAINING,
    ),
]
TotalRows = Annotated[
    int | None,
    typer.Option(
        "--rows",
        metavar="N",
        min=1,
        help="Train on N rows in total, equal numbers of each language, drawn at random.",
        rich_help_panel=TRAINING,
    ),
]
Shots = Annotated[
    int | None,
    typer.Option(
        "--shots",
        metavar="K",
        min=1,
        help="Also train on K examples of each language in --shot-langs.",
        rich_help_panel=TRAINING,
    ),
]
ShotLanguages = Annotated[
    str,
    typer.Option("--shot-langs", metavar="LANGS", help="The languages of these examples.", rich_help_panel=TRAINING),
]
ShotSeeds = Annotated[
    int,
    typer.Option(
        "--shot-seeds",
        metavar="N",
        min=1,
        help="Draw the examples N times; one training run per draw.",
        rich_help_panel=TRAINING,
    ),
]
RunName = Annotated[
    str | None,
    typer.Option("--name", metavar="NAME", help="The run's name: its folder under `runs/`.", rich_help_panel=OUTPUT),
]
Trackers = Annotated[
    list[str] | None,
    typer.Option(
        "--track",
        metavar="TRACKER",
        help="Send the training curves to `tensorboard`, `wandb`, `trackio`, or `mlflow`; repeatable.",
        rich_help_panel=OUTPUT,
    ),
]


def finetune(
    ctx: typer.Context,
    task: Task = "",
    lang: Languages = "",
    from_run: FromRun = None,
    model: options.Model = options.DEFAULT_MODEL,
    recipe: options.Recipe = None,
    overrides: options.Overrides = None,
    seeds: Seeds = None,
    shots: Shots = None,
    shot_langs: ShotLanguages = "",
    shot_seeds: ShotSeeds = 1,
    precision: options.Precision = "auto",
    data: options.TrainingData = None,
    language_column: options.LanguageColumn = None,
    rows: TotalRows = None,
    limit: options.Limit = None,
    processes: options.Processes = 1,
    name: RunName = None,
    out: options.RunOut = None,
    on_exists: options.OnExistingRun = "resume",
    track: Trackers = None,
    shard: options.Shard = None,
    wait: options.Wait = False,
    dry_run: options.DryRun = False,
    json: options.Json = False,
) -> None:
    """Fine-tune a model in one language or several.

    Embeddings and language adapters stay frozen, so that the adapters of all other languages still fit afterwards. The
    run's folder keeps only the trained tensors. If you interrupt the command, run it again to resume.

    Examples:

    - `xmodctl finetune --task xnli --lang en_XX`

    - `xmodctl finetune --task classification --lang en --model mini --data tickets.csv --name tickets`

    - `xmodctl finetune --task xnli --lang en --model mini --data data/xnli --seeds 1,2,3 --rows 10000`

    - `xmodctl finetune --task xnli --lang de --recipe mine.yaml --set learning_rate=1e-5 --dry-run`

    - `xmodctl finetune --task xnli --lang en --shots 10 --shot-langs de,sw --shot-seeds 5`

    - `xmodctl finetune --from-run runs/my-run --set learning_rate=1e-5`
    """
    if from_run is not None:  # the run's model and data come before those of the project
        model, data = from_command_line(ctx, "model", options.DEFAULT_MODEL), from_command_line(ctx, "data", None)
    say_loading(from_run or model)
    launch_unless_launched(ctx, 1 if dry_run else processes)
    from xmodctl.core.schema import parse_override

    _train(
        ctx, json, dry_run, task=task, lang=lang, from_run=from_run, model=model, recipe=recipe, data=data,
        overrides=dict(map(parse_override, overrides or ())), language_column=language_column, rows=rows, limit=limit,
        precision=precision, seeds=seeds, shots=shots, shot_langs=shot_langs, shot_seeds=shot_seeds, name=name, out=out,
        on_exists=on_exists, track=track or (), shard=shard, wait=wait,
    )  # fmt: skip


def _train(ctx: typer.Context, as_json: bool, is_dry: bool, **request: Any) -> None:
    """Train, or plan the training, and print what comes of it."""
    from xmodctl.cli.defaults import origins
    from xmodctl.cli.drawing import Drawing
    from xmodctl.cli.training_progress import TrainingProgress
    from xmodctl.training.dry_run import plan_finetune
    from xmodctl.training.finetune import finetune as train

    with Drawing(TrainingProgress) as listen:
        result = (plan_finetune if is_dry else train)(**request, listen=listen)
    _show(result, origins(ctx), as_json=as_json)


def _show(run: "Run | DryRun", origins: Mapping[str, str], *, as_json: bool) -> None:
    """Print what a fine-tuning made, or what it would make."""
    from xmodctl.cli import display
    from xmodctl.cli.plan_tables import plan_tables, show_dry_run
    from xmodctl.training.dry_run import DryRun

    if isinstance(run, DryRun):
        show_dry_run(run, plan_tables, origins, as_json=as_json)
        return
    if as_json:
        display.show_json(
            {
                "run": str(run.folder),
                "state": run.state,
                "plan": run.plan.to_json(),
                "seeds": [{"seed": seed, "delta": str(run.delta(seed))} for seed in run.finished_seeds],
            }
        )
        return
    display.show_text(f"run: {run.folder}")
    languages = "all" if run.plan.task.from_data else "@task"
    display.note(f"next: xmodctl eval-transfer --run {run.folder} --langs {languages}")
