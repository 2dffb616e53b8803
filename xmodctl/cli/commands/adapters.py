"""`xmodctl adapters`: list, import, export, verify."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xmodctl.cli import options

if TYPE_CHECKING:
    from xmodctl.adapters.packages import Package

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
    from xmodctl.adapters.packages import packages_in, store
    from xmodctl.cli import display
    from xmodctl.core.errors import UserError

    if folder is not None and not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give one with adapter packages, or none for the store")
    place = folder or store()
    packages, damaged = packages_in(place)
    if json:
        display.show_json([package.to_json() for package in packages])
    elif packages:
        _show(packages)
    else:
        display.note(f"no packages in {place}; `xmodctl adapters import DIR` puts one into the store")
    for problem in damaged:
        display.warn(problem)


@adapters.command("import")
def import_adapter(folder: Folder, json: options.Json = False) -> None:
    """Verify a package and put it into the store: from then on `--adapter` takes its language or its name.

    Examples:

    - `xmodctl adapters import runs/zu_ZA`, then `xmodctl eval-transfer --adapter zu --langs zu`
    """
    from xmodctl.adapters.packages import keep, read_package
    from xmodctl.cli import display

    package = keep(read_package(folder))
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
    from xmodctl.adapters.packages import extract
    from xmodctl.cli import display
    from xmodctl.core.errors import UserError
    from xmodctl.languages import resolve
    from xmodctl.model import find
    from xmodctl.run.loading import find_base
    from xmodctl.run.run import Run

    run = Run.read(Path(base)) if (Path(base) / "run.json").exists() else None
    source = find_base(run) if run else find(base)
    match = resolve(lang, source.languages, model=source.name)
    if match.note:
        display.warn(match.note)
    if run and match.adapter in run.trained_adapters():
        raise UserError(
            f"{base} trained the adapter of {match.adapter} together with its own body, which it alone fits; "
            f"export the whole run with `xmodctl export --run {base} --out DIR`"
        )
    package = extract(source, match.adapter, out)
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
    from xmodctl.adapters.packages import choose_all, merge
    from xmodctl.cli import display
    from xmodctl.model import find

    base = find(model)
    chosen = choose_all(packages, base)
    merged = merge(base, chosen, out)
    if json:
        told = {"folder": str(out), "languages": list(merged.languages), "merged": [one.to_json() for one in chosen]}
        display.show_json(told)
        return
    display.show_text(f"model: {out}")
    there = [one.language for one in chosen if one.language in base.languages]
    new = [one.language for one in chosen if one.language not in base.languages]
    for what, names in (("new", new), ("in the place of the model's own", there)):
        if names:
            display.note(f"{what}: {', '.join(names)}")
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
    from xmodctl.adapters.packages import check, read_package
    from xmodctl.cli import display
    from xmodctl.model import find

    package = read_package(folder)
    if model:
        check(package, find(model))
    if json:
        display.show_json(package.to_json())
    else:
        display.show_text(f"{folder} is whole: {package.language} for {package.made_for}, sha256 {package.sha256}")


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
