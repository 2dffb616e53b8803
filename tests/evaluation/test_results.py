import json
from dataclasses import replace

import pytest

from xmodctl.core.errors import UserError
from xmodctl.evaluation.example_statistics import read_predictions
from xmodctl.evaluation.results import Failure, Row, append_row, read_rows, report, write_predictions
from xmodctl.kinds.scoring import Predicted

ROW = Row(
    task="xnli", kind="sequence-classification", split="test", language="en", adapter="en_XX", control="own",
    source_languages=("en_XX",), model="mini@abc", data="x#y", n=100, metric="accuracy", value=80.0,
    metrics={"accuracy": 80.0}, baseline=34.0, ci_low=72.0, ci_high=88.0, ci_method="bootstrap", seed=1, step=10,
    selected_on="nothing", limited=None, precision="fp32", device="cpu", seconds=1.0, truncated=0,
    predictions="predictions/test/en.seed-1.jsonl", predictions_sha256="0", tool="0",
)  # fmt: skip


def in_german(value: float, seed: int = 1) -> Row:
    return replace(ROW, language="de", adapter="de_DE", value=value, seed=seed)


def test_rows_come_back_as_they_were_written(tmp_path):
    path = tmp_path / "results.jsonl"
    rows = [ROW, in_german(70.0)]
    for row in rows:
        append_row(path, row)
    assert read_rows(path) == rows


def test_of_a_measurement_made_twice_the_later_counts(tmp_path):
    path = tmp_path / "results.jsonl"
    for value in (70.0, 71.0):
        append_row(path, in_german(value))
    assert [row.value for row in read_rows(path)] == [71.0]


def test_every_way_to_tear_the_last_line_leaves_the_others_readable_and_is_mended_by_the_next_row(tmp_path):
    path = tmp_path / "results.jsonl"
    append_row(path, ROW)
    whole = path.read_bytes()
    line = json.dumps(in_german(70.0).to_json()).encode()
    for cut in range(1, len(line), 37):
        path.write_bytes(whole + line[:cut])
        assert read_rows(path) == [ROW]
        append_row(path, in_german(70.0))
        assert read_rows(path) == [ROW, in_german(70.0)]


def test_a_broken_line_in_the_middle_is_told_with_its_number(tmp_path):
    path = tmp_path / "results.jsonl"
    append_row(path, ROW)
    path.write_bytes(b"{broken\n" + path.read_bytes())
    with pytest.raises(UserError, match=r"results\.jsonl:1: this is not JSON"):
        read_rows(path)


@pytest.mark.parametrize("change", [{"id": {}}, {"id": ["x"]}, {"id": 1}, {"scores": 3}, {"scores": None}, {"x": 1}])
def test_a_line_that_is_no_prediction_is_refused_with_its_number(change, tmp_path):
    path = tmp_path / "predictions.jsonl"
    value = {"id": "a", "gold": "x", "prediction": "y", "scores": [0.5]}
    path.write_text("".join(json.dumps(each) + "\n" for each in (value, {**value, "id": "b", **change})))
    with pytest.raises(UserError, match=r"predictions\.jsonl:2 is not a prediction; score again"):
        read_predictions(path, remedy="score again")


@pytest.mark.parametrize(
    ("key", "value"),
    [("seed", {}), ("language", ["en"]), ("metrics", []), ("value", "high"), ("limited", "x"),
     ("source_languages", 3), ("metrics", {"accuracy": [1]}), ("predictions", None), ("n", None),
     ("mixture", {}), ("mixture", {"name": "a", "weights": {"a": 1}, "by": "text", "details": {}, "packages": {}}),
     ("mixture", {"name": "a", "weights": {"a": 1}, "by": "given", "details": {}, "packages": {"a": {}}})],
)  # fmt: skip
def test_a_row_with_a_value_of_the_wrong_type_is_refused_with_its_line(key, value, tmp_path):
    path = tmp_path / "results.jsonl"
    append_row(path, ROW)
    path.write_text(path.read_text() + json.dumps({**json.loads(path.read_text()), key: value}) + "\n")
    with pytest.raises(UserError, match=r"results\.jsonl:2 is not a result row; remove that line"):
        read_rows(path)


def test_a_row_of_a_newer_schema_is_refused_with_the_way_to_read_it(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text(json.dumps({**ROW.to_json(), "schema": 99}) + "\n")
    with pytest.raises(UserError, match=r"results\.jsonl:1 has schema 99, newer than 2; run: pip install"):
        read_rows(path)


def test_a_report_has_gaps_to_the_source_and_averages_with_and_without_it():
    message = report("r", [ROW, in_german(70.0), replace(in_german(60.0), language="sw", adapter="sw_KE")])
    assert [score.gap for score in message.scores] == [None, 10.0, 20.0]
    assert message.averages == {"all languages": 70.0, "without the source": 65.0}


def test_text_scored_through_the_source_adapter_is_not_the_source():
    through = replace(in_german(50.0), language="jv", adapter="en_XX")
    message = report("r", [ROW, through])
    assert [score.is_source for score in message.scores] == [True, False]


def test_seeds_are_averaged_and_their_spread_is_told():
    rows = [replace(ROW, seed=seed, value=value) for seed, value in ((1, 80.0), (2, 82.0))]
    rows += [in_german(70.0, 1), in_german(74.0, 2)]
    english, german = report("r", rows).scores
    assert (english.mean, german.mean, german.gap) == (81.0, 72.0, 9.0)
    assert german.spread == pytest.approx(2.828, abs=1e-3)


def test_controls_stand_beside_and_do_not_count_in_averages():
    none = replace(in_german(40.0), control="none", adapter=None)
    message = report("r", [ROW, in_german(70.0), none])
    assert message.averages["all languages"] == 75.0
    assert [score.control for score in message.scores] == ["own", "own", "none"]


def test_a_report_becomes_json_with_its_failures():
    message = report("r", [ROW], [Failure("sw", "sw_KE", 1, "no data")]).to_json()
    assert json.loads(json.dumps(message))["failures"][0]["reason"] == "no data"
    assert message["scores"][0]["mean"] == 80.0


def test_predictions_are_one_object_a_line_and_their_hash_is_returned(tmp_path):
    path = tmp_path / "p" / "de.jsonl"
    digest = write_predictions(path, [Predicted("0", "neutral", "entailment", (0.5, 0.5, 0.0))])
    assert json.loads(path.read_text())["prediction"] == "entailment"
    assert len(digest) == 64
