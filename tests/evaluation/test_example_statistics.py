import json
from dataclasses import replace

import numpy as np
import pytest
from scored import labels, make_run, score

from xmodctl.core.errors import UserError
from xmodctl.core.files import sha256_of
from xmodctl.evaluation import example_statistics
from xmodctl.evaluation.example_statistics import ExampleStatistics, load_example_statistics, read_predictions
from xmodctl.evaluation.rescoring import rescore
from xmodctl.kinds.scoring import Predicted

RIGHT = [True, True, False, True, False, True]


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "run")


def predictions_of(run, row):
    return run.folder / row.predictions


def test_outcomes_stand_in_the_order_of_ids_whatever_the_order_of_lines(run):
    ids = ["c", "a", "b", "f", "e", "d"]
    task = run.plan.task
    item = ExampleStatistics.computed(
        [Predicted(i, *pair) for i, pair in zip(ids, labels(RIGHT), strict=True)], task, "de"
    )
    pairs = sorted(zip(ids, labels(RIGHT), strict=True))
    other = ExampleStatistics.computed([Predicted(i, *pair) for i, pair in pairs], task, "de")
    assert np.array_equal(item.counts, other.counts)
    assert (item.ids, item.gold) == (other.ids, other.gold)
    assert item.metrics(task)["accuracy"] == pytest.approx(100 * 4 / 6)


def test_examples_are_told_apart_by_ids_and_by_right_answers(run):
    task = run.plan.task

    def judged(ids, shift):
        pairs = zip(ids, labels([True] * 3, shift=shift), strict=True)
        return ExampleStatistics.computed([Predicted(i, *pair) for i, pair in pairs], task, "de")

    assert judged("abc", 0).ids == judged("abc", 1).ids
    assert judged("abc", 0).gold != judged("abc", 1).gold
    assert judged("abc", 0).ids != judged("abd", 0).ids


def test_what_was_judged_once_is_not_judged_again(run, monkeypatch):
    row = score(run, "de", labels(RIGHT))
    first = load_example_statistics(run.folder, row, run.plan.task)
    monkeypatch.setattr(example_statistics, "read_predictions", None)
    again = load_example_statistics(run.folder, row, run.plan.task)
    assert np.array_equal(first.counts, again.counts)
    assert (first.ids, first.gold) == (again.ids, again.gold)
    monkeypatch.setattr(example_statistics, "versions", lambda: {"xmodctl": "9"})  # which may judge by other rules
    with pytest.raises(TypeError):
        load_example_statistics(run.folder, row, run.plan.task)


def test_a_damaged_record_of_what_was_judged_is_not_believed(run, caplog):
    row = score(run, "de", labels(RIGHT))
    task = run.plan.task
    first = load_example_statistics(run.folder, row, task)
    path = example_statistics.cache_path(row, task)
    for damaged in (path.read_bytes()[:-1] + b"\x07", b"", path.read_bytes()[:40]):
        path.write_bytes(damaged)
        caplog.clear()
        assert np.array_equal(load_example_statistics(run.folder, row, task).counts, first.counts)
        assert "are computed again" in caplog.text
    whole = path.read_bytes()
    place = whole.index(first.ids.encode()) + 5  # of the metadata, which say what two runs share
    path.write_bytes(whole[:place] + b"0" + whole[place + 1 :] if whole[place] != ord("0") else whole[:-1])
    assert load_example_statistics(run.folder, row, task).ids == first.ids


