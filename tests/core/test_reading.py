"""Only regular files are read, of bounded size, and names in files never leave their folder."""

import json
import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scored import labels, make_run, score

from xmodctl import model
from xmodctl.adapters.packages import read_package
from xmodctl.catalog.task import Task
from xmodctl.core import jsonl, schema
from xmodctl.core.errors import UserError
from xmodctl.core.files import read_json, sha256_of
from xmodctl.core.mistakes import Mistakes
from xmodctl.core.reading import OutsideFolderError, inside, open_regular, read_text
from xmodctl.core.safetensors_io import read_arrays, read_entries, read_metadata
from xmodctl.data.readers import FORMATS, SAVED, read
from xmodctl.evaluation.example_statistics import load_example_statistics
from xmodctl.evaluation.rescoring import rescore
from xmodctl.evaluation.results import read_rows
from xmodctl.evaluation.stored_rows import StoredRows
from xmodctl.run.checkpoints import Progress, latest_checkpoint, save_checkpoint
from xmodctl.run.run import Run

OUTSIDE = ["/etc/passwd", "../secret", "a/../../secret", "..", "C:\\secret", "\\\\host\\secret", "a\\..\\..\\secret",
           "", ".", "a\0b", "\ud800", None, 3, ["a"], "a" * 5000]  # fmt: skip


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    """Fail a test that waits for a pipe."""

    def late(*_: object) -> None:
        raise AssertionError("a reader waits")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def pipe(path: Path) -> Path:
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    return path


def device(path: Path) -> Path:
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/zero")
    return path


def unix_socket(path: Path) -> Path:
    path.unlink(missing_ok=True)
    before = Path.cwd()
    os.chdir(path.parent)  # the path of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    finally:
        os.chdir(before)
    return path


def folder(path: Path) -> Path:
    path.unlink(missing_ok=True)
    path.mkdir()
    return path


IRREGULAR = (pipe, device, unix_socket, folder)


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_that_leaves_its_folder_is_refused(name, tmp_path):
    with pytest.raises(OutsideFolderError):
        inside(tmp_path, name)


@given(st.lists(st.sampled_from(["a", "b.json", "..", ".", "/", "", "...", "c d"]), max_size=6))
def test_a_name_is_accepted_only_if_its_path_is_below_the_folder(parts):
    base = Path("/nowhere/folder")
    try:
        path = inside(base, "/".join(parts))
    except OutsideFolderError:
        return
    assert base in Path(os.path.normpath(path)).parents


def test_a_link_that_leads_out_of_the_folder_is_refused_unless_links_are_expected(tmp_path):
    (tmp_path / "out.txt").write_text("")
    home = folder(tmp_path / "home")
    (home / "link").symlink_to("../out.txt")
    (home / "around").symlink_to("around")
    (home / "within").symlink_to("file")
    for name in ("link", "around"):
        with pytest.raises(OutsideFolderError):
            inside(home, name)
    assert inside(home, "link", links=True) == home / "link"
    assert inside(home, "within") == home / "within"


@pytest.mark.parametrize("make", IRREGULAR)
@pytest.mark.parametrize(
    "reader",
    [open_regular, read_text, read_json, sha256_of, read_entries, read_metadata, read_arrays,
     lambda path: list(jsonl.read(path, remedy=""))],
)  # fmt: skip
def test_what_is_not_a_regular_file_is_an_error_of_the_system_at_once(reader, make, tmp_path):
    with pytest.raises(OSError):  # noqa: PT011 (which one depends on the kind of file)
        reader(make(tmp_path / "file"))


@pytest.mark.parametrize("make", [pipe, device, unix_socket])
@pytest.mark.parametrize("extension", [name for name in FORMATS if name != SAVED] + [".csv.gz", ".tsv.xz", ".txt.bz2",
                                                                                   ".jsonl.zst"])  # fmt: skip
def test_no_reader_of_data_waits_for_a_pipe_or_reads_a_device(extension, make, tmp_path):
    columns = {"tokens": "tokens", "tags": "tags"}
    path = make(tmp_path / f"train{extension}")
    with pytest.raises(UserError, match=r"not a regular file|No such device"):
        list(read(path, str(path), columns, Mistakes("x"))[1])


