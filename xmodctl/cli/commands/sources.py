"""`xmodctl sources`."""

from typing import Annotated

import typer

from xmodctl.cli import options
from xmodctl.cli.loading import say_loading

PANEL = "Explore"
ORDER = 8
SHOWN = 5
"""Candidates that the table shows for each target."""

TargetLanguages = Annotated[
    str,
    typer.Option(
        "--langs",
        metavar="LANGS",
        help="The target languages, as spelled in the task's data: `ur,sw`, or `zu=sw` through the adapter of sw.",
    ),
]
Candidates = Annotated[
    str | None,
    typer.Option(
        "--sources",
        metavar="LANGS",
        help="The candidate training languages: `en,es,hi`. Default: every language of the task.",
    ),
]
LanguageTexts = Annotated[
    list[str] | None,
    typer.Option(
        "--text",
        metavar="LANG=FILE",
        help="Text in a language, one text per line, instead of the task's; repeatable.",
        rich_help_panel=options.DATA,
    ),
]


def sources(
    task: options.Task,
    langs: TargetLanguages,
    candidates: Candidates = None,
    model: options.Model = options.DEFAULT_MODEL,
    data: options.Data = None,
    text: LanguageTexts = None,
    rows: Annotated[int, typer.Option("--rows", metavar="N", help="The number of texts per language.")] = 200,
    layer: Annotated[
        int | None,
        typer.Option("--layer", metavar="N", help="The layer whose output is compared. Default: the last layer."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Rank languages by how well they may serve as training languages, from a few hundred unlabeled texts of each.

    A candidate's score is the share of the nearest neighbors of the target's texts that are in the candidate language.
    The model is frozen, and no labels are used. The documentation shows how far the ranking agrees with measured
    transfer.

    Examples:

    - `xmodctl sources --task xnli --langs ur,sw --model mini --data my-data`

    - `xmodctl sources --task wikiann --langs zu=sw --sources en,sw,fr --text zu=zu.txt`
    """
    say_loading(model)
    from xmodctl.cli import display
    from xmodctl.cli.drawing import draw_notice
    from xmodctl.evaluation.sources import sources as rank_sources

    ranking = rank_sources(
        langs, task=task, candidates=candidates, model=model, data=data, text=text or (), rows=rows, layer=layer,
        listen=draw_notice,
    )  # fmt: skip
    if json:
        display.show_json(ranking.to_json())
        return
    lines = [
        (target if number == 0 else "", each.language, f"{each.share:.1f}", f"{each.ci[0]:.1f} to {each.ci[1]:.1f}")
        for target, ranked in ranking.targets.items()
        for number, each in enumerate(ranked[:SHOWN])
    ]
    columns = ("target", "source", "share in percent", "95% interval")
    display.show(display.sheet(columns, lines, title=f"{ranking.task}, {ranking.model}", right=columns[2:]))
    display.note(ranking.method)
