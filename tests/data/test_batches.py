import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xmodctl.core.encoded import Encoded, Ragged
from xmodctl.model.batches import (
    collate,
    evaluation_batches,
    padded_length,
    padded_rows,
    sampled,
    training_batches,
)

LENGTHS = st.lists(st.integers(1, 60), max_size=300)
BUDGET = st.integers(1, 200)


@given(LENGTHS, st.integers(1, 40), BUDGET, st.integers(0, 3), st.integers(0, 3))
def test_every_unit_comes_exactly_once_in_an_epoch(lengths, batch_size, budget, seed, epoch):
    batches = training_batches(lengths, batch_size=batch_size, tokens_per_step=budget, seed=seed, epoch=epoch)
    units = [int(unit) for batch in batches for part in batch for unit in part]
    assert sorted(units) == list(range(len(lengths)))


@given(LENGTHS, st.integers(1, 40), BUDGET)
def test_every_batch_is_full_but_one(lengths, batch_size, budget):
    batches = training_batches(lengths, batch_size=batch_size, tokens_per_step=budget, seed=1, epoch=0)
    sizes = sorted((sum(map(len, batch)) for batch in batches), reverse=True)
    full, rest = divmod(len(lengths), batch_size)
    assert sizes == [batch_size] * full + [rest] * bool(rest)


@given(LENGTHS, st.integers(1, 40), BUDGET)
def test_a_micro_batch_keeps_the_budget_or_is_one_long_unit(lengths, batch_size, budget):
    training = training_batches(lengths, batch_size=batch_size, tokens_per_step=budget, seed=1, epoch=0)
    evaluation = evaluation_batches(lengths, tokens_per_step=budget)
    for part in [part for batch in training for part in batch] + evaluation:
        assert len(part) == 1 or len(part) * max(lengths[unit] for unit in part) <= budget


@given(LENGTHS, BUDGET)
def test_the_batches_of_a_sweep_hold_every_unit_once(lengths, budget):
    batches = evaluation_batches(lengths, tokens_per_step=budget)
    assert sorted(int(unit) for batch in batches for unit in batch) == list(range(len(lengths)))


def flat(seed: int, epoch: int) -> list[int]:
    lengths = np.random.default_rng(0).integers(1, 50, 1000)
    batches = training_batches(lengths, batch_size=8, tokens_per_step=10**6, seed=seed, epoch=epoch)
    return [int(unit) for batch in batches for part in batch for unit in part]


def test_the_order_depends_on_seed_and_epoch_alone():
    torch.manual_seed(1)
    first = flat(3, 1)
    np.random.default_rng().random()
    assert flat(3, 1) == first
    assert flat(3, 2) != first
    assert flat(4, 1) != first


def test_grouping_by_length_leaves_little_padding():
    lengths = np.clip(np.random.default_rng(0).lognormal(3.5, 0.6, 20_000), 3, 128).astype(int)
    batches = training_batches(lengths, batch_size=32, tokens_per_step=10**6, seed=0, epoch=0)
    padded = sum(len(part) * lengths[part].max() for batch in batches for part in batch)
    assert lengths.sum() / padded > 0.95


def test_long_batches_are_not_all_at_the_start_of_an_epoch():
    lengths = np.arange(1, 501)  # 50 batches that are sorted together
    batches = training_batches(lengths, batch_size=10, tokens_per_step=10**6, seed=0, epoch=0)
    means = [float(lengths[np.concatenate(batch)].mean()) for batch in batches]
    assert abs(np.mean(means[:25]) - np.mean(means[25:])) < 150  # in order it would be 250


def test_a_sweep_starts_with_its_longest_units():
    batches = evaluation_batches([3, 9, 1, 9, 4], tokens_per_step=18)
    assert [batch.tolist() for batch in batches] == [[1, 3], [4, 0, 2]]


@pytest.fixture
def encoded() -> Encoded:
    return Encoded(
        input_ids=Ragged.of([[5, 6, 7], [8], [9, 10]]),
        rows=np.array([0, 0, 1]),
        scalars={"labels": np.array([2, 0, 1]), "weights": np.array([0.5, 1.0, 1.5])},
        ragged={"tags": Ragged.of([[1, -100, 2], [0], [3, 4]])},
    )


def test_collated_rows_are_padded_on_the_right(encoded):
    batch = collate(encoded, [2, 0], pad_id=1)
    assert batch["input_ids"].tolist() == [[9, 10, 1], [5, 6, 7]]
    assert batch["attention_mask"].tolist() == [[1, 1, 0], [1, 1, 1]]
    assert batch["labels"].tolist() == [1, 2]
    assert batch["tags"].tolist() == [[3, 4, -100], [1, -100, 2]]
    assert {name: tensor.dtype for name, tensor in batch.items()} == {
        "input_ids": torch.int64,
        "attention_mask": torch.int64,
        "labels": torch.int64,
        "tags": torch.int64,
        "weights": torch.float32,
    }


