"""Measure how long commands take to stop: `python -m bench.stops --model mini --out DIR`.

Each command is stopped by a signal at random moments of each of its stages: while it starts, loads, encodes, trains,
validates, ranks adapters, scores, predicts. The table shows the seconds until the signal is acknowledged and until the
process has ended.
"""

import argparse
import importlib
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.kill_scenarios import Words, write_kill_inputs
from bench.version_inputs import KINDS
from xmodctl.core.signals import STOPPING

MARK = "STOPS_MARK"
"""Environment variable: the file whose existence says that the stage has begun."""

LONGEST = 120
"""Seconds until a stage must have begun."""


@dataclass(frozen=True)
class Stage:
    """A part of a command.

    Attributes:
        name: What the table calls it.
        words: The command.
        begins: The function whose call begins it, as `module:name`; empty is the start of the process.
        seconds: A signal is sent within so many seconds after that.
        calls: The number of the call.
    """

    name: str
    words: Words
    begins: str = ""
    seconds: float = 2.0
    calls: int = 1


def stages(model: str) -> list[Stage]:
    """Return what is stopped."""
    finetune = (
        "finetune", "--task", KINDS["nli"], "--lang", "en", "--model", model, "--data", "IN/nli", "--out", "OUT/new",
        "--set", "save_steps=1000",
    )  # fmt: skip
    add = ("add-language", "--text", "zu=IN/texts/zu.txt", "--model", model, "--out", "OUT/added")
    on_run = ("--run", "OUT/run", "--data", "IN/nli")
    sweep = ("eval-transfer", *on_run, "--langs", "de,sw,ur")
    donors = ("donors", *on_run, "--langs", "de,sw", "--split", "test")
    predict = ("predict", "--run", "OUT/run", "--lang", "de", "IN/rows.jsonl", "--out", "OUT/labels.jsonl")
    embed = ("embed", "--model", model, "--lang", "de", "IN/texts/zu.txt", "--out", "OUT/vectors.npy")
    return [
        Stage("start", finetune, seconds=3.0),
        Stage("loading", finetune, "xmodctl.training.fine_tuning:SeedTraining.load_model"),
        Stage("encoding", finetune, "xmodctl.data.encoding:tokenizer_identity", 0.5),
        Stage("training", finetune, "xmodctl.training.loop:Training.gradient", 8.0, 2),
        Stage("validation", (*finetune, "--limit", "8"), "xmodctl.training.open_training:validate"),
        Stage("digests", add, "xmodctl.new_language.trainer:tensor_digests"),
        Stage("head", add, "xmodctl.training.masked_lm.heads:HeadTraining.train", 6.0),
        Stage("ranking", (*add, "--limit", "350"), "xmodctl.new_language.trainer:rank_adapters", 6.0),
        Stage("vocabulary", (*add, "--vocabulary", "new"), "xmodctl.new_language.trainer:train_vocabulary", 1.0),
        Stage("adapter", add, "xmodctl.training.loop:Training.update", 6.0, 120),
        Stage("sweep", sweep, "xmodctl.evaluation.sharing:Processes.compute", 6.0),
        Stage("donors", donors, "xmodctl.evaluation.sharing:Processes.compute", 6.0),
        Stage("predict", predict, "xmodctl.model.inference:predict", 4.0),
        Stage("embed", embed, "xmodctl.evaluation.embedding:embed", 4.0),
    ]


def stop(stage: Stage, out: Path, seconds: float, number: int) -> tuple[float, float, int]:
    """Stop a command; return the seconds until it acknowledges the signal and until it ends, and its exit code."""
    mark, errors = out / "mark", out / "errors.txt"
    mark.unlink(missing_ok=True)
    for name in ("new", "added"):
        shutil.rmtree(out / "results" / name, ignore_errors=True)
    words = [word.replace("IN/", f"{out}/inputs/").replace("OUT/", f"{out}/results/") for word in stage.words]
    environment = {**os.environ, MARK: str(mark), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "xmodctl", *words]
    if stage.begins:
        command = [sys.executable, "-m", "bench.stops", "--child", stage.begins, str(stage.calls), *words]
    with (
        errors.open("w") as file,
        subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=file) as process,
    ):
        deadline = time.monotonic() + LONGEST
        while stage.begins and not mark.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(seconds)
        process.send_signal(number)
        sent = time.perf_counter()
        acknowledged = None
        while process.poll() is None:
            if acknowledged is None and "received" in errors.read_text():
                acknowledged = time.perf_counter() - sent
            time.sleep(0.002)
        ended = time.perf_counter() - sent
    return acknowledged or ended, ended, process.returncode


def child(begins: str, calls: int, words: list[str]) -> None:
    """Run a command that creates the file `MARK` when a function is called."""
    module, _, path = begins.partition(":")
    owner = importlib.import_module(module)
    *classes, name = path.split(".")
    for part in classes:
        owner = getattr(owner, part)
    original, count = getattr(owner, name), 0

    def marked(*arguments: object, **options: object) -> object:
        nonlocal count
        count += 1
        if count == calls:
            Path(os.environ[MARK]).touch()
        return original(*arguments, **options)

    setattr(owner, name, marked)
    from xmodctl.__main__ import main as run

    sys.argv = ["xmodctl", *words]
    run()


def measured(model: str, out: Path, only: str, rounds: int, seed: int) -> Iterator[str]:
    """Yield the lines of the table."""
    draw = random.Random(seed)
    for stage in stages(model):
        if only and stage.name not in only.split(","):
            continue
        stops = []
        for number in range(rounds):
            stops.append(stop(stage, out, draw.uniform(0, stage.seconds), STOPPING[number % len(STOPPING)]))
        stopped = [values for values in stops if values[2] in (130, 143)]
        others = sorted({code for _, _, code in stops} - {130, 143})
        note = f"; exit codes {others}" if others else ""
        first, last = (max((values[place] for values in stopped), default=float("nan")) for place in (0, 1))
        yield f"| {stage.name} | {first:.2f} | {last:.2f} | {len(stopped)} of {rounds}{note} |"


def prepare(model: str, out: Path) -> None:
    """Write what the commands read: inputs, and a run."""
    write_kill_inputs(out / "inputs", Path.cwd())
    rows = (out / "inputs" / "nli" / "de" / "test.jsonl").read_text(encoding="utf-8")
    (out / "inputs" / "rows.jsonl").write_text(rows * 5, encoding="utf-8")
    words = (
        "finetune", "--task", KINDS["nli"], "--lang", "en", "--model", model, "--data", str(out / "inputs" / "nli"),
        "--out", str(out / "results" / "run"), "--limit", "8", "--set", "epochs=1",
    )  # fmt: skip
    subprocess.run([sys.executable, "-m", "xmodctl", *words], check=True)


def main(arguments: list[str]) -> int:
    """Print the table."""
    if arguments[:1] == ["--child"]:
        child(arguments[1], int(arguments[2]), arguments[3:])
        return 0
    parser = argparse.ArgumentParser(prog="python -m bench.stops", description=__doc__)
    parser.add_argument("--model", default="mini", help="`mini`, `base` (random weights of its size), or a folder")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", metavar="NAMES", help="stages, separated by commas")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="holds inputs and runs")
    options = parser.parse_args(arguments)
    out, model = options.out.resolve(), options.model
    if model in ("base", "large"):
        from bench.checkpoints import folder_of

        model = str(folder_of(model))
    prepare(model, out)
    print("| stopped while | acknowledged, s | ended, s | stopped |\n|---|---|---|---|", flush=True)
    for line in measured(model, out, options.only, options.rounds, options.seed):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
