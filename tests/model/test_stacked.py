"""Products over stacked adapters are those of one adapter after the other."""

import numpy as np
import pytest
import torch
from geometries import GEOMETRIES
from torch._subclasses.fake_tensor import FakeTensorMode

from xmodctl import model
from xmodctl.model.routing import grouped
from xmodctl.model.stacked import AdapterStack, SortedRows, Stacked, grouped_product

SIZES = [(1,), (2,), (511,), (3, 0, 4), (0, 0, 5), (6, 0, 0), (1, 1, 1), (511, 2, 0)]


def ends_of(sizes) -> torch.Tensor:
    return torch.tensor(np.cumsum(sizes), dtype=torch.int32)


@pytest.mark.parametrize("sizes", SIZES)
def test_grouped_products_and_their_gradients_are_those_of_a_loop(sizes):
    torch.manual_seed(0)
    weights = torch.randn(len(sizes), 6, 4)
    rows = torch.randn(sum(sizes), 4, requires_grad=True)
    loop = torch.cat([part @ own.T for part, own in zip(rows.split(sizes), weights, strict=True)])
    product = grouped_product(rows, weights, ends_of(sizes))
    torch.testing.assert_close(product, loop)
    gradient = torch.randn_like(loop)
    results = [torch.autograd.grad(each, rows, gradient)[0] for each in (product, loop)]
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("sizes", SIZES)
def test_the_operator_of_cuda_gives_the_products_of_the_reference(sizes):
    torch.manual_seed(0)
    weights, rows = torch.randn(len(sizes), 16, 8), torch.randn(sum(sizes), 8)
    operator = torch.nn.functional.grouped_mm(rows, weights.transpose(1, 2), offs=ends_of(sizes))
    torch.testing.assert_close(operator, grouped_product(rows, weights, ends_of(sizes)))


def test_the_operator_accepts_the_reference_for_every_transformation():
    weights, rows = torch.randn(2, 6, 4), torch.randn(5, 4, requires_grad=True)
    torch.library.opcheck(torch.ops.xmodctl.product_of_each_group.default, (rows, weights, ends_of((2, 3))))


@pytest.mark.parametrize("ids", [[0], [2], [1, 1, 1], [2, 0, 1, 0], [0, 2, 2]])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_a_stack_gives_what_the_adapters_of_each_language_give(geometry, ids, checkpoint):
    _, folder = checkpoint("XmodForMaskedLM", **GEOMETRIES[geometry])
    source = model.find(str(folder))
    ours = model.load(source, "none", source.languages)
    model.freeze(ours, "adapters")
    layer = ours.module.encoder.layer[0]
    hidden = torch.randn(len(ids), 7, ours.module.config.hidden_size)
    route = grouped(torch.tensor(ids), source.languages)
    expected = layer.output.lang_adapter(route, hidden)
    layer.output.stack = AdapterStack.of(layer.output.adapter_modules.values())
    places = SortedRows.of(np.array(ids), len(ids) + 1, len(source.languages), hidden.device)
    padded = torch.cat([hidden, torch.randn_like(hidden[:1])]).index_select(0, places.order)
    tokens = layer.output.lang_adapter(places.route.of_tokens(7), padded).index_select(0, places.places)
    torch.testing.assert_close(tokens, expected, atol=1e-5, rtol=1e-5)
    first = layer.output.lang_adapter(places.route, padded[:, :1]).index_select(0, places.places)
    torch.testing.assert_close(first, expected[:, :1], atol=1e-5, rtol=1e-5)


def test_adapters_in_a_stack_are_stored_once_and_swapping_forgets_the_stack(checkpoint):
    _, folder = checkpoint("XmodForMaskedLM")
    ours = model.load(model.find(str(folder)), "none", ["en_XX", "de_DE"])
    model.freeze(ours, "adapters")
    expected = {name: tensor.clone() for name, tensor in ours.adapter("de_DE").items()}
    ours.compile_steps()
    output = ours.module.encoder.layer[0].output
    weight = output.adapter_modules["de_DE"].dense1.weight
    assert weight.untyped_storage().data_ptr() == output.stack.weights[0].untyped_storage().data_ptr()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in ours.adapter("de_DE").items())
    ours.swap(["de_DE", "fr_XX"])
    assert ours.module.encoder.layer[0].output.stack is None


def test_a_stack_on_cuda_computes_bf16_in_one_call_and_waits_for_nothing():
    with FakeTensorMode():
        weights = (torch.empty(3, 8, 16, device="cuda"), torch.empty(3, 16, 8, device="cuda"))
        biases = (torch.empty(3, 8, device="cuda"), torch.empty(3, 16, device="cuda"))
        stack = AdapterStack(tuple(each.bfloat16() for each in weights), tuple(each.bfloat16() for each in biases))
        ids, ends = torch.zeros(4, dtype=torch.int64, device="cuda"), torch.zeros(3, dtype=torch.int32, device="cuda")
        added = stack(torch.empty(4, 5, 16, device="cuda"), Stacked(ids, ends))
    assert (added.shape, added.dtype, added.device.type) == ((4, 5, 16), torch.bfloat16, "cuda")
