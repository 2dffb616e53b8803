"""Faster kernels compute what the stock ones compute."""

import ctypes
import subprocess
import sys

import pytest
import torch
from torch.nn import functional

from xmodctl.model import kernels

HAS_ONEDNN = hasattr(torch.ops.mkldnn, "_linear_pointwise")


@pytest.fixture
def onednn(monkeypatch):
    """Use oneDNN on any processor that can."""
    if not HAS_ONEDNN:
        pytest.skip("this PyTorch was built without oneDNN")
    monkeypatch.setattr(kernels, "onednn_is_faster", lambda: True)


def linear(wide, narrow, bias=True):
    return kernels.Linear(narrow, wide, bias=bias)


@pytest.mark.usefixtures("onednn")
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("wide", "narrow"), [(48, 32), (32, 48), (3, 64), (64, 1)])
@pytest.mark.parametrize("shape", [(17,), (2, 9), (1,)])
def test_a_linear_layer_and_its_gradients_are_stocks(shape, wide, narrow, bias):
    layer = linear(wide, narrow, bias)
    x = torch.randn(*shape, narrow, requires_grad=True)
    weights = torch.randn(*shape, wide)
    parameters = [x, *layer.parameters()]
    ours = torch.autograd.grad((layer(x) * weights).sum(), parameters)
    stock = torch.autograd.grad((functional.linear(x, layer.weight, layer.bias) * weights).sum(), parameters)
    assert layer(x).shape == (*shape, wide)
    for first, other in zip(ours, stock, strict=True):
        assert torch.allclose(first, other, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        assert torch.allclose(layer(x), functional.linear(x, layer.weight, layer.bias), atol=1e-5)
        assert torch.allclose(layer.gelu(x), functional.gelu(functional.linear(x, layer.weight, layer.bias)), atol=1e-5)
    assert torch.allclose(layer.gelu(x), functional.gelu(functional.linear(x, layer.weight, layer.bias)), atol=1e-5)


@pytest.mark.usefixtures("onednn")
def test_inputs_of_odd_layouts_and_no_rows_are_taken():
    layer = linear(8, 6)
    for x in (torch.randn(6, 5).t(), torch.randn(10, 6)[::2], torch.randn(0, 6), torch.randn(1, 6).expand(4, 6)):
        assert torch.allclose(layer(x), functional.linear(x, layer.weight, layer.bias), atol=1e-5)
    double = linear(8, 6).double()
    assert double(torch.randn(3, 6, dtype=torch.float64)).dtype == torch.float64
    half = layer.bfloat16()
    assert half(torch.randn(3, 6).bfloat16()).dtype == torch.bfloat16


@pytest.mark.skipif(not (HAS_ONEDNN and kernels.has_bf16()), reason="this CPU has no bf16 arithmetic")
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("frozen", [True, False])
def test_under_bf16_only_the_operands_of_a_product_are_cast(frozen, bias):
    layer, dropout = linear(48, 32, bias).requires_grad_(not frozen), kernels.Dropout(0.0)
    x = torch.randn(5, 9, 32, requires_grad=True)
    residual, weights = torch.randn(5, 9, 48), torch.randn(5, 9, 48)
    rounded = [tensor.detach().bfloat16().float().requires_grad_() for tensor in (x, *layer.parameters())]
    exact = functional.linear(*rounded)
    wanted = [x, *(tensor for tensor in layer.parameters() if tensor.requires_grad)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = layer(x)
        summed, wide = kernels.linear_plus(layer, dropout, x, residual), layer.gelu(x)
        with torch.no_grad():
            read = layer(x), layer.gelu(x), kernels.linear_plus(layer, dropout, x, residual)
    for ours, stock in zip(
        (out, summed, wide, *read),
        (exact, exact + residual, functional.gelu(exact), exact, functional.gelu(exact), exact + residual),
        strict=True,
    ):
        assert ours.dtype == torch.float32
        assert torch.allclose(ours, stock, rtol=1e-2, atol=1e-2)
    gradients = torch.autograd.grad((out * weights).sum(), wanted)
    stocks = torch.autograd.grad((exact * weights).sum(), rounded[: len(wanted)])
    for ours, stock in zip(gradients, stocks, strict=True):
        assert ours.dtype == torch.float32
        assert (ours - stock).norm() < 1e-2 * stock.norm()


def test_bf16_without_arithmetic_for_it_is_pytorchs_own(monkeypatch):
    monkeypatch.setattr(kernels, "has_bf16", lambda: False)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert linear(8, 6)(torch.randn(3, 6)).dtype == torch.bfloat16


@pytest.mark.usefixtures("onednn")
def test_a_frozen_layer_passes_gradients_on_and_keeps_no_inputs():
    layer = linear(8, 6).requires_grad_(False)
    x = torch.randn(4, 6, requires_grad=True)
    out = layer(x)
    assert out.grad_fn.saved_tensors[0] is None
    out.sum().backward()
    assert torch.allclose(x.grad, layer.weight.sum(0).expand(4, 6), atol=1e-5)
    assert layer.weight.grad is None
    assert not layer(x.detach()).requires_grad


@pytest.mark.usefixtures("onednn")
@pytest.mark.parametrize("share", [0.0, 0.4])
def test_the_sum_with_the_residual_is_stocks(share):
    layer, dropout = linear(32, 48), kernels.Dropout(share)
    x, residual = torch.randn(5, 48), torch.randn(5, 32)
    expected = residual + functional.linear(x, layer.weight, layer.bias)
    with torch.no_grad():
        assert torch.allclose(kernels.linear_plus(layer, dropout.eval(), x, residual), expected, atol=1e-5)
    assert torch.allclose(kernels.linear_plus(layer, dropout.eval(), x, residual), expected, atol=1e-5)
    torch.manual_seed(3)
    dropped = kernels.linear_plus(layer, dropout.train(), x, residual) - residual
    kept = dropped.abs() > 1e-6
    assert torch.allclose(dropped[kept], (expected - residual)[kept] / (1 - round(share * 2**16) / 2**16), atol=1e-4)
    assert bool(kept.all()) is (share == 0.0)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_dropout_drops_the_share_it_says_independently_and_keeps_the_mean(share):
    dropout = kernels.Dropout(share).train()
    torch.manual_seed(1)
    out = dropout(torch.ones(1001, 999))
    dropped = (out == 0).float()
    assert abs(dropped.mean() - share) < 4 * (share * (1 - share) / out.numel()) ** 0.5 + 2**-16
    assert abs(out.mean() - 1) < 5e-3 / (1 - share)
    kept = out[out != 0]
    assert torch.allclose(kept, torch.full_like(kept, 1 / (1 - share)), rtol=1e-3)
    for other in (dropped.roll(1, 1), dropped.roll(4, 1), dropped.roll(1, 0)):  # lanes of a draw, neighboring draws
        assert abs(torch.corrcoef(torch.stack([dropped.flatten(), other.flatten()]))[0, 1]) < 5e-3
    assert not torch.equal(out, dropout(torch.ones(1001, 999)))


def test_dropout_repeats_with_the_seed_and_drops_the_same_gradients():
    dropout = kernels.Dropout(0.3).train()
    x = torch.randn(50, 7, requires_grad=True)
    residual = torch.randn(50, 7, requires_grad=True)
    torch.manual_seed(5)
    out = dropout(x)
    torch.manual_seed(5)
    summed = dropout.plus(x, residual)
    assert torch.allclose(summed, out + residual, atol=1e-6)
    alone = torch.autograd.grad(out.sum(), x)[0]
    together = torch.autograd.grad(summed.sum(), (x, residual))
    assert torch.equal(alone, together[0])
    assert torch.equal(together[1], torch.ones(50, 7))
    assert torch.equal(alone == 0, out == 0)
    assert dropout.eval()(x) is x
    assert torch.equal(dropout.plus(x, residual), x + residual)
    assert kernels.Dropout(1.0).train()(x).abs().sum() == 0


def test_attention_with_dropout_is_attention_on_average():
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 3, length, 4, requires_grad=True) for length in (1, 6, 6))
    exact = functional.scaled_dot_product_attention(query, key, value)
    assert torch.allclose(kernels.attention_with_dropout(query, key, value, 0.0), exact, atol=1e-6)
    many = torch.stack([kernels.attention_with_dropout(query, key, value, 0.2) for _ in range(4000)])
    assert torch.allclose(many.mean(0), exact, atol=0.05)
    assert many.std(0).min() > 0.01
    ours = torch.autograd.grad(kernels.attention_with_dropout(query, key, value, 0.0).sum(), (query, key, value))
    stock = torch.autograd.grad(exact.sum(), (query, key, value))
    assert all(torch.allclose(first, other, atol=1e-5) for first, other in zip(ours, stock, strict=True))


