"""`xmodctl add-language`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xmodctl.cli import options
from xmodctl.cli.options import DATA, choice

if TYPE_CHECKING:
    from xmodctl.new_language.adding import Added
    from xmodctl.new_language.plan import Asked, Extension

PANEL = "Train"
ORDER = 2

START = "Start"


def add_language(
    code: Annotated[
        str | None,
        typer.Argument(metavar="[CODE]", help="The new language: `zu`, `zu_ZA`, `Zulu`; or --text LANG=FILE."),
    ] = None,
    files: Annotated[
        list[str] | None, typer.Argument(metavar="[FILE]...", help="More text, as in `--text part-*.txt`.")
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(
            "--text",
            metavar="FILE",
            help="Text of the language: plain, compressed or in columns, `-`, or OWNER/NAME:PATTERN on the Hub; may be "
            "repeated, and name its language as LANG=FILE.",
            rich_help_panel=DATA,
        ),
    ] = None,
    column: Annotated[
        str,
        typer.Option(
            "--text-column", metavar="NAME", help="Where the text of files with columns is.", rich_help_panel=DATA
        ),
    ] = "text",
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", min=1, help="Keep only the first N lines.", rich_help_panel=DATA),
    ] = None,
    model: options.Model = options.DEFAULT_MODEL,
    init_from: Annotated[
        str,
        typer.Option(
            "--init-from",
            metavar="auto|LANG[+LANG]|identity|random",
            help="The adapter it starts as: the one that reads the text best, that of a language, the mean of several.",
            rich_help_panel=START,
        ),
    ] = "auto",
    vocabulary: Annotated[
        str,
        typer.Option(
            "--vocabulary",
            metavar="keep|new",
            help="The model's vocabulary, or one of the language's own, trained on the text.",
            rich_help_panel=START,
        ),
    ] = "keep",
    vocabulary_size: Annotated[
        int | None,
        typer.Option(
            "--vocabulary-size", metavar="N", min=100, help="Pieces of a new vocabulary.", rich_help_panel=START
        ),
    ] = None,
    head_text: Annotated[
        list[str] | None,
        typer.Option(
            "--head-text",
            metavar="FILE",
            help="Train the head of a checkpoint without one on this text, not on the language's; may be repeated.",
            rich_help_panel=START,
        ),
    ] = None,
    recipe: options.Recipe = None,
    overrides: options.RecipeOverrides = None,
    seeds: options.Seeds = "1",
    precision: options.Precision = "auto",
    out: options.RunOut = None,
    on_exists: options.OnExistingRun = "resume",
    dry_run: options.DryRun = False,
    json: options.Json = False,
) -> None:
    """Add a language that the model never saw: train an adapter for it on plain text.

    The adapter alone trains, to predict masked words; everything else stays as it is to the bit, so that what other
    languages score does not change, and any run of the same model can use the new one at once. A command that was
    stopped goes on where it was when it is given again.

    Examples:

    - `xmodctl add-language zu_ZA --text zu.txt.gz`

    - `zcat news.gz | xmodctl add-language yo --text - --init-from sw_KE+ha_NG`

    - `xmodctl add-language --text yo=yo.jsonl --text ht=ht.txt --model mini --dry-run`
    """
    from xmodctl.cli import display
    from xmodctl.core.arguments import as_seeds
    from xmodctl.new_language.plan import Asked

    choice("--on-exists", on_exists, ("resume", "redo", "error"))
    asked = Asked(
        texts=texts_of(code, [*(text or ()), *(files or ())]),
        model=model,
        init_from=init_from,
        vocabulary=vocabulary,
        vocabulary_size=vocabulary_size,
        head_text=tuple(head_text or ()),
        recipe=recipe,
        overrides=tuple(overrides or ()),
        column=column,
        limit=limit,
        precision=precision,
    )
    if dry_run:
        show_plan(asked, as_seeds(seeds), out, as_json=json)
        return
    extension, added = train(asked, as_seeds(seeds), out, on_exists)
    if json:
        display.show_json(summary(extension, added))
        return
    for one in added:
        display.show(display.added_table(one))
    for one in added:
        display.show_text(f"adapter: {one.package.folder}")
    first = [one for one in added if one.seed == added[0].seed]
    adapters = " ".join(f"--adapter {one.package.folder}" for one in first)
    languages = ",".join(one.language for one in first)
    display.note(f"next: xmodctl eval-transfer --run RUN {adapters} --langs {languages}")


def texts_of(code: str | None, texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return each text with its language.

    Raises:
        UserError: A text has no language, or there is no text.
    """
    from xmodctl.core.errors import UserError

    if code is not None and ("=" in code or Path(code).suffix):
        raise UserError(f"{code}: the language comes first, as in `xmodctl add-language zu --text FILE`")
    if not texts:
        raise UserError(
            f"which text? Give some with --text FILE, as in `xmodctl add-language {code or 'zu'} --text FILE`"
        )
    if code is not None:
        return tuple((code, place) for place in texts)
    pairs = [place.partition("=") for place in texts]
    for language, equals, place in pairs:
        if not (language and equals and place):
            raise UserError(f"--text {language}{equals}: which language is it? Write --text zu={language or 'FILE'}")
    return tuple((language, place) for language, _, place in pairs)


