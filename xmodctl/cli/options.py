"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from xmodctl.api import DEFAULT_MODEL, one_of

__all__ = [
    "DATA",
    "DEFAULT_MODEL",
    "OUTPUT",
    "Adapters",
    "Data",
    "Json",
    "LanguageColumn",
    "Limit",
    "Model",
    "Precision",
    "choice",
]

DATA = "Data"
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
Model = Annotated[
    str,
    typer.Option("--model", metavar="MODEL", help="A Hub id (`@REVISION` may follow), a folder, or `mini`."),
]
Precision = Annotated[
    str,
    typer.Option("--precision", metavar="auto|fp32|bf16|fp16", help="`auto`: bf16 on a GPU built for it, else fp32."),
]


def choice(option: str, value: str, allowed: tuple[str, ...]) -> str:
    """Return the value, or refuse it naming what is allowed."""
    one_of(option, value, allowed)
    return value