def test_where_nothing_can_be_kept_outcomes_are_judged_all_the_same(run, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XMODCTL_CACHE", str(tmp_path / "file"))
    row = score(run, "de", labels(RIGHT))
    assert len(load_example_statistics(run.folder, row, run.plan.task).counts) == 6


def test_missing_and_edited_predictions_are_refused_with_the_command_that_makes_them_again(run):
    row = score(run, "de", labels(RIGHT))
    path = predictions_of(run, row)
    path.write_text(path.read_text().replace("neutral", "entailment"))
    with pytest.raises(
        UserError, match=r"was changed after it was scored.*--langs de=de_DE,-en_XX --split test --on-exists redo"
    ):
        load_example_statistics(run.folder, row, run.plan.task)
    path.unlink()
    with pytest.raises(UserError, match="is missing; score de again: xmodctl eval-transfer --run"):
        load_example_statistics(run.folder, row, run.plan.task)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "contains 0 rows"),
        ('{"id": "0", "gold": "neutral"}\n', ":1 is not a prediction"),
        ('{"id": "0", "gold": "a", "prediction": "b"}\n{"id"', ":2: this is not JSON"),
        ('{"id": "0", "gold": "a", "prediction": "b"}\n' * 2, ":2 has the id 0 of an earlier line"),
    ],
)
def test_a_file_that_holds_something_else_is_told_with_its_line(tmp_path, text, message):
    path = tmp_path / "de.jsonl"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_predictions(path, remedy="score it again")


def test_a_line_separator_within_an_answer_does_not_end_a_line(tmp_path):
    path = tmp_path / "de.jsonl"
    path.write_text(json.dumps({"id": "0", "gold": "a\u2028b", "prediction": "\x85"}, ensure_ascii=False) + "\n")
    assert read_predictions(path, remedy="") == [Predicted("0", "a\u2028b", "\x85")]


def test_scoring_again_finds_what_was_stored(run):
    message = rescore(run.folder, score(run, "de", labels(RIGHT)), run.plan.task)
    assert (message.state, message.problem) == ("as stored", "")
    assert message.current.value == message.row.value
    assert (message.current.ci_low, message.current.ci_high) == (message.row.ci_low, message.row.ci_high)


def test_scoring_again_tells_a_stored_value_that_its_predictions_do_not_give(run):
    row = replace(score(run, "de", labels(RIGHT)), value=99.0, metrics={"accuracy": 99.0, "macro_f1": 1.0})
    message = rescore(run.folder, row, run.plan.task)
    assert message.state == "differs"
    assert message.current.value == pytest.approx(100 * 4 / 6)


@pytest.mark.parametrize("change", [{"value": 99.0}, {"n": 7}, {"value": float("nan")}])
def test_scoring_again_tells_any_number_that_was_changed(run, change):
    row = replace(score(run, "de", labels(RIGHT)), **change)
    assert rescore(run.folder, row, run.plan.task).state == "differs"


def test_scoring_again_tells_metrics_that_this_version_does_not_have_and_those_it_has_more(run):
    row = score(run, "de", labels(RIGHT))
    for metrics in ({"accuracy": row.value}, {**row.metrics, "other": 1.0}):
        assert rescore(run.folder, replace(row, metrics=metrics), run.plan.task).state == "differs"


def test_scoring_again_tells_edited_missing_and_unreadable_predictions(run):
    row = score(run, "de", labels(RIGHT))
    path = predictions_of(run, row)
    path.write_text(path.read_text().replace('"prediction": "neutral"', '"prediction": "contradiction"'))
    edited = rescore(run.folder, row, run.plan.task)
    assert edited.state == "edited"
    assert "was changed" in edited.problem
    assert edited.current.predictions_sha256 == sha256_of(path)
    path.write_text(path.read_text().replace("contradiction", "perhaps"))
    strange = rescore(run.folder, row, run.plan.task)
    assert strange.current is None
    assert "cannot score" in strange.problem
    assert strange.state == "unreadable"
    path.unlink()
    assert "is missing" in rescore(run.folder, row, run.plan.task).problem


def test_what_is_kept_of_earlier_runs_is_bounded(run, tmp_path, monkeypatch):
    row = score(run, "de", labels(RIGHT))
    monkeypatch.setenv("XMODCTL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(example_statistics, "CACHE_BYTES", 0)
    left = []
    for _ in range(2):
        assert load_example_statistics(run.folder, row, run.plan.task).metrics(run.plan.task)["accuracy"] == row.value
        left.append(len(list((tmp_path / "cache" / "outcomes").glob("*.safetensors"))))
    assert left == [0, 1]  # looked at once a process
