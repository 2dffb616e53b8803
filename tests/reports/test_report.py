"""`xmodctl.report` from Python."""

from dataclasses import replace

import pytest
from scored_runs import scored_run

import xmodctl
from xmodctl.core.errors import UserError
from xmodctl.evaluation.results import read_rows
from xmodctl.reports.error_analysis import ErrorAnalyzer
from xmodctl.reports.gathering import gather


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return [scored_run(folder, name, seeds=(1, 2), limited=30) for name in ("one", "two <b>")]


def test_a_report_is_written_into_its_run_and_returned_as_a_study(runs):
    study = xmodctl.report(runs[0])
    assert study.file == runs[0].folder / "report.html"
    assert study.file.read_text().startswith("<!DOCTYPE html>")
    assert study.runs[0].error_analyses["de"].mistakes
    assert repr(study) == f"Study(pairs, test, 3 languages, runs: one, file={str(study.file)!r})"


def test_runs_may_be_runs_or_folders_and_paths_may_be_text(runs, tmp_path):
    out = str(tmp_path / "table.md")
    study = xmodctl.report([runs[0], str(runs[1].folder)], out=out)
    assert [run.name for run in study.runs] == ["one", "two <b>"]
    assert str(study.file) == out
    assert study.render("markdown") == study.file.read_text()


def test_without_a_file_nothing_is_written_and_no_example_is_read(runs):
    (runs[1].folder / "report.html").unlink(missing_ok=True)
    for study in (xmodctl.report(runs[1], write=False), xmodctl.report(runs[1], format="latex")):
        assert study.file is None
        assert study.runs[0].error_analyses == {}
    assert not (runs[1].folder / "report.html").exists()


def test_a_run_that_cannot_be_read_is_in_the_study_with_the_reason(runs, tmp_path):
    study = xmodctl.report([runs[0].folder, tmp_path / "nowhere"], format="csv")
    assert len(study.runs) == 1
    assert "is not a run" in study.skipped[0]


def test_predictions_that_do_not_fit_the_task_are_a_note(runs):
    task = runs[0].plan.task.model_copy(update={"labels": ("entailment",)})
    other = replace(runs[0], plan=replace(runs[0].plan, task=task))
    notes = []
    analyzer = ErrorAnalyzer(other, None, 3, lambda *note: notes.append(note))
    rows = [row for row in read_rows(runs[0].results) if row.language == "de"]
    assert analyzer.analyze(rows).mistakes == ()
    ((note, language),) = notes
    assert note.startswith("the errors are not shown: the predictions do not fit the task")
    assert language == "de"


def test_a_notebook_shows_the_table_with_its_notes_and_nothing_from_elsewhere(runs):
    shown = gather([run.folder for run in runs], details=False)._repr_html_()
    assert shown.count("<table>") == shown.count("</table>") == 1
    assert "LIMITED to the first 30 rows" in shown
    assert "majority baseline" in shown
    assert "two &lt;b&gt;" in shown
    assert "http" not in shown
    assert "url(" not in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "tset"}, "--split tset: choose from train, validation, test \\(did you mean test"),
        ({"format": "htlm"}, "did you mean html"),
        ({"errors": -1}, "--errors -1"),
        ({"data": "nowhere"}, "--data nowhere is not a folder"),
        ({"format": "terminal", "out": "x.txt"}, "omit --out x.txt"),
    ],
)
def test_options_that_make_no_sense_are_refused_by_their_name(options, message, runs):
    with pytest.raises(UserError, match=message):
        xmodctl.report(runs[0], **options)
