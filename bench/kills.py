"""Kill commands at random moments, and compare what they leave with unbroken runs: `python -m bench.kills --rounds 60`.

Each round takes one of the scenarios: it starts the commands, kills them (SIGKILL) up to three times at random
moments, lets them finish, and compares every file with that of a run that was never killed. Weights, packages and
predictions are compared byte by byte; logs and results without seconds, dates and paths. Nothing unfinished may
be left.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.compare_versions import value_differences
from bench.version_inputs import write_inputs

MOST_KILLS = 3
SHORT = ("--set", "epochs=3", "--set", "batch_size=16", "--set", "max_length=64", "--limit", "48")
KINDS = {"nli": "xnli", "ner": "wikiann", "qa": "xquad", "mc": "xcopa"}


@dataclass(frozen=True)
class Scenario:
    """Commands that follow each other; paths in them begin with `IN/` and `OUT/`."""

    name: str
    commands: tuple[tuple[str, ...], ...]
    keeps_cache: bool = True  # whether what unbroken runs have cached is there


def scenarios() -> list[Scenario]:
    """Return what is killed."""
    killed = [Scenario(name, (_finetune(name, *SHORT, "--set", "save_steps=2"),)) for name in KINDS]
    killed += [
        Scenario("average", (_finetune("nli", *SHORT, "--set", "keep=average:2"),)),
        Scenario("source-dev", (_finetune("nli", *SHORT, "--set", "keep=source-dev"),)),
        Scenario("stages", (_finetune("nli", "--limit", "48", "--recipe", "IN/staged.yaml"),)),
        Scenario("shots", (_finetune("nli", *SHORT, "--shots", "4", "--shot-langs", "de,sw", "--shot-seeds", "2"),)),
        Scenario(
            "sweep",
            (
                _finetune("nli", *SHORT, "--set", "epochs=1"),
                ("eval-transfer", "--run", "OUT/run", "--langs", "de,sw,ur", "--controls", "source,none"),
            ),
        ),
        Scenario("language", (_add("zu"),)),
        Scenario("language, no cached head", (_add("zu"),), keeps_cache=False),
        Scenario("two languages", (_add("zu", "--text", "xh=IN/texts/zu.txt"),)),
        Scenario("vocabulary", (_add("zu", "--vocabulary", "new", "--vocabulary-size", "300"),)),
    ]
    return killed


def _finetune(kind: str, *more: str) -> tuple[str, ...]:
    words = ("finetune", "--task", KINDS[kind], "--lang", "en", "--model", "mini", "--data", f"IN/{kind}")
    return (*words, "--out", "OUT/run", *more)


def _add(language: str, *more: str) -> tuple[str, ...]:
    words = ("add-language", "--text", f"{language}=IN/texts/zu.txt", "--model", "mini", "--out", "OUT/run")
    return (*words, "--set", "epochs=1", "--set", "max_length=64", "--set", "save_steps=3", "--limit", "350", *more)


def main(arguments: list[str]) -> int:
    """Run the rounds, and return 1 if a file differs."""
    parser = argparse.ArgumentParser(prog="python -m bench.kills", description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="holds inputs and runs")
    options = parser.parse_args(arguments)
    out, draw = options.out.resolve(), random.Random(options.seed)
    write_inputs(out / "inputs", Path.cwd())
    failures = kills = 0
    plan = scenarios()
    for number in range(options.rounds):
        scenario = plan[number % len(plan)]
        whole = out / "whole" / scenario.name
        if not (whole / "seconds.json").exists():
            shutil.rmtree(whole, ignore_errors=True)
            seconds = [run(words, out, whole, out / "cache") for words in scenario.commands]
            (whole / "seconds.json").write_text(json.dumps(seconds))
        broken = out / "broken"
        shutil.rmtree(broken, ignore_errors=True)
        cache = out / "cache"
        if not scenario.keeps_cache:
            cache = out / "new cache"
            shutil.rmtree(cache / "heads", ignore_errors=True)
        count = 0
        for words, duration in zip(scenario.commands, json.loads((whole / "seconds.json").read_text()), strict=True):
            for _ in range(draw.randint(1, MOST_KILLS)):
                count += kill(words, out, broken, cache, draw.uniform(0.2, duration))
            run(words, out, broken, cache)
        differences = list(compare(whole, broken))
        kills, failures = kills + count, failures + bool(differences)
        print(f"round {number + 1} {scenario.name}: {count} kills, {'; '.join(differences) or 'the same'}", flush=True)
    print(f"{options.rounds - failures} of {options.rounds} rounds the same after {kills} kills")
    return 1 if failures else 0


def start(words: tuple[str, ...], out: Path, folder: Path, cache: Path) -> "subprocess.Popen[str]":
    """Start a command."""
    folder.mkdir(parents=True, exist_ok=True)
    words = tuple(word.replace("IN/", f"{out / 'inputs'}/").replace("OUT/", f"{folder}/") for word in words)
    environment = {**os.environ, "XMODCTL_CACHE": str(cache), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "xmodctl", *words], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def run(words: tuple[str, ...], out: Path, folder: Path, cache: Path) -> float:
    """Run a command to its end, and return its seconds."""
    began = time.perf_counter()
    with start(words, out, folder, cache) as process:
        _, errors = process.communicate()
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} ends with {process.returncode}: {errors}")
    return time.perf_counter() - began


def kill(words: tuple[str, ...], out: Path, folder: Path, cache: Path, seconds: float) -> bool:
    """Start a command and kill it after so many seconds; return whether it was still running."""
    with start(words, out, folder, cache) as process:
        try:
            process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return True
    return False


def compare(whole: Path, broken: Path) -> Iterator[str]:
    """Yield how the files of two folders differ."""
    names = [
        {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {"seconds.json"}
        for folder in (whole, broken)
    ]
    yield from (f"{name} is only in one folder" for name in sorted(names[0] ^ names[1]))
    for name in sorted(names[0] & names[1]):
        before, after = ((folder / name).read_bytes() for folder in (whole, broken))
        if before == after:
            continue
        if Path(name).suffix not in (".json", ".jsonl") or "predictions" in Path(name).parts:
            yield f"{name} differs"
            continue
        values = []
        for data, folder in ((before, whole), (after, broken)):
            text = data.decode().replace(str(folder), "FOLDER")
            values.append(
                json.loads(text) if name.endswith(".json") else [json.loads(line) for line in text.splitlines()]
            )
        yield from (f"{name}{difference}" for difference in value_differences(*values))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
