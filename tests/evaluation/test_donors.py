import json

import numpy as np
import pytest
from scored import labels, make_run, score

from xmodctl.evaluation.donors import donor_matrix
from xmodctl.evaluation.results import read_rows


def right(share: float, n: int = 400) -> np.ndarray:
    return np.random.default_rng(0).random(n) < share


@pytest.fixture
def run(tmp_path):
    """Swahili has its own adapter, Javanese has none; German's helps it most, French's as good as that."""
    run = make_run(tmp_path / "run")
    for language, ways in {
        "sw": {"sw_KE": 0.7, "de_DE": 0.5, "fr_XX": 0.6, None: 0.55},
        "jv": {"sw_KE": 0.4, "de_DE": 0.605, "fr_XX": 0.6, None: 0.5},
    }.items():
        for adapter, share in ways.items():
            score(run, language, labels(right(share)), adapter=adapter, control="own" if adapter else "none")
    return run


def matrix_of(run, **options):
    return donor_matrix(run, read_rows(run.results), resamples=1000, **options)


def test_the_best_donor_is_another_languages_adapter_and_those_no_worse_are_named(run):
    result = matrix_of(run)
    assert result.adapters == ("sw_KE", "de_DE", "fr_XX", None)
    assert result.donor("sw").adapter == "fr_XX"  # its own is better, but no donor
    assert result.donor("sw").alike == ()
    assert result.donor("jv").adapter == "de_DE"
    assert result.donor("jv").alike == ("fr_XX",)


def test_each_cell_has_its_score_and_says_whether_the_adapter_is_the_texts_own(run):
    result = matrix_of(run)
    assert result.cell("sw", "sw_KE").own
    assert not result.cell("jv", "sw_KE").own
    assert result.cell("jv", None).mean == pytest.approx(50, abs=5)
    assert result.cell("de", "de_DE") is None


def test_ways_are_compared_on_the_seeds_that_all_have(run):
    for adapter, share in {"sw_KE": 0.4, "de_DE": 0.61, "fr_XX": 0.3}.items():
        score(run, "jv", labels(right(share)), adapter=adapter, seed=2)
    assert len(matrix_of(run).cell("jv", "fr_XX").values) == 1  # none was not scored with the second
    score(run, "jv", labels(right(0.5)), adapter=None, control="none", seed=2)
    assert len(matrix_of(run).cell("jv", "fr_XX").values) == 2


def test_a_language_with_its_own_adapter_alone_has_no_donor(tmp_path):
    run = make_run(tmp_path / "run")
    score(run, "sw", labels(right(0.7)))
    score(run, "sw", labels(right(0.5)), control="none")
    assert matrix_of(run).donors == ()


def test_a_matrix_becomes_json(run):
    value = json.loads(json.dumps(matrix_of(run).to_json()))
    assert value["donors"][1] == {"language": "jv", "adapter": "de_DE", "alike": ["fr_XX"]}
    assert value["cells"][0]["mean"] == matrix_of(run).cell("sw", "sw_KE").mean
