"""How weights are stored on an accelerator: what does not change, in the type of the matrix products that read it.

Autocast casts a weight at every product, and keeps the result only of weights that train. Stored in the narrow type
once, the others are never cast again, take half the memory, and give the same bits, because autocast rounds alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xmodctl.model.precision import Precision, narrow_type

if TYPE_CHECKING:
    from torch import nn


def store_narrow(module: nn.Module, precision: Precision, *, trained: bool = False) -> None:
    """Store the weights of linear layers in the type that `precision` multiplies; nothing changes with fp32 and tf32.

    Embeddings and what is tied to them stay fp32, as do LayerNorms: autocast reads these as fp32, too.

    Args:
        module: The module or a part of it.
        precision: What matrix products are computed in.
        trained: Also store the weights that can train: nothing will.
    """
    from torch import nn

    dtype = narrow_type(precision)
    if dtype is None:
        return
    tied = {id(part.weight) for part in module.modules() if isinstance(part, nn.Embedding)}
    for part in module.modules():
        if isinstance(part, nn.Linear) and id(part.weight) not in tied:
            for parameter in part.parameters(recurse=False):
                if trained or not parameter.requires_grad:
                    parameter.data = parameter.data.to(dtype)