def test_the_choice_of_kernel_depends_on_the_processor_alone(monkeypatch):
    kernels.onednn_is_faster.cache_clear()
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    for vendor, answer in (("vendor_id : GenuineIntel", False), ("vendor_id : AuthenticAMD", HAS_ONEDNN)):
        monkeypatch.setattr(kernels, "_processor", lambda vendor=vendor: vendor)
        kernels.onednn_is_faster.cache_clear()
        assert kernels.onednn_is_faster() is answer
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    kernels.onednn_is_faster.cache_clear()
    assert not kernels.onednn_is_faster()
    kernels.onednn_is_faster.cache_clear()


MEMORY = """
import ctypes
import torch
from xmodctl.model import kernels

kernels.onednn_is_faster = lambda: True
torch.set_num_threads(1)
class Heap(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena a b c mapped d e used free top".split()]
mallinfo = ctypes.CDLL(None).mallinfo2
mallinfo.restype = Heap
layer = kernels.Linear(64, 64)
def used(rows):
    for count in rows:
        layer(torch.ones(count, 64, requires_grad=True)).sum().backward()
    return mallinfo().used
before = used(range(100, 150))
print((used(range(150, 400)) - before) / 2**20)
"""


@pytest.mark.slow
@pytest.mark.skipif(not HAS_ONEDNN, reason="this PyTorch was built without oneDNN")
@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="memory is counted by glibc")
def test_memory_does_not_grow_with_the_shapes_seen():
    done = subprocess.run([sys.executable, "-c", MEMORY], check=True, capture_output=True, text=True)
    assert float(done.stdout) < 2  # megabytes; 1,024 kept shapes make it more than 30
