"""Several processes that train together take the steps of one."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.launched import ends, free_port, start_apart
from xmodctl.core.errors import UserError
from xmodctl.training import world
from xmodctl.training.launching import is_launched
from xmodctl.training.world import World

SETTINGS = (
    "keep=ema:0.7",
    "rdrop=0.5",
    "code_switching=0.3",
    "batch_size=10",
    "tokens_per_step=64",
    "learning_rate=1e-3",
    "dropout=0.1",
    "attention_dropout=0.1",
)


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
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE=0 is not a number of processes"),
        ({"WORLD_SIZE": "-1", "RANK": "0"}, "WORLD_SIZE=-1 is not a number of processes"),
        ({"WORLD_SIZE": "2", "RANK": "2"}, "RANK=2 is not one of the WORLD_SIZE=2 processes"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, r"process 0 of 2 cannot reach the others at \(not set\):\(not set\)"),
        ({"WORLD_SIZE": "2"}, r"WORLD_SIZE=2 is set, but RANK is not; .* RANK=\$SLURM_PROCID"),
    ],
)
def test_variables_of_a_launcher_that_make_no_sense_are_refused(variables, message, monkeypatch):
    for name in ("MASTER_ADDR", "MASTER_PORT", "RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=message):
        World.join("finetune")


ADDING = """
import json, sys, torch
from xmodctl.training.world import World

own = World.join("a test")
shapes = [(600, 300), (7,), (600, 300), (4, 3), (2,), (300, 600)]
parameters = [torch.nn.Parameter(torch.zeros(shape)) for shape in shapes]
for number, parameter in enumerate(parameters):
    if number in {0: (0, 1, 3, 5), 1: (0, 2, 3)}[own.rank]:
        values = torch.arange(parameter.numel(), dtype=torch.float32) + number
        parameter.grad = (own.rank + 1) * values.view_as(parameter)