@pytest.mark.parametrize("make", IRREGULAR)
def test_a_task_a_configuration_and_a_tokenizer_are_regular_files(make, tiny_model, tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*task\.yaml"):
        schema.read(Task, make(tmp_path / "task.yaml"), name="task")
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        copied = tmp_path / name.replace(".", "-")
        shutil.copytree(tiny_model, copied)
        make(copied / name)
        with pytest.raises(UserError, match=r"cannot read|cannot be loaded|is not a tokenizer"):
            model.load_tokenizer(model.find(str(copied)))


def test_a_pipe_beside_a_tokenizer_is_refused_because_the_library_may_read_it(tiny_model, tmp_path):
    shutil.copytree(tiny_model, tmp_path / "model")
    pipe(tmp_path / "model" / "chat_template.jinja")
    with pytest.raises(UserError, match="chat_template"):
        model.load_tokenizer(model.find(str(tmp_path / "model")))


def test_too_large_a_file_is_refused_before_it_is_in_memory(tmp_path, monkeypatch):
    path = tmp_path / "large.json"
    path.write_text("[" + " " * 100 + "]")
    with pytest.raises(OSError, match="more than"):
        read_text(path, most=100)
    monkeypatch.setattr(jsonl, "LONGEST_LINE", 50)
    path.write_text('{"a": 1}\n{"b": "' + "x" * 50 + '"}\n{"c": 1}\n')
    with pytest.raises(UserError, match=r"large\.json:2: the line is longer"):
        list(jsonl.read(path, remedy="remove it"))


@pytest.mark.parametrize("name", ["/etc/passwd", "../other.jsonl", "predictions/link.jsonl"])
def test_a_result_row_cannot_name_predictions_outside_of_its_run(name, tmp_path):
    run = make_run(tmp_path / "run")
    score(run, "en", labels([True] * 5))
    (tmp_path / "other.jsonl").write_bytes(next((tmp_path / "run" / "predictions").rglob("*.jsonl")).read_bytes())
    (tmp_path / "run" / "predictions" / "link.jsonl").symlink_to("../../other.jsonl")
    row = json.loads(run.results.read_text()) | {"predictions": name}
    run.results.write_text(json.dumps(row) + "\n")
    (stored,) = read_rows(run.results)
    uses: list[Callable[[], object]] = [
        lambda: load_example_statistics(run.folder, stored, run.plan.task),
        lambda: rescore(run.folder, stored, run.plan.task),
        lambda: StoredRows(Run.read(run.folder)),
    ]
    for use in uses:
        with pytest.raises(UserError, match=r"results\.jsonl: `predictions`: .*; remove that line"):
            use()


def test_the_files_of_a_checkpoint_are_not_read_through_a_link_out_of_it(tmp_path):
    import torch

    saved = save_checkpoint(tmp_path / "run", Progress(1, 2, 0.5, 1), {"w": torch.ones(2)}, {"w.m": torch.ones(2)})
    assert latest_checkpoint(tmp_path / "run") is not None
    shutil.move(saved.folder / "trained.safetensors", tmp_path / "elsewhere")
    (saved.folder / "trained.safetensors").symlink_to(tmp_path / "elsewhere")
    assert latest_checkpoint(tmp_path / "run") is None


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", 3])
def test_an_index_of_weights_names_files_of_its_own_folder(name, tiny_model, tmp_path):
    shutil.copytree(tiny_model, tmp_path / "model")
    shutil.move(tmp_path / "model" / "model.safetensors", tmp_path / "model.safetensors")
    index = {"weight_map": {"encoder.layer.0.output.dense.bias": name}}
    (tmp_path / "model" / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match="names a file that is not next to it"):
        model.find(str(tmp_path / "model"))


def test_a_package_lists_files_of_its_own_folder_and_all_of_its_tokenizer(tiny_model, tmp_path):
    from xmodctl.adapters.packages import write_package

    base = model.find(str(tiny_model))
    write_package(tmp_path / "zu", base, "zu_ZA", {}, {})
    description = json.loads((tmp_path / "zu" / "adapter.json").read_text())
    for name in ("../secret", "/etc/passwd", "vocabulary/../../secret"):
        (tmp_path / "zu" / "adapter.json").write_text(json.dumps(description | {"files": {name: "0" * 64}}))
        with pytest.raises(UserError, match="names a file that is not in the package"):
            read_package(tmp_path / "zu")
    (tmp_path / "zu" / "adapter.json").write_text(json.dumps(description))
    folder(tmp_path / "zu" / "vocabulary")
    (tmp_path / "zu" / "vocabulary" / "tokenizer_config.json").write_text("{}")
    with pytest.raises(
        UserError, match=r"contains vocabulary/tokenizer_config\.json, which adapter\.json does not list"
    ):
        read_package(tmp_path / "zu")


def test_a_saved_data_set_names_files_of_its_own_folder(tmp_path):
    import datasets

    datasets.Dataset.from_list([{"text": "a"}]).save_to_disk(tmp_path / "saved")
    state = json.loads((tmp_path / "saved" / "state.json").read_text())
    shutil.copy(tmp_path / "saved" / state["_data_files"][0]["filename"], tmp_path / "secret.arrow")
    state["_data_files"][0]["filename"] = "../secret.arrow"
    (tmp_path / "saved" / "state.json").write_text(json.dumps(state))
    with pytest.raises(UserError, match="not the name of a file within"):
        list(read(tmp_path / "saved", "saved", {"text": "text"}, Mistakes("x"))[1])


@pytest.mark.parametrize("features", ["x", {"text": "x"}, [], {"text": {"_type": "Nothing"}}, 3])
def test_a_saved_data_set_whose_description_is_damaged_is_refused(features, tmp_path):
    import datasets

    datasets.Dataset.from_list([{"text": "a"}]).save_to_disk(tmp_path / "saved")
    info = json.loads((tmp_path / "saved" / "dataset_info.json").read_text())
    (tmp_path / "saved" / "dataset_info.json").write_text(json.dumps(info | {"features": features}))
    with pytest.raises(UserError, match="is damaged or is not a saved data set"):
        list(read(tmp_path / "saved", "saved", {"text": "text"}, Mistakes("x"))[1])
