"""Adapters trained in several processes take the steps of one."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

SETTINGS = (
    "batch_size=7", "tokens_per_step=96", "max_length=32", "learning_rate=0.01", "dropout=0.1",
    "attention_dropout=0.1",
)  # fmt: skip


ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def command(model: Path, texts: dict[str, Path], head: tuple[str, ...], out: Path, *more: str) -> list[str]:
    """Return the words of an addition of languages."""
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    files = [word for language, path in texts.items() for word in ("--text", f"{language}={path}")]
    words = [sys.executable, "-m", "xmodctl", "add-language", *files, "--model", str(model), "--out", str(out)]
    return [*words, "--recipe", "add-language-mini", "--head-text", *head, *settings, *more]


def losses(run: Path) -> dict[str, list[float]]:
    """Return the losses of the steps of each adapter."""
    return {
        str(path.relative_to(run)): [json.loads(line)["loss"] for line in path.read_text().splitlines()]
        for path in sorted(run.rglob("*.metrics.jsonl"))
    }


def held_out(run: Path) -> list[float]:
    """Return the held-out losses of all packages."""
    facts = [json.loads(path.read_text()) for path in sorted(run.rglob("adapter.json"))]
    return [row["loss"] for package in facts for row in package["facts"]["held_out"]]


@pytest.mark.slow
def test_adapters_of_several_processes_have_the_losses_of_one(tiny_model, write_text, head_text, tmp_path):
    texts = {"zu": write_text("zu"), "xh": write_text("xh")}
    more = ("--seeds", "1,2", "--set", "epochs=1.2")
    for processes in (1, 2, 3):
        words = command(tiny_model, texts, head_text, tmp_path / str(processes), *more, "--processes", str(processes))
        result = subprocess.run(words, check=False, capture_output=True, text=True, env=ENVIRONMENT)
        assert result.returncode == 0, result.stderr
    alone = losses(tmp_path / "1")
    assert len(alone) == 4
    assert all(len(values) > 50 for values in alone.values())
    for processes in ("2", "3"):
        together = losses(tmp_path / processes)
        assert together.keys() == alone.keys()
        for name, values in together.items():
            assert values == pytest.approx(alone[name], rel=1e-5), name
        assert held_out(tmp_path / processes) == pytest.approx(held_out(tmp_path / "1"), rel=1e-5)


@pytest.mark.slow
def test_a_mixture_trains_alike(tiny_model, write_text, head_text, tmp_path):
    for processes in (1, 2):
        words = command(tiny_model, {"zu": write_text("zu")}, head_text, tmp_path / str(processes))
        words += ["--init-from", "zu=0.7*sw+0.3*de", "--set", "epochs=0.5", "--processes", str(processes)]
        result = subprocess.run(words, check=False, capture_output=True, text=True, env=ENVIRONMENT)
        assert result.returncode == 0, result.stderr
    alone, together = losses(tmp_path / "1"), losses(tmp_path / "2")
    assert alone.keys() == together.keys()
    for name, values in together.items():
        assert len(values) > 10
        assert values == pytest.approx(alone[name], rel=1e-5), name


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher",
    [
        ("torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
        ("accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
         "--mixed_precision", "no", "--dynamo_backend", "no"),
    ],
    ids=["torchrun", "accelerate"],
)  # fmt: skip
def test_processes_of_other_launchers_train_like_one(launcher, tiny_model, write_text, head_text, tmp_path):
    texts = {"zu": write_text("zu"), "xh": write_text("xh")}
    for name, launched in {"alone": (), "together": ("-m", *launcher)}.items():
        program, *own = command(tiny_model, texts, head_text, tmp_path / name, "--set", "epochs=0.5")
        words = [program, *launched, *own]
        result = subprocess.run(words, check=False, capture_output=True, text=True, env=ENVIRONMENT)
        assert result.returncode == 0, result.stderr
    alone, together = losses(tmp_path / "alone"), losses(tmp_path / "together")
    assert len(alone) == 2
    assert together.keys() == alone.keys()
    for name, values in together.items():
        assert values == pytest.approx(alone[name], rel=1e-5), name


@pytest.mark.slow
def test_an_own_vocabulary_from_standard_input_trains_alike(tiny_model, write_text, head_text, tmp_path):
    text = write_text("zu").read_text()
    own = ("--vocabulary", "new", "--vocabulary-size", "100", "--set", "epochs=0.5")
    for processes in (1, 2):
        words = command(tiny_model, {"zu": Path("-")}, head_text, tmp_path / str(processes), *own)
        words += ["--processes", str(processes)]
        result = subprocess.run(words, check=False, capture_output=True, text=True, input=text, env=ENVIRONMENT)
        assert result.returncode == 0, result.stderr
    alone, together = losses(tmp_path / "1"), losses(tmp_path / "2")
    assert all(alone.values())
    assert together.keys() == alone.keys()
    for name, values in together.items():
        assert values == pytest.approx(alone[name], rel=1e-5), name


@pytest.mark.slow
def test_a_stopped_addition_continues_with_another_number_of_processes(tiny_model, write_text, head_text, tmp_path):
    run = tmp_path / "run"
    words = command(tiny_model, {"zu": write_text("zu")}, head_text, run, "--set", "epochs=3", "--processes")
    with subprocess.Popen(
        [*words, "2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    ) as process:
        while process.poll() is None and not any(losses(run).values()):
            time.sleep(0.05)
        workers = psutil.Process(process.pid).children(recursive=True)
        os.kill(process.pid, signal.SIGUSR1)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors
    assert "Traceback" not in errors
    assert "death signal" not in errors  # of torch's launcher
    assert errors.count("SIGUSR1 received, stopping ...") == 1
    assert errors.count("to continue, run:") == 1
    assert not [worker for worker in workers if worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE]
    step = max(int(path.name.removeprefix("step-")) for path in run.rglob("step-*"))
    resume = [sys.executable, "-m", "xmodctl", "resume", str(run), "--processes", "3"]
    result = subprocess.run(resume, check=False, capture_output=True, text=True, env=ENVIRONMENT)
    assert result.returncode == 0, result.stderr
    assert f"2 at a time up to step {step:,}, 3 from here on" in " ".join(result.stderr.split())
