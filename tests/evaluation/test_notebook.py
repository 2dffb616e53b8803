"""How results look in a notebook and at the prompt."""

import numpy as np
import pytest
from scored import labels, make_run, score

from xmodctl.evaluation.compare import compare_runs
from xmodctl.evaluation.donors import donor_matrix
from xmodctl.evaluation.results import Failure, read_rows, report


@pytest.fixture
def run(tmp_path):
    run = make_run(tmp_path / "run")
    for language, share in {"en": 0.8, "de": 0.7}.items():
        score(run, language, labels(np.random.default_rng(0).random(100) < share))
    return run


def test_a_row_a_score_and_a_report_have_a_short_repr(run):
    rows = read_rows(run.results)
    result = report("r", rows, [Failure("xx", None, 1, "why")])
    assert repr(rows[1]).startswith("<Row xnli test de through de_DE, seed 1: accuracy ")
    assert repr(result.scores[1]).startswith("<Score de through de_DE: ")
    assert repr(result).startswith("<Report r test: accuracy, 2 scores, mean ")
    assert repr(result).endswith(", 1 failures>")


def test_a_report_is_a_table_in_a_notebook_with_texts_escaped(run):
    html = report("a<b", read_rows(run.results), [Failure("xx", None, 1, "no <data>")])._repr_html_()
    assert html.count("<tr>") == 3
    assert "a&lt;b" in html
    assert "no &lt;data&gt;" in html
    assert '<td style="text-align: right">100</td>' in html


def test_a_report_becomes_a_data_frame(run):
    pytest.importorskip("pandas")
    frame = report("r", read_rows(run.results)).to_frame()
    assert list(frame["language"]) == ["en", "de"]
    assert frame["gap"][1] == pytest.approx(frame["accuracy"][0] - frame["accuracy"][1])


def test_rows_of_a_report_are_not_in_its_json(run):
    result = report("r", read_rows(run.results))
    assert len(result.rows) == 2
    assert not {"rows", "control_comparison"} & set(result.to_json())


def test_a_comparison_and_a_donor_matrix_have_the_three_forms(run, tmp_path):
    pytest.importorskip("pandas")
    other = make_run(tmp_path / "other")
    for language in ("en", "de"):
        score(other, language, labels(np.random.default_rng(1).random(100) < 0.5))
    comparison = compare_runs([run, other], resamples=200)
    assert repr(comparison).startswith("<Comparison xnli test, accuracy, A B: ")
    assert "mean over languages" in comparison._repr_html_()
    assert list(comparison.to_frame()["language"].dropna()) == ["en", "de"]
    score(run, "de", labels(np.random.default_rng(0).random(100) < 0.6), adapter="fr_XX")
    matrix = donor_matrix(run, read_rows(run.results), resamples=200)
    assert repr(matrix).startswith(f"<DonorMatrix {run.folder} test: de: fr_XX")
    assert "best donor" in matrix._repr_html_()
    assert set(matrix.to_frame()["adapter"]) == {"en_XX", "de_DE", "fr_XX"}
