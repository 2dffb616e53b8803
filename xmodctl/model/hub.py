"""Model files from the Hugging Face Hub: only those needed, from the local cache where the Hub is out of reach."""

import os
from collections.abc import Iterable
from pathlib import Path

from xmodctl.core import network
from xmodctl.core.errors import UserError
from xmodctl.model.weights import DISK_ERRORS

TOKENIZER_MODELS = ("tokenizer.json", "sentencepiece.bpe.model", "vocab.txt", "vocab.json")
"""Any of these holds a tokenizer's pieces."""

TOKENIZER_FILES = (
    *TOKENIZER_MODELS,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
)


def download(repository: str, revision: str | None, *, weights: bool = True) -> Path:
    """Return the local folder of a Hub model's needed files; its name is the commit hash.

    Without `weights` only the configuration and tokenizer files are fetched. The Hub is asked only if it answers a
    preflight of 2 seconds and offline mode is off; otherwise the local cache must hold the files.

    Raises:
        UserError: the model, its revision or the Hub itself cannot be had.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # its HTTP library's, whichever that is

    name = f"{repository}@{revision}" if revision else repository
    try:
        if network.hub_answers():
            listing = HfApi().model_info(repository, revision=revision)
            present = {sibling.rfilename for sibling in listing.siblings or ()}
            wanted = _wanted(present, weights=weights)
            return Path(snapshot_download(repository, revision=revision, allow_patterns=wanted))
        return Path(
            snapshot_download(repository, revision=revision, allow_patterns=["config.json"], local_files_only=True)
        )
    except (HTTPError, OSError, ValueError) as error:  # every error of the client is one of these
        raise UserError(_failure(name, repository, revision, error)) from error


def cached_config(repository: str, revision: str | None) -> Path | None:
    """Return the model's config.json if the local Hub cache holds it; never asks the network."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(repository, "config.json", revision=revision)
    except HFValidationError:
        return None
    return Path(found) if isinstance(found, str) else None


def _wanted(present: set[str], *, weights: bool) -> list[str]:
    wanted = [file for file in ("config.json", *TOKENIZER_FILES) if file in present]
    if not weights:
        return wanted
    for whole, index, parts in (
        ("model.safetensors", "model.safetensors.index.json", "model-*.safetensors"),
        ("pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*.bin"),
    ):
        if whole in present:
            return [*wanted, whole]
        if index in present:
            return [*wanted, index, parts]
    return wanted


def _failure(name: str, repository: str, revision: str | None, error: BaseException) -> str:
    """Say in a sentence why the client failed, from the names of the errors in the chain that it raised."""
    from huggingface_hub import constants

    chain = network.chain_of(error)
    kinds = {kind.__name__ for one in chain for kind in type(one).__mro__}
    for kind, sentence in _REASONS.items():
        if kind in kinds:
            return sentence.format(name=name, repository=repository, revision=revision)
    statuses = [getattr(getattr(one, "response", None), "status_code", None) for one in chain]
    if status := next(filter(None, statuses), None):
        return f"the Hub failed to give {name} (HTTP {status}): try again later, or use `--model mini`"
    if any("consistency check failed" in str(one).lower() for one in chain):
        return _REASONS["RemoteProtocolError"].format(name=name)
    if full := next((one for one in chain if isinstance(one, OSError) and one.errno in DISK_ERRORS), None):
        return f"cannot keep {name} in {constants.HF_HUB_CACHE}: {full.strerror}; make room there or set HF_HOME"
    if kinds & {"LocalEntryNotFoundError", "TransportError", "ConnectionError"}:
        why = "offline mode is on" if constants.HF_HUB_OFFLINE else f"{constants.ENDPOINT} does not answer"
        return (
            f"{name} is not in the local cache and cannot be downloaded ({why}): "
            "without a network use `--model mini` and files of yours (`--data`, `--text`), or try `xmodctl demo`"
        )
    reason = next(iter(str(error).splitlines()), type(error).__name__)
    return f"the Hub failed to give {name} ({reason}): try again later, or use `--model mini`"


_REASONS = {
    "HFValidationError": "{name!r} is neither a folder nor a model id on the Hub, such as facebook/xmod-base",
    "GatedRepoError": "the Hub asks for a login before it gives {name}: accept its terms there and run `hf auth login`",
    "RevisionNotFoundError": "{repository} has no revision {revision!r}: use a branch, tag or commit that it has",
    "RepositoryNotFoundError": "the Hub has no model {repository!r} that you may read: "
    "check the id, or run `hf auth login`",
    "RemoteProtocolError": "the download of {name} was cut off: run the command again to continue it",
}
"""Errors of the client that say all: class name -> what to tell."""


def tokenizer_files(folder: Path) -> Iterable[str]:
    """Return the names of the tokenizer's files that `folder` holds."""
    return [file for file in TOKENIZER_FILES if os.path.lexists(folder / file)]
