"""The activations that a forward pass keeps for the backward pass, counted in one and two layers of a geometry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from xmodctl.model.building import build
from xmodctl.model.modules import RoutedModel, routed
from xmodctl.model.precision import Precision, autocast
from xmodctl.model.storing import store_narrow

LANGUAGE, PIECES = "counted", 16
"""The adapter and the size of the vocabulary of the model whose activations are counted; neither matters."""


def kept_per_token(
    config: Mapping[str, Any],
    head: str,
    *,
    trains: Callable[[str], bool],
    length: int,
    precision: Precision,
    device: torch.device,
    dropout: float | None = None,
    attention_dropout: float | None = None,
    packed: bool = False,
) -> float:
    """Return how many bytes of activations per token the body of a model keeps for the backward pass.

    Layers are alike except for the last one, of which some heads read less. So the count for
    any number of layers follows from a model of one layer and a model of two layers, whose weights are zeros. Tensors
    are counted as autograd saves them, for one sequence and for two, so that only what grows with the batch counts.

    Args:
        config: The model's configuration.
        head: The name of its head.
        trains: Whether the parameter with a name trains.
        length: Tokens of each sequence.
        precision: The precision of matrix products.
        device: The device to train on.
        dropout: Of hidden states; None: the configuration's.
        attention_dropout: Of attention weights; None: the configuration's.
        packed: Whether batches are packed, as they always are on a CPU.
    """
    shares = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": attention_dropout}
    changes = {name: share for name, share in shares.items() if share is not None}
    changes |= {"vocab_size": PIECES, "pad_token_id": 1}

    def per_token(layers: int) -> float:
        module = build({**config, **changes, "num_hidden_layers": layers}, head, [LANGUAGE])
        module.to_empty(device=device)
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                parameter.zero_().requires_grad_(trains(name))
        if device.type != "cpu":
            store_narrow(module, precision)
        body = _prepared(routed(module), device)
        single, double = (_kept(body, samples, length, precision, device, packed=packed) for samples in (1, 2))
        return (double - single) / length

    last, two_layers = per_token(1), per_token(2)
    others = int(config["num_hidden_layers"]) - 1
    return last + others * (two_layers - last)


def _prepared(body: RoutedModel, device: torch.device) -> RoutedModel:
    """Give a body without weights what training has set."""
    positions = body.config.max_position_embeddings
    body.embeddings.position_ids = torch.arange(positions, device=device)[None]
    body.embeddings.token_type_ids = torch.zeros((1, positions), dtype=torch.int64, device=device)
    body.reads_padding = False
    for layer in body.encoder.layer:
        layer.output.active, layer.output.chosen = LANGUAGE, True
    body.train()
    return body


def _kept(
    body: RoutedModel, samples: int, length: int, precision: Precision, device: torch.device, *, packed: bool
) -> int:
    """Return the bytes that autograd saves, without the parameters."""
    parameters = {parameter.untyped_storage().data_ptr() for parameter in body.parameters()}
    saved: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    ids = torch.full((samples, length), body.config.pad_token_id + 1, device=device)
    mask = torch.ones(ids.shape, dtype=torch.int64, device="cpu" if packed else device)
    counting = torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor)
    with torch.random.fork_rng(), counting, torch.enable_grad(), autocast(device, precision):
        output = body(ids, attention_mask=mask)  # what it holds keeps its storages, so that no address comes twice
    del output
    return sum(saved.values())
