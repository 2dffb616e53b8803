"""The store of imported adapter packages in the cache folder, and the packages that `--adapter` names."""

import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xmodctl.adapters.packages import FACTS, VOCABULARY, WEIGHTS, Package, check_fits, read_package
from xmodctl.core.errors import UserError, did_you_mean
from xmodctl.core.files import cache_folder, disk_errors, whole_folder
from xmodctl.languages import same

if TYPE_CHECKING:
    from xmodctl.model import Source


@dataclass(frozen=True)
class Listing:
    """The packages of a folder by name, and why others in it cannot be used."""

    folder: Path
    packages: tuple[Package, ...]
    problems: tuple[str, ...]


def store_folder() -> Path:
    """Return the folder of imported packages, in the cache folder."""
    return cache_folder() / "adapters"


def packages_in(folder: str | Path, *, named: Callable[[str], bool] | None = None) -> Listing:
    """Return the packages in a folder, which may be a package itself.

    Args:
        folder: A package, or a folder of packages.
        named: Which folder names to consider: reading a package means hashing its files.
    """
    folder = Path(folder)
    if (folder / FACTS).exists():
        folders = [folder]
    else:
        inside = [path.parent for path in folder.glob(f"*/{FACTS}") if not path.parent.name.startswith(".")]
        folders = sorted(path for path in inside if named is None or named(path.name))
    packages: list[Package] = []
    problems: list[str] = []
    for path in folders:
        try:
            packages.append(read_package(path))
        except UserError as error:
            problems.append(str(error))
    return Listing(folder, tuple(sorted(packages, key=lambda package: package.name)), tuple(problems))


def copy_to_store(package: Package) -> Package:
    """Copy a package into the store, where it is found by its language or its name.

    Raises:
        UserError: The store cannot be written.
    """
    folder = store_folder() / package.name
    if package.folder.resolve() != folder.resolve():
        with disk_errors(folder), whole_folder(folder) as part:
            for name in (WEIGHTS, FACTS):
                shutil.copyfile(package.folder / name, part / name)
            if package.vocabulary:
                shutil.copytree(package.vocabulary, part / VOCABULARY)
    return read_package(folder)


def choose(adapter: str | Path, source: "Source") -> Package:
    """Return the package that `--adapter` names: a folder, or a package of the store by its name or its language.

    Raises:
        UserError: There is none, none that fits the base, or several that do.
    """
    folder = Path(adapter).expanduser()
    if folder.is_dir():
        package = read_package(folder)
        check_fits(package, source)
        return package
    stored = packages_in(store_folder()).packages
    matching = [package for package in stored if package.name == str(adapter) or same(package.language, str(adapter))]
    if not matching:
        names = [package.name for package in stored]
        raise UserError(
            f"--adapter {adapter} is neither a folder nor a package in the store, which contains "
            f"{', '.join(names) or 'no packages'}{did_you_mean(str(adapter), names)}; "
            "add one with `xmodctl adapters import DIR`"
        )
    fitting = []
    for package in matching:
        try:
            check_fits(package, source)
        except UserError:
            if len(matching) == 1:
                raise
        else:
            fitting.append(package)
    if len(fitting) != 1:
        count = "several fit" if fitting else "none fits"
        language = matching[0].language
        remedy = (
            "give the name of one of them"
            if fitting
            else f"train one for it: xmodctl add-language {language} --text FILE --model {source.name}"
        )
        names = [f"{package.name} (for {package.made_for})" for package in fitting or matching]
        raise UserError(
            f"--adapter {adapter}: of the packages in the store, {count} {source.name}: {', '.join(names)}; {remedy}"
        )
    return fitting[0]


def choose_all(adapters: Sequence[str | Path], source: "Source") -> tuple[Package, ...]:
    """Return the packages that `--adapter` names, one per language.

    Raises:
        UserError: One cannot be used, or two are for the same language.
    """
    packages: dict[str, Package] = {}
    for adapter in adapters:
        package = choose(adapter, source)
        if (other := packages.setdefault(package.language, package)).sha256 != package.sha256:
            raise UserError(
                f"--adapter names two adapters for {package.language}, {other.folder} and {package.folder}; choose one"
            )
    return tuple(packages.values())


def unused_packages(langs: str, source: "Source", packages: Sequence[Package]) -> list[Package]:
    """Return the store's packages that fit the base and are for selected languages, but were not asked for."""
    package_languages = {package.language for package in packages}
    selected = [part.strip().rpartition("=")[2] for part in langs.split(",")]

    def named(name: str) -> bool:
        language = name.rpartition("-")[0]  # as the store names packages
        return language not in package_languages and any(same(item, language) for item in selected)

    unused = []
    for package in packages_in(store_folder(), named=named).packages:
        with suppress(UserError):
            check_fits(package, source)
            unused.append(package)
    return unused
