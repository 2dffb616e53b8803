"""The arithmetic of matrix products: what a model needs, and what a machine reaches."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch

from bench.measures import Setting
from bench.timing import seconds


def operations(config: Mapping[str, Any], counts: np.ndarray, *, first: bool = False) -> float:
    """Return the operations of all matrix products of the encoder over rows of these lengths, without padding.

    With `first`, only the first token of each row is read: the last layer then needs the keys and values of all tokens,
    and everything else of those alone. Stock computes all of it.
    """
    hidden, layers = config["hidden_size"], config["num_hidden_layers"]
    adapter = 2 * hidden * (hidden // config["adapter_reduction_factor"])
    tokens, pairs = float(counts.sum()), float((counts.astype(float) ** 2).sum())
    queried = (float(len(counts)), tokens) if first else (tokens, pairs)

    def layer(tokens_queried: float, pairs_attended: float) -> float:
        per_query = 2 * hidden**2 + 2 * hidden * config["intermediate_size"] + adapter
        return 2 * (2 * hidden**2 * tokens + per_query * tokens_queried + 2 * hidden * pairs_attended)

    return (layers - 1) * layer(tokens, pairs) + layer(*queried)


def training_operations(config: Mapping[str, Any], counts: np.ndarray, *, first: bool = False) -> float:
    """Return the operations of a forward and a backward pass with frozen embeddings and adapters.

    Each product of the forward pass has two in the backward pass, for the gradients of both operands. Frozen adapters
    need that of their input alone. With frozen embeddings, the first layer's queries, keys, and values need that of
    their weights alone, unless a LayerNorm that trains is before them.
    """
    hidden, layers = config["hidden_size"], config["num_hidden_layers"]
    tokens = float(counts.sum())
    queried = float(len(counts)) if first else tokens
    adapter = 2 * hidden * (hidden // config["adapter_reduction_factor"])
    frozen = 2 * adapter * ((layers - 1) * tokens + queried)
    querying = tokens if layers > 1 else queried
    embedded = 0.0 if config.get("pre_norm") else 2 * hidden**2 * (2 * tokens + querying)
    return 3 * operations(config, counts, first=first) - frozen - embedded


def peak(setting: Setting) -> float:
    """Return the best rate, in operations per second, at which this machine multiplies matrices of these sizes."""
    hidden, wide = setting.config["hidden_size"], setting.config["intermediate_size"]
    dtype = setting.dtype if setting.is_gpu else torch.float32
    # A GPU is asked for several products at once: the host needs longer to ask for one than a GPU to compute it.
    count, times = (16384, 50) if setting.is_gpu else (2048, 1)
    x = torch.randn(count, hidden, device=setting.device, dtype=dtype)
    weight = torch.randn(wide, hidden, device=setting.device, dtype=dtype)
    products: list[Callable[[], object]] = [partial(torch.nn.functional.linear, x, weight)]
    if setting.device == "cpu" and hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        products.append(partial(torch.ops.mkldnn._linear_pointwise, x, weight, None, "none", [], ""))

    def repeated(product: Callable[[], object]) -> None:
        for _ in range(times):
            product()

    works = [partial(repeated, product) for product in products]
    least = min(seconds(work, setting.device) for work in works for _ in range(5))
    return 2 * times * count * hidden * wide / least
