"""The commands `xmodctl adapters list`, `import`, `export`, `merge`, and `verify` as functions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xmodctl.adapters.packages import Package, check_fits, read_package
from xmodctl.adapters.store import Listing, choose_all, copy_to_store, packages_in, store_folder
from xmodctl.core.arguments import DEFAULT_MODEL
from xmodctl.core.errors import UserError
from xmodctl.core.events import Listener, Notice, warn


@dataclass(frozen=True)
class MergedModel:
    """A model's folder with packages merged into it."""

    folder: Path
    languages: tuple[str, ...]  # all of them
    packages: tuple[Package, ...]
    replaced: tuple[str, ...]  # languages whose adapter took the place of the base's own

    @property
    def added(self) -> tuple[str, ...]:
        """The languages that the base did not have."""
        return tuple(package.language for package in self.packages if package.language not in self.replaced)

    def to_json(self) -> dict[str, Any]:
        """Return the model as plain JSON values."""
        return {
            "folder": str(self.folder),
            "languages": list(self.languages),
            "merged": [package.to_json() for package in self.packages],
        }


def list_packages(folder: str | Path | None = None) -> Listing:
    """List the packages in a folder; by default in the store, which is in the cache folder.

    Raises:
        UserError: It is not a folder.
    """
    if folder is not None and not Path(folder).is_dir():
        raise UserError(f"{folder} is not a folder; give a folder of adapter packages, or no folder to list the store")
    return packages_in(folder or store_folder())


def import_(folder: str | Path) -> Package:
    """Verify a package and copy it to the store: from then on, `--adapter` finds it by its language or its name.

    Raises:
        UserError: It is not an adapter package, it is damaged, or the store cannot be written.
    """
    return copy_to_store(read_package(folder))


def export(model: str | Path, lang: str, out: str | Path, *, listen: Listener | None = warn) -> Package:
    """Write the adapter that a model has for a language as a package; for a run, use `Run.export_adapter`.

    Args:
        model: A Hub id, a model's folder, or `mini`.
        lang: The language, in any spelling.
        out: The folder to write.
        listen: Called with a `Notice` if the spelling of the language leaves a choice.

    Raises:
        UserError: The model has no such language, or the folder cannot be written.
    """
    from xmodctl.adapters.merging import extract
    from xmodctl.languages import resolve
    from xmodctl.model import find

    source = find(str(model))
    match = resolve(lang, source.languages, model=source.name)
    if match.note and listen:
        listen(Notice(match.note, caution=True))
    return extract(source, match.adapter, out)


def merge(
    adapters: str | Path | Sequence[str | Path], out: str | Path, *, model: str | Path = DEFAULT_MODEL
) -> MergedModel:
    """Write a copy of a model that has the packages' languages, too.

    Args:
        adapters: Packages: their folders, or the store's by language or name.
        out: The folder to write; it must not exist or be empty.
        model: The base: `mini`, a folder, or a Hub id.

    Raises:
        UserError: A package cannot be used with the model, or the folder cannot be written.
    """
    from xmodctl.adapters.merging import merge_packages
    from xmodctl.model import find

    base = find(str(model))
    packages = choose_all([adapters] if isinstance(adapters, str | Path) else adapters, base)
    merged = merge_packages(base, packages, out)
    replaced = tuple(package.language for package in packages if package.language in base.languages)
    return MergedModel(Path(out), merged.languages, packages, replaced)


def verify(folder: str | Path, model: str | Path | None = None) -> Package:
    """Check that a package is complete and unchanged and, with a model, that it was made for this model.

    Raises:
        UserError: It is not an adapter package, it is damaged, or it does not fit the model.
    """
    package = read_package(folder)
    if model is not None:
        from xmodctl.model import find

        check_fits(package, find(str(model)))
    return package
