"""Scoring commands: what a message prints, followed word for word, measures exactly what the row measured."""

import json
import re
import shlex
import shutil
from dataclasses import replace

import pytest
from command_line import run as run_words
from test_other_data import GERMAN, copy_run, table_run, trained, write_table  # noqa: F401

from xmodctl import compare, report, score
from xmodctl import evaluate as evaluate_loudly
from xmodctl.catalog import catalog
from xmodctl.core.errors import UserError
from xmodctl.evaluation.results import Row, append_row, read_rows
from xmodctl.evaluation.scoring_commands import scoring_command, settings_of
from xmodctl.languages import expand


def evaluate(*args, **options):
    """Evaluate, and let cautions pass."""
    return evaluate_loudly(*args, **options, listen=lambda event: None)


def measured(row):
    """Return what a row measured, without how long it took."""
    return replace(row, seconds=0.0)


def follow(command):
    """Follow commands word for word."""
    for part in command.split(" && "):
        result = run_words(*shlex.split(part)[1:])
        assert result.exit_code == 0, result.output


def command_in(message):
    """Return the command at the end of a message."""
    return re.search(r"xmodctl (eval-transfer|score) .*", str(message), re.DOTALL)[0]


@pytest.fixture
def run(trained, pairs, tmp_path):  # noqa: F811
    return copy_run(trained, "pairs", tmp_path)


@pytest.fixture
def other(tmp_path):
    """Return a second data set, in a folder whose name a shell splits, with columns of two languages."""
    folder = tmp_path / "other data"
    for language in ("en", "de"):
        write_table(folder / language / "test.csv", 18)
    return folder


MEASUREMENTS = {
    "the run's data": {"langs": "fr"},
    "another split and a limit": {"langs": "fr", "split": "validation", "limit": 7},
    "a control": {"langs": "fr", "controls": "none"},
    "the source's adapter": {"langs": "sw=de_DE", "controls": "source"},
    "other data, columns, and a limit": {"langs": "de", "overrides": GERMAN, "limit": 9},
    "text through another language's adapter": {"langs": "de=sw_KE", "overrides": GERMAN},
    "the source": {
        "langs": "en",
        "overrides": {"columns": {"text": "sentence_A_En", "text_pair": "sentence_B_En", "label": "label"}},
    },
}


IN_SHORT = "other data, columns, and a limit"


@pytest.mark.parametrize(
    "name", [name if name == IN_SHORT else pytest.param(name, marks=pytest.mark.slow) for name in MEASUREMENTS]
)
def test_the_command_of_a_row_measures_what_the_row_measured_and_nothing_else(run, other, name):
    options = MEASUREMENTS[name]
    evaluate(run, "de,fr,sw" if name != IN_SHORT else "de")  # the run has other scores, too
    evaluate(run, data=other if "overrides" in options else None, **options)
    before = read_rows(run.results)
    for row in before if name != IN_SHORT else before[1:]:
        (run.folder / row.predictions).unlink()
        follow(scoring_command(run.folder, row))
        assert list(map(measured, sorted_rows(read_rows(run.results)))) == list(map(measured, sorted_rows(before)))
        lines = run.results.read_text().splitlines()
        follow(scoring_command(run.folder, row, redo=True))
        added = [json.loads(line) for line in run.results.read_text().splitlines()[len(lines) :]]
        assert {line["language"] for line in added} == {row.language}
        assert list(map(measured, sorted_rows(read_rows(run.results)))) == list(map(measured, sorted_rows(before)))


def sorted_rows(rows):
    return sorted(rows, key=lambda row: row.predictions)


def test_a_language_column_and_a_folder_named_like_a_language_are_told(run, tmp_path):
    shared = tmp_path / "en" / "test.jsonl"
    shared.parent.mkdir()
    rows = [
        {"premise": f"a cat {number}", "hypothesis": "red", "label": "neutral", "tongue": tongue}
        for number in range(6)
        for tongue in ("en", "fr")
    ]
    rows[0]["label"] = rows[1]["label"] = "entailment"
    shared.write_text("".join(json.dumps(row) + "\n" for row in rows))
    evaluate(run, "en,fr", data=shared.parent, language_column="tongue")
    before = read_rows(run.results)
    assert [row.n for row in before] == [6, 6]
    for row in before:
        (run.folder / row.predictions).unlink()
        follow(scoring_command(run.folder, row))
    assert list(map(measured, sorted_rows(read_rows(run.results)))) == list(map(measured, sorted_rows(before)))


