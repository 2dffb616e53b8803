"""`xmodctl donors`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xmodctl.cli import options
from xmodctl.cli.options import OUTPUT, choice

if TYPE_CHECKING:
    from xmodctl.adapters.packages import Package
    from xmodctl.evaluation.donors import Cell, DonorMatrix
    from xmodctl.languages import Target
    from xmodctl.model import Source
    from xmodctl.run.run import Run

PANEL = "Evaluate"
ORDER = 4

SPLITS = ("train", "validation", "test")


def donors(
    langs: Annotated[
        str,
        typer.Option(
            "--langs", metavar="LANGS", help="Languages of the text, adapter or none: `jv,qu`, `@task`, `@task,-en`."
        ),
    ],
    adapters: Annotated[
        str | None,
        typer.Option(
            "--adapters",
            metavar="LANGS",
            help="Adapters to try: `id_ID,es_XX`, `all`, `@task`; default: the source's and those of --langs.",
        ),
    ] = None,
    run: options.RunFolder = None,
    adapter: options.Adapters = None,
    split: options.Split = "validation",
    precision: options.Precision = "auto",
    data: options.Data = None,
    language_column: options.LanguageColumn = None,
    limit: options.Limit = None,
    on_exists: Annotated[
        str,
        typer.Option(
            "--on-exists",
            metavar="missing|redo",
            help="What to do if scores already exist; `missing` computes only those that do not.",
            rich_help_panel=OUTPUT,
        ),
    ] = "missing",
    json: options.Json = False,
) -> None:
    """Find an adapter for a language that has none: score its text through several, and through no adapter at all.

    Prints a matrix of text against adapters with the best donor of each language, and those that the examples do not
    tell from it. Scores are kept in the run like any others; a second call scores only what is missing.

    Examples:

    - `xmodctl donors --langs jv,qu --adapters id_ID,ms_MY,tl_XX,es_XX`

    - `xmodctl donors --run runs/my-run --langs @task --json`

    - `xmodctl donors --langs zu --adapters zu_ZA,sw_KE --adapter runs/add-zu_ZA-xmod-base-1a2b3c/seed-1/zu_ZA`
    """
    from xmodctl.adapters.store import choose_all
    from xmodctl.cli import display
    from xmodctl.cli.commands.eval_transfer import Wish, fail_if_any, find_base, open_data, refuse_unfinished, sweep
    from xmodctl.evaluation.donors import donor_matrix
    from xmodctl.run.run import Run, newest_run

    choice("--on-exists", on_exists, ("missing", "redo"))
    choice("--split", split, SPLITS)
    found = Run.read(run) if run else newest_run()
    if language_column:
        found = found.with_task({"language_column": language_column}, origin="--lang-column")
    if not run:
        display.note(f"run: {found.folder} (the newest; choose another with --run)")
    data = open_data(found, data, split)
    refuse_unfinished(found)
    source = find_base(found)
    packages = choose_all(adapter or (), source)
    targets = choose(found, source, langs, adapters, data, packages)
    # Without an adapter a text needs one forward pass, whichever adapter it is paired with.
    firsts = [target for number, target in enumerate(targets) if target.data not in {t.data for t in targets[:number]}]
    rest = [target for target in targets if target not in firsts]
    wish = Wish(langs, split, ("none",), data, limit, precision, on_exists)
    rows, failures = sweep(found, source, firsts, wish, packages=packages)
    if rest:
        more, failed = sweep(found, source, rest, replace(wish, controls=()), packages=packages)
        rows, failures = rows + more, failures + failed
    matrix = donor_matrix(found, rows)
    if json:
        display.show_json({"matrix": matrix.to_json(), "rows": [row.to_json() for row in rows]})
    else:
        show(matrix)
        display.note(f"rows: {found.results}")
    fail_if_any(failures)


def choose(
    run: "Run",
    source: "Source",
    langs: str,
    adapters: str | None,
    data: Path | None,
    packages: "Sequence[Package]" = (),
) -> "list[Target]":
    """Return every text with every adapter, text by text.

    Raises:
        UserError: A name is wrong, or nothing is left.
    """
    from xmodctl.adapters.attaching import available_languages
    from xmodctl.cli import display
    from xmodctl.core.errors import UserError
    from xmodctl.data import coverage
    from xmodctl.languages import expand, same

    task = run.plan.task
    texts: list[str] = []
    parts = [part.strip() for part in langs.split(",") if part.strip()]
    for part in parts:
        if part in ("all", "@task"):
            texts += coverage(task, data)
        elif not part.startswith("-"):
            texts.append(part)
    excluded = [part[1:] for part in parts if part.startswith("-")]
    texts = [text for text in dict.fromkeys(texts) if not any(same(text, one) for one in excluded)]
    if not texts:
        raise UserError(f"--langs {langs} leaves no text; write names of languages between commas, or @task")

    def expanded(selection: str) -> "Sequence[Target]":
        return expand(
            selection,
            available_languages(source, packages),
            model=run.plan.model,
            task_languages=task.languages,
            open_languages=source.open_languages,
        ).targets

    if adapters is None:
        tried = list(run.plan.source_languages)
        for text in texts:
            try:
                tried += [target.adapter for target in expanded(text)]
            except UserError:
                display.note(f"{text} has no adapter of its own in {run.plan.model}")
    else:
        tried = [target.adapter for target in expanded(adapters)]
    pairs = ",".join(f"{text}={adapter}" for text in texts for adapter in dict.fromkeys(tried))
    return list(expanded(pairs))


def show(matrix: "DonorMatrix") -> None:
    """Print a matrix: a line a text, a column an adapter."""
    from xmodctl.cli import display

    names = {adapter: adapter or "no adapter" for adapter in matrix.adapters}
    rows = []
    for language in matrix.languages:
        donor = matrix.donor(language)
        cells = [
            _cell(matrix.cell(language, adapter), best=bool(donor and adapter == donor.adapter)) for adapter in names
        ]
        alike = ", ".join(names[adapter] for adapter in donor.alike) if donor else ""
        rows.append((language, *cells, donor.adapter if donor else "", alike))
    seeds = f", mean of {len(matrix.seeds)} seeds" if len(matrix.seeds) > 1 else ""
    limited = f", LIMITED to {matrix.limited} rows a language" if matrix.limited else ""
    title = f"{matrix.task}, {matrix.split}: {matrix.metric} in percent of text (rows) through adapters{seeds}{limited}"
    columns = ("text", *names.values(), "best donor", "no worse, as far as can be told")
    display.show(display.sheet(columns, rows, title=title, right=names.values()))
    display.show_text("(own adapter)   * best of the other adapters")


def _cell(cell: "Cell | None", *, best: bool) -> str:
    if cell is None:
        return ""
    text = f"{cell.mean:.1f}"
    return f"({text})" if cell.own else f"{text}*" if best else text
