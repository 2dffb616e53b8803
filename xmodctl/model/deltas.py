"""What a run changed: the trained tensors, taken from a model and put back into one."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from xmodctl.core.errors import UserError
from xmodctl.model.engine import Xmod
from xmodctl.model.freezing import group_of

_ADAPTER_OF = re.compile(r"encoder\.layer\.\d+\.output\.adapter_modules\.([^.]+)\.")


def trained_tensors(model: Xmod) -> dict[str, Tensor]:
    """Return the tensors that train, by their stock names, and every adapter that is no longer the checkpoint's.

    The tensors share memory with the model. A tied parameter comes once.
    """
    tensors = {
        name: parameter.detach() for name, parameter in model.module.named_parameters() if parameter.requires_grad
    }
    for adapter in model.changed_adapters.values():
        tensors |= {model.local_name(name): tensor for name, tensor in adapter.items()}
    return tensors


def apply_delta(model: Xmod, tensors: Mapping[str, Tensor]) -> None:
    """Apply a run's tensors to a freshly loaded model, all or none.

    Adapters among them hold from now on, also for languages that are not in memory, or not in the checkpoint.

    Raises:
        UserError: a name or shape does not fit, or the delta lacks a head that the checkpoint lacks too.
    """
    own = dict(model.module.named_parameters())
    adapters: dict[str, dict[str, Tensor]] = {}
    prefix = "" if model.head != "none" else "roberta."
    for name, tensor in tensors.items():
        if match := _ADAPTER_OF.search(name):
            adapters.setdefault(match[1], {})[prefix + name] = tensor
        elif name not in own:
            raise UserError(
                f"this delta does not belong to a {model.head} model on {model.source.name}, which has no {name}"
            )
        elif own[name].shape != tensor.shape:
            raise UserError(
                f"this delta does not fit {model.source.name} with head {model.head}: "
                f"{name} is {tuple(tensor.shape)}, not {tuple(own[name].shape)}"
            )
    if lacking := [name for name in model.initialized if name not in tensors]:
        raise UserError(f"this delta lacks {lacking[0]}, which {model.source.name} lacks too: the run is incomplete")
    assert not model.own_vocabularies, "a delta is of the checkpoint's own vocabulary: put it in first"
    model.embeddings_changed |= any(group_of(name) == "embeddings" for name in tensors)
    for language, adapter in adapters.items():
        model.put_adapter(language, adapter)
    with torch.no_grad():
        for name, tensor in tensors.items():
            if name in own:
                own[name].copy_(tensor)
