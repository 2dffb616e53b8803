"""What several models predict for one example, as one prediction."""

import pytest

from xmodctl.catalog import catalog
from xmodctl.kinds import KINDS
from xmodctl.kinds.ensembling import mean_scores, vote
from xmodctl.kinds.scoring import Predicted


def test_a_vote_goes_to_the_answer_with_the_highest_mean_probability():
    assert vote(["a", "b", "b"], [0.9, 0.5, 0.3]) == ("a", 0.3)
    assert vote(["a", "b", "b"], [0.7, 0.5, 0.3]) == ("b", pytest.approx(0.8 / 3, abs=1e-6))


def test_what_a_model_leaves_to_other_answers_is_divided_evenly():
    # a: (0.6 + 0.5 / 2) / 2; b: (0.4 / 2 + 0.5) / 2
    assert vote(["a", "b"], [0.6, 0.5], others=2) == ("a", 0.425)


def test_an_answer_without_a_probability_is_no_vote_and_equal_votes_go_to_the_first():
    assert vote(["a", "b"], [0.0, 0.4], others=2) == ("b", 0.2)
    assert vote(["a", "b"], [0.0, 0.0], others=2) == ("a", 0.0)
    assert vote(["a", "b"], [0.5, 0.5]) == ("a", 0.25)


def test_predictions_without_the_probability_of_every_answer_have_no_mean():
    with pytest.raises(ValueError, match="the prediction 7 has 1 of 2 probabilities"):
        mean_scores([Predicted("7", None, "a", (0.5, 0.5)), Predicted("7", None, "a", (1.0,))], 2)


def test_answers_to_a_question_are_summed_where_they_are_equal():
    task = catalog.task("xquad")
    members = [Predicted("1", ["x"], text, (share,)) for text, share in (("in Rom", 0.5), ("Rom", 0.4), ("Rom", 0.3))]
    assert KINDS[task.kind].combined(members, task) == ("Rom", (pytest.approx(0.7 / 3, abs=1e-6),))


def test_numbers_are_averaged():
    task = catalog.task("regression")
    members = [Predicted("1", 2.0, number) for number in (1.0, 2.5)]
    assert KINDS[task.kind].combined(members, task) == (1.75, ())
