import os
import signal
import subprocess
import sys
import time

import pytest

from xmodctl.core import files
from xmodctl.core.errors import UserError
from xmodctl.core.files import part_prefix, remove_leftovers, whole_file, whole_folder, write_text
from xmodctl.core.jsonl import append
from xmodctl.core.locks import holding
from xmodctl.run.jobs import locked

WRITER = """
import sys, time
from pathlib import Path
from xmodctl.core.files import whole_file, whole_folder
with whole_file(Path(sys.argv[1]) / "file [1].json") as part, whole_folder(Path(sys.argv[1]) / "step-1") as folder:
    part.write_text("half")
    (folder / "half").write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def killed(tmp_path):
    """Leave what a process leaves that is killed while it writes."""
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        remove_leftovers(tmp_path)
        assert len(list(tmp_path.iterdir())) == 2, "what a living process writes stays"
        process.send_signal(signal.SIGKILL)
    return tmp_path


def test_what_a_killed_process_leaves_is_removed_when_the_folder_is_locked(killed):
    with locked(killed):
        assert [path.name for path in killed.iterdir()] == [".lock"]


def test_it_is_removed_when_the_same_file_or_folder_is_written_again(killed):
    with whole_file(killed / "file [1].json") as part:
        part.write_text("whole")
    with whole_folder(killed / "step-1") as folder:
        (folder / "whole").write_text("whole")
    assert sorted(path.name for path in killed.iterdir()) == ["file [1].json", "step-1"]


def test_temporary_folders_of_killed_commands_are_removed_by_the_next_one(tmp_path):
    program = "import time\nfrom xmodctl.core.temporary import temporary_folder\n"
    program += "with temporary_folder() as folder:\n (folder / 'text').mkdir()\n print(flush=True)\n time.sleep(60)"
    (tmp_path / "of-another-program").mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    commands = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment) for _ in range(2)
    ]
    try:
        for command in commands:
            assert command.stdout
            assert command.stdout.readline() == b"\n"
        assert len(list(tmp_path.glob(".xmodctl.*/text"))) == 2, "those of living commands stay"
        commands[0].kill()
        commands[0].wait()
        last = "from xmodctl.core.temporary import temporary_folder\nwith temporary_folder():\n pass"
        subprocess.run([sys.executable, "-c", last], check=True, env=environment)
        assert len(list(tmp_path.glob(".xmodctl.*"))) == 1
        assert (tmp_path / "of-another-program").exists()
    finally:
        for command in commands:
            command.kill()
            command.communicate()


def test_leftovers_of_other_machines_are_removed_after_a_day(tmp_path, monkeypatch):
    monkeypatch.setattr(files.platform, "node", lambda: "another machine")
    path = tmp_path / f"{part_prefix('file')}x{files.PART}"
    path.write_text("half")
    monkeypatch.undo()
    remove_leftovers(tmp_path)
    assert path.exists()
    yesterday = time.time() - 25 * 3600
    os.utime(path, (yesterday, yesterday))
    remove_leftovers(tmp_path)
    assert not path.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="needs namespaces of Linux")
@pytest.mark.parametrize("differing", ["/proc/self/ns/pid", "/proc/sys/kernel/random/boot_id"])
def test_what_another_container_or_machine_with_the_same_name_writes_stays(tmp_path, monkeypatch, differing):
    if differing.endswith("pid"):
        monkeypatch.setattr(files.os, "readlink", lambda _: "pid:[1]")
    else:
        monkeypatch.setattr(files.Path, "read_text", lambda *_, **__: "another start")
    process = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    monkeypatch.setattr(files.os, "getpid", lambda: int(process.stdout))  # ended here, but perhaps not there
    path = tmp_path / f"{part_prefix('file')}x{files.PART}"
    path.write_text("half")
    monkeypatch.undo()
    remove_leftovers(tmp_path)
    assert path.exists()


@pytest.mark.parametrize("replaced", [False, True])
def test_nothing_is_written_in_a_folder_that_was_deleted_while_it_is_locked(tmp_path, replaced):
    folder = tmp_path / "run"
    with locked(folder):
        write_text(folder / "seed-1" / "a", "a")
        folder.rename(tmp_path / "elsewhere")
        if replaced:
            write_text(tmp_path / "new" / "other", "c")
            (tmp_path / "new").rename(folder)
        for write in (
            lambda: write_text(folder / "a", "a"),
            lambda: append(folder / "seed-1" / "metrics.jsonl", {"step": 1}),
            lambda: write_text(folder / "seed-2" / "a", "a"),
        ):
            with pytest.raises(UserError, match="was deleted, moved, or replaced while this command worked in it"):
                write()
        write_text(tmp_path / "other", "b")
    assert [path.name for path in folder.glob("*")] == ["other"] * replaced
    assert folder.exists() == replaced
    with locked(folder):
        write_text(folder / "a", "a")


def test_files_of_the_user_are_no_leftovers(tmp_path):
    names = [".notes.part", "film.part", ".file.part.txt", f"{part_prefix('file')[1:]}x.part"]
    for name in names:
        (tmp_path / name).write_text("mine")
    with locked(tmp_path):
        pass
    assert {path.name for path in tmp_path.iterdir()} >= set(names)


def test_a_process_that_has_the_number_of_a_killed_one_removes_what_that_left(tmp_path):
    left, own = (tmp_path / f"{part_prefix(name)}x{files.PART}" for name in ("left", "own"))
    for path in (left, own):
        path.write_text("half")
    before = time.time() - 3600
    os.utime(left, (before, before))
    remove_leftovers(tmp_path)
    assert (left.exists(), own.exists()) == (False, True)


def test_text_that_an_earlier_version_left_is_removed_when_its_folder_is_locked(tmp_path):
    left = tmp_path / ".text-a1_b2c3d" / "zu_ZA"
    left.mkdir(parents=True)
    for name in ("training.txt", "held-out.txt"):
        (left / name).write_text("half")
    mine = [".text-notes/a.md", ".text-a1_b2c3e/a.md", ".text-0123456789/training.txt"]
    for name in mine:
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("mine")
    with locked(tmp_path):
        assert not left.parent.exists()
    assert all((tmp_path / name).exists() for name in mine)


def test_text_that_an_earlier_version_is_cleaning_stays(tmp_path):
    text = tmp_path / ".text-a1_b2c3d"
    text.mkdir()
    with holding(tmp_path / ".lock"), pytest.raises(UserError, match="is in use by another"), locked(tmp_path):
        pass
    assert text.exists()
