"""What can be refused without a model is refused before the model is loaded, and nothing is written."""

import json

import pytest
from command_line import finetune, refused, run

from xmodctl.model import loading
from xmodctl.run.trained import Trained


@pytest.fixture
def unloaded(trained, monkeypatch):
    """Return a finished run whose model must not be loaded."""

    def refuse(*args, **options):
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(Trained, "load", refuse)
    monkeypatch.setattr(loading, "load", refuse)
    return trained


def files_under(folder):
    return sorted(str(path) for path in folder.rglob("*") if path.name != ".lock")


PREDICTIONS = {
    "--out is the input": (["{file}", "--out", "{file}"], "is the input"),
    "--out is a folder": (["{file}", "--out", "{folder}"], "is a folder"),
    "--out is under a file": (["{file}", "--out", "{file}/out.jsonl"], "cannot write"),
    "--out is where nothing can be made": (["{file}", "--out", "/proc/out.jsonl"], "cannot write"),
    "a header": (["{header}"], "is the header of a table"),
    "a table that lacks a column": (["{folder}/lacking.csv"], "has no `text_pair`"),
    "a broken first line": (["{folder}/broken.jsonl"], "broken.jsonl:1"),
    "an empty file": (["{folder}/empty.jsonl"], "no lines"),
    "no such seed": (["{file}", "--seed", "9"], "--seed 9"),
    "a language that the model lacks": (["{file}", "--lang", "ja"], "ja"),
    "a format": (["{file}", "--format", "xml"], "--format xml"),
}


@pytest.mark.parametrize("name", PREDICTIONS)
def test_predict_refuses_before_it_loads_the_model(unloaded, tmp_path, name):
    words, message = PREDICTIONS[name]
    folder = tmp_path / "inputs"
    folder.mkdir()
    (folder / "texts.jsonl").write_text(json.dumps({"premise": "a", "hypothesis": "b"}) + "\n")
    (folder / "table.txt").write_text("premise,hypothesis,label\na,b,neutral\n")
    (folder / "lacking.csv").write_text("premise,other\na,b\n")
    (folder / "broken.jsonl").write_text('{"premise": "a",\n')
    (folder / "empty.jsonl").touch()
    before = files_under(tmp_path)
    places = {"file": folder / "texts.jsonl", "folder": folder, "header": folder / "table.txt"}
    lang = [] if "--lang" in words else ["--lang", "de"]
    result = run("predict", "--run", unloaded[0], *lang, *(word.format(**places) for word in words))
    assert message in refused(result)
    assert files_under(tmp_path) == before


COMMANDS = {
    "export into a folder in use": (["export", "--run", "{run}", "--out", "{run}"], "is not an empty folder"),
    "export to where nothing can be made": (["export", "--run", "{run}", "--out", "/proc/x"], "cannot write"),
    "export of an absent language": (
        ["export", "--run", "{run}", "--out", "{new}", "--langs", "ja"],
        "ja",
    ),
    "a column": (["eval-transfer", "--run", "{run}", "--langs", "de,-en", "--set", "columns.text=prem"], "`prem`"),
    "no data": (["eval-transfer", "--run", "{run}", "--langs", "zh_TW,-en"], "zh_TW"),
    "report into a folder": (["report", "{run}", "--out", "{run}/x.html/"], "has no scores"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_other_commands_refuse_before_they_load_the_model(unloaded, tmp_path, name):
    words, message = COMMANDS[name]
    before = files_under(tmp_path)
    result = run(*(word.format(run=unloaded[0], new=tmp_path / "new") for word in words))
    assert message in refused(result)
    assert files_under(tmp_path) == before


@pytest.mark.parametrize("format_", ["transformers", "sentence-transformers"])
def test_an_export_that_was_killed_after_its_last_write_is_repeated(trained, tmp_path, format_):
    words = ("export", "--run", trained[0], "--langs", "de", "--out", tmp_path / "out", "--format", format_)
    first = run(*words)
    assert first.exit_code == 0, first.output
    written = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    again = run(*words)
    assert (again.exit_code, again.stdout) == (0, first.stdout)
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == written
    (tmp_path / "out" / "notes.md").write_text("mine")
    assert "is not an empty folder, and notes.md in it" in refused(run(*words))
    assert (tmp_path / "out" / "notes.md").read_text() == "mine"


def test_finetune_refuses_a_folder_before_it_reads_the_data(unloaded, tiny_model, tmp_path):
    folder, _ = unloaded
    before = files_under(tmp_path)
    damaged = tmp_path / "damaged" / "en" / "train.jsonl"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("damaged\n")
    for out, more, message in (
        (folder, ["--on-exists", "error"], "already contains a run"),
        (folder, ["--seeds", "1"], "a different plan"),
        (damaged.parent, [], "contains other files"),
        (tmp_path / "new", [], "train.jsonl:1"),
    ):
        assert message in refused(finetune(tiny_model, damaged.parent.parent, out, *more))
    assert files_under(tmp_path) == sorted([*before, str(damaged), str(damaged.parent), str(damaged.parent.parent)])
