"""`xmodctl add-language`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xmodctl.cli import options
from xmodctl.cli.launching import is_follower, launch_unless_launched
from xmodctl.cli.loading import say_loading
from xmodctl.cli.options import DATA

if TYPE_CHECKING:
    from xmodctl.adapters.packages import Package
    from xmodctl.new_language.dry_run import LanguageDryRun

PANEL = "Train"
ORDER = 2

INITIALIZATION = "Initialization"

Code = Annotated[
    str | None,
    typer.Argument(metavar="CODE", help="The new language: `zu`, `zu_ZA`, or `Zulu`; or use --text LANG=FILE."),
]
MoreFiles = Annotated[
    list[str] | None, typer.Argument(metavar="FILE", help="More files of text, as in `--text part-*.txt`.")
]
TextFiles = Annotated[
    list[str] | None,
    typer.Option(
        "--text",
        metavar="FILE",
        help="Text in the language: a plain, compressed, or columnar file, `-` for standard input, or "
        "OWNER/NAME:PATTERN on the Hub. LANG=FILE names the language. Repeatable.",
        rich_help_panel=DATA,
    ),
]
TextColumn = Annotated[
    str,
    typer.Option("--text-column", metavar="NAME", help="The column that contains the text.", rich_help_panel=DATA),
]
LineLimit = Annotated[
    int | None,
    typer.Option("--limit", metavar="N", min=1, help="Keep only the first N lines.", rich_help_panel=DATA),
]
StripMarkup = Annotated[
    bool,
    typer.Option(
        "--strip-markup",
        help="Remove HTML and XML tags and entities, and wiki markup, from the texts.",
        rich_help_panel=DATA,
    ),
]
InitFrom = Annotated[
    str,
    typer.Option(
        "--init-from",
        metavar="auto|LANG[+LANG]|LANG=MIXTURE|identity|random",
        help="What to initialize the adapter from: the adapter with the lowest loss on the text (`auto`), the adapter "
        "of a language, the mean of several, a mixture (`zu=0.7*sw+0.3*so`; `zu=mix` finds its weights on the text), "
        "the identity, or random values.",
        rich_help_panel=INITIALIZATION,
    ),
]
StartAdapters = Annotated[
    list[str] | None,
    typer.Option(
        "--adapter",
        metavar="DIR|NAME",
        help="An adapter package to initialize the adapter from, besides the model's adapters: its folder, or its name "
        "in the store; repeatable.",
        rich_help_panel=INITIALIZATION,
    ),
]
Vocabulary = Annotated[
    str,
    typer.Option(
        "--vocabulary",
        metavar="keep|new",
        help="Keep the model's vocabulary, or train a new one on the text.",
        rich_help_panel=INITIALIZATION,
    ),
]
VocabularySize = Annotated[
    int | None,
    typer.Option(
        "--vocabulary-size",
        metavar="N",
        min=100,
        help="The number of subword pieces in the new vocabulary.",
        rich_help_panel=INITIALIZATION,
    ),
]
HeadText = Annotated[
    list[str] | None,
    typer.Option(
        "--head-text",
        metavar="FILE",
        help="Text to train the masked-language-modeling head of a checkpoint that has none. Default: the language's "
        "own text; repeatable.",
        rich_help_panel=INITIALIZATION,
    ),
]


def add_language(
    ctx: typer.Context,
    code: Code = None,
    files: MoreFiles = None,
    text: TextFiles = None,
    column: TextColumn = "text",
    limit: LineLimit = None,
    strip_markup: StripMarkup = False,
    model: options.Model = options.DEFAULT_MODEL,
    init_from: InitFrom = "auto",
    adapters: StartAdapters = None,
    vocabulary: Vocabulary = "keep",
    vocabulary_size: VocabularySize = None,
    head_text: HeadText = None,
    recipe: options.Recipe = None,
    overrides: options.RecipeOverrides = None,
    seeds: options.Seeds = "1",
    precision: options.Precision = "auto",
    processes: options.Processes = 1,
    out: options.RunOut = None,
    on_exists: options.OnExistingRun = "resume",
    shard: options.Shard = None,
    wait: options.Wait = False,
    dry_run: options.DryRun = False,
    json: options.Json = False,
) -> None:
    """Add a language that the model was not pre-trained on: train an adapter for it on plain text.

    Only the adapter is trained, to predict masked words. All other weights stay bit-identical: scores of other
    languages do not change, and any run of the model can use the new adapter. To resume, run the command again.

    Examples:

    - `xmodctl add-language zu_ZA --text zu.txt.gz`

    - `zcat news.gz | xmodctl add-language yo --text - --init-from yo=mix`

    - `xmodctl add-language --text yo=yo.jsonl --text ht=ht.txt --model mini --dry-run`
    """
    texts = text_files(code, [*(text or ()), *(files or ())])
    say_loading(model)
    launch_unless_launched(ctx, 1 if dry_run else processes)
    from xmodctl.cli.adding_progress import AddingProgress
    from xmodctl.cli.defaults import origins
    from xmodctl.cli.drawing import Drawing
    from xmodctl.core.schema import parse_override
    from xmodctl.new_language.add_language import add_language as train
    from xmodctl.new_language.dry_run import plan_add_language

    changes = dict(map(parse_override, overrides or ()))
    with Drawing(AddingProgress) as listen:
        result = (plan_add_language if dry_run else train)(
            texts, column=column, limit=limit, strip_markup=strip_markup, model=model, init_from=init_from,
            adapters=adapters or (), vocabulary=vocabulary, vocabulary_size=vocabulary_size,
            head_text=head_text or (), recipe=recipe, overrides=changes, seeds=seeds, precision=precision, out=out,
            on_exists=on_exists, shard=shard, wait=wait, listen=listen,
        )  # fmt: skip
    _show(result, origins(ctx), as_json=json)


def text_files(code: str | None, files: Sequence[str]) -> list[tuple[str, str]]:
    """Return each file of text with its language.

    Raises:
        UserError: A file has no language, or there is no file.
    """
    from xmodctl.core.errors import UserError

    if code is not None and ("=" in code or Path(code).suffix):
        raise UserError(f"{code}: the language comes first, as in `xmodctl add-language zu --text FILE`")
    if not files:
        example = f"xmodctl add-language {code or 'zu'} --text FILE"
        raise UserError(f"no text given; give text in the language with --text FILE, as in `{example}`")
    if code is not None:
        return [(code, file) for file in files]
    pairs = []
    for value in files:
        language, equals, file = value.partition("=")
        if not (language and equals and file):
            raise UserError(f"--text {value} does not give its language; write --text zu={language or 'FILE'}")
        pairs.append((language, file))
    return pairs


def _show(result: "list[Package] | LanguageDryRun", origins: Mapping[str, str], *, as_json: bool) -> None:
    """Print what was trained, or what would be; the first of several processes prints, which alone has packages."""
    from xmodctl.cli.adding_tables import plan_tables
    from xmodctl.cli.plan_tables import show_dry_run
    from xmodctl.new_language.dry_run import LanguageDryRun

    if isinstance(result, LanguageDryRun):
        show_dry_run(result, plan_tables, origins, as_json=as_json)
    elif not is_follower():
        _show_packages(result, as_json=as_json)


def _summary(packages: "Sequence[Package]") -> dict[str, Any]:
    """Return the JSON document of a finished command."""
    from xmodctl.new_language.language_run import LanguageRun

    run = LanguageRun.read(packages[0].folder.parents[1])
    return {
        "folder": str(run.folder),
        "plan": run.plan.to_json(),
        "adapters": [
            {
                "language": package.language,
                "seed": package.facts["seed"],
                "package": package.to_json(),
                "held_out": package.facts["held_out"],
                "untouched_tensors": package.facts["untouched"]["tensors"],
            }
            for package in packages
        ],
    }


def _show_packages(packages: "Sequence[Package]", *, as_json: bool) -> None:
    """Print the held-out losses, the packages, and the command that evaluates them."""
    from xmodctl.cli import display
    from xmodctl.cli.adding_tables import held_out_table

    if as_json:
        display.show_json(_summary(packages))
        return
    for package in packages:
        display.show(held_out_table(package.language, package.facts))
    for package in packages:
        display.show_text(f"adapter: {package.folder}")
    first = [package for package in packages if package.facts["seed"] == packages[0].facts["seed"]]
    adapters = " ".join(f"--adapter {package.folder}" for package in first)
    languages = ",".join(package.language for package in first)
    display.note(f"next: xmodctl eval-transfer --run RUN {adapters} --langs {languages}")
