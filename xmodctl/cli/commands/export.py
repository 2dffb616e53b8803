"""`xmodctl export`."""

from typing import TYPE_CHECKING, Annotated

import typer

from xmodctl.cli import options
from xmodctl.cli.loading import NEWEST_RUN, say_loading
from xmodctl.cli.options import OUTPUT

if TYPE_CHECKING:
    from xmodctl.reports.export import Export

PANEL = "Models and adapters"
ORDER = 2

Format = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="transformers|sentence-transformers|onnx",
        help="The library that loads the folder.",
        rich_help_panel=OUTPUT,
    ),
]
BaseModel = Annotated[
    str | None,
    typer.Option("--model", metavar="MODEL", help="For sentence-transformers: a base model in place of a run."),
]
PoolingMode = Annotated[
    str | None,
    typer.Option("--pooling", metavar="mean|cls", help="For sentence-transformers, as for `embed`."),
]
Prefix = Annotated[
    str | None, typer.Option("--prefix", metavar="TEXT", help="For sentence-transformers, as for `embed`.")
]


def export(
    out: options.OutFolder,
    run: options.RunFolder = None,
    langs: Annotated[
        str, typer.Option("--langs", metavar="LANGS", help="Adapters to include: `all`, `@task`, or a list.")
    ] = "all",
    format_: Format = "transformers",
    model: BaseModel = None,
    pooling: PoolingMode = None,
    prefix: Prefix = None,
    adapter: options.Adapters = None,
    seed: options.Seed = None,
    push: Annotated[
        str | None,
        typer.Option("--push", metavar="OWNER/NAME", help="Also upload the folder to this Hub repository."),
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="With --push: create the repository as private.")] = False,
    json: options.Json = False,
) -> None:
    """Write a trained model as a plain transformers folder.

    `from_pretrained` loads it without xmodctl: weights as safetensors, configuration, labels, tokenizer, and a model
    card with the run's scores, which the Hub reads too. With `--format sentence-transformers`, the folder produces the
    same vectors as `xmodctl embed`, for one language, from a run or a base model. With `--format onnx`, the folder
    contains a graph of the model in one language for ONNX Runtime, after a comparison of its outputs with the model's.

    Examples:

    - `xmodctl export --out my-model`

    - `xmodctl export --run runs/my-run --out my-model --langs en_XX,de_DE,sw_KE`

    - `xmodctl export --out my-model --push my-name/my-model --private`

    - `xmodctl export --run runs/my-run --adapter runs/zu_ZA --langs zu_ZA --out my-zulu-model`

    - `xmodctl export --run runs/my-run --format onnx --langs de --out my-graph`

    - `xmodctl export --format sentence-transformers --model mini --langs de --out german-vectors`
    """
    say_loading(run or model or NEWEST_RUN)
    from xmodctl.cli import display
    from xmodctl.cli.drawing import draw_notice
    from xmodctl.reports.export import export as write_model

    exported = write_model(
        out, run=run, langs=langs, adapters=adapter or (), seed=seed, push=push, private=private, format=format_,
        model=model, pooling=pooling, prefix=prefix, listen=draw_notice,
    )  # fmt: skip
    if json:
        display.show_json(exported.to_json())
        return
    _show(exported)


def _show(exported: "Export") -> None:
    """Print where the model is, and how it is used."""
    from xmodctl.cli import display
    from xmodctl.core.messages import counted

    display.show_text(f"model: {exported.folder}")
    if exported.url:
        display.show_text(f"uploaded: {exported.url}")
    languages = counted(len(exported.languages), "language")
    choice = ", where set_default_language chooses the language of the texts" if exported.one_language else ""
    display.note(f"{languages}. In Python{choice}:")
    display.verbatim(f"\n{exported.lines}\n")
    if exported.one_language:
        display.note("A folder of one language needs no such choice:")
        display.verbatim(exported.one_language)
