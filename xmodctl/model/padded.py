"""The encoder on accelerators: padded batches, whose shapes the host knows, and of the last layer only what is read.

Packing (`packing.py`) pays on CPUs, where arithmetic decides. On an accelerator it would need the values of the mask
before it can start; here, nothing that the device computes decides what is called next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn import functional

from xmodctl.model.routing import Route

if TYPE_CHECKING:
    from transformers.models.xmod.modeling_xmod import XmodLayer, XmodSelfAttention


def encode_padded(
    layers: Sequence[XmodLayer],
    hidden: Tensor,
    attention_mask: Tensor,
    route: Route,
    first_route: Route,
    *,
    first: bool,
) -> Tensor:
    """Return what the layers make of embeddings.

    Args:
        layers: The encoder's layers.
        hidden: (batch, length, hidden).
        attention_mask: (batch, length), not zero for tokens.
        route: That of all tokens.
        first_route: That of the samples' first tokens.
        first: Whether only the first token of each sample is wanted.

    Returns:
        (batch, 1, hidden) if only first tokens are wanted, else (batch, length, hidden), undefined at padding.
    """
    mask = attention_mask.ne(0)[:, None, None, :]
    for layer in layers[:-1]:
        hidden = _layer(layer, hidden, mask, route, queries=None)
    last = first_route if first else route
    return _layer(layers[-1], hidden, mask, last, queries=1 if first else None)


def _layer(layer: XmodLayer, hidden: Tensor, mask: Tensor, route: Route, *, queries: int | None) -> Tensor:
    """Return a layer's output for the first `queries` tokens of each sample; None is all of them."""
    attention, before = layer.attention, layer.pre_norm
    normed = attention.output.LayerNorm(hidden) if before else hidden
    attended = _attend(attention.self, normed[:, :queries], normed, mask)
    hidden = attention.output(attended, hidden[:, :queries])
    if not before:
        hidden = attention.output.LayerNorm(hidden)
    normed = layer.output.LayerNorm(hidden) if before else hidden
    hidden = layer.output(layer.intermediate(normed), hidden, route)
    out: Tensor = hidden if before else layer.output.LayerNorm(hidden)
    return out


def _attend(attention: XmodSelfAttention, queried: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
    """Attend from (batch, queries, hidden) to (batch, length, hidden), where `mask` (batch, 1, 1, length) allows it."""

    def heads(states: Tensor) -> Tensor:
        shape = (*states.shape[:2], attention.num_attention_heads, attention.attention_head_size)
        return states.view(shape).transpose(1, 2)

    attended = functional.scaled_dot_product_attention(
        heads(attention.query(queried)),
        heads(attention.key(tokens)),
        heads(attention.value(tokens)),
        attn_mask=mask,
        dropout_p=attention.dropout.p if attention.training else 0.0,
    )
    return attended.transpose(1, 2).flatten(2)
