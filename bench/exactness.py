"""Compare several processes with one: `python -m bench.exactness --out DIR`.

Every kind of task, the ways to choose training rows and weights, and `add-language` are trained by 1, 2, 3, and 4
processes over at least 50 steps, with dropout and with batches of 7 rows, which no number of processes divides. The
table shows by how much losses differ from those of one process, relative to them, and by how much final scores do.

Then one run is scored and used for predictions on files of several numbers of rows, by the same numbers of processes:
results and predictions must have the bytes of one process, and each row must occur exactly once.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.kill_scenarios import KINDS, OWN, Words
from bench.kills import Workplace, compare

STEPS = 50
"""Least number of optimizer steps of a training."""
COUNTS = (1, 2, 3, 4)
ROWS = (1, 2, 3, 7, 97, 1000)
TOLERANCE = 1e-5
"""Largest relative difference of a loss."""
BATCH = ("--set", "batch_size=7", "--set", "max_length=64", "--limit", "48")
EPOCHS = ("--set", "epochs=8")
LANGUAGES = ("en", "de", "sw")


@dataclass(frozen=True)
class Training:
    """A command that trains.

    Attributes:
        name: What the table calls it.
        words: The command, with paths as in `bench.kill_scenarios`.
        scored: The command that scores what it has trained; empty if nothing is scored.
    """

    name: str
    words: Words
    scored: Words = ()


def trainings() -> list[Training]:
    """Return one training of each kind, then of each way to choose rows or weights, then of languages."""
    kinds = [_finetune(name, name, *EPOCHS) for name in (KINDS | OWN)]
    ways = {
        "two sources": ("--lang", "en,de"),
        "a language sampled more often": ("--lang", "en,de", "--set", "sampling_alpha=0.3"),
        "shots": ("--shots", "4", "--shot-langs", "de,sw", "--shot-seeds", "2"),
        "average:2": ("--set", "keep=average:2"),
        "source-dev": ("--set", "keep=source-dev"),
        "two seeds": ("--seeds", "1,2"),
        "small micro-batches": ("--set", "tokens_per_step=64"),
        "a stage": ("--set", "stages=[{task: xnli, epochs: 4, data: IN/nli}]"),
    }
    nli = [_finetune(name, "nli", *EPOCHS, *words) for name, words in ways.items()]
    text = ("--text", "zu=IN/texts/zu.txt", "--text", "xh=IN/texts/xh.txt")
    language = ("add-language", *text, "--model", "IN/model", "--out", "OUT/run", "--limit", "350", "--seeds", "1,2")
    settings = ("--set", "epochs=20", "--set", "batch_size=7", "--set", "max_length=64")
    return [*kinds, *nli, Training("add-language", (*language, *settings))]


def _finetune(name: str, kind: str, *more: str) -> Training:
    own = {"qa": ("--set", "stride=16"), "mc": ("--set", "stages=[]")}.get(kind, ())
    language = () if "--lang" in more else ("--lang", "en")
    base = ("finetune", "--task", (KINDS | OWN)[kind], "--model", "IN/model", "--data", f"IN/{kind}", *language)
    scored = ("eval-transfer", "--run", "OUT/run", "--langs", "en,de" if kind in KINDS else "en")
    return Training(name, (*base, "--out", "OUT/run", *BATCH, *more, *own), scored)


def _in_processes(words: Words, count: int) -> Words:
    return (*words, "--processes", str(count)) if count > 1 else words


def losses(folder: Path) -> dict[str, list[float]]:
    """Return the losses of the steps of each training below a folder, by its log's path."""
    logs = {}
    for path in sorted(folder.rglob("*metrics.jsonl")):
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        logs[str(path.relative_to(folder))] = [line["loss"] for line in lines if "loss" in line]
    return logs


def scores(folder: Path) -> list[float]:
    """Return the scores in the results of a run, in their order."""
    path = folder / "run" / "results.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line)["value"] for line in lines]


