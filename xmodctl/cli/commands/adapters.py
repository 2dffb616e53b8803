"""`xmodctl adapters`: list, import, export, verify."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xmodctl.cli import options

if TYPE_CHECKING:
    from xmodctl.adapters.packages import Package
    from xmodctl.core.events import Event

PANEL = "Models and adapters"
ORDER = 4

adapters = typer.Typer(
    help="Adapter packages: what add-language writes, and what `--adapter` takes.", no_args_is_help=True
)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The package's folder.")]


@adapters.command("list")
def list_adapters(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="A folder of packages; default: the store.")
    ] = None,
    json: options.Json = False,
) -> None:
    """List the packages in the store, which is in the cache folder, or in another folder.

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
    """Verify a package and put it into the store: from then on `--adapter` takes its language or its name.

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
    lang: Annotated[str, typer.Argument(metavar="LANG", help="The language: `de`, `de_DE`.")],
    out: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to write.")],
    json: options.Json = False,
) -> None:
    """Write the adapter that a model has for a language as a package.

    Of a run, it is its base model's: adapters that a run trained itself fit no other run.

    Examples:

    - `xmodctl adapters export facebook/xmod-base de_DE my-adapters/de_DE`

    - `xmodctl adapters export runs/my-run sw my-adapters/sw_KE`
    """
    from xmodctl.adapters import export
    from xmodctl.cli import display
    from xmodctl.core.events import Notice

    def show(event: "Event") -> None:
        if isinstance(event, Notice):
            display.warn(event.text)

    package = export(base, lang, out, listen=show)
    if json:
        display.show_json(package.to_json())
    else:
        display.show_text(f"{package.language}: {package.folder}")
        display.note(f"it fits {package.made_for} and its runs")


@adapters.command("merge")
def merge_adapters(
    packages: Annotated[
        list[str], typer.Argument(metavar="ADAPTER...", help="Packages: folders, or the store's by language or name.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The folder to write.")],
    model: options.Model = options.DEFAULT_MODEL,
    json: options.Json = False,
) -> None:
    """Write a copy of a model that has the packages' languages, too.

    The copy is a plain folder of transformers. Unlike a package, it can be fine-tuned in its new languages. Packages,
    old and new, fit the one model as they do the other.

    Examples:

    - `xmodctl adapters merge runs/zulu/seed-1/zu_ZA --model mini --out mini-zu`, then
      `xmodctl finetune --task wikiann --model mini-zu --lang zu`
    """
    from xmodctl.adapters import merge
    from xmodctl.cli import display

    merged = merge(packages, out, model=model)
    if json:
        display.show_json(merged.to_json())
        return
    display.show_text(f"model: {out}")
    for role, languages in (("new", merged.added), ("in place of the model's own", merged.replaced)):
        if languages:
            display.note(f"{role}: {', '.join(languages)}")
    display.note(f"use it with --model {out}")


@adapters.command("verify")
def verify_adapter(
    folder: Folder,
    model: Annotated[
        str | None, typer.Option("--model", metavar="MODEL", help="Does it fit this base model, too?")
    ] = None,
    json: options.Json = False,
) -> None:
    """Check that a package is whole and unchanged, and, with a model, that it was made for it.

    Examples:

    - `xmodctl adapters verify my-adapters/zu_ZA --model mini`
    """
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
