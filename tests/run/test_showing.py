"""`runs show` and the columns of `runs`: what a run is, without loading anything heavy."""

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from command_line import refused, run

import xmodctl
from xmodctl.cli.run_tables import ago
from xmodctl.run.jobs import locked
from xmodctl.run.scored import headline, scored


def row(language: str, value: float, **more: object) -> dict:
    return {
        "task": "xnli", "split": "test", "language": language, "control": "own", "seed": 1, "metric": "accuracy",
        "value": value, "limited": None, "in_source": language == "en", "data": f"/data/{language}/test.jsonl#1",
    } | more  # fmt: skip


@pytest.fixture
def folder(finished_run, tmp_path):
    """Return a finished run with scores of one data set."""
    shutil.copytree(finished_run[0], tmp_path / "run")
    rows = [
        row("en", 10), row("en", 80), row("en", 90, seed=2), row("de", 60), row("sw", 40), row("de", 1, control="none"),
        row("de", 2, split="validation"), row("de", 3, limited=5),
    ]  # fmt: skip
    (tmp_path / "run" / "results.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    return tmp_path / "run"


def test_the_score_of_a_run_is_the_mean_of_the_last_scores_on_whole_test_data(folder):
    chosen = headline(scored(folder / "results.jsonl"))
    assert chosen is not None
    assert (chosen.source, chosen.transfer, chosen.languages) == (85, 50, ("en", "de", "sw"))
    (summary,) = xmodctl.runs(folder)
    assert (summary.source_score, summary.transfer_score, summary.metric) == (85, 50, "accuracy")
    assert summary.size == sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
    line = run("runs", folder.parent).stdout.splitlines()[1].split()
    assert [word for word in line if word in ("85.0", "50.0")] == ["85.0", "50.0"]


def test_of_two_data_sets_no_score_stands_for_the_run(folder):
    with (folder / "results.jsonl").open("a") as file:
        file.write(json.dumps(row("de", 5, data="/other/de/test.jsonl#2")) + "\n")
    (summary,) = xmodctl.runs(folder)
    assert summary.transfer_score is None
    assert len(xmodctl.show_run(folder).scores) == 4


def test_a_run_is_shown_with_its_plan_its_scores_and_the_commands_that_follow(folder):
    details = xmodctl.show_run(folder)
    assert details.plan["task"] == "xnli"
    assert details.plan["epochs"] == "30"
    assert details.seeds == {1: "finished"}
    assert sum(details.sizes.values()) == details.summary.size
    assert set(details.commands) == {"score", "report", "export", "repeat with a change"}
    shown = run("runs", "show", folder)
    assert shown.exit_code == 0
    assert f"to report: xmodctl report {folder}" in shown.stdout
    assert json.loads(run("runs", "show", folder, "--json").stdout) == json.loads(json.dumps(details.to_json()))


def test_an_unfinished_run_says_how_far_it_is_and_which_command_continues(folder):
    (folder / "seed-1" / "delta.safetensors").unlink()
    (folder / "seed-1" / "checkpoints" / "step-12").mkdir(parents=True)
    details = xmodctl.show_run(folder)
    assert details.seeds == {1: "stopped after step 12"}
    assert details.commands == {"continue": f"xmodctl resume {folder}"}
    shutil.rmtree(folder / "seed-1")
    assert xmodctl.show_run(folder).seeds == {1: "not trained"}


def test_a_run_in_use_is_shown_as_such_and_offers_no_commands(folder):
    with locked(folder):
        details = xmodctl.show_run(folder)
        assert "in use by a process now" in run("runs", "show", folder).stdout
    assert details.in_use
    assert not details.commands


def test_what_is_no_run_is_refused(folder, tmp_path):
    assert "is not a run" in refused(run("runs", "show", tmp_path))
    (folder / "run.json").write_text("{")
    assert "run.json cannot be read" in refused(run("runs", "show", folder))
    (folder / "run.json").write_text('{"schema": 99}')
    assert "does not describe a run of this version" in refused(run("runs", "show", folder))


@pytest.mark.parametrize("wrong", [[], 3, "x", {}])
def test_a_plan_with_values_of_other_types_is_shown_as_far_as_it_can_be_read(folder, wrong):
    values = json.loads((folder / "run.json").read_text())
    values["plan"] |= dict.fromkeys(("recipe", "shots", "vectors", "average", "revision"), wrong)
    values["versions"] = wrong
    (folder / "run.json").write_text(json.dumps(values))
    assert run("runs", "show", folder).exit_code == 0


def test_listing_and_showing_load_nothing_heavy(folder):
    code = (
        "import sys\n"
        "from xmodctl.cli.app import app\n"
        f"for words in (['runs', {str(folder)!r}], ['runs', 'show', {str(folder)!r}]):\n"
        "    try: app(words)\n"
        "    except SystemExit as end: assert not end.code\n"
        "assert not {'torch', 'transformers', 'datasets'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("age", "text"),
    [
        (timedelta(seconds=5), "just now"), (timedelta(minutes=46), "46 min ago"), (timedelta(hours=3), "3 hours ago"),
        (timedelta(days=13), "13 days ago"), (timedelta(days=20), "2026-09-11"), (timedelta(days=-1), "2026-10-02"),
    ],
)  # fmt: skip
def test_dates_are_ages_for_two_weeks(age, text):
    now = datetime(2026, 10, 1, 12, tzinfo=UTC)
    assert ago((now - age).isoformat(), now) == text
    assert ago("yesterday", now) == "yesterday"


@pytest.mark.parametrize(
    "wrong",
    [
        {"language": ["de"]}, {"seed": []}, {"limited": [5]}, {"control": {}}, {"source_languages": 5},
        {"source_languages": [None], "in_source": None}, {"value": 10**400}, {"value": float("nan")},
    ],
    ids=str,
)  # fmt: skip
def test_a_row_with_values_of_other_types_hides_neither_the_rows_before_it_nor_other_runs(tmp_path, wrong, caplog):
    lines = [json.dumps(each) + "\n" for each in (row("en", 80), row("de", 60) | wrong)]
    (tmp_path / "results.jsonl").write_text("".join(lines))
    (only,) = scored(tmp_path / "results.jsonl")
    assert (only.source, only.transfer, only.languages) == (80, None, ("en",))
    assert "results.jsonl:2 is not a result" in caplog.text


@pytest.mark.parametrize("content", ["[]", "{}", "null", '{"schema": 99}', '{"schema": 1, "plan": []}', '{"tru'])
def test_a_folder_whose_file_is_damaged_or_of_a_newer_version_is_named_and_hides_no_other(trained, caplog, content):
    folder, _ = trained
    damaged = folder.parent / "damaged" / "run.json"
    damaged.parent.mkdir()
    damaged.write_text(content)
    (summary,) = xmodctl.runs(folder.parent)
    assert Path(summary.run).name == folder.name
    assert [record.getMessage().partition(" is passed over")[0] for record in caplog.records] == [str(damaged)]
