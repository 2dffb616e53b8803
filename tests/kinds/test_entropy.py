"""The entropy of predictions, from which weights of mixtures can be found without gold answers."""

import math

import numpy as np
import pytest

from xmodctl.catalog import catalog
from xmodctl.core.encoded import Encoded, Ragged
from xmodctl.kinds import KINDS
from xmodctl.kinds.entropy import binary_entropy, entropy


def test_the_entropy_of_equal_logits_is_the_logarithm_of_their_number_and_that_of_certainty_is_0():
    assert entropy(np.zeros((2, 5))) == pytest.approx([math.log(5)] * 2)
    assert entropy(np.array([1000.0, 0.0, -1000.0])) == pytest.approx(0.0)
    assert entropy(np.log([0.5, 0.25, 0.25])) == pytest.approx(1.5 * math.log(2))
    assert binary_entropy(np.array([0.0, 800.0, -800.0])) == pytest.approx([math.log(2), 0.0, 0.0])


def encoded(offsets: dict[str, list[list[int]]]) -> Encoded:
    ids = Ragged.of([np.zeros(4, dtype=np.int32)] * 2)
    ragged = {name: Ragged.of([np.array(each, dtype=np.int32) for each in rows]) for name, rows in offsets.items()}
    return Encoded(input_ids=ids, rows=np.arange(2), offsets=ragged)


def test_taggers_are_undecided_about_words_and_not_about_their_other_tokens():
    rows = encoded({"word": [[-1, 0, -1, 1], [-1, -1, -1, -1]]})
    certain, even = [50.0] + [0.0] * 6, [0.0] * 7
    logits = [np.array([even, certain, even, even]), np.array([even] * 4)]
    task = catalog.task("wikiann")
    assert KINDS[task.kind].entropy(logits, rows, np.arange(2)) == pytest.approx([math.log(7) / 2, 0.0])
    padded = [np.concatenate([values, np.zeros((3, 7))]) for values in logits]
    assert KINDS[task.kind].entropy(padded, rows, np.arange(2)) == pytest.approx([math.log(7) / 2, 0.0])


def test_answers_are_undecided_among_the_tokens_of_the_context():
    rows = encoded({"start": [[-1, -1, 0, 4], [-1, 0, 4, 8]], "end": [[-1, -1, 3, 7], [-1, 3, 7, 9]]})
    logits = [np.zeros((4, 2)), np.zeros((4, 2))]
    task = catalog.task("xquad")
    assert KINDS[task.kind].entropy(logits, rows, np.arange(2)) == pytest.approx([math.log(2), math.log(3)])
    padded = [np.zeros((6, 2)), np.zeros((6, 2))]
    assert KINDS[task.kind].entropy(padded, rows, np.arange(2)) == pytest.approx([math.log(2), math.log(3)])
