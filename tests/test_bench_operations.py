"""The operations that torch counts in a step are those of the formula: nothing is computed for padding, or twice."""

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel, varlen
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from bench.operations import operations, training_operations
from tests.model.geometries import GEOMETRIES, bare_body, tiny_config
from xmodctl.core.encoded import Encoded, Ragged
from xmodctl.model import packing
from xmodctl.model.batches import collate, padded_length, padded_rows
from xmodctl.model.building import build
from xmodctl.model.freezing import PRESETS, group_of
from xmodctl.model.modules import RoutedModel

LENGTHS = np.array([11, 3, 7, 7, 1])


def body_of(first: bool, geometry: str = "base") -> RoutedModel:
    """Return a model without weights that trains, without dropout, one language, and fp64 on a CPU."""
    config = tiny_config(**GEOMETRIES[geometry], hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0).to_dict()
    module = build({**config, "pad_token_id": 1}, "sequence" if first else "tokens", ["en_XX"], num_labels=3)
    module.to_empty(device="cpu").double().train()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.fill_(0.01).requires_grad_(group_of(name) not in PRESETS["embeddings+adapters"])
    return bare_body(module)


def counted(body: RoutedModel, lengths: np.ndarray) -> tuple[int, int]:
    """Return the operations of a forward pass alone, and of a forward and a backward pass."""
    rows = Ragged.of([np.full(length, 5, dtype=np.int32) for length in lengths])
    batch = collate(Encoded(rows, np.arange(len(lengths))), np.arange(len(lengths)), pad_id=1)
    batch = {name: tensor.to(body.device) for name, tensor in batch.items()}
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as forward:
        hidden = body(**batch).last_hidden_state
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as backward:
        hidden.sum().backward()
    both = forward.get_total_flops() + backward.get_total_flops()
    return forward.get_total_flops(), both


FIRST = pytest.mark.parametrize("first", [True, False], ids=["first tokens", "all tokens"])


@FIRST
@pytest.mark.parametrize("geometry", ["base", "large-prenorm"])
def test_a_padded_step_on_an_accelerator_computes_its_padding_and_nothing_else(first, geometry):
    body = body_of(first, geometry).to("meta")
    config, padded = body.config.to_dict(), np.full(len(LENGTHS), LENGTHS.max())
    expected = operations(config, padded, first=first), training_operations(config, padded, first=first)
    assert counted(body, LENGTHS) == expected


@FIRST
def test_a_compiled_step_computes_the_padding_of_its_shape_and_nothing_else(first):
    body = body_of(first)
    body.compile_steps()
    body.compiled.compiled = body.encode  # what is compiled has no operations to count
    config = body.config.to_dict()
    padded = np.full(padded_rows(len(LENGTHS)), min(32, padded_length(LENGTHS).max()))
    expected = operations(config, padded, first=first), training_operations(config, padded, first=first)
    assert counted(body, LENGTHS) == expected


@FIRST
@pytest.mark.parametrize("geometry", ["base", "large-prenorm"])
def test_a_packed_step_computes_nothing_for_padding(first, geometry):
    body = body_of(first, geometry)
    config = body.config.to_dict()
    expected = operations(config, LENGTHS, first=first), training_operations(config, LENGTHS, first=first)
    assert counted(body, LENGTHS) == expected


class Kernel(TorchDispatchMode):
    """In the place of torch's attention for sequences of any length, which runs on CUDA alone; results are zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __torch_dispatch__(self, operation, types, arguments=(), settings=None):
        if operation is torch.ops.torch_attn._varlen_attn.default:
            self.calls += 1
            query = arguments[0]
            state = query.new_zeros((query.shape[1], query.shape[0]))
            return torch.zeros_like(query), state, torch.zeros(2, dtype=torch.uint64)
        if operation is torch.ops.torch_attn._varlen_attn_backward.default:
            return tuple(torch.zeros_like(tensor) for tensor in arguments[1:4])
        return operation(*arguments, **(settings or {}))


@FIRST
def test_a_step_of_variable_length_computes_nothing_for_padding(first, monkeypatch):
    monkeypatch.setattr(packing, "has_kernel", lambda device: True)
    body = body_of(first)
    config, kernel = body.config.to_dict(), Kernel()
    with kernel:
        forward, both = counted(body, LENGTHS)
    assert kernel.calls == config["num_hidden_layers"]
    assert forward == operations(config, LENGTHS, first=first)
    # The kernel computes the scores again in the backward pass.
    pairs, tokens, hidden = int((LENGTHS**2).sum()), int(LENGTHS.sum()), config["hidden_size"]
    again = 2 * hidden * ((config["num_hidden_layers"] - 1) * pairs + (tokens if first else pairs))
    assert both == training_operations(config, LENGTHS, first=first) + again


def test_torch_has_a_formula_for_the_kernel():
    from torch.utils.flop_counter import flop_registry

    assert varlen.varlen_attn is not None
    assert {torch.ops.torch_attn._varlen_attn, torch.ops.torch_attn._varlen_attn_backward} <= flop_registry.keys()
