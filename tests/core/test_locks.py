"""Locks hold between processes, also while their files are removed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from xmodctl.core import locks
from xmodctl.core.cache import prune_cache
from xmodctl.core.files import prune
from xmodctl.core.locks import InUseError, has_name, holding, lock_of
from xmodctl.run.jobs import locked

HOLDER = """
import sys
from pathlib import Path
from xmodctl.core.locks import holding
with holding(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
TRIAL = """
import sys
from pathlib import Path
from xmodctl.core.locks import InUseError, holding
try:
    with holding(Path(sys.argv[1]), wait=False):
        print("held")
except InUseError:
    print("in use")
"""
LATE = """
import fcntl, sys
flock = fcntl.flock
def late(*arguments):
    fcntl.flock = flock
    print("opened", flush=True)
    sys.stdin.readline()
    return flock(*arguments)
fcntl.flock = late
"""
RIVAL = """
import os, sys, time
from pathlib import Path
from xmodctl.core.errors import UserError
from xmodctl.run.jobs import locked
folder, mark = Path(sys.argv[1]) / "new" / "run", Path(sys.argv[1]) / "mark"
print("ready", flush=True)
sys.stdin.readline()
turns, end = 0, time.monotonic() + 0.5
while time.monotonic() < end:
    try:
        with locked(folder):
            os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
            turns += 1
            mark.unlink()
    except UserError as error:
        assert "is in use by another xmodctl process" in str(error), error
print(turns)
"""


def start(code: str, path: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XMODCTL_CACHE", str(tmp_path))
    for name in ("encodings", "mini", "converted"):
        (tmp_path / name / "model").mkdir(parents=True)
        (tmp_path / name / "old.safetensors").write_bytes(b"x" * 100)
    return tmp_path


def test_a_folder_that_each_process_makes_locks_and_removes_has_one_owner_at_a_time(tmp_path):
    rivals = [start(RIVAL, tmp_path) for _ in range(2)]
    for rival in rivals:
        assert rival.stdout.readline() == "ready\n"
    for rival in rivals:
        rival.stdin.write("\n")
        rival.stdin.flush()
    turns = [rival.communicate()[0] for rival in rivals]
    assert [rival.returncode for rival in rivals] == [0, 0]
    assert all(int(count) > 0 for count in turns)


def test_a_process_that_opened_a_lock_before_it_was_removed_does_not_hold_it(tmp_path):
    path = tmp_path / ".lock"
    with holding(path) as lock:
        late = start(LATE + TRIAL, path)
        assert late.stdout.readline() == "opened\n"
        lock.remove()
    with holding(path):
        assert late.communicate("\n")[0] == "in use\n"


def test_a_folder_that_another_process_removes_before_it_is_locked_is_made_again(tmp_path, monkeypatch):
    folder, attempts = tmp_path / "run", []

    def late(path, *, wait):
        attempts.append(path)
        if len(attempts) < 3:
            folder.rmdir()
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return holding(path, wait=wait)

    monkeypatch.setattr("xmodctl.run.jobs.holding", late)
    with locked(folder):
        assert (folder / ".lock").exists()
    assert len(attempts) == 3
    assert not folder.exists()


@pytest.mark.parametrize("remove", [lambda folder: prune(folder, 0), lambda _: prune_cache(everything=True)])
def test_the_lock_of_an_encoding_that_another_process_makes_stays_and_still_holds(cache, remove):
    entry = cache / "encodings" / "old.safetensors"
    with start(HOLDER, lock_of(entry)) as holder:
        assert holder.stdout.readline() == "held\n"
        remove(entry.parent)
        assert entry.exists()
        with pytest.raises(InUseError), holding(lock_of(entry), wait=False):
            pass
        holder.stdin.close()
    remove(entry.parent)
    assert not entry.exists()
    assert not lock_of(entry).exists()


@pytest.mark.parametrize("name", ["mini", "converted"])
def test_what_is_removed_is_locked_meanwhile(cache, name, monkeypatch):
    entry, remove, answers = cache / name / "model", locks.shutil.rmtree, []

    def slow(path):
        if path == entry:
            with start(TRIAL, lock_of(entry)) as trial:
                answers.append(trial.communicate()[0])
        remove(path)

    monkeypatch.setattr(locks.shutil, "rmtree", slow)
    prune_cache(everything=True)
    assert answers == ["in use\n"]
    assert not entry.exists()


def test_a_dry_run_makes_no_file(cache):
    before = sorted(cache.rglob("*"))
    prune_cache(everything=True, dry_run=True)
    assert sorted(cache.rglob("*")) == before


def test_locks_of_what_is_gone_are_removed_with_the_cache(cache):
    orphan, used = cache / "encodings" / "gone.lock", cache / "encodings" / "held.lock"
    for lock in (orphan, used):
        lock.write_text("")
    with holding(used):
        prune_cache(older_than=1000)
    assert (orphan.exists(), used.exists()) == (False, True)


def test_a_file_that_was_replaced_or_removed_has_lost_its_name(tmp_path):
    path = tmp_path / "part"
    path.write_text("first")
    with path.open() as file:
        assert has_name(file.fileno(), path)
        os.replace(path, tmp_path / "whole")
        assert not has_name(file.fileno(), path)
        path.write_text("second")
        assert not has_name(file.fileno(), path)
