"""What `--out` may name: never an input, a device, or a file that a run, a package, or a model consists of."""

import os
import stat
from types import SimpleNamespace

import pytest
from command_line import refused, run

from xmodctl.core.errors import UserError
from xmodctl.run import written
from xmodctl.run.written import check_output


def marked(folder, marker):
    folder.mkdir()
    (folder / marker).write_text("{}")
    return folder


OWN = {
    "run.json": ("run.json", "results.jsonl", "predictions/test/de.seed-1.jsonl", "seed-1/delta.safetensors",
                 "seed-1/checkpoints/step-5/adam.safetensors", "seed-2/stage-1/metrics.jsonl", "report.html"),
    "extension.json": ("extension.json", "seed-1/zu_ZA/adapter.json", "seed-1/zu_ZA/vocabulary/tokenizer.json"),
    "adapter.json": ("adapter.json", "adapter.safetensors", "vocabulary/tokenizer.json"),
    "config.json": ("config.json", "model.safetensors", "model-00001-of-00002.safetensors", "tokenizer.json"),
}  # fmt: skip


@pytest.mark.parametrize(("marker", "name"), [(marker, name) for marker, names in OWN.items() for name in names])
def test_a_file_that_a_folder_consists_of_is_refused_whether_it_exists_or_not(tmp_path, marker, name):
    folder = marked(tmp_path / "folder", marker)
    (tmp_path / "link").symlink_to(folder)
    (tmp_path / "answers.jsonl").symlink_to(folder / name)
    for path in (folder / name, tmp_path / "link" / name, tmp_path / "answers.jsonl"):
        with pytest.raises(UserError, match=r"--out .* is a file of an? .*; choose another name"):
            check_output(path)
    (folder / marker).unlink()
    check_output(folder / name)


def test_other_files_in_a_run_are_the_user_s_and_report_may_replace_its_page(tmp_path):
    folder = marked(tmp_path / "run", "run.json")
    for name in ("answers.jsonl", "seed-1/notes.txt", "predictions/mine.jsonl", "figures/results.jsonl"):
        check_output(folder / name)
    check_output(folder / "report.html", pages=True)


@pytest.mark.parametrize("through_a_link", [False, True])
def test_what_is_not_a_regular_file_is_refused_and_stays(tmp_path, through_a_link):
    pipe = path = tmp_path / "pipe.html"
    os.mkfifo(pipe)
    if through_a_link:
        path = tmp_path / "link.jsonl"
        path.symlink_to(pipe)
    with pytest.raises(UserError, match="is a pipe, a socket, or a device"):
        check_output(path)
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_device_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "device"
    path.touch()
    whole = type(path).stat

    def as_device(self, **options):
        return SimpleNamespace(st_mode=stat.S_IFCHR) if self == path else whole(self, **options)

    monkeypatch.setattr(written, "is_same", lambda *_: False)
    monkeypatch.setattr(type(path), "stat", as_device)
    with pytest.raises(UserError, match="is a pipe, a socket, or a device"):
        check_output(path)


def test_an_input_is_refused_by_any_of_its_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.csv").write_text("text\na\n")
    (tmp_path / "soft.csv").symlink_to("in.csv")
    (tmp_path / "hard.csv").hardlink_to(tmp_path / "in.csv")
    for name in ("in.csv", "./in.csv", tmp_path / "in.csv", "soft.csv", "hard.csv"):
        with pytest.raises(UserError, match="is the input, which it would replace"):
            check_output(name, inputs=(None, "in.csv"))
    check_output("other.csv", inputs=(None, "in.csv"))


def test_data_of_a_run_is_refused_and_new_files_beside_it_are_not(tmp_path):
    (tmp_path / "data" / "de").mkdir(parents=True)
    for name in ("data/de/test.csv", "one.csv"):
        (tmp_path / name).write_text("text\na\n")
        for data in (tmp_path / name, tmp_path / name.partition("/")[0]):
            with pytest.raises(UserError, match="is data of a run, which it would replace"):
                check_output(tmp_path / name, data=(None, str(data)))
    check_output(tmp_path / "data" / "answers.csv", data=(None, tmp_path / "data"))


def test_a_link_that_leads_nowhere_or_around_in_a_circle_is_one_sentence(tmp_path):
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    with pytest.raises(UserError, match="cannot write --out"):
        check_output(tmp_path / "circle" / "out.csv")
    (tmp_path / "nowhere").symlink_to(tmp_path / "absent")
    check_output(tmp_path / "nowhere")


COMMANDS = {
    "predict": ["predict", "{data}/de/test.jsonl", "--run", "{run}", "--lang", "de", "--out", "{run}/results.jsonl"],
    "predict into a pipe": ["predict", "{data}/de/test.jsonl", "--run", "{run}", "--lang", "de", "--out", "{pipe}"],
    "embed": ["embed", "{data}/de/test.jsonl", "--run", "{run}", "--lang", "de", "--text-column", "premise", "--out",
              "{run}/seed-1/delta.safetensors"],
    "report": ["report", "{run}", "--out", "{run}/run.json", "--format", "csv"],
    "explain": ["explain", "{run}", "--lang", "de", "--out", "{run}/run.json"],
    "predict over data": ["predict", "{texts}", "--run", "{run}", "--lang", "de", "--out", "{data}/de/test.jsonl"],
    "embed over data": ["embed", "{texts}", "--run", "{run}", "--lang", "de", "--text-column", "premise", "--out",
                        "{data}/de/test.jsonl"],
    "langs": ["langs", "--out", "{pipe}"],
    "--log-file in data": ["--log-file", "{data}/de/test.jsonl", "predict", "{data}/de/test.jsonl", "--run", "{run}"],
    "--log-file": ["--log-file", "{run}/run.json", "langs"],
}  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_replaces_them(trained, tmp_path, name):
    folder, data = trained
    pipe, texts = tmp_path / "pipe.html", tmp_path / "texts.jsonl"
    os.mkfifo(pipe)
    texts.write_bytes((data / "de" / "test.jsonl").read_bytes())
    contents = {path: path.read_bytes() for place in trained for path in place.rglob("*") if path.is_file()}
    words = (word.format(run=folder, data=data, pipe=pipe, texts=texts) for word in COMMANDS[name])
    message = refused(run(*words))
    reasons = (
        "is a file of a run",
        "is data of a run",
        "is a file of this command",
        "is a pipe, a socket, or a device",
    )
    assert any(reason in message for reason in reasons)
    assert {path: path.read_bytes() for place in trained for path in place.rglob("*") if path.is_file()} == contents
    assert stat.S_ISFIFO(pipe.stat().st_mode)
