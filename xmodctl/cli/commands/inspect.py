"""`xmodctl inspect`."""

import json as json_
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from xmodctl.cli import options
from xmodctl.cli.options import choice

if TYPE_CHECKING:
    from xmodctl.data.inspection import InspectedRow, InspectedSequence

PANEL = "Explore"
ORDER = 6

SPLITS = ("train", "validation", "test")


def inspect(
    task: options.Task,
    lang: Annotated[str, typer.Option("--lang", metavar="LANG", help="The data's language; the model may lack it.")],
    split: options.Split = "train",
    model: options.Model = options.DEFAULT_MODEL,
    recipe: options.Recipe = None,
    overrides: options.Overrides = None,
    rows: Annotated[int, typer.Option("--rows", metavar="N", min=1, help="How many rows.")] = 3,
    data: options.Data = None,
    language_column: options.LanguageColumn = None,
    json: options.Json = False,
) -> None:
    """Show rows as the model reads them: the data's columns, the tokens, and the label of each.

    Every row is encoded as `finetune` encodes it. A token's label follows it in brackets.

    Examples:

    - `xmodctl inspect --task xnli --lang de --split test --model mini --data my-data`

    - `xmodctl inspect --task xnli --lang en --rows 10 --json`
    """
    from typing import cast

    from xmodctl.catalog.task import Split
    from xmodctl.cli import display
    from xmodctl.core.schema import parse_override
    from xmodctl.data import load_rows, offers
    from xmodctl.data.inspection import inspect as inspected
    from xmodctl.model import find, load_tokenizer
    from xmodctl.training.planning import settings
    from xmodctl.training.request import PlanRequest

    choice("--split", split, SPLITS)
    changes = dict(parse_override(text) for text in options.changes(overrides, language_column))
    request = PlanRequest(task, lang, model=model, recipe=recipe, overrides=changes, data=data)
    chosen_settings = settings(request)
    asked, how = chosen_settings.task, chosen_settings.recipe
    chosen = cast(Split, split)
    published = split != "train" and offers(asked, lang, chosen, folder=data)  # else it lies with the training data
    mine = published or split == "test"
    here = load_rows(asked, lang, chosen, folder=data, limit=rows, evaluation=mine, single_language=True)
    told = list(inspected(here, asked, load_tokenizer(find(model)), how))
    if json:
        display.show_json([one.to_json() for one in told])
        return
    for one in told:
        display.show_text("\n".join(_lines(one)) + "\n")
    display.note(f"{here.origin}, {how.max_length} tokens a sequence at most (recipe {how.name})")


def _lines(one: "InspectedRow") -> Iterator[str]:
    yield f"row {one.id}"
    for column, value in one.row.items():
        yield f"  {column:<10} {value if isinstance(value, str) else json_.dumps(value, ensure_ascii=False)}"
    for number, sequence in enumerate(one.sequences, start=1):
        which = f" {number} of {len(one.sequences)}" if len(one.sequences) > 1 else ""
        label = f" -> {sequence.label}" if sequence.label else ""
        yield f"  sequence{which}, {len(sequence.tokens)} tokens{label}"
        yield f"    {_with_labels(sequence)}"


def _with_labels(sequence: "InspectedSequence") -> str:
    pairs = zip(sequence.tokens, sequence.labels, strict=True)
    return " ".join(token if label is None else f"{token}[{label}]" for token, label in pairs)
