"""Sentence embeddings: the hidden states of a text's tokens as a vector."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from xmodctl.core.encoded import Encoded
from xmodctl.core.errors import UserError
from xmodctl.model.batches import collate
from xmodctl.model.engine import Xmod
from xmodctl.model.inference import batches_of, predicting
from xmodctl.model.memory import in_halves
from xmodctl.model.modules import routed
from xmodctl.model.precision import Precision
from xmodctl.model.source import Source
from xmodctl.model.transfer import HOST, copied, mask_on_host, on_device, one_behind


@dataclass(frozen=True)
class Pooling:
    """How the hidden states of a text become a vector."""

    mode: str = "mean"  # the mean over the tokens of a text, the special ones included, or `cls`: its first token
    layer: int | None = None  # the layer whose output is pooled; 0 is the embeddings, None the last layer
    normalize: bool = True  # to length 1, so that the dot product of two vectors is their cosine


def check_layer(layer: int | None, source: Source) -> None:
    """Refuse a layer that a model does not have.

    Raises:
        UserError: There is no such layer.
    """
    layers = int(source.config["num_hidden_layers"])
    if layer is not None and not 0 <= layer <= layers:
        raise UserError(
            f"--layer {layer}: {source.name} has the layers 1 to {layers}, and 0 for its embeddings; choose one"
        )


def vectors_of(
    model: Xmod,
    encoded: Encoded,
    pooling: Pooling,
    *,
    precision: Precision,
    pad_id: int,
    on_batch: Callable[[int], None] | None = None,
) -> NDArray[np.float32]:
    """Return the vector of each sequence, shape (sequences, dimensions), whatever head the model has.

    Args:
        model: The model, with the adapter of the text's language active.
        encoded: The encoded texts.
        pooling: How hidden states become a vector. They are pooled in float32.
        precision: The precision of matrix products.
        pad_id: The id of the padding token.
        on_batch: Called after each batch with the number of its sequences.

    Raises:
        UserError: There is not enough memory for a single sequence; larger batches are halved.
    """
    vectors = np.zeros((len(encoded), model.module.config.hidden_size), dtype=np.float32)
    batches = batches_of(encoded, model.module.device)
    for units, values in vectors_in(model, encoded, pooling, batches, precision=precision, pad_id=pad_id):
        vectors[units] = values
        if on_batch:
            on_batch(len(units))
    return vectors


def vectors_in(
    model: Xmod,
    encoded: Encoded,
    pooling: Pooling,
    batches: Iterable[NDArray[np.int64]],
    *,
    precision: Precision,
    pad_id: int,
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Yield the numbers of the sequences of each batch, and their vectors.

    Raises:
        UserError: There is not enough memory for a single sequence; larger batches are halved.
    """

    host = (*HOST, *mask_on_host(model, precision))

    def vectors_of_batch(units: NDArray[np.int64]) -> Tensor:
        batch = collate(encoded, units, pad_id=pad_id)
        inputs = on_device({name: batch[name] for name in ("input_ids", "attention_mask")}, model.device, host=host)
        with predicting(model.device, precision), _whole_sequences(model):
            hidden = _hidden_states(model, inputs, pooling.layer).float()
        return pooled(hidden, copied(batch["attention_mask"], model.device), pooling)

    computed = in_halves(
        batches, encoded.lengths, model.batch_limit, vectors_of_batch, device=model.device, shorter="--max-length "
    )
    for units, values in one_behind(computed, model.device):
        yield units, values.cpu().numpy()


def pooled(hidden: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """Return the vector of each sequence, (batch, dimensions).

    Args:
        hidden: Hidden states, (batch, length, dimensions).
        mask: (batch, length), 1 for tokens and 0 for padding.
        pooling: How they become a vector.
    """
    if pooling.mode == "cls":
        vectors = hidden[:, 0]
    else:
        tokens = mask.unsqueeze(-1).to(hidden.dtype)
        vectors = (hidden * tokens).sum(1) / tokens.sum(1).clamp(min=1)
    return functional.normalize(vectors, dim=-1) if pooling.normalize else vectors


def _hidden_states(model: Xmod, inputs: dict[str, Tensor], layer: int | None) -> Tensor:
    body = routed(model.module)
    if layer is None or layer == model.module.config.num_hidden_layers:
        last: Tensor = body(**inputs).last_hidden_state  # of pre-norm models, after the last LayerNorm
        return last
    states: Tensor = body(**inputs, output_hidden_states=True).hidden_states[layer]
    return states


@contextmanager
def _whole_sequences(model: Xmod) -> Iterator[None]:
    """Compute every token of the last layer also where the model's head reads only the first; padding stays out."""
    model.leave_padding_out()
    model.module.eval()
    body = routed(model.module)
    before, body.reads_first_token = body.reads_first_token, False
    try:
        yield
    finally:
        body.reads_first_token = before
