"""`xmodctl langs`."""

from typing import Annotated

import typer

from xmodctl.cli import options

PANEL = "Explore"
ORDER = 4


def langs(
    model: options.Model = options.DEFAULT_MODEL,
    task: Annotated[
        str | None, typer.Option("--task", metavar="TASK", help="Show which languages have its data.")
    ] = None,
    data: options.Data = None,
    language_column: options.LanguageColumn = None,
    json: options.Json = False,
) -> None:
    """List languages: has the model an adapter, has the task data? Nothing is downloaded.

    Examples:

    - `xmodctl langs`

    - `xmodctl langs --model mini --task xnli`
    """
    from xmodctl.catalog import catalog as library
    from xmodctl.cli import display
    from xmodctl.core.errors import UserError
    from xmodctl.data import coverage
    from xmodctl.languages import family, name, resolve, script
    from xmodctl.model import look_up

    facts = look_up(model)
    found = library.task(task) if task else None
    if found and language_column:
        found = found.with_values({"language_column": language_column}, origin="--lang-column")
    if data and not found:
        raise UserError("--data needs --task, which says what the files hold")
    adapters = list(facts.languages or ())
    if not adapters and not facts.open_languages and not found:
        raise UserError(f"the languages of {model} are known after its download; run `xmodctl doctor --model {model}`")
    benchmark: dict[str, str] = {}  # adapter -> the benchmark's code
    without: dict[str, str] = {}  # the benchmark's code -> why there is no adapter
    for code in coverage(found, data) if found else ():
        try:
            wanted = (found and found.languages.get(code)) or code
            adapter = resolve(wanted, adapters, model=model, open_languages=facts.open_languages).adapter
            benchmark[adapter] = code
        except UserError as error:
            without[code] = str(error)
    names = list(dict.fromkeys([*adapters, *benchmark]))
    if json:
        display.show_json(
            [{"language": one, "name": name(one), "adapter": True, "data": one in benchmark} for one in names]
            + [
                {"language": code, "name": name(code), "adapter": False, "data": True, "why": without[code]}
                for code in without
            ]
        )
        return
    trained = set(adapters) - facts.placeholders if adapters else set(names)
    rows = [
        (
            one,
            name(one),
            family(one) or "",
            script(one),
            "yes" if one in trained else "identity",
            "yes" if one in benchmark else "no",
        )
        for one in names
    ] + [(code, name(code), family(code) or "", script(code), "no", "yes") for code in without]
    columns = ("language", "name", "family", "script", "adapter", "data")
    width = len(columns) if found else len(columns) - 1
    count = len(names) if adapters else facts.language_count
    both = (
        f"; {found.title} has data in {len(benchmark) + len(without)}, {len(benchmark)} with an adapter"
        if found
        else ""
    )
    display.show(
        display.sheet(columns[:width], [row[:width] for row in rows], title=f"{model}: {count} languages{both}")
    )
    if facts.open_languages:
        display.note(f"{model} takes any other language too: it gets an identity adapter")
