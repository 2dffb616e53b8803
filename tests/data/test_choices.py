"""Units of several features: the choices of a question go through the model together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmodctl.core.encoded import Encoded, Ragged
from xmodctl.data.encoding import cached
from xmodctl.model.batches import collate, evaluation_batches, training_batches

UNITS = st.lists(st.tuples(st.integers(1, 60), st.integers(2, 5)), max_size=200)  # (tokens, choices)


@pytest.fixture
def questions() -> Encoded:
    """Three questions of 2, 3 and 2 choices."""
    return Encoded(
        input_ids=Ragged.of([[5, 6, 7], [8], [9, 10], [11], [12], [13], [14, 15, 16, 17]]),
        rows=np.array([0, 0, 1, 1, 1, 2, 2]),
        scalars={"labels": np.array([1, 1, 2, 2, 2, 0, 0])},
        offsets={"word": Ragged.of([[0, 1, 2], [0], [0, 1], [0], [0], [0], [0, 1, 2, 3]])},
        counts={"truncated": 0},
        choices=True,
    )


def test_a_unit_is_all_the_choices_of_a_question(questions):
    assert len(questions) == 3
    assert questions.sizes.tolist() == [2, 3, 2]
    assert questions.tokens.tolist() == [4, 4, 5]
    assert questions.lengths.tolist() == [6, 6, 8]


def test_a_unit_is_a_feature_where_rows_only_have_windows():
    windows = Encoded(input_ids=Ragged.of([[5, 6, 7], [8]]), rows=np.array([0, 0]))
    assert len(windows) == 2
    assert windows.sizes.tolist() == [1, 1]
    assert windows.lengths.tolist() == windows.tokens.tolist() == [3, 1]


def test_nothing_encoded_is_no_unit():
    nothing = Encoded(input_ids=Ragged.of([]), rows=np.array([], dtype=np.int64), choices=True)
    assert len(nothing) == 0
    assert nothing.lengths.tolist() == nothing.tokens.tolist() == []


def test_collated_choices_have_a_dimension_of_their_own_and_one_label(questions):
    batch = collate(questions, [2, 0], pad_id=1)
    assert batch["input_ids"].tolist() == [[[13, 1, 1, 1], [14, 15, 16, 17]], [[5, 6, 7, 1], [8, 1, 1, 1]]]
    assert batch["attention_mask"].sum(-1).tolist() == [[1, 4], [3, 1]]
    assert batch["labels"].tolist() == [0, 1]
    assert "word" not in batch


def test_places_are_kept_on_disk_and_stay_out_of_batches(questions):
    cached({"data": "a"}, lambda: questions)
    kept = cached({"data": "a"}, lambda: pytest.fail("it was made before"))
    assert kept.choices
    assert [row.tolist() for row in kept.offsets["word"]] == [row.tolist() for row in questions.offsets["word"]]


@given(UNITS, st.integers(1, 40), st.integers(1, 200))
def test_units_with_different_numbers_of_choices_never_share_a_micro_batch(units, batch_size, budget):
    lengths, choices = [tokens * count for tokens, count in units], [count for _, count in units]
    training = training_batches(
        lengths, choices=choices, batch_size=batch_size, tokens_per_step=budget, seed=1, epoch=0
    )
    parts = [part for batch in training for part in batch]
    evaluation = evaluation_batches(lengths, choices=choices, tokens_per_step=budget)
    for batches in (parts, evaluation):
        assert sorted(int(unit) for part in batches for unit in part) == list(range(len(units)))
    for part in parts + evaluation:
        assert len({choices[unit] for unit in part}) == 1
        assert len(part) == 1 or len(part) * max(lengths[unit] for unit in part) <= budget
