"""Several processes that train together take the steps of one."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmodctl.core.errors import UserError
from xmodctl.training import world
from xmodctl.training.launching import is_launched
from xmodctl.training.world import World

SETTINGS = ("batch_size=10", "tokens_per_step=64", "learning_rate=1e-3", "dropout=0.1", "attention_dropout=0.1")


@given(st.lists(st.integers(1, 500), max_size=60), st.integers(1, 7))
def test_every_row_of_a_batch_is_computed_once_and_shares_are_alike(sizes, count):
    lengths = np.array(sizes, dtype=np.int64)
    shares = [World(rank, count).share(lengths) for rank in range(count)]
    assert sorted(np.concatenate(shares).tolist()) == list(range(len(sizes)))
    assert all((np.diff(share) > 0).all() for share in shares)
    loads = [int(lengths[share].sum()) for share in shares]
    assert max(loads) - min(loads) <= max(sizes, default=0)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE=two is not a number"),
        ({"WORLD_SIZE": "2", "RANK": "2"}, "RANK=2 is not one of the WORLD_SIZE=2 processes"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, r"process 0 of 2 cannot reach the others at \(not set\):\(not set\)"),
    ],
)
def test_variables_of_a_launcher_that_make_no_sense_are_refused(variables, message, monkeypatch):
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=message):
        World.join()


def test_an_address_that_never_answers_is_reported_although_torch_still_waits(monkeypatch):
    with socket.socket() as silent:
        silent.bind(("localhost", 0))
        silent.listen()
        port = str(silent.getsockname()[1])
        for name, value in {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": port}.items():
            monkeypatch.setenv(name, value)
        assert world.JOINING.seconds < 50
        monkeypatch.setattr(world, "JOINING", timedelta(seconds=1))
        with pytest.raises(UserError, match=f"process 1 of 2 cannot reach the others at localhost:{port}: .* in 1 s"):
            World.join()


def test_batches_that_leave_a_process_without_work_are_refused():
    World(1, 2).check_batches(2, "row")
    with pytest.raises(UserError, match=r"2 processes share batches of 1 sequence, .* use --processes 1 or fewer"):
        World(0, 2).check_batches(1, "sequence")


def test_a_number_of_processes_that_the_launcher_contradicts_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert is_launched(1)
    assert is_launched(3)
    with pytest.raises(UserError, match="--processes 2 contradicts WORLD_SIZE=3"):
        is_launched(2)


def command(tiny_model: Path, data: Path, out: Path, processes: int, *more: str) -> list[str]:
    """Return the words of a fine-tuning."""
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    return [
        sys.executable, "-m", "xmodctl", "finetune", "--task", "xnli", "--lang", "en", "--model", str(tiny_model),
        "--data", str(data), "--out", str(out), "--processes", str(processes), *settings, *more,
    ]  # fmt: skip


def losses(run: Path) -> list[float]:
    steps = map(json.loads, (run / "seed-1" / "metrics.jsonl").read_text().splitlines())
    return [step["loss"] for step in steps if "loss" in step]


def children(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def wait_for_step(run: Path, process: subprocess.Popen[str]) -> None:
    while process.poll() is None and not (run / "seed-1" / "metrics.jsonl").exists():
        time.sleep(0.05)
    assert process.poll() is None, process.communicate()


@pytest.mark.slow
def test_two_processes_train_like_one_and_end_together(tiny_model, finished_run, tmp_path):
    data = finished_run[1]
    for processes in (1, 2):
        words = command(tiny_model, data, tmp_path / f"run-{processes}", processes, "--set", "epochs=3")
        subprocess.run(words, check=True, capture_output=True, text=True)
    alone, together = losses(tmp_path / "run-1"), losses(tmp_path / "run-2")
    assert len(alone) == 15
    assert together == pytest.approx(alone, rel=1e-5)

    words = command(tiny_model, data, tmp_path / "killed", 2, "--set", "epochs=400", "--set", "save_steps=1")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_for_step(tmp_path / "killed", process)
        workers = children(process)
        second = next(worker for worker in workers if worker.environ().get("RANK") == "1")
        second.kill()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 2, errors
    assert "Traceback" not in errors
    assert "process 1 of 2 was terminated by SIGKILL" in " ".join(errors.split())
    assert not [worker for worker in workers if worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE]

    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        saved = len(losses(tmp_path / "killed"))
        while process.poll() is None and len(losses(tmp_path / "killed")) <= saved + 1:
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors
    assert errors.count("to continue, run:") == 1
    assert "--processes 2" in " ".join(errors.split())
