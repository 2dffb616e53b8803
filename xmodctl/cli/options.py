"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from xmodctl.core.arguments import DEFAULT_MODEL, check_choice

__all__ = [
    "DATA",
    "DEFAULT_MODEL",
    "OUTPUT",
    "TRAINING",
    "Adapters",
    "Data",
    "DryRun",
    "Json",
    "LanguageColumn",
    "Limit",
    "Model",
    "Precision",
    "Seeds",
    "changes",
    "choice",
]

DATA = "Data"
TRAINING = "Training"
OUTPUT = "Output"

Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Local data, `DIR/LANGUAGE/SPLIT.jsonl`, instead of the Hub's.",
        rich_help_panel=DATA,
    ),
]
LanguageColumn = Annotated[
    str | None,
    typer.Option(
        "--lang-column",
        metavar="NAME",
        help="The column that tells the language, in a file that holds several.",
        rich_help_panel=DATA,
    ),
]
Adapters = Annotated[
    list[str] | None,
    typer.Option(
        "--adapter",
        metavar="DIR|NAME",
        help="An adapter package, of a language the model lacks: its folder, or its name in the store; repeatable.",
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit", metavar="N", min=1, help="Take only the first N rows (marked in results).", rich_help_panel=DATA
    ),
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output.", rich_help_panel=OUTPUT)
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Show the plan and its cost; download and write nothing.", rich_help_panel=OUTPUT),
]
Seeds = Annotated[str, typer.Option("--seeds", metavar="1,2,3", help="One training a seed.", rich_help_panel=TRAINING)]
Model = Annotated[
    str,
    typer.Option("--model", metavar="MODEL", help="A Hub id (`@REVISION` may follow), a folder, or `mini`."),
]
Precision = Annotated[
    str,
    typer.Option("--precision", metavar="auto|fp32|bf16|fp16", help="`auto`: bf16 on a GPU built for it, else fp32."),
]


def changes(overrides: list[str] | None, language_column: str | None) -> tuple[str, ...]:
    """Return what `--set` and `--lang-column` change."""
    return (*(overrides or ()), *([f"language_column={language_column}"] if language_column else []))


def choice(option: str, value: str, allowed: tuple[str, ...]) -> str:
    """Return the value, or refuse it naming what is allowed."""
    check_choice(option, value, allowed)
    return value
