"""Where one of several processes fails, all of them end, and one message says why."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command_line import run
from tests.launched import PROGRAM, ends, start_apart
from xmodctl.cli import launching

CHANGED = """
import sys, time
from pathlib import Path
from pkgutil import resolve_name
from xmodctl.__main__ import main

def work(*arguments, **options):
    Path({mark!r}).touch()
    {action}

setattr(resolve_name({owner!r}), {name!r}, work)
sys.argv = ["xmodctl", *sys.argv[1:]]
main()
"""
BUSY = "time.sleep(3600)"


def instead(words: list[str], place: tuple[str, str], action: str, mark: Path) -> list[str]:
    """Return the words of a process that does something else in a place, after it has made a file."""
    owner, name = place
    program = CHANGED.format(mark=str(mark), action=action, owner=owner, name=name)
    return [sys.executable, "-c", program, *words[len(PROGRAM) :]]


READING = (
    ("xmodctl.training.training_data", "load_training_data"),
    *[("xmodctl.training.finetune", "follow_plan")] * 2,
)
"""Where the first process, and where the others are before they train."""

PARSING = (("xmodctl.cli.group:Group", "parse_args"),) * 2
"""Where processes are when they have just met."""


@pytest.fixture
def words(tiny_model, pairs, tmp_path) -> Callable[..., list[str]]:
    """Return a function that gives the words of a fine-tuning, in which some are replaced."""

    def command(**replaced: object) -> list[str]:
        options = {"lang": "en", "model": tiny_model, "data": pairs, "out": tmp_path / "run", "set": "epochs=400"}
        return [
            *PROGRAM, "finetune", "--task", "xnli",
            *(word for name, value in (options | replaced).items() for word in (f"--{name}", str(value))),
        ]  # fmt: skip

    return command


def wait_until(condition: Callable[[], bool], started: list[subprocess.Popen[str]]) -> None:
    while not condition():
        assert all(process.poll() is None for process in started), ends(started)
        time.sleep(0.05)


def has_trained(folder: Path) -> bool:
    log = folder / "seed-1" / "metrics.jsonl"
    return log.exists() and "loss" in log.read_text()


def test_only_commands_that_several_processes_share_wait_for_the_others(monkeypatch, tiny_model, pairs):
    met = []
    monkeypatch.setattr("xmodctl.cli.group.meet_others", lambda: met.append(True))
    for name, value in {"WORLD_SIZE": "2", "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    assert run("tasks", "list").exit_code == 0
    assert run("finetune", "--help").exit_code == 0
    dry = run("finetune", "--task", "xnli", "--lang", "en", "--model", tiny_model, "--data", pairs, "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert met == []
    assert run("--quiet", "finetune", "--no-such-option").exit_code == 2
    assert met == [True]


def test_a_process_that_is_the_only_one_meets_nobody(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "01")
    launching.meet_others()
    assert launching._partners is None


def test_a_silent_process_that_has_no_partners_is_heard_after_a_moment(monkeypatch):
    waits: list[float] = []
    monkeypatch.setattr(launching, "sleep", waits.append)
    monkeypatch.setattr(launching, "_errors", [os.dup(2)])
    launching.speak()
    assert (waits, launching._errors) == ([launching.PATIENCE], [])


MISTAKES = {
    "option": ({"no-such-option": 1}, "No such option: --no-such-option"),
    "data": ({"data": "{nowhere}"}, "nowhere is not a folder or a file"),
    "model": ({"model": "{nowhere}"}, "nowhere"),
    "row": ({"data": "{bad}"}, "bad/en/train.jsonl"),
    "log": ({"log-file": "{file}/log.txt"}, "cannot write --log-file"),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("failing", "mistake"),
    [(rank, name) for rank in (0, 1) for name in MISTAKES if (rank, name) != (1, "log")],  # the first writes the log
)
def test_a_process_that_fails_alone_ends_the_others(failing, mistake, words, pairs, tmp_path):
    change, message = MISTAKES[mistake]
    (tmp_path / "file").touch()
    shutil.copytree(pairs, tmp_path / "bad")
    path = tmp_path / "bad" / "en" / "train.jsonl"
    lines = path.read_text().splitlines()
    lines[2] = json.dumps({"premise": "the cat", "hypothesis": "red", "label": "no label"})
    path.write_text("\n".join(lines) + "\n")
    places = {name: tmp_path / name for name in ("nowhere", "file", "bad")}
    wrong = words(**{name: str(value).format(**places) for name, value in change.items()})
    results = ends(start_apart([wrong if rank == failing else words() for rank in range(3)]))
    assert [code for code, _ in results] == [2, 2, 2], results
    assert message in results[failing][1], results
    assert [text.count("Error") for _, text in results] == [int(rank == failing) for rank in range(3)], results
    assert "Traceback" not in str(results)


@pytest.mark.slow
def test_three_processes_with_the_same_mistake_print_one_message(words, tmp_path):
    results = ends(start_apart([words(data=tmp_path / "nowhere")] * 3))
    assert [code for code, _ in results] == [2, 2, 2], results
    assert sum(text.count("is not a folder or a file") for _, text in results) == 1


@pytest.mark.slow
@pytest.mark.parametrize("failing", [0, 1])
def test_a_bug_in_one_process_is_one_traceback_and_ends_one_that_is_busy(failing, words, tmp_path):
    actions = {failing: "time.sleep(1); raise LookupError('a bug')", 1 - failing: BUSY}
    commands = [instead(words(), READING[rank], actions[rank], tmp_path / str(rank)) for rank in (0, 1)]
    results = ends(start_apart(commands))
    assert [results[failing][0], results[1 - failing][0]] == [1, 2], results
    assert results[failing][1].count("Traceback") == results[failing][1].count("LookupError: a bug") == 1
    assert "Traceback" not in results[1 - failing][1]


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
@pytest.mark.parametrize("is_busy", [False, True])
def test_a_process_that_is_killed_ends_the_others_which_say_so_once(is_busy, killed, words, tmp_path):
    marks = [tmp_path / str(rank) for rank in range(3)]
    if is_busy:  # they send nothing to each other meanwhile
        started = start_apart([instead(words(), place, BUSY, mark) for place, mark in zip(READING, marks, strict=True)])
        wait_until(lambda: all(mark.exists() for mark in marks), started)
    else:
        started = start_apart([words()] * 3)
        wait_until(lambda: has_trained(tmp_path / "run"), started)
    started[killed].kill()
    results = ends(started)
    assert [code for code, _ in results] == [-9 if rank == killed else 2 for rank in range(3)], results
    assert sum(text.count("Error") for _, text in results) == 1, results
    assert sum(text.count(f"process {killed} of 3 ended without a message") for _, text in results) == 1
    assert "Traceback" not in str(results)


@pytest.mark.slow
@pytest.mark.parametrize("receiver", [0, 1])
@pytest.mark.parametrize("places", [PARSING, READING], ids=["parsing", "reading"])
def test_a_signal_to_one_process_before_they_train_stops_all(places, receiver, words, tmp_path):
    marks = [tmp_path / str(rank) for rank in (0, 1)]
    started = start_apart([instead(words(), place, BUSY, mark) for place, mark in zip(places, marks, strict=False)])
    wait_until(lambda: all(mark.exists() for mark in marks), started)
    started[receiver].send_signal(signal.SIGUSR1)
    results = ends(started)
    assert [code for code, _ in results] == [143, 143], results
    assert results[0][1].count("to continue, run:") == int(places == READING)  # else nothing has begun
    assert results[0][1].count("received, stopping") == 1
    assert "to continue" not in results[1][1]


@pytest.mark.slow
def test_a_failing_process_of_our_own_launcher_is_heard_once(words, tmp_path):
    command = [*words(data=tmp_path / "nowhere"), "--processes", "2"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr.count("Error") == done.stderr.count("is not a folder or a file") == 1
    assert "SIGTERM" not in done.stderr
