"""The identity of a base, from its weights: copies, conversions and revisions with the same weights agree."""

import hashlib

from xmodctl.model.source import TRAINED_ADAPTERS, Source, config_sha256
from xmodctl.model.weights import CheckpointTensors

_BODY = ("roberta.embeddings.", "roberta.encoder.")
_LANGUAGES = ("languages", "default_language", TRAINED_ADAPTERS)


def body_config_sha256(source: Source) -> str:
    """Return a sha256 of the configuration, excluding the list of adapters."""
    return config_sha256({key: value for key, value in source.config.items() if key not in _LANGUAGES})


def body_sha256(source: Source) -> str:
    """Return a sha256 of small tensors that all languages share: biases, LayerNorms and position embeddings.

    Any training of the body changes them, and none of them belongs to an adapter.
    """
    checkpoint = CheckpointTensors(source.folder, source.name)
    names = sorted(
        name
        for name, entry in checkpoint.entries.items()
        if name.startswith(_BODY) and ".adapter_modules." not in name
        if len(entry.shape) == 1 or name.endswith("position_embeddings.weight")
    )
    tensors = checkpoint.read(names)
    digest = hashlib.sha256()
    for name in names:
        digest.update(f"{name}{tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].float().contiguous().numpy().tobytes())
    return digest.hexdigest()
