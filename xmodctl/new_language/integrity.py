"""The promise that adding a language changes nothing else: sha256 of every tensor, before and after."""

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from xmodctl.model import Xmod


def digests(model: "Xmod", language: str) -> dict[str, str]:
    """Return the sha256 of every tensor of the checkpoint but the adapter of `language`, by stock name.

    What is in memory is read there, the adapters of other languages in the checkpoint's file. A head that the
    checkpoint lacks is left out.
    """
    own = {model.local_name(name) for name in model.adapter_shapes(language)}
    vocabulary = model.vocabulary
    model.read_as(None)
    state = model.module.state_dict()
    new = {*own, *model.initialised}
    seen = {state[name].data_ptr() for name in new if name in state}
    found: dict[str, str] = {}
    for name, tensor in state.items():
        if tensor.data_ptr() not in seen:  # a tied tensor comes once
            seen.add(tensor.data_ptr())
            found[name] = sha256(tensor)
    for other in model.source.languages:
        if other != language and other not in model.languages:
            found |= {model.local_name(name): sha256(tensor) for name, tensor in model.adapter(other).items()}
    model.read_as(vocabulary)
    return found


def digests_through(model: "Xmod", language: str | None, found: Mapping[str, str]) -> dict[str, str]:
    """Return, of what `digests` found, what text in `language` goes through; None: through no adapter."""
    languages = {*model.source.languages, *model.languages}
    adapters = {model.local_name(name) for one in languages for name in model.adapter_shapes(one)}
    own = model.adapter(language) if language is not None else {}
    return {
        **{name: digest for name, digest in found.items() if name not in adapters},
        **{model.local_name(name): sha256(tensor) for name, tensor in own.items()},
    }


def sha256(tensor: "Tensor") -> str:
    """Return the sha256 of a tensor's bytes, with its type and shape."""
    import torch

    digest = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)}\n".encode())
    digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def summary(found: Mapping[str, str]) -> str:
    """Return one sha256 for all: of the names and digests, in order of their names."""
    lines = "".join(f"{name} {digest}\n" for name, digest in sorted(found.items()))
    return hashlib.sha256(lines.encode()).hexdigest()
