"""The options that several commands share, each declared once."""

from pathlib import Path
from typing import Annotated

import typer

from xmodctl.core import environment
from xmodctl.core.arguments import DEFAULT_MODEL, check_choice

__all__ = [
    "DATA",
    "DEFAULT_MODEL",
    "OUTPUT",
    "TRAINING",
    "Adapters",
    "CopyFile",
    "Data",
    "DryRun",
    "Json",
    "KeepInput",
    "LanguageColumn",
    "Languages",
    "Limit",
    "Model",
    "OnExistingRun",
    "OnExistingScores",
    "OutFolder",
    "Overrides",
    "Precision",
    "Recipe",
    "RecipeOverrides",
    "RunData",
    "RunFolder",
    "RunOut",
    "Seed",
    "Seeds",
    "Shard",
    "ShippedName",
    "Split",
    "Task",
    "TextLanguage",
    "Texts",
    "TrainingData",
    "Wait",
    "changes",
    "choice",
]

DATA = "Data"
TRAINING = "Training"
OUTPUT = "Output"
JOBS = "Jobs"

# What to train, and on what.

Task = Annotated[str, typer.Option("--task", metavar="TASK", help="A shipped task or your own YAML file.")]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="MODEL",
        envvar=environment.MODEL.name,
        help="A Hub id (optionally with `@REVISION`), a folder, or `mini`.",
    ),
]
Recipe = Annotated[
    str | None,
    typer.Option(
        "--recipe", metavar="RECIPE", help="A shipped recipe or your own YAML file.", rich_help_panel=TRAINING
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a key of the recipe or the task, as in `learning_rate=1e-5`; repeatable.",
        rich_help_panel=TRAINING,
    ),
]
RecipeOverrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a key of the recipe, as in `learning_rate=1e-4`; repeatable.",
        rich_help_panel=TRAINING,
    ),
]
Seeds = Annotated[
    str,
    typer.Option(
        "--seeds",
        metavar="N[,N...]",
        help="Comma-separated seeds; one training run per seed.",
        rich_help_panel=TRAINING,
    ),
]
Processes = Annotated[
    int,
    typer.Option(
        "--processes",
        metavar="N",
        min=1,
        help="Train in N processes on this machine, which share each batch.",
        rich_help_panel=TRAINING,
    ),
]
ScoringProcesses = Annotated[
    int,
    typer.Option(
        "--processes", metavar="N", min=1, help="Compute in N processes on this machine, which share the rows."
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        "--precision",
        metavar="auto|fp32|tf32|bf16|fp16",
        help="Numeric precision; `auto` is bf16 on GPUs that support it, fp16 on older ones with tensor cores, else "
        "fp32. None has been measured on a GPU.",
    ),
]

# Which trained model.

RunFolder = Annotated[
    Path | None,
    typer.Option("--run", metavar="DIR", help="The run's folder. Default: the newest run under `runs/`."),
]
Seed = Annotated[
    int | None, typer.Option("--seed", metavar="N", help="The seed of the model to use. Default: the run's first seed.")
]
Adapters = Annotated[
    list[str] | None,
    typer.Option(
        "--adapter",
        metavar="DIR|NAME",
        help="An adapter package for a language that the model lacks: its folder, or its name in the store; "
        "repeatable.",
    ),
]

# Which data.

Languages = Annotated[
    str,
    typer.Option(
        "--langs",
        metavar="LANGS",
        help="Languages: `de_DE,fr`, `all`, `@task`, `all,-zh_TW` to exclude one, `jv=id_ID` to pair data with "
        "another language's adapter, `zu=0.7*sw+0.3*so` with a mixture of several.",
    ),
]
Split = Annotated[str, typer.Option("--split", metavar="train|validation|test", help="The split to use.")]
TrainingData = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="FILE|DIR",
        envvar=environment.DATA.name,
        help="Your own data instead of the Hub's: one file, or a folder `DIR/LANGUAGE/SPLIT.jsonl`.",
        rich_help_panel=DATA,
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="FILE|DIR",
        help="Your own data instead of the Hub's: one file, or a folder `DIR/LANGUAGE/SPLIT.jsonl`.",
        rich_help_panel=DATA,
    ),
]
RunData = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="FILE|DIR",
        help="Your own data instead of the run's: one file, or a folder `DIR/LANGUAGE/SPLIT.jsonl`.",
        rich_help_panel=DATA,
    ),
]
TextLanguage = Annotated[
    str | None,
    typer.Option(
        "--lang",
        metavar="LANG",
        help="The language of the texts: `de`, `de_DE`. Default: a column gives the language of each row.",
    ),
]
Texts = Annotated[
    list[str] | None, typer.Option("--text", metavar="TEXT", help="A text to read instead of FILE; repeatable.")
]
KeepInput = Annotated[
    bool, typer.Option("--keep-input", help="Write the columns of the input, too.", rich_help_panel=OUTPUT)
]
LanguageColumn = Annotated[
    str | None,
    typer.Option(
        "--lang-column",
        metavar="NAME",
        help="The column with each row's language, for files that contain several languages.",
        rich_help_panel=DATA,
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit",
        metavar="N",
        min=1,
        help="Use only the first N rows of each language; results are marked LIMITED.",
        rich_help_panel=DATA,
    ),
]

# Where output goes, and its form.

RunOut = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="DIR",
        help="The folder to create. Default: a folder under `runs/`.",
        rich_help_panel=OUTPUT,
    ),
]
OutFolder = Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder to create.", rich_help_panel=OUTPUT)]
OnExistingRun = Annotated[
    str,
    typer.Option(
        "--on-exists",
        metavar="resume|redo|error",
        help="What to do if the folder already holds this training.",
        rich_help_panel=OUTPUT,
    ),
]
OnExistingScores = Annotated[
    str,
    typer.Option(
        "--on-exists",
        metavar="missing|redo|error",
        help="What to do if scores already exist; `missing` computes only those that do not.",
        rich_help_panel=OUTPUT,
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Show the plan and its estimated cost; download and write nothing.",
        rich_help_panel=OUTPUT,
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document to standard output.", rich_help_panel=OUTPUT)
]


# Which part of the work.

Shard = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help=(
            "Do only this share of the work, as in `2/4`. Without it, jobs with the same command share the work. "
            "Default: in a SLURM array, the share of its task."
        ),
        rich_help_panel=JOBS,
    ),
]
Wait = Annotated[
    bool,
    typer.Option(
        "--wait",
        help="Wait for other jobs, and do the work that they leave, so that the command ends when everything is done.",
        rich_help_panel=JOBS,
    ),
]

# Files of tasks and recipes.

ShippedName = Annotated[str, typer.Argument(metavar="NAME", help="A shipped name or the path of your own YAML file.")]
CopyFile = Annotated[Path, typer.Argument(metavar="FILE", help="The file to create; its name ends in .yaml.")]


def changes(overrides: list[str] | None, language_column: str | None) -> tuple[str, ...]:
    """Return the overrides that `--set` and `--lang-column` make."""
    return (*(overrides or ()), *([f"language_column={language_column}"] if language_column else []))


def choice(option: str, value: str, allowed: tuple[str, ...]) -> str:
    """Return the value if it is allowed.

    Raises:
        UserError: It is not; the message lists what is.
    """
    check_choice(option, value, allowed)
    return value
