"""`xmodctl inspect`."""

import json as json_
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from xmodctl.cli import options
from xmodctl.cli.loading import say_loading

if TYPE_CHECKING:
    from xmodctl.data.inspection import InspectedRow, InspectedSequence

PANEL = "Explore"
ORDER = 6


def inspect(
    task: options.Task,
    lang: Annotated[str, typer.Option("--lang", metavar="LANG", help="The language of the data; it needs no adapter.")],
    split: options.Split = "train",
    model: options.Model = options.DEFAULT_MODEL,
    recipe: options.Recipe = None,
    overrides: options.Overrides = None,
    rows: Annotated[int, typer.Option("--rows", metavar="N", min=1, help="How many rows to show.")] = 3,
    data: options.TrainingData = None,
    language_column: options.LanguageColumn = None,
    json: options.Json = False,
) -> None:
    """Show rows as the model reads them: the data's columns, the tokens, and the label of each.

    Each row is encoded exactly as `finetune` encodes it. A token's label follows it in brackets.

    Examples:

    - `xmodctl inspect --task xnli --lang de --split test --model mini --data my-data`

    - `xmodctl inspect --task xnli --lang en --rows 10 --json`
    """
    say_loading(f"the tokenizer of {model}")
    from xmodctl.cli import display
    from xmodctl.cli.drawing import draw_notice
    from xmodctl.core.schema import parse_override
    from xmodctl.training.inspecting import inspect as inspect_rows

    inspection = inspect_rows(
        task, lang, model=model, recipe=recipe, overrides=dict(parse_override(text) for text in overrides or ()),
        data=data, language_column=language_column, split=split, rows=rows, listen=draw_notice,
    )  # fmt: skip
    if json:
        display.show_json(inspection.to_json())
        return
    for row in inspection.rows:
        display.show_text("\n".join(_lines(row)) + "\n")
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


def _with_labels(sequence: "InspectedSequence") -> str:
    pairs = zip(sequence.tokens, sequence.labels, strict=True)
    return " ".join(token if label is None else f"{token}[{label}]" for token, label in pairs)
