"""`finetune --from-run`: a plan again, with one change."""

import json

import pytest
from command_line import refused, run

import xmodctl
from xmodctl.core.errors import UserError
from xmodctl.run.run import Run


@pytest.fixture
def short(trained, monkeypatch, tmp_path):
    """Return a finished run and its data; the test works in an empty folder."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return trained


def test_the_plan_differs_in_the_change_alone_and_each_origin_is_shown(short):
    folder, _ = short
    result = run("finetune", "--from-run", folder, "--set", "learning_rate=0.02", "--dry-run", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    old = Run.read(folder).plan.to_json()
    assert document["plan"]["recipe"] == {**old["recipe"], "learning_rate": 0.02}
    assert {key for key, value in document["plan"].items() if value != old[key]} == {"recipe"}
    assert document["seeds"] == [1]
    chosen = ("model", "data", "seeds", "run", "learning_rate", "epochs")
    assert {key: document["origins"][key] for key in chosen} == {
        "model": "--from-run", "data": "--from-run", "seeds": "--from-run", "run": "default", "learning_rate": "--set",
        "epochs": "--from-run",
    }  # fmt: skip
    table = run("finetune", "--from-run", folder, "--dry-run", "--seeds", "4,5", "--name", "again").stdout
    lines = [line.split() for line in table.splitlines()]
    assert ["seeds", "4,", "5", "--seeds"] in lines
    assert ["language", "en_XX", "--from-run"] in lines


@pytest.mark.slow
def test_a_repeated_run_is_a_run_of_its_own_and_without_a_change_its_weights_are_the_same(short):
    folder, _ = short
    again = xmodctl.finetune(from_run=folder, out="again")
    assert (again.folder / "seed-1" / "delta.safetensors").read_bytes() == (
        folder / "seed-1" / "delta.safetensors"
    ).read_bytes()
    assert again.plan.digest == Run.read(folder).plan.digest
    result = run("finetune", "--from-run", folder, "--set", "epochs=1", "--set", "learning_rate=0.02", "--name", "fast")
    assert result.exit_code == 0, result.output
    assert f"the plan of {folder} with epochs=1, learning_rate=0.02" in result.stderr
    assert Run.read("runs/fast").plan.recipe.epochs == 1


def test_the_defaults_of_a_project_do_not_change_a_repeated_plan(short, monkeypatch, tmp_path):
    folder, data = short
    monkeypatch.setenv("XMODCTL_MODEL", "mini")
    monkeypatch.setenv("XMODCTL_DATA", str(tmp_path))
    document = json.loads(run("finetune", "--from-run", folder, "--dry-run", "--json").stdout)
    assert document["plan"]["data"] == str(data)
    assert document["plan"]["model"] == Run.read(folder).plan.model


@pytest.mark.parametrize(
    ("words", "option"),
    [
        ("--task xnli", "--task"),
        ("--model mini", "--model"),
        ("--lang-column x", "--lang-column"),
        ("--rows 3", "--rows"),
    ],
)
def test_other_options_cannot_be_combined_with_it(short, words, option):
    message = refused(run("finetune", "--from-run", short[0], *words.split()))
    assert f"{option} cannot be combined with --from-run" in message


def test_without_a_task_and_a_run_the_sentence_names_both_ways():
    assert "give --task TASK and --lang LANG, or repeat the plan of a run" in refused(run("finetune", "--lang", "en"))
    with pytest.raises(UserError, match="--from-run RUN"):
        xmodctl.finetune("xnli")


def test_what_is_no_run_or_of_another_version_is_refused(short):
    folder, _ = short
    assert "is not a run" in refused(run("finetune", "--from-run", "nope"))
    values = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**values, "schema": 99}))
    assert "pip install --upgrade xmodctl" in refused(run("finetune", "--from-run", folder))
    values["plan"]["recipe"]["momentum"] = 0.9
    (folder / "run.json").write_text(json.dumps(values))
    message = refused(run("finetune", "--from-run", folder))
    assert "was written by another version of xmodctl" in message
    assert "momentum" in message
    assert "redo" not in message


def test_data_that_changed_or_is_gone_is_refused_unless_the_change_is_about_reading_it(short):
    folder, data = short
    train = data / "en" / "train.jsonl"
    lines = train.read_text()
    try:
        train.write_text("".join(lines.splitlines(keepends=True)[3:]))
        message = refused(run("finetune", "--from-run", folder, "--set", "epochs=1"))
        assert "the train data has changed" in message
        assert not list((folder.parent / "work").iterdir())
    finally:
        train.write_text(lines)
    moved = data.rename(data.with_name("moved"))
    try:
        assert "does not exist; restore it" in refused(run("finetune", "--from-run", folder))
    finally:
        moved.rename(data)


@pytest.mark.parametrize(("change", "guess"), [("learning_rat=1", "learning_rate"), ("epochs=many", "epochs")])
def test_a_wrong_change_is_refused(short, change, guess):
    assert guess in refused(run("finetune", "--from-run", short[0], "--set", change))
