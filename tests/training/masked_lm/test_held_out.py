"""The loss of held-out text: through the model, and from piece frequencies."""

from collections import Counter

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.scarce import Scarcity
from xmodctl import model
from xmodctl.core.events import listening
from xmodctl.training.masked_lm import held_out
from xmodctl.training.masked_lm.held_out import frequency_baseline, measure_held_out
from xmodctl.training.masked_lm.masking import Masker, pack

DOCUMENTS = ["the cat sleeps red", "a dog", "katze never runs the blue chat", "paka"] * 20


def test_held_out_loss_is_the_mean_over_predicted_tokens_with_a_softmax_over_the_texts_pieces(
    source, tokenizer, monkeypatch
):
    xmod = model.load(source, "masked-lm", ["de_DE"])
    packed = pack(DOCUMENTS[:25], tokenizer, length=16)
    masker = Masker.of(tokenizer, packed)
    measured = measure_held_out(xmod, packed, masker, precision="fp32", pad_id=1)

    batch = masker.batch(packed, np.arange(len(packed)), seed=0, step=0, pad_id=1)
    labels = batch.pop("labels")
    logits = model.load(source, "masked-lm", ["de_DE"]).module(**batch).logits[labels != -100]
    candidates = torch.from_numpy(masker.candidates)
    targets = torch.searchsorted(candidates, labels[labels != -100])
    assert measured.loss == pytest.approx(functional.cross_entropy(logits[:, candidates], targets).item(), rel=1e-5)
    assert xmod.module(**batch, labels=labels).loss.item() == pytest.approx(measured.loss, rel=1e-5)
    assert measured.perplexity == pytest.approx(np.exp(measured.loss))
    assert measured.tokens.tolist() == masker.counts(packed.input_ids).tolist()

    monkeypatch.setattr(held_out, "TOKENS_PER_STEP", 20)  # one sequence at a time
    again = measure_held_out(xmod, packed, masker, precision="fp32", pad_id=1)
    assert np.allclose(again.losses, measured.losses, rtol=1e-4)
    some = measure_held_out(xmod, packed, masker, precision="fp32", pad_id=1, units=np.array([2, 4]))
    assert np.allclose(some.losses, measured.losses[[2, 4]], rtol=1e-4)


def test_the_frequency_baseline_predicts_the_same_tokens_without_a_model(tokenizer):
    training, packed = pack(DOCUMENTS[:20], tokenizer, length=16), pack(DOCUMENTS[20:25], tokenizer, length=16)
    masker = Masker.of(tokenizer, training, packed)
    measured = frequency_baseline(training, packed, masker)
    labels = masker.batch(packed, np.arange(len(packed)), seed=0, step=0, pad_id=1)["labels"].numpy()
    counts = Counter(training.input_ids.values.tolist())
    total = sum(counts[piece] + 1 for piece in masker.candidates.tolist())
    expected = [-np.log((counts[piece] + 1) / total) for piece in labels[labels != -100].tolist()]
    assert measured.loss == pytest.approx(np.mean(expected))
    assert measured.tokens.tolist() == masker.counts(packed.input_ids).tolist()


@pytest.mark.parametrize("names", [None, [1, 3, 4]])
def test_batches_that_memory_does_not_hold_are_halved_and_the_losses_stay(source, tokenizer, monkeypatch, names):
    xmod = model.load(source, "masked-lm", ["de_DE"])
    packed = pack(DOCUMENTS[:25], tokenizer, length=16)
    masker, units = Masker.of(tokenizer, packed), None if names is None else np.array(names)
    whole = measure_held_out(xmod, packed, masker, precision="fp32", pad_id=1, units=units)
    scarcity = Scarcity(20).install(monkeypatch)
    with listening(lambda _: None):
        halved = measure_held_out(xmod, packed, masker, precision="fp32", pad_id=1, units=units)
    assert scarcity.failures
    assert np.allclose(halved.losses, whole.losses, rtol=1e-4)
    assert halved.tokens.tolist() == whole.tokens.tolist()
