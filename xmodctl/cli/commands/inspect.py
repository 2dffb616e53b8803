"""`xmodctl inspect`."""

import json as json_
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xmodctl.cli import options
from xmodctl.cli.defaults import from_command_line
from xmodctl.cli.loading import say_loading

if TYPE_CHECKING:
    from xmodctl.data.inspection import InspectedRow, InspectedSequence
    from xmodctl.reports.error_analysis import Mistake

PANEL = "Explore"
ORDER = 6


DataLanguage = Annotated[
    str, typer.Option("--lang", metavar="LANG", help="The language of the data; it needs no adapter.")
]
OptionalTask = Annotated[
    str | None,
    typer.Option("--task", metavar="TASK", help="A shipped task or your own YAML file. Default: that of --run."),
]
OfRun = Annotated[
    Path | None,
    typer.Option(
        "--run", metavar="DIR", help="Show only rows that this run got wrong, the worst first, with its predictions."
    ),
]
Errors = Annotated[
    str,
    typer.Option(
        "--errors",
        metavar="all|right-in-source|wrong-everywhere",
        help="With --run: the errors to show. All choices but `all` need a parallel task, such as `xnli`.",
    ),
]
OptionalSplit = Annotated[
    str | None,
    typer.Option(
        "--split", metavar="train|validation|test", help="The split to use. Default: `train`; with --run, `test`."
    ),
]


def inspect(
    ctx: typer.Context,
    lang: DataLanguage,
    task: OptionalTask = None,
    run: OfRun = None,
    errors: Errors = "all",
    split: OptionalSplit = None,
    model: options.Model = options.DEFAULT_MODEL,
    recipe: options.Recipe = None,
    overrides: options.Overrides = None,
    rows: Annotated[int, typer.Option("--rows", metavar="N", min=1, help="How many rows to show.")] = 3,
    data: options.TrainingData = None,
    language_column: options.LanguageColumn = None,
    json: options.Json = False,
) -> None:
    """Show rows as the model reads them: the data's columns, the tokens, and the label of each.

    Each row is encoded exactly as `finetune` encodes it. A token's label follows it in brackets. With --run, the rows
    are errors of the run. On a parallel task, each has the same row in the source language beside it.

    Examples:

    - `xmodctl inspect --task xnli --lang de --split test --model mini --data my-data`

    - `xmodctl inspect --task xnli --lang en --rows 10 --json`

    - `xmodctl inspect --run runs/my-run --lang ur --errors right-in-source`
    """
    if run is not None:  # its model and data come before those of the project
        model, data = from_command_line(ctx, "model", options.DEFAULT_MODEL), from_command_line(ctx, "data", None)
    say_loading(f"the tokenizer of {model if run is None else run}")
    from xmodctl.cli import display
    from xmodctl.cli.drawing import draw_notice
    from xmodctl.core.schema import parse_override
    from xmodctl.reports.inspecting import inspect as inspect_rows

    inspection = inspect_rows(
        task or _task_of(run), lang, model=model, recipe=recipe, data=data, language_column=language_column,
        overrides=dict(parse_override(text) for text in overrides or ()), split=split, rows=rows, run=run,
        errors=errors, listen=draw_notice,
    )  # fmt: skip
    if json:
        display.show_json(inspection.to_json())
        return
    for row, mistake in zip_longest(inspection.rows, inspection.mistakes):
        display.show_text("\n".join([*_lines(row), *(_error_lines(mistake) if mistake else ())]) + "\n")
    if run is not None and not inspection.rows:
        display.show_text(f"no errors in {lang}" if errors == "all" else f"no errors in {lang} that are {errors}")
    if inspection.overlap:
        display.show_paragraph(inspection.overlap.summary)
    display.note(
        f"{inspection.origin}; at most {inspection.max_length} tokens per sequence (recipe {inspection.recipe})"
    )


def _lines(row: "InspectedRow") -> Iterator[str]:
    yield f"row {row.id}"
    for column, value in row.row.items():
        yield f"  {column:<10} {value if isinstance(value, str) else json_.dumps(value, ensure_ascii=False)}"
    for number, sequence in enumerate(row.sequences, start=1):
        position = f" {number} of {len(row.sequences)}" if len(row.sequences) > 1 else ""
        label = f" -> {sequence.label}" if sequence.label else ""
        yield f"  sequence{position}, {len(sequence.tokens)} tokens{label}"
        yield f"    {_with_labels(sequence)}"


def _error_lines(mistake: "Mistake") -> Iterator[str]:
    seeds = f" (wrong with {mistake.wrong_seeds} of {mistake.seeds} seeds)" if mistake.seeds > 1 else ""
    everywhere = "; wrong in every language" if mistake.is_wrong_everywhere else ""
    yield f"  predicted {mistake.predicted}, gold is {mistake.gold}{seeds}{everywhere}"
    if side := mistake.source:
        verdict = "right" if side.is_right and not side.wrong_seeds else f"predicted {side.predicted}"
        seeds = f" (wrong with {side.wrong_seeds} of {side.seeds} seeds)" if side.wrong_seeds and side.seeds > 1 else ""
        yield f"  the same row in {side.language}: {verdict}{seeds}"
        for column, text in side.texts:
            yield f"    {column:<10} {text}"


def _task_of(run: Path | None) -> str:
    from xmodctl.core.errors import UserError
    from xmodctl.run.run import Run

    if run is None:
        raise UserError("give the task with --task TASK, or a run with --run DIR")
    return Run.read(run).plan.task.name


def _with_labels(sequence: "InspectedSequence") -> str:
    pairs = zip(sequence.tokens, sequence.labels, strict=True)
    return " ".join(token if label is None else f"{token}[{label}]" for token, label in pairs)
