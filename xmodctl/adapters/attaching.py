"""A base model together with adapter packages: the languages and tokenizers it then has."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xmodctl.adapters.mixtures import Attached, Mixture
from xmodctl.adapters.packages import check_fits
from xmodctl.adapters.vocabulary import BIAS, EMBEDDINGS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from xmodctl.model import Source, Xmod


def attach(model: "Xmod", package: Attached) -> None:
    """Give a model the package's language: its adapter, and its embeddings if it has its own vocabulary.

    A mixture becomes one adapter under its name; the packages of its parts are attached before it.

    Raises:
        UserError: The package was made for another base, or the model's own embeddings were trained.
    """
    if isinstance(package, Mixture):
        model.put_adapter(package.language, package.fold(model, package.language), package=package.sha256)
        return
    check_fits(package, model.source)
    tensors = package.tensors()
    embeddings, bias = tensors.pop(EMBEDDINGS, None), tensors.pop(BIAS, None)
    if embeddings is not None:
        model.put_embeddings(package.language, embeddings, bias)
    model.put_adapter(package.language, tensors, package=package.sha256)


def available_languages(source: "Source", packages: Sequence[Attached]) -> tuple[str, ...]:
    """Return the languages of a base with packages: its own, then those that the packages add."""
    return tuple(dict.fromkeys([*source.languages, *(package.language for package in packages)]))


def load_tokenizers(source: "Source", packages: Sequence[Attached]) -> "dict[str | None, PreTrainedTokenizerFast]":
    """Return the base's tokenizer under None, and that of each language with its own vocabulary under its name."""
    from xmodctl.model import load_tokenizer

    tokenizers: dict[str | None, PreTrainedTokenizerFast] = {None: load_tokenizer(source)}
    for package in packages:
        if not isinstance(package, Mixture) and (tokenizer := package.tokenizer()) is not None:
            tokenizers[package.language] = tokenizer
    return tokenizers
