"""`xmodctl check`."""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from xmodctl.cli import options

PANEL = "Train"
ORDER = 3


def check(
    task: options.Task,
    lang: Annotated[
        str | None, typer.Option("--lang", metavar="LANG", help="The language trained in; default: the task's.")
    ] = None,
    langs: Annotated[
        str | None, typer.Option("--langs", metavar="LANGS", help="Look at these languages' data only (`en,de,fr`).")
    ] = None,
    model: options.Model = options.DEFAULT_MODEL,
    recipe: options.Recipe = None,
    overrides: options.Overrides = None,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch data and model from the Hub, and look at them, too.")
    ] = False,
    data: options.Data = None,
    language_column: options.LanguageColumn = None,
    limit: options.Limit = None,
    precision: options.Precision = "auto",
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where the run would go.", rich_help_panel=options.OUTPUT)
    ] = Path("runs"),
    json: options.Json = False,
) -> None:
    """Is this task, data, recipe, model and disk fit to run? One line a finding; exit code 1 if there are errors.

    Looks for languages without adapter or data, labels that are hidden, missing or dominant, rows that are there twice
    or in the training data too, files in another script than their language's, untranslated copies, answers that are
    not where they should be, rows too long for the recipe, characters unknown to the tokenizer, and too little memory
    or disk. Nothing is downloaded without `--download`.

    Examples:

    - `xmodctl check --task xnli --lang en_XX`

    - `xmodctl check --task xnli --lang en --model mini --data my-data --langs en,de`
    """
    from xmodctl.catalog import catalog as library
    from xmodctl.cli import display
    from xmodctl.core.schema import parse_override
    from xmodctl.model import find, load_tokenizer, look_up
    from xmodctl.training.planning import resolve_plan
    from xmodctl.training.preflight import check as checked
    from xmodctl.training.request import CheckRequest

    source = lang or library.task(task).source_language
    request = CheckRequest(
        task,
        source,
        model=model,
        recipe=recipe,
        overrides=dict(parse_override(text) for text in overrides or ()),
        data=data,
        language_column=language_column,
        limit=limit,
        precision=precision,
    )
    resolved, facts = resolve_plan(request, look_up)
    for told in resolved.notes:
        display.warn(told)
    here = download or facts.origin == "folder" or facts.id == "mini"  # the rest may have to be downloaded
    findings = list(
        checked(
            resolved.plan,
            facts,
            languages=[one.strip() for one in langs.split(",") if one.strip()] if langs else None,
            tokenizer=load_tokenizer(find(model)) if here else None,
            look_at_data=data is not None or download,
            out=out,
        )
    )
    counts = Counter(one.level for one in findings)
    if json:
        display.show_json({"findings": [one.to_json() for one in findings], "counts": _counts(counts)})
    else:
        display.show(display.sheet(("", "check", "found"), [(one.level, one.check, one.text) for one in findings]))
        if not (here and (data or download)):
            display.note("what lies on the Hub was not looked at; --download fetches it")
        counted = (
            f"{count} {level}{'s' if level != 'passed' and count != 1 else ''}"
            for level, count in _counts(counts).items()
        )
        display.show_text(", ".join(counted))
    if counts["error"]:
        raise typer.Exit(1)


def _counts(counts: "Counter[Any]") -> dict[str, int]:
    return {level: counts[level] for level in ("passed", "warning", "error")}
