"""The sweep: each number is computed once, and nothing is loaded for scores that exist."""

import subprocess
import sys

import pytest

from xmodctl import evaluate, finetune
from xmodctl.core.events import BatchScored, LanguageScored, LanguageStarted, ModelLoading
from xmodctl.evaluation import example_statistics
from xmodctl.evaluation.results import read_rows
from xmodctl.kinds import KINDS

QUICK = {"epochs": 1, "batch_size": 8, "max_length": 32}


@pytest.fixture
def trained(tiny_model, pairs, tmp_path):
    return finetune("xnli", "en", model=str(tiny_model), data=pairs, overrides=QUICK, out=tmp_path / "run")


def test_statistics_are_computed_once_per_score_and_predictions_are_not_read_back(trained, monkeypatch):
    kind = type(KINDS[trained.plan.task.kind])
    calls = []
    original = kind.statistics
    monkeypatch.setattr(kind, "baseline", lambda *_: 33.0)  # has statistics of its own
    monkeypatch.setattr(kind, "statistics", lambda *args: calls.append(1) or original(*args))
    monkeypatch.setattr(example_statistics, "sha256_of", None)
    report = evaluate(trained, "de,sw", controls="none")
    assert len(calls) == len(report.rows) == 6
    assert report.control_comparison is not None
    assert report.gap_ci is not None


def test_intervals_from_memory_and_from_stored_predictions_are_the_same(trained):
    first = evaluate(trained, "de,sw", controls="source,none")
    again = evaluate(trained, "de,sw", controls="source,none")
    assert first == again


def test_a_sweep_reports_what_it_does_in_order(trained):
    events = []
    evaluate(trained, "de", listen=events.append)
    kinds = [type(event) for event in events if not hasattr(event, "caution")]
    assert kinds[0] is ModelLoading
    assert kinds.count(ModelLoading) == 1
    assert [kind for kind in kinds[1:] if kind is not BatchScored] == [LanguageStarted, LanguageScored] * 2
    started = [event for event in events if isinstance(event, LanguageStarted)]
    batches = [event for event in events if isinstance(event, BatchScored)]
    assert sum(event.examples for event in batches) == sum(event.examples for event in started)


def test_a_sweep_with_nothing_left_to_do_loads_no_model_and_no_library_for_it(trained):
    evaluate(trained, "de,sw", controls="none")
    check = (
        "import sys\nfrom xmodctl import evaluate\n"
        f"report = evaluate({str(trained.folder)!r}, 'de,sw', controls='none')\n"
        "assert len(report.rows) == 6\n"
        "heavy = {'torch', 'transformers', 'datasets', 'accelerate', 'evaluate'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_rows_of_changed_data_are_scored_again_and_the_earlier_score_is_kept(trained, pairs):
    evaluate(trained, "de")
    path = pairs / "de" / "test.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    events = []
    evaluate(trained, "de", listen=events.append)
    scored = {event.language: event.known for event in events if isinstance(event, LanguageScored)}
    assert scored == {"en": True, "de": False}
    rows = read_rows(trained.results)
    assert [(row.language, row.n) for row in rows] == [("en", 24), ("de", 24), ("de", 23)]
    assert len({row.predictions for row in rows}) == 3
    assert all((trained.folder / row.predictions).exists() for row in rows)
