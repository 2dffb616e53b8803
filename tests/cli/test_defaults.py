"""Defaults of options: the command line, then the environment, then the project file."""

import json
import os
from pathlib import Path

import pytest
from command_line import refused, run

from xmodctl.core.environment import VARIABLES


@pytest.fixture
def project(tmp_path, monkeypatch, pairs, tiny_model):
    """Return a project's folder, in which the test runs; its file names a model, data, and a folder of runs."""
    for variable in VARIABLES[:3]:
        monkeypatch.delenv(variable.name, raising=False)
    folder = tmp_path / "project"
    (folder / "inner").mkdir(parents=True)
    (folder / ".git").mkdir()
    (folder / "data").symlink_to(pairs)
    (folder / "xmodctl.toml").write_text(f'model = "{tiny_model}"\ndata = "data"\nruns = "results"\n')
    monkeypatch.chdir(folder)
    return folder


def dry_run(*words: object) -> dict:
    result = run("finetune", "--task", "xnli", "--lang", "en", *words, "--dry-run", "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_each_source_comes_before_the_next_and_the_dry_run_names_it(project, pairs, tiny_model, monkeypatch):
    document = dry_run()
    assert {key: document["origins"][key] for key in ("model", "data", "run")} == {
        "model": "xmodctl.toml:1", "data": "xmodctl.toml:2", "run": "xmodctl.toml:3",
    }  # fmt: skip
    assert document["plan"]["model"] == str(tiny_model)
    assert document["plan"]["data"] == str(pairs)
    assert Path(document["run"]).parent == Path("results")
    monkeypatch.setenv("XMODCTL_RUNS", "elsewhere")
    monkeypatch.setenv("XMODCTL_DATA", os.path.relpath(pairs))
    document = dry_run("--model", tiny_model)
    assert {key: document["origins"][key] for key in ("model", "data", "run")} == {
        "model": "--model", "data": "XMODCTL_DATA", "run": "XMODCTL_RUNS",
    }  # fmt: skip
    assert Path(document["run"]).parent == Path("elsewhere")
    assert dry_run("--out", "there", "--data", pairs)["origins"]["run"] == "--out"
    (project / "xmodctl.toml").unlink()
    monkeypatch.delenv("XMODCTL_RUNS")
    document = dry_run("--model", tiny_model)
    assert document["origins"]["run"] == "default"
    assert Path(document["run"]).parent == Path("runs")


def test_the_table_of_a_dry_run_shows_the_origins(project):
    result = run("finetune", "--task", "xnli", "--lang", "en", "--dry-run")
    lines = [line.split() for line in result.stdout.splitlines()]
    assert [line[-1] for line in lines if line[:1] == ["model"]] == ["xmodctl.toml:1"]
    assert [line[-1] for line in lines if line[:1] == ["data"]] == ["xmodctl.toml:2"]


def test_paths_are_relative_to_the_file_and_it_is_found_from_a_folder_below(project, pairs, monkeypatch):
    monkeypatch.chdir(project / "inner")
    document = dry_run()
    assert document["plan"]["data"] == str(pairs)
    assert Path(document["run"]).parent == project / "results"
    assert document["origins"]["data"] == os.path.join("..", "xmodctl.toml:2")


def test_the_search_ends_at_a_repository(project, monkeypatch):
    (project / "inner" / ".git").mkdir()
    monkeypatch.chdir(project / "inner")
    result = run("runs")
    assert "no runs under runs/" in result.stderr


def test_a_table_of_pyproject_does_the_same(project):
    text = (project / "xmodctl.toml").read_text()
    (project / "xmodctl.toml").unlink()
    (project / "pyproject.toml").write_text(f'[project]\nname = "mine"\n\n[tool.xmodctl]\n{text}')
    assert dry_run()["origins"]["run"] == "pyproject.toml:7"


def test_a_pyproject_of_something_else_is_ignored_even_if_it_is_damaged(project):
    (project / "xmodctl.toml").unlink()
    (project / "pyproject.toml").write_text("[project\n")
    assert "no runs under runs/" in run("runs").stderr


def test_an_empty_variable_turns_off_a_key(project, monkeypatch):
    monkeypatch.setenv("XMODCTL_RUNS", "")
    assert "no runs under runs/" in run("runs").stderr


def test_commands_that_read_a_run_do_not_take_the_data_of_the_project(project, trained):
    folder, data = trained
    result = run("eval-transfer", "--run", folder, "--langs", "de", "--limit", "2")
    assert result.exit_code == 0, result.output
    assert f"data: {data}, as in the run" in result.stderr


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('modle = "mini"', "xmodctl.toml:1: there is no key `modle` (did you mean model?)"),
        ("\nruns = 3", 'xmodctl.toml:2: `runs` is 3; give text in quotes, such as runs = "results"'),
        ('data = ""', 'xmodctl.toml:1: `data` is ""; give text in quotes, such as data = "data/xnli"'),
        ('model = "mini"\nruns = results', "xmodctl.toml:2: this is not TOML (Invalid value)"),
        ('[defaults]\nmodel = "mini"', "xmodctl.toml:1: there is no key `defaults`; the keys are model, data, runs"),
        ('model = "mini"\nmodel = "mini"', "xmodctl.toml:2: this is not TOML (Cannot overwrite a value)"),
    ],
)
def test_a_mistake_is_refused_with_its_file_and_line(project, text, message):
    (project / "xmodctl.toml").write_text(text)
    assert message in refused(run("runs"))
    assert run("runs", "-h").exit_code == 0, "help works whatever the file says"


