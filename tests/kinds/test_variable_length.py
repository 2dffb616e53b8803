"""Batches without padding on a GPU, proven without one.

The kernel runs on CUDA alone. Its contract, as torch documents it, is written here as a dense product: on a CPU, with
this in the kernel's place, attention, steps, and sweeps equal those of the CPU's own path, which calls attention once
for each length. On fake tensors of `cuda`, the kernel itself is called for its shapes, types, and devices.
"""

import math
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from command_line import finetune, refused
from test_accelerator_steps import (
    KINDS_TRAINED,
    NoWaiting,
    Products,
    on_host,
    pretended_cuda,
    put_on_cuda,
    training_of,
)
from torch.nn.attention import varlen

from bench import sides, throughput
from bench.checkpoints import folder_of
from bench.measures import Setting, UnequalError
from xmodctl.catalog.recipe import Recipe
from xmodctl.core.errors import UserError
from xmodctl.model import modules, packing
from xmodctl.model.embedding import Pooling, vectors_of
from xmodctl.model.inference import logits_of, predict
from xmodctl.model.modules import routed
from xmodctl.model.packing import pack
from xmodctl.model.precision import autocast
from xmodctl.model.routing import Uniform, grouped
from xmodctl.model.transfer import mask_on_host, on_device
from xmodctl.model.variable_length import check_variable_length
from xmodctl.training.readings import READ_EVERY, Readings

LENGTHS = {
    "1, 2, and 511": [511, 1, 2, 511, 2, 1],
    "one sample": [511],
    "one token": [1],
    "one length": [2, 2, 2],
    "mixed": [7, 3, 7, 12, 1, 3],
}
MASK = ("attention_mask",)
CONFIG = {"hidden_size": 768, "num_attention_heads": 12, "attention_probs_dropout_prob": 0.1}


def documented(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k):
    """Return attention as torch documents it for `varlen_attn`: (queries, heads, size), within sequences."""
    assert cu_seq_q.dtype == cu_seq_k.dtype == torch.int32
    assert len(cu_seq_q) == len(cu_seq_k)
    (asking, answering) = (
        torch.bucketize(torch.arange(len(tensor)), bounds[1:], right=True)
        for tensor, bounds in ((query, cu_seq_q), (key, cu_seq_k))
    )
    scores = torch.einsum("qhd,khd->hqk", query.double(), key.double()) / math.sqrt(query.shape[2])
    weights = scores.masked_fill(asking[:, None] != answering, -torch.inf).softmax(-1)
    return torch.einsum("hqk,khd->qhd", weights, value.double()).to(query.dtype)


def checked(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k):
    """Check the values that the host gives, too."""
    for tensor, bounds, longest in ((query, cu_seq_q, max_q), (key, cu_seq_k, max_k)):
        assert (int(bounds[0]), int(bounds[-1])) == (0, len(tensor))
        assert longest == int(bounds.diff().max())
        assert int(bounds.diff().min()) > 0
    return documented(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k)


def with_kernel(monkeypatch, kernel=checked) -> None:
    """Let a CPU take the path of a GPU."""
    monkeypatch.setattr(packing, "has_kernel", lambda device: True)
    monkeypatch.setattr(varlen, "varlen_attn", kernel)


def without_kernel(monkeypatch) -> None:
    """Let a CPU take its own path again."""
    monkeypatch.setattr(packing, "has_kernel", lambda device: False)


