"""A base model together with adapter packages: the languages and tokenizers it then has."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xmodctl.adapters.packages import Package, check_fits
from xmodctl.adapters.vocabulary import BIAS, EMBEDDINGS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from xmodctl.model import Source, Xmod


def attach(model: "Xmod", package: Package) -> None:
    """Give a model the package's language: its adapter, and its embeddings if it has its own vocabulary.

    Raises:
        UserError: The package was made for another base, or the model's own embeddings were trained.
    """
    check_fits(package, model.source)
    tensors = package.tensors()
    embeddings, bias = tensors.pop(EMBEDDINGS, None), tensors.pop(BIAS, None)
    if embeddings is not None:
        model.put_embeddings(package.language, embeddings, bias)
    model.put_adapter(package.language, tensors, package=package.sha256)


def available_languages(source: "Source", packages: Sequence[Package]) -> tuple[str, ...]:
    """Return the languages of a base with packages: its own, then those that the packages add."""
    return tuple(dict.fromkeys([*source.languages, *(package.language for package in packages)]))


def load_tokenizers(source: "Source", packages: Sequence[Package]) -> "dict[str | None, PreTrainedTokenizerFast]":
    """Return the base's tokenizer under None, and that of each language with its own vocabulary under its name."""
    from xmodctl.model import load_tokenizer

    tokenizers: dict[str | None, PreTrainedTokenizerFast] = {None: load_tokenizer(source)}
    for package in packages:
        if (tokenizer := package.tokenizer()) is not None:
            tokenizers[package.language] = tokenizer
    return tokenizers
