"""Model files from the Hugging Face Hub: only those needed, and from the local cache if the Hub is unreachable."""

import fnmatch
import os
from collections.abc import Iterable
from pathlib import Path

from xmodctl.core.errors import UserError
from xmodctl.core.files import read_json
from xmodctl.core.hub import HubError
from xmodctl.core.hub_downloads import Repository, Wanted, fetch

TOKENIZER_MODELS = ("tokenizer.json", "sentencepiece.bpe.model", "vocab.txt", "vocab.json")
"""Each of these files contains a tokenizer's pieces."""

TOKENIZER_FILES = (
    *TOKENIZER_MODELS,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
)


def download(repository: str, revision: str | None, *, weights: bool = True) -> Path:
    """Return the local folder of a Hub model's needed files; its name is the commit hash.

    Without `weights`, only the configuration and tokenizer files are downloaded. If the Hub is unreachable, fails, or
    offline mode is on, the local cache must have the files.

    Raises:
        UserError: The model or its revision does not exist, or the download failed.
    """
    model = Repository(repository, "model", revision)
    files = Wanted(
        lambda present: _wanted(present, weights=weights), lambda folder: _is_complete(folder, weights=weights)
    )
    try:
        return fetch(model, files)
    except HubError as error:
        raise UserError(f"cannot download {model}: {error}") from error


def _is_complete(folder: Path, *, weights: bool) -> bool:
    """Return whether a snapshot in the cache has what is needed."""
    present = {file.name for file in folder.iterdir()}
    if not weights:
        return "config.json" in present and any(file in present for file in TOKENIZER_MODELS)
    if "config.json" not in present:
        return False
    for whole, index in _WEIGHTS:
        if whole in present:
            return True
        if index in present:
            try:
                parts = read_json(folder / index)["weight_map"].values()
                return set(parts) <= present
            except (OSError, ValueError, KeyError, TypeError, AttributeError):  # damaged
                return False
    return False


def cached_config(repository: str, revision: str | None) -> Path | None:
    """Return the model's config.json if the local Hub cache holds it; never uses the network."""
    from huggingface_hub import constants

    if not (Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}").is_dir():
        return None  # without the client's other modules, whose import takes longer than everything else here
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        path = try_to_load_from_cache(repository, "config.json", revision=revision)
    except HFValidationError:
        return None
    return Path(path) if isinstance(path, str) else None


_WEIGHTS = (
    ("model.safetensors", "model.safetensors.index.json"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json"),
)
"""Where weights are: one file, or an index of several. The first that a model has is used."""


def _wanted(present: set[str], *, weights: bool) -> list[str]:
    files = [file for file in ("config.json", *TOKENIZER_FILES) if file in present]
    if not weights:
        return files
    for whole, index in _WEIGHTS:
        if whole in present:
            return [*files, whole]
        if index in present:
            stem, _, suffix = whole.rpartition(".")
            return [*files, index, *sorted(fnmatch.filter(present, f"{stem}-*.{suffix}"))]
    return files


def tokenizer_files(folder: Path) -> Iterable[str]:
    """Return the names of the tokenizer's files that `folder` holds."""
    return [file for file in TOKENIZER_FILES if os.path.lexists(folder / file)]
