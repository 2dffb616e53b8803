"""Packing documents into sequences, and masking their tokens."""

import numpy as np
import torch

from xmodctl.model.batches import collate
from xmodctl.training.masked_lm.masking import MASK_TOKEN_SHARE, RANDOM_TOKEN_SHARE, Masker, pack

DOCUMENTS = ["the cat sleeps red", "a dog", "katze never runs the blue chat", "paka"] * 20


def test_documents_are_concatenated_with_a_boundary_between_them(tokenizer):
    packed = pack(DOCUMENTS, tokenizer, length=16)
    assert set(packed.input_ids.lengths[:-1].tolist()) == {16}
    assert all(sequence[0] == tokenizer.bos_token_id for sequence in packed.input_ids)
    stream = np.concatenate([sequence[1:] for sequence in packed.input_ids]).tolist()
    expected = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in DOCUMENTS]
    assert stream == [token for ids in expected for token in [*ids, tokenizer.eos_token_id]]
    assert packed.counts["unknown"] == 0
    assert pack(["zebra cat"], tokenizer, length=16).counts["unknown"] == 1


def test_as_many_tokens_are_masked_as_were_counted_and_never_a_special_one(tokenizer):
    packed = pack(DOCUMENTS, tokenizer, length=32)
    masker = Masker.of(tokenizer, packed)
    counts = masker.counts(packed.input_ids)
    for sequence, count in zip(packed.input_ids, counts, strict=True):
        inputs, labels = masker.mask(sequence, np.random.default_rng(0))
        is_predicted = labels != -100
        assert is_predicted.sum() == count == max(1, round(0.15 * np.isin(sequence, masker.random_pieces).sum()))
        assert (labels[is_predicted] == sequence[is_predicted]).all()
        assert np.isin(sequence[is_predicted], masker.candidates).all()
        assert (inputs[~is_predicted] == sequence[~is_predicted]).all()
        assert not set(inputs[~np.isin(inputs, masker.random_pieces)]) - {0, 2, masker.mask_id}


def test_a_sequence_of_boundaries_alone_has_no_predicted_tokens(tokenizer):
    masker = Masker.of(tokenizer, pack(DOCUMENTS, tokenizer, length=16))
    assert masker.counts(pack(["", "", ""], tokenizer, length=16).input_ids).tolist() == [0]


def test_of_the_predicted_tokens_80_percent_are_masked_10_random_and_10_unchanged(tokenizer):
    sequence = pack(["cat"] * 20_000, tokenizer, length=40_001).input_ids[0]
    masker = Masker.of(tokenizer, pack(DOCUMENTS, tokenizer, length=16))
    inputs, labels = masker.mask(sequence, np.random.default_rng(0))
    inputs = inputs[labels != -100]
    assert len(inputs) == 3_000
    masked, unchanged = (inputs == masker.mask_id).mean(), (inputs == tokenizer.convert_tokens_to_ids("cat")).mean()
    assert abs(masked - MASK_TOKEN_SHARE) < 0.03
    assert (
        abs(unchanged - (1 - MASK_TOKEN_SHARE - RANDOM_TOKEN_SHARE) - RANDOM_TOKEN_SHARE / len(masker.random_pieces))
        < 0.03
    )
    assert len(set(inputs.tolist())) > 10


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


def test_padding_is_not_predicted(tokenizer):
    packed = pack(DOCUMENTS[:7], tokenizer, length=16)
    assert packed.input_ids.lengths[-1] < 16
    masker = Masker.of(tokenizer, packed)
    batch = masker.batch(packed, np.arange(len(packed)), seed=0, step=0, pad_id=1)
    unmasked = collate(packed, np.arange(len(packed)), pad_id=1)
    assert torch.equal(batch["attention_mask"], unmasked["attention_mask"])
    assert (batch["labels"][batch["attention_mask"] == 0] == -100).all()
