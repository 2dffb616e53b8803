"""Signals, closed and full outputs, as real processes meet them."""

import json
import os
import pkgutil
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.command_line import run
from tests.tiny import WORDS
from xmodctl.cli.group import repeated
from xmodctl.training.fine_tuning import SeedTraining

COMMAND = (sys.executable, "-m", "xmodctl")
STAGES = {
    "start": (signal.SIGTERM, ""),
    "loading": (signal.SIGXCPU, "Loading"),
    "training": (signal.SIGUSR1, "step"),
}

FORWARD = "xmodctl.model.modules.RoutedModel.forward"
PLACES = {
    "sweep": (FORWARD, 3, "eval-transfer --run {run} --data {data} --langs de,sw,fr"),
    "donors": (FORWARD, 3, "donors --run {run} --data {data} --langs de,sw --split test"),
    "predict": (FORWARD, 1, "predict --run {run} --lang de {rows} --out {out}/labels.jsonl"),
    "embed": (FORWARD, 1, "embed --model {model} --lang de {text} --out {out}/vectors.npy"),
    "encoding": ("xmodctl.data.encoding.tokenizer_identity", 1, "eval-transfer --run {run} --data {data} --langs de"),
    "ranking": (
        "xmodctl.training.masked_lm.ranking.use_adapter", 3,
        "add-language --text zu={text} --model {model} --init-from auto --out {out}/added --recipe add-language-mini"
        " --set epochs=0.1 --set max_length=32",
    ),
}  # fmt: skip
"""Where a command is stopped: a function, the number of its call, and the command."""


@pytest.fixture
def words(tiny_model, pairs, tmp_path) -> list[str]:
    return [
        "finetune", "--task", "xnli", "--lang", "en", "--model", str(tiny_model), "--data", str(pairs),
        "--out", str(tmp_path / "run"), "--set", "epochs=8", "--set", "batch_size=8", "--set", "save_steps=1000",
    ]  # fmt: skip


def logged_steps(folder: Path) -> int:
    log = folder / "seed-1" / "metrics.jsonl"
    return sum('"loss"' in line for line in log.read_text().splitlines()) if log.exists() else 0


def test_a_stopped_command_says_how_to_continue(words, tmp_path, monkeypatch):
    def stop(self, *_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    monkeypatch.setattr(SeedTraining, "load_model", stop)
    stopped = run(*words, "--on-exists", "redo")
    assert stopped.exit_code == 143
    assert "Error" not in stopped.stderr
    assert json.loads((tmp_path / "run" / "run.json").read_text())["state"] == "interrupted"
    _, _, command = " ".join(stopped.stderr.split()).partition("to continue, run: xmodctl ")
    assert shlex.split(command) == words


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("place", PLACES)
def test_a_command_stops_where_it_is_and_the_command_that_it_shows_continues(
    place, number, trained, tiny_model, tmp_path, monkeypatch, capfd
):
    folder, data = trained
    text = tmp_path / "text.txt"
    text.write_text("".join(f"{a} {b} {c}\n" for a in WORDS for b in WORDS for c in WORDS))
    rows = data / "de" / "test.jsonl"
    begins, calls, line = PLACES[place]
    words = line.format(run=folder, data=data, model=tiny_model, text=text, rows=rows, out=tmp_path).split()
    reached = []

    def marked(original):
        def call(*arguments, **options):
            reached.append(begins)
            if len(reached) == calls:
                os.kill(os.getpid(), number)
                time.sleep(5)
                reached.append("after the signal")
            return original(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        owner, _, name = begins.rpartition(".")
        patch.setattr(begins, marked(getattr(pkgutil.resolve_name(owner), name)))
        stopped = run(*words)
    assert stopped.exit_code == (130 if number == signal.SIGINT else 143), stopped.output
    assert reached == [begins] * calls, "it stops at once"
    assert f"{signal.Signals(number).name} received" in capfd.readouterr().err
    _, _, command = " ".join(stopped.stderr.split()).partition("to continue, run: xmodctl ")
    assert shlex.split(command) == words
    assert not list(tmp_path.rglob("*.part"))
    again = run(*shlex.split(command))
    assert again.exit_code == 0, again.output


@pytest.mark.parametrize("command", ["finetune", "eval-transfer"])
def test_what_was_to_be_done_again_but_has_not_begun_is_not_forgotten(command, words, trained, tmp_path, monkeypatch):
    folder, data = trained
    if command == "eval-transfer":
        words = ["eval-transfer", "--run", str(folder), "--data", str(data), "--langs", "de"]
        place = FORWARD
    else:
        words[words.index("epochs=8")] = "epochs=1"
        place = "xmodctl.training.training_data.load_training_data"
    assert run(*words).exit_code == 0

    def stop(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    with monkeypatch.context() as patch:
        patch.setattr(place, stop)
        stopped = run(*words, "--on-exists", "redo")
    assert stopped.exit_code == 143, stopped.output
    _, _, shown = " ".join(stopped.stderr.split()).partition("to continue, run: xmodctl ")
    assert shlex.split(shown) == [*words, "--on-exists", "redo"]


def test_the_command_that_continues_does_not_start_over():
    words = ["finetune", "--on-exists=redo", "--lang", "en"]
    assert repeated("xmodctl", words, has_begun_again=True) == "xmodctl finetune --lang en"
    assert repeated("xmodctl", words) == "xmodctl finetune --on-exists=redo --lang en"
    assert repeated("xmodctl", ["predict", "--text", "it's"]) == "xmodctl predict --text 'it'\"'\"'s'"


@pytest.mark.parametrize("words", [("tasks", "list"), ("runs", "--json"), ("--version",), ("langs", "--help")])
def test_a_full_output_is_one_sentence(words):
    with open("/dev/full", "w") as full:
        done = subprocess.run([*COMMAND, *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert "the disk is full" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_closed_pipe_is_silent():
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        done = subprocess.run([*COMMAND, "tasks", "list"], stdout=pipe, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_process_that_a_signal_stops_continues_to_the_same_bits(stage, words, tmp_path):
    number, mark = STAGES[stage]
    folder, wanted = tmp_path / "run", 5 if stage == "training" else 0
    with subprocess.Popen([*COMMAND, *words], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr
        text, deadline = "", time.monotonic() + 120
        while mark == "Loading" and mark not in text:
            text += process.stderr.readline()
        while logged_steps(folder) < wanted and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0 if mark else 0.3)
        process.send_signal(number)
        text += process.stderr.read()
        assert process.wait(60) == (130 if number == signal.SIGINT else 143), text
    assert f"{number.name} received" in text
    assert "Traceback" not in text
    assert not list(tmp_path.rglob("*.part"))
    steps = logged_steps(folder)
    if wanted:
        assert f"saving step {steps}" in text
    again = subprocess.run([*COMMAND, *words], capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    if wanted:
        assert f"resuming at step {steps}" in again.stderr
    whole = [*words[: words.index("--out") + 1], str(tmp_path / "whole"), *words[words.index("--out") + 2 :]]
    assert subprocess.run([*COMMAND, *whole], capture_output=True, check=False).returncode == 0
    deltas = [path / "seed-1" / "delta.safetensors" for path in (folder, tmp_path / "whole")]
    assert deltas[0].read_bytes() == deltas[1].read_bytes()