def train(asked: "Asked", seeds: tuple[int, ...], out: Path | None, on_exists: str) -> "tuple[Extension, list[Added]]":
    """Add what is not added yet, drawing what happens.

    Raises:
        typer.Exit: The user stopped it (code 130).
    """
    from xmodctl.cli import display
    from xmodctl.cli.drawing import Drawing
    from xmodctl.new_language.adding import Interrupted
    from xmodctl.new_language.command import add_languages

    try:
        with Drawing(display.AddingProgress) as draw:
            return add_languages(asked, seeds, out, on_exists, draw)
    except Interrupted as stopped:
        display.fail(str(stopped))
        raise typer.Exit(130) from stopped


def summary(extension: "Extension", added: "Sequence[Added]") -> dict[str, Any]:
    """Return what a finished command tells a program."""
    from dataclasses import asdict

    return {
        "folder": str(extension.folder),
        "plan": extension.plan.to_json(),
        "adapters": [
            {
                "language": one.language,
                "seed": one.seed,
                "package": one.package.to_json(),
                "held_out": [asdict(row) for row in one.compared],
                "untouched_tensors": one.untouched,
            }
            for one in added
        ],
    }


def show_plan(asked: "Asked", seeds: tuple[int, ...], out: Path | None, *, as_json: bool) -> None:
    """Print the plan, each value with its origin, the state of the text, and what it costs."""
    from xmodctl.cli import display
    from xmodctl.cli.plan_tables import recipe_value
    from xmodctl.new_language.command import look

    looked = look(asked, len(seeds))
    plan, cost = looked.resolved.plan, looked.cost
    from xmodctl.run.folder import RUNS

    folder = out or RUNS / plan.folder_name
    if as_json:
        display.show_json(
            {
                "plan": plan.to_json(),
                "origins": dict(looked.resolved.origins),
                "seeds": list(seeds),
                "folder": str(folder),
                "texts": {
                    one.language: {"counts": one.corpus.counts.to_json(), "fit": one.fit.to_json(), "notes": one.notes}
                    for one in looked.texts
                },
                "steps": cost.steps,
                "parameters": {"total": cost.parameters.total, "trainable": cost.parameters.trainable},
                "memory_bytes": cost.memory,
                "disk_bytes": cost.disk,
                "notes": list(looked.resolved.notes),
            }
        )
        return
    rows = [
        ("languages", ", ".join(plan.languages), "CODE" if len(plan.languages) == 1 else "--text"),
        ("model", f"{plan.model}{'@' + plan.revision[:12] if plan.revision else ''}", "--model"),
        ("starts as", plan.init_from, "--init-from"),
        ("vocabulary", plan.vocabulary, "--vocabulary"),
        ("seeds", ", ".join(map(str, seeds)), "--seeds"),
        ("precision", plan.precision, "device" if asked.precision == "auto" else "--precision"),
        ("folder", str(folder), "--out" if out else "default"),
        *((key, recipe_value(getattr(plan.recipe, key)), origin) for key, origin in looked.resolved.origins.items()),
    ]
    display.show(display.sheet(("plan", "value", "from"), rows))
    texts = display.sheet(
        ("text", "lines", "kept", "characters", "the model's vocabulary"),
        [
            (
                one.language,
                f"{one.corpus.counts.lines:,}",
                f"{one.corpus.counts.kept:,}",
                f"{one.corpus.counts.characters:,}",
                one.fit.verdict,
            )
            for one in looked.texts
        ],
        right=("lines", "kept", "characters"),
    )
    if texts.rows:
        display.show(texts)
    groups = [(name, f"{count:,}", "yes" if trains else "") for name, count, trains in cost.parameters.groups]
    display.show(display.sheet(("parameters", "count", "trains"), groups, right=("count",)))
    unknown = "known when the text is read with the model's vocabulary"
    costs = [
        ("optimiser steps a seed", f"{cost.steps:,}" if cost.steps else unknown),
        ("memory", f"at most about {display.size(cost.memory)}"),
        ("disk", f"about {display.size(cost.disk)}"),
    ]
    display.show(display.sheet(("cost", "estimate"), costs))
    for told in (*looked.resolved.notes, *(f"{one.language}: {note}" for one in looked.texts for note in one.notes)):
        display.warn(told)
    display.note("dry run: nothing was downloaded or written")
