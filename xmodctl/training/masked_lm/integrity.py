"""The guarantee that adding a language changes nothing else: the sha256 of every tensor, before and after."""

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from xmodctl.model import Xmod


def tensor_digests(model: "Xmod", language: str) -> dict[str, str]:
    """Return the sha256 of every tensor of the checkpoint except the adapter of `language`, by stock name.

    Tensors in memory are hashed there, adapters of other languages as the checkpoint's file has them. A head that the
    checkpoint lacks is excluded.
    """
    adapter_names = {model.local_name(name) for name in model.adapter_shapes(language)}
    vocabulary = model.vocabulary
    model.use_vocabulary(None)
    state = model.module.state_dict()
    excluded = {*adapter_names, *model.initialized}
    seen = {state[name].data_ptr() for name in excluded if name in state}
    digests: dict[str, str] = {}
    for name, tensor in state.items():
        if tensor.data_ptr() not in seen:  # tied tensors are hashed once
            seen.add(tensor.data_ptr())
            digests[name] = sha256(tensor)
    for other in model.source.languages:
        if other != language and other not in model.languages:
            digests |= {model.local_name(name): sha256(tensor) for name, tensor in model.adapter(other).items()}
    model.use_vocabulary(vocabulary)
    return digests


def digests_on_path(model: "Xmod", adapter: str | None, digests: Mapping[str, str]) -> dict[str, str]:
    """Return those of `tensor_digests` that text goes through on its way through one adapter.

    Args:
        model: The model.
        adapter: A language; None if the text goes through no adapter.
        digests: What `tensor_digests` returned.
    """
    languages = {*model.source.languages, *model.languages}
    adapter_names = {model.local_name(name) for language in languages for name in model.adapter_shapes(language)}
    tensors = model.adapter(adapter) if adapter is not None else {}
    return {
        **{name: digest for name, digest in digests.items() if name not in adapter_names},
        **{model.local_name(name): sha256(tensor) for name, tensor in tensors.items()},
    }


def check_unchanged(language: str, before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """Assert that training a language's adapter changed no other tensor."""
    changed = sorted(name for name in before if before[name] != after.get(name))
    assert not changed, f"training {language} changed {changed[0]} and {len(changed) - 1} more tensors"


def sha256(tensor: "Tensor") -> str:
    """Return the sha256 of a tensor's type, shape and bytes."""
    import torch

    digest = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)}\n".encode())
    digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def combined_sha256(digests: Mapping[str, str]) -> str:
    """Return one sha256 of all names and digests, sorted by name."""
    lines = "".join(f"{name} {digest}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256(lines.encode()).hexdigest()
