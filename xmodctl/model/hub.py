"""Model files from the Hugging Face Hub: only those needed, and from the local cache if the Hub is unreachable."""

import os
from collections.abc import Iterable
from pathlib import Path

from xmodctl.core import hub
from xmodctl.core.errors import UserError
from xmodctl.core.hub import HubError, classified

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

    Without `weights`, only the configuration and tokenizer files are downloaded. If the Hub is unreachable or offline
    mode is on, the local cache must have the files.

    Raises:
        UserError: The model or its revision does not exist, or the download failed.
    """
    from huggingface_hub import HfApi, snapshot_download

    name = f"{repository}@{revision}" if revision else repository
    try:
        with classified():
            if hub.is_reachable():
                listing = HfApi().model_info(repository, revision=revision)
                present = {sibling.rfilename for sibling in listing.siblings or ()}
                wanted = _wanted(present, weights=weights)
                return Path(snapshot_download(repository, revision=revision, allow_patterns=wanted))
            return Path(
                snapshot_download(repository, revision=revision, allow_patterns=["config.json"], local_files_only=True)
            )
    except HubError as error:
        raise UserError(f"cannot download {name}: {error}") from error


def cached_config(repository: str, revision: str | None) -> Path | None:
    """Return the model's config.json if the local Hub cache holds it; never uses the network."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        path = try_to_load_from_cache(repository, "config.json", revision=revision)
    except HFValidationError:
        return None
    return Path(path) if isinstance(path, str) else None


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


def tokenizer_files(folder: Path) -> Iterable[str]:
    """Return the names of the tokenizer's files that `folder` holds."""
    return [file for file in TOKENIZER_FILES if os.path.lexists(folder / file)]
