"""`xmodctl check`."""

from pathlib import Path
from typing import Annotated

import typer

from xmodctl.cli import options
from xmodctl.cli.loading import say_loading
from xmodctl.core.environment import ExitCode

PANEL = "Train"
ORDER = 3


Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="DIR",
        help="The folder for runs; its disk space is checked. Default: `runs/`.",
        rich_help_panel=options.OUTPUT,
    ),
]


def check(
    task: options.Task,
    lang: Annotated[
        str | None,
        typer.Option("--lang", metavar="LANG", help="The language to train in. Default: the task's source language."),
    ] = None,
    langs: Annotated[
        str | None, typer.Option("--langs", metavar="LANGS", help="Check the data of these languages only: `en,de,fr`.")
    ] = None,
    model: options.Model = options.DEFAULT_MODEL,
    recipe: options.Recipe = None,
    overrides: options.Overrides = None,
    download: Annotated[
        bool, typer.Option("--download", help="Download data and model from the Hub, and check them too.")
    ] = False,
    data: options.TrainingData = None,
    language_column: options.LanguageColumn = None,
    limit: options.Limit = None,
    precision: options.Precision = "auto",
    out: Out = None,
    json: options.Json = False,
) -> None:
    """Check that task, data, recipe, model, and disk fit together before you train.

    Prints one line per finding; the exit code is 1 if there are errors. Looks for languages without an adapter or data;
    hidden, missing, or dominant labels; duplicate rows; test rows in the training data; text in the wrong script;
    untranslated copies; misplaced answers; rows too long for the recipe; characters unknown to the tokenizer; and too
    little memory or disk space. Downloads nothing unless you add `--download`.

    Examples:

    - `xmodctl check --task xnli --lang en_XX`

    - `xmodctl check --task xnli --lang en --model mini --data my-data --langs en,de`
    """
    say_loading(model)
    from xmodctl.cli import display
    from xmodctl.cli.drawing import draw_notice
    from xmodctl.core.schema import parse_override
    from xmodctl.training.checking import check as check_training

    report = check_training(
        task, lang, langs=langs, model=model, recipe=recipe,
        overrides=dict(parse_override(text) for text in overrides or ()), download=download, data=data,
        language_column=language_column, limit=limit, precision=precision, out=out, listen=draw_notice,
    )  # fmt: skip
    if json:
        display.show_json(report.to_json())
    else:
        rows = [(finding.level, finding.check, finding.text) for finding in report.findings]
        display.show(display.sheet(("", "check", "finding"), rows))
        if not report.complete:
            display.note("data and model on the Hub were not checked; to download and check them, add --download")
        plural = {"passed": "passed", "warning": "warnings", "error": "errors"}
        counts = (f"{count} {level if count == 1 else plural[level]}" for level, count in report.counts.items())
        display.show_text(", ".join(counts))
    if report.counts["error"]:
        raise typer.Exit(ExitCode.PARTIAL)