@pytest.mark.parametrize("first", [False, True], ids=["all tokens", "first tokens"])
@pytest.mark.parametrize("languages", [1, 2])
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
def test_attention_and_its_gradients_equal_those_of_the_cpu(lengths, languages, first, monkeypatch):
    samples = torch.tensor(lengths)
    mask = (torch.arange(max(lengths)) < samples[:, None]).long()
    names = ("a", "b")[:languages]
    route = Uniform("a") if languages == 1 else grouped(torch.arange(len(lengths)) % languages, names)
    attention = SimpleNamespace(
        num_attention_heads=2, attention_head_size=8, dropout=torch.nn.Dropout(0.0), training=True
    )
    draw = torch.Generator().manual_seed(0)
    asked = len(lengths) if first else sum(lengths)
    values = [torch.randn(size, 16, generator=draw, dtype=torch.float64) for size in (asked, *2 * (sum(lengths),))]
    upstream, results = torch.randn(asked, 16, generator=draw, dtype=torch.float64), []
    for change in (without_kernel, with_kernel):
        change(monkeypatch)
        packed = pack(mask, route, names)
        assert (packed.bounds is None) == (change is without_kernel)
        inputs = [tensor.clone().requires_grad_() for tensor in values]
        attended = packing._attend(attention, *inputs, packed, first=first)
        results.append([attended, *torch.autograd.grad(attended, inputs, upstream)])
    for expected, own in zip(*results, strict=True):
        torch.testing.assert_close(own, expected, atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize("languages", [1, 2])
@pytest.mark.parametrize("kind", KINDS_TRAINED)
def test_steps_and_sweeps_equal_those_of_the_cpu(kind, languages, tiny_model, monkeypatch):
    results = []
    for change in (without_kernel, with_kernel):
        change(monkeypatch)
        training = training_of(tiny_model, kind, languages=1 if kind == "masked-lm" else languages)
        training.model.set_dropout(hidden=0.0, attention=0.0)
        gradient = training.gradient(training.batches(0)[0])
        gradients = {name: tensor.grad for name, tensor in training.training_parameters().items()}
        training.model.activate("en_XX")
        scored = [] if kind == "masked-lm" else logits_of(training.model, training.rows, precision="fp32", pad_id=1)
        results.append((gradient.loss, gradients, scored))
    (loss, gradients, scored), (own_loss, own_gradients, own_scored) = results
    assert own_loss == pytest.approx(loss, rel=1e-6)
    for name, expected in gradients.items():
        torch.testing.assert_close(own_gradients[name], expected, atol=1e-6, rtol=1e-4)
    for one, other in zip(own_scored, scored, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5, rtol=1e-4)


def test_positions_are_those_of_roberta_in_each_sample(tiny_model, monkeypatch):
    with_kernel(monkeypatch)
    training, seen = training_of(tiny_model, "sequence-classification"), []
    body = routed(training.module)
    handle = body.embeddings.position_embeddings.register_forward_hook(lambda _, inputs, __: seen.append(*inputs))
    inputs = training.collate(training.batches(0)[0][0])
    training.module(**inputs)
    handle.remove()
    lengths = np.sort(inputs["attention_mask"].sum(1).numpy())
    assert len(set(lengths.tolist())) > 1
    first = body.config.pad_token_id + 1
    assert seen[0].tolist() == [[first + place for length in lengths for place in range(length)]]


@pytest.mark.parametrize("kind", KINDS_TRAINED)
def test_no_operation_of_a_step_waits_for_the_device(kind, tiny_model, monkeypatch):
    with_kernel(monkeypatch, documented)
    training = training_of(tiny_model, kind, languages=2)
    training.model.set_dropout(hidden=0.1, attention=0.0)
    training.readings = Readings(READ_EVERY)
    batch, training.steps_per_epoch = training.batches(0)[0], 4
    with NoWaiting():
        assert [training.take(batch) for _ in range(2)] == [[], []]
    losses = [step.loss for step in training.read(early=True)]
    assert len(losses) == 2
    assert 0 < min(losses) <= max(losses) < math.inf


class Attention(Products):
    """Notes the calls of the kernel, besides the types of matrix products."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[torch.Tensor, ...]] = []

    def __torch_dispatch__(self, operation, types, arguments=(), settings=None):
        if operation is torch.ops.torch_attn._varlen_attn.default:
            self.calls.append(arguments[:5])
        assert operation is not torch.ops.aten.scaled_dot_product_attention.default, "attention with padding"
        return super().__torch_dispatch__(operation, types, arguments, settings)


def with_ampere(monkeypatch, capability=(8, 0)) -> None:
    """Let torch describe a GPU that has what the kernel needs."""
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *device: capability)
    monkeypatch.setattr(torch.backends.cuda, "is_flash_attention_available", lambda: True)


CASES = [
    pytest.param(kind, precision, marks=() if (number + place) % 2 == 0 else pytest.mark.slow)
    for number, kind in enumerate(KINDS_TRAINED)
    for place, precision in enumerate(("bf16", "fp16"))
]
"""Every kind in both precisions; by default, each kind in one of them."""


@pytest.mark.parametrize(("kind", "precision"), CASES)
def test_a_batch_on_cuda_neither_mixes_devices_nor_waits(kind, precision, tiny_model, monkeypatch):
    training = training_of(tiny_model, kind, languages=2)
    training.model.set_dropout(hidden=0.1, attention=0.0)
    training.model.variable_length = True
    (part, *_), swept = training.batches(0)[0], []
    training.collate = on_host(training.collate)
    monkeypatch.setattr("xmodctl.model.inference.one_behind", lambda computed, device: swept.extend(computed) or ())
    with_ampere(monkeypatch)
    on_the_host = ((packing, "real_tokens"), (packing, "host_values"), (modules, "_flat"), (torch, "from_numpy"))
    for module, name in on_the_host:
        monkeypatch.setattr(module, name, on_host(getattr(module, name)))
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    with pretended_cuda(monkeypatch) as mode:
        put_on_cuda(training, kind, precision, mode)
        host = (*training.host, *mask_on_host(training.model, precision))
        assert "attention_mask" in host
        inputs, attention = on_device(training.collate(part), torch.device("cuda:0"), host=host), Attention()
        with torch.no_grad(), autocast(torch.device("cuda:0"), precision), attention:
            loss = training.module.train()(**inputs).loss
        assert (loss.device.type, loss.shape) == ("cuda", ())
        assert attention.dtypes == {dtype}
        assert len(attention.calls) == training.module.config.num_hidden_layers
        for call in attention.calls:
            assert {tensor.device.type for tensor in call} == {"cuda"}
            assert {tensor.dtype for tensor in call[:3]} == {dtype}
            assert {tensor.dtype for tensor in call[3:]} == {torch.int32}
        training.model.activate("en_XX")
        if kind == "masked-lm":
            return
        sweeping = Attention()
        with sweeping:
            assert list(predict(training.model, training.rows, precision=precision, pad_id=1)) == []
    assert len(sweeping.calls) == len(swept) * training.module.config.num_hidden_layers
    assert sum(len(units) for units, _ in swept) == len(training.rows)
    for units, logits in swept:
        assert (logits.shape[0], logits.device.type, logits.dtype) == (len(units), "cuda", torch.float32)


@pytest.mark.parametrize("kind", KINDS_TRAINED)
def test_a_gradient_passes_the_kernel_of_a_device_without_values(kind, tiny_model, monkeypatch):
    monkeypatch.setattr("xmodctl.training.loop.autocast", lambda device, precision: nullcontext())  # has no `meta`
    training = training_of(tiny_model, kind, languages=2)
    training.model.set_dropout(hidden=0.1, attention=0.0)
    training.device = training.module.to("meta").device
    training.readings = Readings.of(training.device)
    training.host = (*training.host, "attention_mask")
    if kind == "masked-lm":
        training.model.score_labeled_only(training.masker.candidates.tolist())
    with Attention() as attention:
        gradient = training.gradient(training.batches(0)[0])
    assert attention.calls
    assert gradient.loss.device.type == gradient.norm.device.type == "meta"
    assert {tensor.grad.device.type for tensor in training.training_parameters().values()} == {"meta"}


def test_sweeps_and_vectors_pack_where_the_device_can_and_pad_elsewhere(tiny_model, monkeypatch):
    training = training_of(tiny_model, "sequence-classification")
    model = training.model
    assert not mask_on_host(model, "bf16")
    model.variable_length = True
    assert not mask_on_host(model, "bf16")  # on a CPU, batches have no padding in any case
    monkeypatch.setattr(type(model), "device", property(lambda self: torch.device("cuda:0")))
    with_ampere(monkeypatch)
    assert mask_on_host(model, "bf16") == mask_on_host(model, "fp16") == MASK
    assert not mask_on_host(model, "fp32")
    with_ampere(monkeypatch, (7, 5))
    assert not mask_on_host(model, "fp16")
    monkeypatch.undo()
    expected = vectors_of(model, training.rows, Pooling(), precision="fp32", pad_id=1)
    with_kernel(monkeypatch)
    vectors = vectors_of(model, training.rows, Pooling(), precision="fp32", pad_id=1)
    np.testing.assert_allclose(vectors, expected, atol=1e-5, rtol=1e-4)


def test_what_cannot_be_packed_is_refused_before_anything_is_read(tiny_model, pairs, tmp_path, monkeypatch):
    for more in (("--dry-run",), ()):
        result = finetune(tiny_model, pairs, tmp_path / "run", "--set", "variable_length=true", *more)
        assert "variable_length=true needs an NVIDIA GPU; on a CPU, batches have no padding" in refused(result)
    assert not (tmp_path / "run").exists()

    def check(config=CONFIG, precision="bf16", *, attention_dropout: float | None = 0.0, compiled=False):
        check_variable_length(config, precision, attention_dropout=attention_dropout, compiled=compiled)

    monkeypatch.setattr("xmodctl.model.variable_length.best_device", lambda: "cuda:0")
    with_ampere(monkeypatch, (7, 5))
    with pytest.raises(UserError, match=r"needs an NVIDIA GPU of the Ampere generation.*variable_length=false"):
        check()
    with_ampere(monkeypatch)
    check()
    check(None)
    with pytest.raises(UserError, match="the precision is fp32; use --precision bf16 or fp16"):
        check(precision="fp32")
    with pytest.raises(UserError, match=r"dropout, which is 0\.1 here; add --set attention_dropout=0"):
        check(attention_dropout=None)
    with pytest.raises(UserError, match=r"dropout, which is 0\.2 here"):
        check(attention_dropout=0.2)
    with pytest.raises(UserError, match="compile=true needs few shapes; choose one of the two"):
        check(compiled=True)
    with pytest.raises(UserError, match="at most 256 dimensions, a multiple of 8, and this model's have 12;"):
        check({**CONFIG, "hidden_size": 144})
    monkeypatch.setattr(torch.backends.cuda, "is_flash_attention_available", lambda: False)
    with pytest.raises(UserError, match="was built without it; install another build"):
        check()
    monkeypatch.setattr("xmodctl.model.variable_length.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs a newer torch than .*, such as 2\.13"):
        check()
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(UserError, match="needs an NVIDIA GPU of the Ampere generation"):
        check()


def test_micro_batches_are_cut_by_real_tokens(tiny_model):
    training = training_of(tiny_model, "sequence-classification")
    real = int(training.rows.tokens.sum())
    for packs, expected in ((False, 2), (True, 1)):
        training.recipe = Recipe(batch_size=100, tokens_per_step=real, variable_length=packs)
        (cut,) = training.batches(0)
        assert len(cut) == expected


def test_plans_record_it_and_keep_their_digest_otherwise():
    recipe = Recipe()
    assert "variable_length" not in recipe.model_dump()
    assert recipe.with_values({"variable_length": True}, origin="--set").model_dump()["variable_length"] is True


@pytest.mark.parametrize("benchmark", ["xnli", "panx", "xcopa"])
def test_the_benchmark_compares_both_sides_before_it_measures(benchmark, monkeypatch):
    calls, load = [], sides.ours

    def counted(*arguments):
        calls.append(arguments)
        return checked(*arguments)

    def without_dropout(*arguments):
        model = load(*arguments)
        model.set_dropout(attention=0.0)
        return model

    with_kernel(monkeypatch, counted)
    monkeypatch.setattr(sides, "ours", without_dropout)
    monkeypatch.setattr("bench.measures.mask_on_host", lambda model, precision: MASK * model.variable_length)
    setting = Setting(folder_of("tiny"), "cpu", "fp32", rounds=1, steps=1, variable_length=True)
    lines, facts = throughput.training(setting, benchmark, everything=False)
    assert calls
    assert f"xmodctl, {throughput.PACKED}" in [line.variant for line in lines]
    assert 0 < facts[f"largest differences, {throughput.PACKED}"]["logits"] < 1e-5
    monkeypatch.setattr(varlen, "varlen_attn", lambda *arguments: 10 * checked(*arguments))
    with pytest.raises(UnequalError):
        throughput.training(setting, benchmark, everything=False)