def train(place: Workplace, training: Training, counts: tuple[int, ...]) -> Iterator[str]:
    """Train with each number of processes, print a row of the table, and yield what is wrong."""
    expected: dict[str, list[float]] = {}
    reached: list[float] = []
    cells = []
    for count in counts:
        place.restore(None)
        place.run(_in_processes(training.words, count))
        if training.scored:
            place.run(training.scored)
        own, own_scores = losses(place.state / "results"), scores(place.state / "results")
        if count == counts[0]:
            expected, reached = own, own_scores
            steps = min(len(log) for log in own.values())
            if steps < STEPS and not training.name.startswith("a stage"):
                yield f"{training.name}: only {steps} steps"
            continue
        if {name: len(log) for name, log in own.items()} != {name: len(log) for name, log in expected.items()}:
            yield f"{training.name}, {count} processes: other logs"
            continue
        largest = max(
            abs(loss - other) / abs(other)
            for name, log in own.items()
            for loss, other in zip(log, expected[name], strict=True)
        )
        moved = max((abs(left - right) for left, right in zip(own_scores, reached, strict=True)), default=0.0)
        cells.append(f"{largest:.1e}, {moved:.1f}" if training.scored else f"{largest:.1e}")
        if largest > TOLERANCE:
            yield f"{training.name}, {count} processes: losses differ by {largest:.1e}"
    total = sum(len(log) for log in expected.values())
    print(f"| {training.name} | {total} | {' | '.join(cells)} |", flush=True)


def write_rows(folder: Path, source: Path, rows: int) -> None:
    """Write test files of so many rows in each language, with the demonstration's sentences in other orders."""
    for language in LANGUAGES:
        lines = (source / language / "test.jsonl").read_text(encoding="utf-8").splitlines()
        examples = [json.loads(line) for line in lines]
        count = len(examples)
        path = folder / language / "test.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8") as file:
            for number in range(rows):
                first, second = examples[number % count], examples[(number + number // count) % count]
                row = {**first, "hypothesis": second["hypothesis"], "id": f"row-{number}"}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")


def score(place: Workplace, trained: Path, rows: int, counts: tuple[int, ...]) -> Iterator[str]:
    """Score and predict files of so many rows with each number of processes; yield what is wrong."""
    data = place.folder / "rows" / str(rows)
    write_rows(data, place.inputs / "nli", rows)
    sweep = ("eval-transfer", "--run", "OUT/run", "--langs", ",".join(LANGUAGES), "--controls", "source,none")
    prediction = ("predict", "--run", "OUT/run", "--lang", "de", str(data / "de" / "test.jsonl"))
    expected = None
    for count in counts:
        place.restore(trained)
        place.run(_in_processes((*sweep, "--data", str(data)), count))
        place.run(_in_processes((*prediction, "--out", "OUT/labels.jsonl"), count))
        lines = (place.state / "results" / "labels.jsonl").read_text(encoding="utf-8").splitlines()
        ids = [json.loads(line)["id"] for line in lines]
        if ids != [f"row-{number}" for number in range(rows)]:
            yield f"{rows} rows, {count} processes: {len(ids)} predictions, or others than the rows"
        for path in (place.state / "results" / "run" / "predictions").rglob("*.jsonl"):
            if sum(1 for _ in path.open(encoding="utf-8")) != rows:
                yield f"{rows} rows, {count} processes: {path.name} has another number of rows"
        if expected is None:
            expected = place.keep(f"expected-{rows}")
        else:
            yield from (f"{rows} rows, {count} processes: {text}" for text in compare(expected, place.state))


def main(arguments: list[str]) -> int:
    """Print the table, and return 1 if anything differs by more than rounding."""
    parser = argparse.ArgumentParser(prog="python -m bench.exactness", description=__doc__)
    parser.add_argument("--processes", default=",".join(map(str, COUNTS)), metavar="N,N", help="the first is compared")
    parser.add_argument("--rows", default=",".join(map(str, ROWS)), metavar="N,N", help="of sweeps; empty: none")
    parser.add_argument("--only", default="", metavar="TEXT", help="only trainings whose name contains it")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="holds inputs and runs")
    options = parser.parse_args(arguments)
    counts = tuple(int(count) for count in options.processes.split(","))
    rows = tuple(int(count) for count in options.rows.split(",") if count)
    place = Workplace(options.out.resolve())
    place.prepare()
    problems: list[str] = []
    print(f"| training | steps | {' | '.join(f'{count} processes' for count in counts[1:])} |")
    print("|---" * (len(counts) + 1) + "|")
    for training in trainings():
        if options.only in training.name:
            problems += train(place, training, counts)
    if rows:
        place.restore(None)
        place.run((*_finetune("nli", "nli", "--set", "epochs=2").words, "--seeds", "1,2"))
        trained = place.keep("trained")
    for number in rows:
        own = list(score(place, trained, number, counts))
        print(f"{number} rows: {'; '.join(own) or 'the same bytes'}", flush=True)
        problems += own
        shutil.rmtree(place.folder / f"expected-{number}")
    print("\n".join(problems) or "nothing differs by more than rounding")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
