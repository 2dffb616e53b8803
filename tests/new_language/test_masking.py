from collections import Counter

import numpy as np
import pytest
import torch
from torch.nn import functional

from xmodctl import model
from xmodctl.model.batches import collate
from xmodctl.new_language import masking
from xmodctl.new_language.masking import AS_MASK, AS_RANDOM, Masker, by_frequency, held_out, pack

DOCUMENTS = ["the cat sleeps red", "a dog", "katze never runs the blue chat", "paka"] * 20


@pytest.fixture(scope="module")
def source(tiny_model):
    return model.find(str(tiny_model))


@pytest.fixture(scope="module")
def tokenizer(source):
    return model.load_tokenizer(source)


def test_documents_are_laid_end_to_end_with_a_boundary_between_them(tokenizer):
    packed = pack(DOCUMENTS, tokenizer, length=16)
    assert set(packed.input_ids.lengths[:-1].tolist()) == {16}
    assert all(sequence[0] == tokenizer.bos_token_id for sequence in packed.input_ids)
    stream = np.concatenate([sequence[1:] for sequence in packed.input_ids]).tolist()
    said = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in DOCUMENTS]
    assert stream == [token for ids in said for token in [*ids, tokenizer.eos_token_id]]
    assert packed.counts["unknown"] == 0
    assert pack(["zebra cat"], tokenizer, length=16).counts["unknown"] == 1


def test_as_many_tokens_are_masked_as_were_counted_and_never_a_special_one(tokenizer):
    packed = pack(DOCUMENTS, tokenizer, length=32)
    masker = Masker.of(tokenizer, packed)
    counts = masker.counts(packed.input_ids)
    for sequence, count in zip(packed.input_ids, counts, strict=True):
        read, labels = masker(sequence, np.random.default_rng(0))
        asked = labels != -100
        assert asked.sum() == count == max(1, round(0.15 * np.isin(sequence, masker.pieces).sum()))
        assert (labels[asked] == sequence[asked]).all()
        assert np.isin(sequence[asked], masker.candidates).all()
        assert (read[~asked] == sequence[~asked]).all()
        assert not set(read[~np.isin(read, masker.pieces)]) - {0, 2, masker.mask}


def test_a_sequence_of_boundaries_alone_is_left_out(tokenizer):
    masker = Masker.of(tokenizer, pack(DOCUMENTS, tokenizer, length=16))
    assert masker.counts(pack(["", "", ""], tokenizer, length=16).input_ids).tolist() == [0]


def test_of_the_masked_tokens_80_percent_are_hidden_10_drawn_and_10_left(tokenizer):
    sequence = pack(["cat"] * 20_000, tokenizer, length=40_001).input_ids[0]
    masker = Masker.of(tokenizer, pack(DOCUMENTS, tokenizer, length=16))
    read, labels = masker(sequence, np.random.default_rng(0))
    read = read[labels != -100]
    assert len(read) == 3_000
    hidden, left = (read == masker.mask).mean(), (read == tokenizer.convert_tokens_to_ids("cat")).mean()
    assert abs(hidden - AS_MASK) < 0.03
    assert abs(left - (1 - AS_MASK - AS_RANDOM) - AS_RANDOM / len(masker.pieces)) < 0.03
    assert len(set(read.tolist())) > 10


def test_a_mask_depends_on_seed_step_and_sequence_and_not_on_the_batch(tokenizer):
    packed = pack(DOCUMENTS, tokenizer, length=16)
    masker = Masker.of(tokenizer, packed)

    def masks(units: list[int], seed: int = 1, step: int = 5) -> dict[int, list[int]]:
        batch = masker.batch(packed, np.array(units), seed=seed, step=step, pad_id=1)
        return dict(zip(units, batch["labels"].tolist(), strict=True))

    together, alone = masks([0, 3, 7]), masks([7, 3])
    assert (together[3], together[7]) == (alone[3], alone[7])
    assert masks([3], step=6)[3] != together[3]
    assert masks([3], seed=2)[3] != together[3]
    assert together[0][:15] != together[7][:15]


def test_held_out_loss_is_the_mean_over_the_masked_tokens_among_the_pieces_of_the_text(source, tokenizer, monkeypatch):
    xmod = model.load(source, "masked-lm", ["de_DE"])
    packed = pack(DOCUMENTS[:25], tokenizer, length=16)
    masker = Masker.of(tokenizer, packed)
    found = held_out(xmod, packed, masker, precision="fp32", pad_id=1)

    batch = masker.batch(packed, np.arange(len(packed)), seed=0, step=0, pad_id=1)
    labels = batch.pop("labels")
    logits = model.load(source, "masked-lm", ["de_DE"]).module(**batch).logits[labels != -100]
    among = torch.from_numpy(masker.candidates)
    right = torch.searchsorted(among, labels[labels != -100])
    assert found.loss == pytest.approx(functional.cross_entropy(logits[:, among], right).item(), rel=1e-5)
    assert xmod.module(**batch, labels=labels).loss.item() == pytest.approx(found.loss, rel=1e-5)
    assert found.perplexity == pytest.approx(np.exp(found.loss))
    assert found.tokens.tolist() == masker.counts(packed.input_ids).tolist()

    monkeypatch.setattr(masking, "TOKENS_PER_STEP", 20)  # one sequence at a time
    again = held_out(xmod, packed, masker, precision="fp32", pad_id=1)
    assert np.allclose(again.losses, found.losses, rtol=1e-4)
    some = held_out(xmod, packed, masker, precision="fp32", pad_id=1, units=np.array([2, 4]))
    assert np.allclose(some.losses, found.losses[[2, 4]], rtol=1e-4)


def test_predicting_by_frequency_takes_the_same_places_and_no_model(tokenizer):
    training, packed = pack(DOCUMENTS[:20], tokenizer, length=16), pack(DOCUMENTS[20:25], tokenizer, length=16)
    masker = Masker.of(tokenizer, training, packed)
    found = by_frequency(training, packed, masker)
    labels = masker.batch(packed, np.arange(len(packed)), seed=0, step=0, pad_id=1)["labels"].numpy()
    seen = Counter(training.input_ids.values.tolist())
    total = sum(seen[piece] + 1 for piece in masker.candidates.tolist())
    expected = [-np.log((seen[piece] + 1) / total) for piece in labels[labels != -100].tolist()]
    assert found.loss == pytest.approx(np.mean(expected))
    assert found.tokens.tolist() == masker.counts(packed.input_ids).tolist()


def test_the_padding_of_a_shorter_sequence_is_not_asked_for(tokenizer):
    packed = pack(DOCUMENTS[:7], tokenizer, length=16)
    assert packed.input_ids.lengths[-1] < 16
    masker = Masker.of(tokenizer, packed)
    batch = masker.batch(packed, np.arange(len(packed)), seed=0, step=0, pad_id=1)
    plain = collate(packed, np.arange(len(packed)), pad_id=1)
    assert torch.equal(batch["attention_mask"], plain["attention_mask"])
    assert (batch["labels"][batch["attention_mask"] == 0] == -100).all()
