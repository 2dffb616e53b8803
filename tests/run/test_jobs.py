"""Jobs that share a folder: each piece is done by one of them, and what a killed job held is free again."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

from xmodctl.core.environment import SLURM_TASK
from xmodctl.core.errors import UserError
from xmodctl.run.jobs import JOBS, Jobs, Piece, joined, joined_unless_read_only, locked
from xmodctl.run.shards import EVERYTHING, Shard

JOB = """
import sys, time
from pathlib import Path
from xmodctl.run.jobs import Piece, joined
folder, name, pause = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
done = folder / "done"
def do(number):
    if not (done / str(number)).exists():
        print("doing", number, flush=True)
        time.sleep(pause)
        (done / str(number)).open("x").write(name)
with joined(folder) as jobs:
    done.mkdir(exist_ok=True)
    held = jobs.share([Piece(f"piece {n}", n, n) for n in range(8)], do)
    print("held", [piece.work for piece in held], flush=True)
"""


def start(folder, name: str, pause: float = 0.01) -> "subprocess.Popen[str]":
    words = [sys.executable, "-c", JOB, str(folder), name, str(pause)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def pieces(*names: str) -> list[Piece[str]]:
    return [Piece(name, name[0], name) for name in names]


def test_processes_share_pieces_each_is_done_once_and_no_lock_stays(tmp_path):
    jobs = [start(tmp_path, str(number)) for number in range(3)]
    assert [job.communicate()[1] for job in jobs] == [None] * 3
    assert [job.returncode for job in jobs] == [0, 0, 0]
    assert sorted(path.name for path in (tmp_path / "done").iterdir()) == [str(number) for number in range(8)]
    assert {path.name for path in tmp_path.iterdir()} == {"done", ".lock"}


def test_what_a_killed_process_was_doing_is_done_by_the_next_one(tmp_path):
    with start(tmp_path, "first", pause=60) as first:
        assert first.stdout.readline() == "doing 0\n"
        second = start(tmp_path, "second")
        output = second.communicate()[0]
        assert "doing 0" not in output
        assert "held [0]" in output
        os.kill(first.pid, signal.SIGKILL)
    output = start(tmp_path, "third").communicate()[0]
    assert output == "doing 0\nheld []\n"
    assert {path.name for path in tmp_path.iterdir()} == {"done", ".lock"}


def test_groups_that_another_job_is_busy_with_come_last(tmp_path):
    done: list[str] = []
    with joined(tmp_path) as first, joined(tmp_path) as second, first.claim("a1") as is_free:
        assert is_free
        held = second.share(pieces("a1", "a2", "b1", "a3"), done.append)
    assert done == ["b1", "a2", "a3"]
    assert [piece.name for piece in held] == ["a1"]


def test_a_job_that_waits_does_what_another_one_leaves(tmp_path):
    held, leave, done = threading.Event(), threading.Event(), []

    def other() -> None:
        with joined(tmp_path) as jobs, jobs.claim("a1"):
            held.set()
            leave.wait(30)

    thread = threading.Thread(target=other)
    thread.start()
    assert held.wait(30)

    def do(name: str) -> None:
        done.append(name)
        leave.set()

    with joined(tmp_path) as jobs:
        assert jobs.share(pieces("a1", "b1"), do, wait=True) == []
    thread.join()
    assert done == ["b1", "a1"]


def test_the_error_names_what_other_jobs_do_and_who_they_are(tmp_path):
    with joined(tmp_path) as first, joined(tmp_path) as second, first.claim("seed 1"):
        error = second.in_progress([Piece("seed 1", 1, 1)], "result")
    assert f"one part is being done by other jobs: seed 1 (process {os.getpid()} on " in str(error)
    assert error.result == "result"


def test_a_folder_that_jobs_share_cannot_be_had_alone_and_the_other_way_round(tmp_path):
    with joined(tmp_path) as jobs:
        with pytest.raises(UserError, match=rf"in use by another xmodctl process \(process {os.getpid()} on "):
            locked(tmp_path).__enter__()
        with pytest.raises(UserError, match="in use by"), joined_unless_read_only(tmp_path, alone=True):
            pass
        with jobs.writing():
            jobs.refuse_others("--on-exists redo")
        with joined(tmp_path), jobs.writing(), pytest.raises(UserError, match="--on-exists redo deletes its work"):
            jobs.refuse_others("--on-exists redo")
    with locked(tmp_path), pytest.raises(UserError, match="in use by another xmodctl process; wait"), joined(tmp_path):
        pass
    assert not (tmp_path / JOBS).exists()


def test_a_folder_made_for_jobs_goes_with_the_last_one_unless_something_is_in_it(tmp_path):
    with pytest.raises(UserError, match="refused"), joined(tmp_path / "deep" / "run"):
        raise UserError("refused")
    assert not list(tmp_path.iterdir())
    with joined(tmp_path / "run"):
        (tmp_path / "run" / "file").touch()
    assert (tmp_path / "run" / "file").exists()


@pytest.mark.parametrize("take", [joined, locked])
def test_nothing_of_a_process_stays_in_a_folder_where_it_writes_nothing(take, tmp_path):
    (tmp_path / "notes.md").write_text("mine")
    with take(tmp_path):
        assert (tmp_path / ".lock").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.md"]
    with take(tmp_path):
        (tmp_path / "run.json").write_text("{}")
    assert {path.name for path in tmp_path.iterdir()} == {"notes.md", "run.json", ".lock"}
    with take(tmp_path):
        pass
    assert (tmp_path / ".lock").exists()


def test_the_first_job_notes_a_value_for_all_until_one_without_others_forgets_it(tmp_path):
    with joined(tmp_path) as first:
        assert first.note_first(".rows", 3) == 3
        with joined(tmp_path) as second:
            assert second.note_first(".rows", 5) == 3
            with second.writing():
                second.forget(".rows")
    with joined(tmp_path) as later:
        assert later.note_first(".rows", 7) == 3
        with later.writing():
            later.forget(".rows")
        assert later.note_first(".rows", 9) == 9
    assert Jobs(tmp_path, None).note_first(".rows", 11) == 11


def test_jobs_that_come_and_go_at_once_never_fail(tmp_path):
    errors: list[BaseException] = []

    def come_and_go() -> None:
        end = time.monotonic() + 0.5
        try:
            while time.monotonic() < end:
                with joined(tmp_path / "run") as jobs, jobs.claim("a"):
                    pass
        except BaseException as error:  # noqa: BLE001 (the test shows it)
            errors.append(error)

    threads = [threading.Thread(target=come_and_go) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


@pytest.mark.parametrize(("items", "count"), list(itertools.product((1, 2, 3, 7, 97), (1, 2, 3, 7))))
def test_shards_have_every_item_once_and_are_of_equal_size(items, count):
    if count > items:
        with pytest.raises(UserError, match=rf"has only {items} parts?; give at most {items} shares?, such as"):
            [Shard(number, count).of(range(items)) for number in range(1, count + 1)]
        return
    shares = [Shard(number, count).of(range(items)) for number in range(1, count + 1)]
    assert list(itertools.chain(*shares)) == list(range(items))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "-1/2", "1/0", "a/b", "1/2/3", "1.5/2", "1/99999999"])
def test_a_share_that_does_not_exist_is_one_sentence(text):
    with pytest.raises(UserError, match=r"^--shard .*as in --shard 2/4$"):
        Shard.parse(text)


@pytest.mark.parametrize(
    ("task", "count", "first", "step", "shard"),
    [
        ("3", "4", "1", "1", "3/4"),
        ("0", "4", "0", "1", "1/4"),
        ("6", "4", "0", "2", "4/4"),
        ("7", "1", "7", "1", "1/1"),
    ],
)
def test_the_task_of_an_array_is_the_default_share_and_a_notice_names_it(monkeypatch, task, count, first, step, shard):
    for name, value in (("ID", task), ("COUNT", count), ("MIN", first), ("STEP", step)):
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
    events = []
    assert str(Shard.chosen(None, events.append)) == shard
    assert [event.text.partition(" (")[0] for event in events] == (
        [] if count == "1" else [f"shard: {shard}, from {SLURM_TASK.name}={task}"]
    )
    assert Shard.chosen("1/1", events.append) == EVERYTHING


def test_an_array_with_more_tasks_than_parts_does_not_divide_them():
    array = Shard.of_array({"SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_ARRAY_TASK_MIN": "1"})
    assert array is not None
    assert array.of(["a", "b", "c"]) == ["a", "b", "c"]
    assert array.of(["a", "b", "c", "d"]) == ["b"]


def test_nothing_is_made_in_a_folder_that_was_deleted_while_a_job_uses_it(tmp_path):
    with joined(tmp_path / "run") as jobs:
        shutil.rmtree(tmp_path / "run")
        for use in (jobs.writing(), jobs.claim("a")):
            with pytest.raises(UserError, match="was deleted, moved, or replaced"), use:
                pass
    assert not (tmp_path / "run").exists()


def test_outside_an_array_everything_is_done_and_uneven_arrays_are_refused(monkeypatch):
    monkeypatch.delenv(SLURM_TASK.name, raising=False)
    assert Shard.chosen(None, print) == EVERYTHING
    uneven = {"SLURM_ARRAY_TASK_ID": "9", "SLURM_ARRAY_TASK_COUNT": "3", "SLURM_ARRAY_TASK_MIN": "1"}
    with pytest.raises(UserError, match="not evenly spaced; give the share with --shard"):
        Shard.of_array(uneven)


def test_a_share_of_several_is_not_trained_again():
    EVERYTHING.refuse_redo("redo")
    Shard(2, 3).refuse_redo("resume")
    with pytest.raises(UserError, match="this is shard 2/3"):
        Shard(2, 3).refuse_redo("redo")