def test_rows_of_earlier_versions_name_the_folder_of_their_file(run, other):
    evaluate(run, "de", data=other, overrides=GERMAN)
    row = read_rows(run.results)[-1]
    assert scoring_command(run.folder, replace(row, folder=None)) == scoring_command(run.folder, row)


def test_settings_come_back_from_what_a_row_was_read_with():
    assert settings_of('columns.text="a b=c" labels_mapped={"x": "O", "y z": "=" } language_column="l"') == [
        'columns.text="a b=c"', 'labels_mapped={"x": "O", "y z": "=" }', 'language_column="l"',
    ]  # fmt: skip
    assert settings_of("") == []


@pytest.mark.parametrize("task", ["xnli", "panx", "uner", "xcopa", "tydiqa"])
def test_every_language_of_a_task_is_selected_again_by_what_the_command_names(task):
    languages = catalog.task(task).languages
    adapters = [
        "en_XX",
        "de_DE",
        "fr_XX",
        "sw_KE",
        "zh_CN",
        "zh_TW",
        "sv_SE",
        "pt_XX",
        "hr_HR",
        "sr_RS",
        "id_ID",
        "tl_XX",
    ]
    options = {"model": "m", "task_languages": languages}
    for target in expand("@task", adapters, **options).targets:
        (again,) = expand(f"{target.data}={target.adapter}", adapters, **options).targets
        assert (again.data, again.adapter) == (target.data, target.adapter)


def test_the_commands_that_compare_score_and_report_print_end_the_problem(run, other, trained, tmp_path):  # noqa: F811
    second = copy_run(trained, "pairs", tmp_path / "second")
    shutil.copytree(tmp_path / "pairs", tmp_path / "second" / "pairs")
    for problem in (
        lambda: compare([run, second]),  # neither has scores
        lambda: compare([run, second]),  # only the first one has
    ):
        with pytest.raises(UserError, match="create them with") as caught:
            problem()
        follow(command_in(caught.value))
    compare([run, second])
    with pytest.raises(UserError, match="no scores through another adapter") as caught:
        compare(run, langs="de")
    follow(command_in(caught.value))
    compare(run, langs="de")
    assert {row.language for row in read_rows(run.results) if row.control != "own"} == {"de"}

    evaluate(run, "de", data=other, overrides=GERMAN)
    row = read_rows(run.results)[-1]
    path = run.folder / row.predictions
    content = path.read_text()
    for damage in ("", content.replace('"id"', '"di"', 1), None):
        path.unlink() if damage is None else path.write_text(damage)
        (problem,) = [each.problem for each in score(run) if each.problem]
        follow(command_in(problem))
        assert all(each.is_settled for each in score(run))
        assert path.read_text() == content


def test_runs_of_other_limits_or_data_are_scored_alike_by_the_remedy(run, other, trained, tmp_path):  # noqa: F811
    second = copy_run(trained, "pairs", tmp_path / "second")
    shutil.copytree(tmp_path / "pairs", tmp_path / "second" / "pairs")
    evaluate(run, "de", data=other, overrides=GERMAN)
    evaluate(second, "fr", limit=6)
    with pytest.raises(UserError, match="different --limit") as caught:
        compare([run, second])
    follow(command_in(caught.value))
    assert [row.read_as for row in read_rows(second.results)] == [*[""] * 2, read_rows(run.results)[-1].read_as]
    compare([run, second])
    run.results.unlink()
    evaluate(run, "fr")
    with pytest.raises(UserError, match="not scored on the same data") as caught:
        compare([run, second])
    follow(command_in(caught.value))
    assert {difference.language for difference in compare([run, second]).differences} == {"en", "fr", None}


@pytest.mark.parametrize(
    ("changes", "command"),
    [({"value": 99.0}, "score"), ({"ci_low": float("nan")}, "score"), ({"baseline": float("nan")}, "eval-transfer")],
)
def test_a_row_that_contradicts_its_predictions_is_corrected_by_what_the_note_says(run, changes, command):
    evaluate(run, "de,fr")
    german = read_rows(run.results)[1]
    edited = {**german.to_json(), **changes}
    edited["metrics"] = {**german.metrics, "accuracy": edited["value"]}
    append_row(run.results, Row.from_json(edited))
    (note,) = [note for note in report(run).notes if "contradicts" in note]
    assert command_in(note).split()[1] == command
    follow(command_in(note).rstrip("."))
    assert not [note for note in report(run).notes if "contradicts" in note]
    (again,) = [row for row in read_rows(run.results) if row.key == german.key]
    assert measured(again) == measured(german)
