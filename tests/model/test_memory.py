"""Batches that memory does not hold are computed in halves; what cannot be halved is one sentence."""

import numpy as np
import pytest
import torch
from command_line import refused, run

from xmodctl import model
from xmodctl.core.errors import UserError
from xmodctl.model.embedding import Pooling, vectors_of
from xmodctl.model.inference import logits_of
from xmodctl.model.memory import in_halves, is_out_of_memory
from xmodctl.model.modules import routed
from xmodctl.new_language.held_out import measure_held_out
from xmodctl.new_language.masking import Masker, pack

OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    MemoryError(),
    RuntimeError("CUDA error: out of memory\nCompile with TORCH_USE_CUDA_DSA"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=str)
def test_each_librarys_message_is_known(error):
    assert is_out_of_memory(error)


@pytest.mark.parametrize("error", [RuntimeError("shapes do not match"), ValueError("out of memory"), KeyError("x")])
def test_other_errors_are_others(error):
    assert not is_out_of_memory(error)


def test_batches_are_halved_in_order_and_no_size_is_tried_again():
    lengths, tried = np.full(20, 10), []

    def compute(part):
        tried.append(len(part) * 10)
        if len(part) > 3:
            raise MemoryError
        return part * 2

    parts = list(in_halves(iter([np.arange(12), np.arange(12, 20)]), compute, lengths))
    assert np.concatenate([part for part, _ in parts]).tolist() == list(range(20))
    assert all((values == part * 2).all() for part, values in parts)
    assert [size for size in tried if size > 30] == [120, 60, 40]


def test_a_unit_that_does_not_fit_alone_is_one_sentence():
    def compute(part):
        raise MemoryError

    with pytest.raises(UserError, match="memory does not hold a text of 7 tokens; close other programs"):
        list(in_halves(iter([np.arange(3)]), compute, np.full(3, 7)))


@pytest.fixture
def texts(tiny_model):
    tokenizer = model.load_tokenizer(model.find(str(tiny_model)))
    return pack(["the cat sleeps red", "a dog", "katze never runs the blue chat", "paka"] * 20, tokenizer, length=16)


def scarce(module: torch.nn.Module, tokens: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let a model run out of memory with more than so many tokens; return the sizes of its batches."""
    forward, sizes = module.forward, []

    def limited(*args, **inputs):
        sizes.append(inputs["input_ids"].numel())
        if sizes[-1] > tokens:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(*args, **inputs)

    monkeypatch.setattr(module, "forward", limited)
    return sizes


def test_scores_are_the_same_up_to_rounding(tiny_model, texts, monkeypatch):
    xmod = model.load(model.find(str(tiny_model)), "sequence", ["de_DE"], num_labels=3)
    whole = logits_of(xmod, texts, precision="fp32", pad_id=1)
    sizes, done = scarce(xmod.module, 64, monkeypatch), []
    halved = logits_of(xmod, texts, precision="fp32", pad_id=1, on_batch=done.append)
    np.testing.assert_allclose(halved, whole, atol=1e-5)
    assert sum(done) == len(texts)
    assert sizes[0] > 64 >= max(sizes[-3:])


def test_held_out_losses_are_the_same_up_to_rounding(tiny_model, texts, monkeypatch):
    source = model.find(str(tiny_model))
    masker = Masker.of(model.load_tokenizer(source), texts)
    xmod = model.load(source, "masked-lm", ["de_DE"])
    whole = measure_held_out(xmod, texts, masker, precision="fp32", pad_id=1)
    scarce(xmod.module, 64, monkeypatch)
    halved = measure_held_out(xmod, texts, masker, precision="fp32", pad_id=1)
    np.testing.assert_allclose(halved.losses, whole.losses, rtol=1e-4)
    assert halved.tokens.tolist() == whole.tokens.tolist()


def test_vectors_are_the_same_up_to_rounding(tiny_model, texts, monkeypatch):
    xmod = model.load(model.find(str(tiny_model)), "masked-lm", ["de_DE"])
    whole = vectors_of(xmod, texts, Pooling(), precision="fp32", pad_id=1)
    sizes = scarce(routed(xmod.module), 64, monkeypatch)
    np.testing.assert_allclose(vectors_of(xmod, texts, Pooling(), precision="fp32", pad_id=1), whole, atol=1e-5)
    assert max(sizes) > 64


def test_what_cannot_be_halved_ends_a_command_in_one_sentence(monkeypatch):
    def exhausted(*_, **__):
        raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED")

    monkeypatch.setattr("xmodctl.run.listing.runs", exhausted)
    assert "memory does not suffice; close other programs" in refused(run("runs"))
