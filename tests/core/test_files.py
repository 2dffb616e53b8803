import json
import os
import tempfile

import pytest

from xmodctl.core.errors import UserError
from xmodctl.core.files import (
    cache_folder,
    check_can_write,
    check_empty,
    disk_errors,
    folder_errors,
    prune,
    whole_file,
    whole_folder,
    write_json,
)


def test_a_file_that_fails_half_way_leaves_the_old_one_and_no_rest(tmp_path):
    path = tmp_path / "kept.txt"
    path.write_text("old")

    def fail():
        with whole_file(path) as part:
            part.write_text("new, but only ha")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_that_a_library_reports_in_its_own_error_is_one_of_the_system(tmp_path):
    from tokenizers import Tokenizer, models

    def save(name):
        with disk_errors(tmp_path / "model"), whole_folder(tmp_path / "model") as part:
            Tokenizer(models.WordLevel({"a": 0}, "a")).save(str(part / name))

    save("tokenizer.json")
    (tmp_path / "model" / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"cannot write .*model: (No such file|Is a directory)"):
        save("missing/tokenizer.json")
    with pytest.raises(Exception, match=r"\(os error 2\)"):  # what the library raises
        Tokenizer(models.WordLevel({"a": 0}, "a")).save(str(tmp_path / "missing" / "tokenizer.json"))


def test_a_folder_that_fails_half_way_is_never_seen(tmp_path):
    def fail():
        with whole_folder(tmp_path / "model") as part:
            (part / "weights").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_whole_folder_takes_the_place_of_the_old_one(tmp_path):
    for text in ("one", "two"):
        with whole_folder(tmp_path / "model") as part:
            (part / text).write_text(text)
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["two"]


@pytest.mark.parametrize("exists", [True, False])
def test_a_whole_folder_is_written_where_a_link_leads(tmp_path, exists):
    target, link = tmp_path / "disk" / "target", tmp_path / "link"
    (target if exists else target.parent).mkdir(parents=True)
    link.symlink_to(target)
    with whole_folder(link, keep=True) as part:
        (part / "file").write_text("new")
    assert link.is_symlink()
    assert (target / "file").read_text() == "new"
    assert [path.name for path in target.parent.iterdir()] == ["target"]


def test_a_folder_for_models_whose_path_is_not_utf8_is_refused(tmp_path):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    with pytest.raises(UserError, match="is not valid UTF-8"), whole_folder(folder):
        pass
    with pytest.raises(UserError, match="is not valid UTF-8"), folder_errors(folder):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_is_written_is_readable_by_others_as_any_file(tmp_path):
    write_json(tmp_path / "a.json", {"ä": 1})
    plain = tmp_path / "plain"
    plain.write_text("")
    assert (tmp_path / "a.json").stat().st_mode == plain.stat().st_mode
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"ä": 1}


def test_the_cache_lies_where_the_user_says(monkeypatch, tmp_path):
    monkeypatch.setenv("XMODCTL_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"
    monkeypatch.delenv("XMODCTL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "xmodctl"


def test_a_cache_loses_what_was_not_used_for_longest_and_never_what_was_just_made(tmp_path):
    for age, name in enumerate(("new", "middle", "old")):
        file = tmp_path / f"{name}.safetensors"
        file.write_bytes(b"x" * 100)
        os.utime(file, (1_000_000 - age, 1_000_000 - age))
    (tmp_path / "old.lock").write_text("")
    (tmp_path / "notes.txt").write_text("x" * 500)
    prune(tmp_path, 300)
    assert len(list(tmp_path.iterdir())) == 5
    prune(tmp_path, 250)
    assert {path.name for path in tmp_path.iterdir()} == {"new.safetensors", "middle.safetensors", "notes.txt"}
    prune(tmp_path, 100, keep=tmp_path / "middle.safetensors")
    assert {path.name for path in tmp_path.iterdir()} == {"middle.safetensors", "notes.txt"}


def test_a_new_folder_goes_where_nothing_is(tmp_path):
    check_empty(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    check_empty(tmp_path / "empty")
    (tmp_path / "file").write_text("mine")
    for taken in (tmp_path / "file", tmp_path):
        with pytest.raises(UserError, match="is not an empty folder; choose another one"):
            check_empty(taken)


def test_a_folder_that_is_kept_must_be_written_with_the_same_files(tmp_path):
    def write(value: str, name: str = "b") -> None:
        with whole_folder(tmp_path / "out", keep=True) as part:
            (part / "a").mkdir()
            (part / "a" / name).write_text(value)

    write("1")
    write("1")
    with pytest.raises(UserError, match=r"a/b in it differs from what this command writes; .* rm -r "):
        write("2")
    with pytest.raises(UserError, match=r"a/b in it is not of this command; choose another folder$"):
        write("1", "c")
    (tmp_path / "out/a/b").rename(tmp_path / "b")
    with pytest.raises(UserError, match=r"and a/b is not in it; choose another folder$"):
        write("1")
    (tmp_path / "b").rename(tmp_path / "out/a/b")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out/a/b").read_text() == "1"


@pytest.mark.parametrize(("path", "entry"), [("out.csv", "out.csv"), ("new/deep/out.csv", "new")])
def test_what_a_killed_check_leaves_has_the_name_of_what_is_written_there(tmp_path, monkeypatch, path, entry):
    made = []
    whole = tempfile.TemporaryDirectory

    def note(**options):
        made.append(options)
        return whole(**options)

    monkeypatch.setattr(tempfile, "TemporaryDirectory", note)
    check_can_write(tmp_path / path, "--out")
    check_can_write(tmp_path, "--out", is_folder=True)
    first, second = made
    assert (first["dir"], first["prefix"].startswith(f".{entry}.")) == (tmp_path, True)
    assert (second["dir"], second["prefix"].startswith(f".{tmp_path.name}.")) == (tmp_path.parent, True)
