"""The requests: what each field accepts, and what is refused with the option's name."""

from pathlib import Path

import pytest

from xmodctl.core.errors import UserError
from xmodctl.evaluation.requests import (
    CompareRequest,
    DonorsRequest,
    EvaluationRequest,
    PredictRequest,
)


def test_languages_and_controls_may_be_a_list_or_one_text():
    assert EvaluationRequest("r", ["de", "sw"]).selection == EvaluationRequest("r", "de,sw").selection == "de,sw"
    assert EvaluationRequest("r", "de", controls="source, none").control_names == ("source", "none")
    assert EvaluationRequest("r", "de", controls=["none", "none"]).control_names == ("none",)
    assert DonorsRequest("r", "jv").candidate_selection is None
    assert DonorsRequest("r", ["jv", "qu"], ["id_ID", "es_XX"]).candidate_selection == "id_ID,es_XX"


@pytest.mark.parametrize("adapters", ["zu_ZA", Path("zu_ZA"), ["zu_ZA"]])
def test_adapters_may_be_one_or_several(adapters):
    assert [str(package) for package in EvaluationRequest("r", "zu", adapters=adapters).packages] == ["zu_ZA"]
    assert [str(package) for package in PredictRequest("r", "zu", "-", adapters=adapters).packages] == ["zu_ZA"]


def test_runs_to_compare_may_be_one_or_several():
    assert CompareRequest("runs/a").run_list == ("runs/a",)
    assert CompareRequest(["runs/a", Path("runs/b")]).run_list == ("runs/a", Path("runs/b"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EvaluationRequest("r", "de", on_exists="keep"), "--on-exists keep: choose from missing, redo, error"),
        (lambda: EvaluationRequest("r", "de", split="tests"), "--split tests: .*did you mean test"),
        (lambda: EvaluationRequest("r", "de", controls="sauce"), "--controls sauce: .*did you mean source"),
        (lambda: EvaluationRequest("r", "de", precision="fp8"), "--precision fp8"),
        (lambda: EvaluationRequest("r", "de", limit=0), "--limit 0"),
        (lambda: DonorsRequest("r", "de", on_exists="error"), "--on-exists error: choose from missing, redo"),
        (lambda: CompareRequest("r", split="dev"), "--split dev"),
        (lambda: PredictRequest("r", "de", "-", precision="int8"), "--precision int8"),
        (lambda: PredictRequest("r", "de", "-", rows_at_a_time=0), "rows_at_a_time=0"),
    ],
)
def test_a_wrong_value_is_refused_with_the_name_of_its_option(make, message):
    with pytest.raises(UserError, match=message):
        make()
