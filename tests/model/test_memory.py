"""Batches that there is not enough memory for are halved, and what is computed from them stays the same."""

import numpy as np
import pytest
import torch

from tests.scarce import Scarcity
from xmodctl import model
from xmodctl.core.encoded import Encoded, Ragged
from xmodctl.core.errors import UserError
from xmodctl.core.events import listening
from xmodctl.model.embedding import Pooling, vectors_of
from xmodctl.model.inference import logits_of
from xmodctl.model.memory import BatchLimit, in_halves

LENGTHS = np.array([3, 17, 8, 30, 12, 5, 22, 9, 11, 28])
LARGEST = 100
"""Padded tokens that memory holds: three of the long sequences, not all ten."""


@pytest.fixture
def encoded() -> Encoded:
    draw = np.random.default_rng(0)
    rows = [draw.integers(5, 18, length).astype(np.int32) for length in LENGTHS]
    return Encoded(Ragged.of(rows), np.arange(len(rows)), scalars={}, ragged={}, counts={"truncated": 0})


@pytest.fixture
def xmod(tiny_model):
    return model.load(model.find(str(tiny_model)), "sequence", ["en_XX"], num_labels=3)


def computed(kind: str, xmod, encoded) -> np.ndarray:
    if kind == "logits":
        return np.stack(logits_of(xmod, encoded, precision="fp32", pad_id=1))
    return vectors_of(xmod, encoded, Pooling(), precision="fp32", pad_id=1)


@pytest.mark.parametrize("kind", ["logits", "vectors"])
def test_batches_are_halved_once_and_rows_keep_their_results(kind, xmod, encoded, monkeypatch):
    whole = computed(kind, xmod, encoded)
    scarcity, notices = Scarcity(LARGEST).install(monkeypatch), []
    with listening(notices.append):
        halved = computed(kind, xmod, encoded)
        again = computed(kind, xmod, encoded)
    np.testing.assert_allclose(halved, whole, atol=1e-5)
    assert np.array_equal(again, halved)
    assert scarcity.failures == sorted(set(scarcity.failures), reverse=True), "a size that failed is not tried again"
    assert len(notices) == len(scarcity.failures)
    for size, notice in zip(scarcity.failures, notices, strict=True):
        assert f"a batch of {size:,} tokens" in notice.text


def test_a_row_that_memory_does_not_hold_is_refused_with_an_option(xmod, encoded, monkeypatch):
    Scarcity(20).install(monkeypatch)
    message = (
        r"there is not enough memory for one row of 30 tokens; use a smaller --max-length 15, or close other programs"
    )
    with listening(lambda _: None), pytest.raises(UserError, match=message):
        computed("vectors", xmod, encoded)


def test_on_a_gpu_the_remedy_is_the_processor():
    def fail(_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    batches = in_halves([np.array([0])], LENGTHS, BatchLimit(), fail, device=torch.device("cuda"))
    with pytest.raises(UserError, match=r"put CUDA_VISIBLE_DEVICES= before the command$"):
        next(batches)


def test_other_errors_are_not_taken_for_a_lack_of_memory(xmod, encoded, monkeypatch):
    Scarcity(20, RuntimeError("shapes do not match")).install(monkeypatch)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        computed("logits", xmod, encoded)


def test_batches_are_halved_in_order_and_no_size_is_tried_again():
    lengths, tried = np.full(20, 10), []

    def compute(part):
        tried.append(len(part) * 10)
        if len(part) > 3:
            raise MemoryError
        return part * 2

    batches, cpu = [np.arange(12), np.arange(12, 20)], torch.device("cpu")
    with listening(lambda _: None):
        parts = list(in_halves(batches, lengths, BatchLimit(), compute, device=cpu))
    assert np.concatenate([part for part, _ in parts]).tolist() == list(range(20))
    assert all((values == part * 2).all() for part, values in parts)
    assert [size for size in tried if size > 30] == [120, 60, 40]
