"""Adapters out of a model and into one: a package of a base's own adapter, and a base with packages merged into it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from xmodctl.adapters.packages import Package, check_fits, write_package
from xmodctl.core.errors import UserError, did_you_mean
from xmodctl.core.files import check_empty

if TYPE_CHECKING:
    from xmodctl.model import Source


def extract(source: "Source", language: str, folder: str | Path) -> Package:
    """Write the adapter that a base has for a language as a package.

    Raises:
        UserError: The base has no such adapter, or the folder cannot be written.
    """
    from xmodctl.model import read_adapter

    if language not in source.languages:
        raise UserError(
            f"{source.name} has no adapter for {language}{did_you_mean(language, source.languages)}; "
            f"`xmodctl langs --model {source.name}` lists its languages"
        )
    return write_package(folder, source, language, read_adapter(source, language), {"taken_from": source.name})


def merge_packages(source: "Source", packages: Sequence[Package], folder: str | Path) -> "Source":
    """Write a model that has the packages' languages beside the base's own, and return it.

    Raises:
        UserError: A package is for another base or has its own vocabulary, or the folder cannot be written.
    """
    from xmodctl.model import find, load_tokenizer, merge

    folder = Path(folder)
    for package in packages:
        check_fits(package, source)
        if package.vocabulary:
            raise UserError(
                f"{package.language} in {package.folder} has its own vocabulary, but a model folder can contain only "
                f"one; use the package with `--adapter {package.folder}`"
            )
        if package.facts.get("mixture"):
            raise UserError(
                f"{package.folder} is a mixture, whose adapter is wider than those of a model folder; "
                f"use it with `--adapter {package.folder}`"
            )
    check_empty(folder, unless="config.json")
    merge(source, load_tokenizer(source), folder, {package.language: package.tensors() for package in packages})
    return find(str(folder))