def test_all_mistakes_are_reported(project):
    (project / "xmodctl.toml").write_text('modle = "mini"\nruns = []\n')
    message = refused(run("runs"))
    assert "xmodctl.toml:1:" in message
    assert "xmodctl.toml:2:" in message


def test_a_pyproject_whose_table_has_a_mistake_is_refused(project):
    (project / "xmodctl.toml").unlink()
    (project / "pyproject.toml").write_text('[tool.xmodctl]\nmodel = "mini"\n[tool.xmodctl.more]\na = 1\n')
    assert "pyproject.toml:3: there is no key `more`" in refused(run("runs"))
    (project / "pyproject.toml").write_text("[tool]\nxmodctl = 3  # tool.xmodctl\n")
    assert "pyproject.toml: `tool.xmodctl` is not a table" in refused(run("runs"))


@pytest.mark.parametrize("content", [b"model = \xff", None])
def test_a_file_that_cannot_be_read_is_refused(project, content):
    (project / "xmodctl.toml").unlink()
    if content is None:
        (project / "xmodctl.toml").mkdir()
    else:
        (project / "xmodctl.toml").write_bytes(content)
    assert "xmodctl.toml" in refused(run("runs"))


def test_data_that_does_not_exist_is_refused_with_the_name_of_its_origin_unless_the_command_line_names_other(
    project, pairs, monkeypatch
):
    (project / "data").unlink()
    words = ("check", "--task", "xnli", "--lang", "en")
    assert "xmodctl.toml:2 names the data data, which does not exist" in refused(run(*words))
    assert run(*words, "--data", pairs).exit_code in (0, 1)
    monkeypatch.setenv("XMODCTL_DATA", "nope")
    assert "XMODCTL_DATA names the data nope, which does not exist" in refused(run(*words))


def test_a_command_with_a_run_does_not_take_the_model_and_data_of_the_environment(project, trained, monkeypatch):
    folder, data = trained
    assert run("eval-transfer", "--run", folder, "--langs", "en").exit_code == 0
    monkeypatch.setenv("XMODCTL_DATA", "nope")
    monkeypatch.setenv("XMODCTL_MODEL", "nope")
    result = run("inspect", "--run", folder, "--lang", "en")
    assert result.exit_code == 0, result.output
    assert str(data) in result.stderr or "no errors in en" in result.stdout
    assert run("finetune", "--from-run", folder, "--dry-run").exit_code == 0


def test_python_functions_do_not_read_the_file(project):
    import xmodctl

    (project / "xmodctl.toml").write_text("wrong = 1\n")
    assert xmodctl.runs() == []
