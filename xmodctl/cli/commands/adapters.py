"""`xmodctl adapters`: list, import, export, merge, verify."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xmodctl.cli import options
from xmodctl.cli.loading import say_loading

if TYPE_CHECKING:
    from xmodctl.adapters.packages import Package

PANEL = "Models and adapters"
ORDER = 4

adapters = typer.Typer(
    help="Manage adapter packages, which `add-language` creates and `--adapter` uses.", no_args_is_help=True
)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The package's folder.")]


@adapters.command("list")
def list_adapters(
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="A folder of packages. Default: the store.")
    ] = None,
    json: options.Json = False,
) -> None:
    """List the adapter packages in the store (a folder in the cache), or in a folder of your own.

    Examples:

    - `xmodctl adapters list`

    - `xmodctl adapters list my-adapters --json`
    """
    from xmodctl.adapters.commands import list_packages
    from xmodctl.cli import display

    listing = list_packages(folder)
    if json:
        display.show_json([package.to_json() for package in listing.packages])
    elif listing.packages:
        _show(listing.packages)
    else:
        display.note(f"no packages in {listing.folder}; `xmodctl adapters import DIR` adds one to the store")
    for problem in listing.problems:
        display.warn(problem)


@adapters.command("import")
def import_adapter(folder: Folder, json: options.Json = False) -> None:
    """Verify a package and add it to the store, so that `--adapter` finds it by its language or name.

    Examples:

    - `xmodctl adapters import runs/zu_ZA`, then `xmodctl eval-transfer --adapter zu --langs zu`
    """
    from xmodctl.adapters import import_
    from xmodctl.cli import display

    package = import_(folder)
    if json:
        display.show_json(package.to_json())
    else:
        display.show_text(f"{package.name}: {package.folder}")
        display.note(f"use it with runs of {package.made_for}: --adapter {package.language}")


@adapters.command("export")
def export_adapter(
    base: Annotated[
        str, typer.Argument(metavar="RUN|MODEL", help="A run's folder, a Hub id, a model's folder, or `mini`.")
    ],
    lang: Annotated[str, typer.Argument(metavar="LANG", help="The language: `de` or `de_DE`.")],
    out: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to create.")],
    json: options.Json = False,
) -> None:
    """Write a model's adapter for one language as a package.

    For a run, this is the adapter of its base model. An adapter that a run trained itself fits no other run.

    Examples:

    - `xmodctl adapters export facebook/xmod-base de_DE my-adapters/de_DE`

    - `xmodctl adapters export runs/my-run sw my-adapters/sw_KE`
    """
    say_loading(base)
    from xmodctl.adapters import export
    from xmodctl.cli import display
    from xmodctl.cli.drawing import draw_notice
    from xmodctl.run.run import Run

    if (Path(base) / Run.FILE).exists():
        package = Run.read(base).export_adapter(lang, out, listen=draw_notice)
    else:
        package = export(base, lang, out, listen=draw_notice)
    if json:
        display.show_json(package.to_json())
    else:
        display.show_text(f"{package.language}: {package.folder}")
        display.note(f"it fits {package.made_for} and its runs")


@adapters.command("merge")
def merge_adapters(
    packages: Annotated[
        list[str],
        typer.Argument(metavar="ADAPTER", help="Packages: folders, or languages or names from the store."),
    ],
    out: options.OutFolder,
    model: options.Model = options.DEFAULT_MODEL,
    json: options.Json = False,
) -> None:
    """Write a copy of a model that includes the packages' languages.

    The copy is a plain transformers folder. Unlike a package, it can be fine-tuned in its new languages. Packages made
    for the model also fit the copy, and vice versa.

    Examples:

    - `xmodctl adapters merge runs/zulu/seed-1/zu_ZA --model mini --out mini-zu`, then
      `xmodctl finetune --task wikiann --model mini-zu --lang zu`
    """
    say_loading(model)
    from xmodctl.adapters import merge
    from xmodctl.cli import display

    merged = merge(packages, out, model=model)
    if json:
        display.show_json(merged.to_json())
        return
    display.show_text(f"model: {out}")
    for role, languages in (("new", merged.added), ("replacing the model's own", merged.replaced)):
        if languages:
            display.note(f"{role}: {', '.join(languages)}")
    display.note(f"use it with --model {out}")


@adapters.command("mix")
def mix_adapters(
    mixture: Annotated[
        str, typer.Argument(metavar="LANG=MIXTURE", help="`zu=0.7*sw+0.3*so`, `zu=sw+so`, or `zu=mix`.")
    ],
    out: options.OutFolder,
    model: options.Model = options.DEFAULT_MODEL,
    adapter: options.Adapters = None,
    text: Annotated[
        list[str] | None,
        typer.Option(
            "--text",
            metavar="FILE",
            help="For `mix`: text in the language. The weights with the lowest masked-LM loss on it are used.",
        ),
    ] = None,
    head_text: Annotated[
        list[str] | None,
        typer.Option(
            "--head-text",
            metavar="FILE",
            help="Text on which to train a missing masked-LM head. Default: the text given with --text.",
        ),
    ] = None,
    mix_by: Annotated[
        str,
        typer.Option(
            "--mix-by",
            metavar="text|typology",
            help="How the weights of `mix` are chosen: by text, or by typology (extra `typology`), which needs none.",
        ),
    ] = "text",
    json: options.Json = False,
) -> None:
    """Write a mixture of adapters as a package: one adapter that computes the weighted sum of theirs.

    Examples:

    - `xmodctl adapters mix zu=0.7*sw+0.3*so --out my-adapters/zu_ZA`

    - `xmodctl adapters mix zu=mix --text zu.txt --model mini --adapter runs/sw_KE --adapter runs/so_SO --out zu_ZA`
    """
    say_loading(model)
    from xmodctl.cli import display
    from xmodctl.cli.adding_progress import AddingProgress
    from xmodctl.cli.drawing import Drawing
    from xmodctl.training.masked_lm.mixing import mix

    with Drawing(AddingProgress) as draw:
        package = mix(
            mixture, out, model=model, adapters=adapter or (), text=text or (), head_text=head_text or (),
            mix_by=mix_by, listen=draw,
        )  # fmt: skip
    if json:
        display.show_json(package.to_json())
    else:
        display.show_text(f"{package.language}: {package.facts['mixture']['name']}, {package.folder}")
        display.note(f"use it with --adapter {shlex.quote(str(package.folder))}")


@adapters.command("verify")
def verify_adapter(
    folder: Folder,
    model: Annotated[
        str | None, typer.Option("--model", metavar="MODEL", help="Also check that the package fits this base model.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Check that a package is complete and unchanged, and, with `--model`, that it was made for that model.

    Examples:

    - `xmodctl adapters verify my-adapters/zu_ZA --model mini`
    """
    if model is not None:
        say_loading(model)
    from xmodctl.adapters import verify
    from xmodctl.cli import display

    package = verify(folder, model)
    if json:
        display.show_json(package.to_json())
    else:
        display.show_text(f"{folder} is complete: {package.language} for {package.made_for}, sha256 {package.sha256}")


def _show(packages: "Sequence[Package]") -> None:
    from xmodctl.cli import display
    from xmodctl.languages import name

    columns = ("name", "language", "for", "vocabulary", "folder")
    rows = [
        (
            package.name,
            name(package.language),
            package.made_for,
            "its own" if package.vocabulary else "the model's",
            str(package.folder),
        )
        for package in packages
    ]
    display.show(display.sheet(columns, rows))