parameters[5].grad = None if own.rank else parameters[5].grad.t().contiguous().t()
stopping, loss = own.add_up(parameters, float(own.rank), own.rank + 0.5)
gradients = [None if parameter.grad is None else parameter.grad.flatten().tolist() for parameter in parameters]
print(json.dumps([stopping, loss, gradients]))
"""


def test_gradients_of_any_size_are_added_up_and_one_that_no_process_has_stays_none():
    shared = os.environ | {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(free_port())}
    words = [sys.executable, "-c", ADDING]
    processes = [
        subprocess.Popen(words, env=shared | {"RANK": str(rank)}, stdout=subprocess.PIPE, text=True) for rank in (0, 1)
    ]
    sums = [json.loads(process.communicate(timeout=100)[0]) for process in processes]
    assert 600 * 300 * 4 > world.ALONE > 7 * 4
    times = [3, 1, 2, 3, None, 1]  # of what a process has: once in the first, twice in the second
    sizes = [180_000, 7, 180_000, 12, 2, 180_000]
    expected = [
        factor and [float(factor * (value + number)) for value in range(size)]
        for number, (factor, size) in enumerate(zip(times, sizes, strict=True))
    ]
    assert sums == [[1.0, 2.0, expected]] * 2


def test_gpus_that_mean_another_precision_are_refused_with_a_remedy(monkeypatch):
    second = World(1, 2)
    monkeypatch.setattr(World, "from_first", lambda self, values: {"precision": "bf16", "limit": None})
    second.check_equal({"precision": "bf16", "limit": None})
    with pytest.raises(UserError, match=r"\(precision\); if their GPUs differ, name a precision .*--precision fp32"):
        second.check_equal({"precision": "fp32", "limit": None})
    with pytest.raises(UserError, match=r"\(limit, precision\); start the same command"):
        second.check_equal({"precision": "fp32", "limit": 3})


@pytest.mark.parametrize(
    ("started", "different"),
    [
        ({"command": "finetune"}, None),
        ({"command": "add-language"}, "command"),
        ({"version of xmodctl": "0.0.9"}, "version of xmodctl"),
        ({"kind of device": "cuda"}, "kind of device"),
    ],
)
def test_processes_of_another_command_or_version_are_refused(started, different, monkeypatch):
    for name, value in {"WORLD_SIZE": "2", "RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(world, "meet", lambda *_: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(World, "from_first", lambda self, values: values | started)
    if different is None:
        assert World.join("finetune") == World(1, 2)
        return
    with pytest.raises(UserError, match=rf"process 1 was started with a different plan .* \({different}\); start"):
        World.join("finetune")


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
    while process.poll() is None and not ((run / "seed-1" / "metrics.jsonl").exists() and losses(run)):
        time.sleep(0.05)
    assert process.poll() is None, process.communicate()


@pytest.mark.slow
def test_two_processes_train_like_one_and_end_together(tiny_model, finished_run, tmp_path, monkeypatch):
    data = finished_run[1]
    for processes in (1, 2):
        words = command(tiny_model, data, tmp_path / f"run-{processes}", processes, "--set", "epochs=3")
        subprocess.run(words, check=True, capture_output=True, text=True)
    alone, together = losses(tmp_path / "run-1"), losses(tmp_path / "run-2")
    assert len(alone) == 15
    assert together == pytest.approx(alone, rel=1e-5)

    words = command(tiny_model, data, tmp_path / "killed", 2, "--set", "epochs=400", "--set", "save_steps=1")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
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
    assert not list(tmp_path.glob("torchelastic*"))  # of torch's launcher


@pytest.mark.slow
@pytest.mark.parametrize(("more", "different"), [((), "command"), (("--limit", "3"), "limit, train, validation")])
def test_processes_with_other_plans_end_with_one_message(more, different, tiny_model, finished_run, tmp_path):
    first = command(tiny_model, finished_run[1], tmp_path / "run", 1)
    second = [*first, *more] if more else [*first[:3], "donors", "--run", str(finished_run[0]), "--langs", "de"]
    (code, first_text), (other_code, text) = ends(start_apart([first, second]))
    assert (code, other_code) == (2, 2)
    assert (first_text.count("Error"), text.count("Error")) == (0, 1)
    assert f"process 1 was started with a different plan from the first one ({different}); start the same" in text
    assert "Traceback" not in first_text + text


def signaled(words: list[str], run: Path, receiver: str, number: signal.Signals) -> int:
    """Send a signal to one process of a training, by its rank, or to the launcher; return the command's exit code."""
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_for_step(run, process)
        workers = children(process)
        receivers = {worker.environ().get("RANK", ""): worker.pid for worker in workers} | {"launcher": process.pid}
        os.kill(receivers[receiver], number)
        _, errors = process.communicate(timeout=60)
    assert "Traceback" not in errors
    received = "SIGTERM" if number == signal.SIGKILL else number.name
    assert errors.count(" received, stopping ...") == errors.count(f"{received} received, stopping ...") == 1
    assert errors.count("to continue, run:") == 1
    assert psutil.wait_procs(workers, timeout=30)[1] == []
    assert list(run.rglob("step-*"))
    return process.returncode


@pytest.mark.slow
@pytest.mark.parametrize(
    ("receiver", "number", "code"),
    [("1", signal.SIGINT, 130), ("0", signal.SIGTERM, 143), ("launcher", signal.SIGKILL, -9)],
)
def test_a_signal_to_one_process_stops_all(receiver, number, code, tiny_model, finished_run, tmp_path):
    words = command(tiny_model, finished_run[1], tmp_path / "run", 2, "--set", "epochs=400", "--set", "save_steps=9999")
    assert signaled(words, tmp_path / "run", receiver, number) == code


@pytest.mark.slow
def test_resume_continues_with_another_number_of_processes(tiny_model, finished_run, tmp_path):
    run, more = tmp_path / "run", ("--set", "epochs=20", "--set", "save_steps=9999")
    assert signaled(command(tiny_model, finished_run[1], run, 2, *more), run, "1", signal.SIGUSR1) == 143
    stopped = len(losses(run))
    assert 0 < stopped < 100
    words = [sys.executable, "-m", "xmodctl", "resume", str(run), "--processes", "3"]
    result = subprocess.run(words, check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert f"2 at a time up to step {stopped}, 3 from here on" in " ".join(result.stderr.split())
    alone = command(tiny_model, finished_run[1], tmp_path / "alone", 1, *more)
    subprocess.run(alone, check=True, capture_output=True, text=True)
    assert losses(run) == pytest.approx(losses(tmp_path / "alone"), rel=1e-5)