def test_only_the_chosen_features_decide_the_width(encoded):
    assert collate(encoded, [1], pad_id=1)["input_ids"].shape == (1, 1)
    assert collate(encoded, [], pad_id=1)["input_ids"].shape == (0, 0)


# --- sampling of several languages ------------------------------------------------------------------------------------


def test_with_an_alpha_of_one_every_unit_comes_once_an_epoch_and_in_order():
    groups = np.array([0, 1, 1, 0, 2, 1])
    for epoch in range(3):
        assert sampled(groups, alpha=1.0, seed=1, epoch=epoch).tolist() == [0, 1, 2, 3, 4, 5]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=200), st.floats(0, 1), st.integers(0, 5), st.integers(0, 9))
def test_an_epoch_has_as_many_units_as_there_are_shared_by_size_to_the_power_of_alpha(groups, alpha, seed, epoch):
    numbers = np.array(groups)
    sizes = np.bincount(numbers)
    has_pieces = sizes > 0
    wanted = np.where(has_pieces, sizes.astype(float) ** alpha, 0)
    wanted *= len(groups) / wanted.sum()
    counts = np.bincount(numbers[sampled(numbers, alpha=alpha, seed=seed, epoch=epoch)], minlength=len(sizes))
    assert counts.sum() == len(groups)
    assert np.all(np.abs(counts - wanted) < 1 + 1e-6)


def test_over_epochs_no_unit_of_a_language_comes_twice_as_often_as_another():
    groups = np.repeat([0, 1], [90, 10])
    seen = np.zeros(100, dtype=int)
    for epoch in range(7):
        seen += np.bincount(sampled(groups, alpha=0.3, seed=3, epoch=epoch), minlength=100)
        for group in (0, 1):
            times = seen[groups == group]
            assert times.max() - times.min() <= 1
    assert seen[groups == 1].min() > seen[groups == 0].max(), "the small language is seen more often"


def test_a_sample_depends_on_seed_and_epoch_alone():
    groups = np.repeat([0, 1], [60, 40])
    item = sampled(groups, alpha=0.5, seed=1, epoch=2)
    assert np.array_equal(item, sampled(groups, alpha=0.5, seed=1, epoch=2))
    assert not np.array_equal(item, sampled(groups, alpha=0.5, seed=2, epoch=2))
    assert not np.array_equal(item, sampled(groups, alpha=0.5, seed=1, epoch=3))


@pytest.mark.parametrize("tokens", [64, 200, 4096])
def test_fixed_shapes_change_how_a_batch_is_cut_and_not_the_batch(tokens):
    lengths = np.random.default_rng(0).integers(1, 120, 300)
    settings = {"batch_size": 20, "tokens_per_step": tokens, "seed": 1, "epoch": 0}
    usual, fixed = (training_batches(lengths, **settings, fixed_shapes=fixed) for fixed in (False, True))
    for batch, other in zip(usual, fixed, strict=True):
        assert np.array_equal(np.concatenate(batch), np.concatenate(other))
    for part in (part for batch in fixed for part in batch):
        padded = padded_rows(len(part)) * int(padded_length(lengths[part].max()))
        assert len(part) == 1 or padded <= tokens


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 50)), max_size=300), st.integers(1, 40), BUDGET)
def test_without_padding_a_batch_is_cut_by_real_tokens_and_is_the_same(units, batch_size, budget):
    real = [length for length, _ in units]
    padded = [length + padding for length, padding in units]
    settings = {"batch_size": batch_size, "tokens_per_step": budget, "seed": 1, "epoch": 0}
    usual, packed = (training_batches(padded, **settings, real=chosen) for chosen in (None, real))
    for batch, other in zip(usual, packed, strict=True):
        assert np.array_equal(np.concatenate(batch), np.concatenate(other))
        sizes = [sum(real[unit] for unit in part) for part in other]
        assert all(size <= budget or len(part) == 1 for size, part in zip(sizes, other, strict=True))
        for size, part, following in zip(sizes, other, other[1:], strict=False):
            assert size + real[following[0]] > budget or len(part) == 0, "as few parts as possible"


def test_without_padding_units_of_different_numbers_of_choices_share_no_micro_batch():
    choices = [2, 3, 2, 3, 2, 2]
    settings = {"batch_size": 6, "tokens_per_step": 1000, "seed": 1, "epoch": 0}
    (batch,) = training_batches([12] * 6, choices=choices, real=[9] * 6, **settings)
    assert sorted({choices[unit] for unit in part} for part in batch) == [{2}, {3}]


def test_a_length_is_padded_to_the_next_of_a_few():
    lengths = [1, 32, 33, 48, 49, 96, 97, 512, 513, 8192]
    assert padded_length(np.array(lengths)).tolist() == [32, 32, 48, 48, 64, 96, 128, 512, 768, 8192]
    assert [padded_rows(rows) for rows in (1, 2, 3, 4, 5, 32, 33)] == [1, 2, 4, 4, 8, 32, 64]
