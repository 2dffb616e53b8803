"""The largest sweep there is: every language of X-MOD, five seeds, five thousand rows each."""

import hashlib
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from xmodctl.catalog.recipe import Recipe
from xmodctl.catalog.task import Task
from xmodctl.data import load_rows
from xmodctl.evaluation.results import Row
from xmodctl.model import look_up
from xmodctl.run.plan import Plan
from xmodctl.run.run import Run

SEEDS, ROWS = (1, 2, 3, 4, 5), 5000
LABELS = ("entailment", "neutral", "contradiction")
SENTENCE = "The committee decided that nothing in the report of the second year could be believed as it stood, and "

# The command, and the most memory that it held; a parent's peak counts in `getrusage`, but not here.
REPORT = """
import pathlib, re, runpy, sys
try:
    runpy.run_module("xmodctl", run_name="__main__", alter_sys=True)
finally:
    status = pathlib.Path("/proc/self/status").read_text()
    print("PEAK", re.search(r"VmHWM:\\s+(\\d+) kB", status)[1], file=sys.stderr)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process's memory is read from /proc")
def test_a_report_of_81_languages_5_seeds_and_5000_rows_takes_less_than_2_gb(tmp_path):
    languages = look_up("facebook/xmod-base").languages
    assert len(languages) == 81
    task = Task(
        name="wide", title="Wide", kind="sequence-classification", languages=list(languages), labels=LABELS,
        columns={"text": "premise", "text_pair": "hypothesis", "label": "label"}, recipe="nli", parallel=True,
    )  # fmt: skip
    folder = write_sweep(tmp_path, task)
    done = subprocess.run(
        [sys.executable, "-c", REPORT, "report", str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("worst errors") >= 81
    assert page.count(SENTENCE) >= 81 * 20
    assert int(done.stderr.rpartition("PEAK")[2]) < 2e6  # kB


def write_sweep(folder: Path, task: Task) -> Path:
    """Write a run as such a sweep leaves it; predictions are wrong one time in four."""
    draw = random.Random(0)
    data = folder / "data"
    for language in task.languages:
        path = data / language / "test.jsonl"
        path.parent.mkdir(parents=True)
        lines = [
            json.dumps({"premise": f"{SENTENCE}{number}", "hypothesis": SENTENCE[:40], "label": LABELS[number % 3]})
            for number in range(ROWS)
        ]
        path.write_text("\n".join(lines) + "\n")
    fingerprint = load_rows(task, "en_XX", "test", folder=data).fingerprint
    plan = Plan(task, Recipe(), "mini", "0" * 40, "1" * 64, ("en_XX",), str(data), None, "fp32")
    run = Run.new(folder / "run", plan, SEEDS, {})
    run.write()
    rows = []
    for seed in SEEDS:
        run.seed_folder(seed).mkdir()
        run.delta(seed).write_bytes(b"")
        with (run.seed_folder(seed) / "metrics.jsonl").open("w") as file:
            file.writelines(
                json.dumps({"step": step, "total_steps": 60_000, "loss": 1 / step, "seconds": 0.1}) + "\n"
                for step in range(1, 60_001)
            )
        lines, correct = [], 0
        for number in range(ROWS):
            gold = LABELS[number % 3]
            predicted = draw.choice(LABELS) if draw.random() < 0.375 else gold
            correct += predicted == gold
            scores = [0.8 if label == predicted else 0.1 for label in LABELS]
            lines.append(json.dumps({"id": str(number), "gold": gold, "prediction": predicted, "scores": scores}))
        accuracy = 100 * correct / ROWS
        content = ("\n".join(lines) + "\n").encode()
        for language in task.languages:
            name = f"predictions/test/{language}.seed-{seed}.jsonl"
            (run.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (run.folder / name).write_bytes(content)
            rows.append(
                Row(
                    task=task.name, kind=task.kind, split="test", language=language, adapter=language, control="own",
                    source_languages=("en_XX",), model="mini", data=f"{data / language / 'test.jsonl'}#{fingerprint}",
                    n=ROWS, metric="accuracy", value=accuracy, metrics={"accuracy": accuracy}, baseline=33.4,
                    ci_low=accuracy - 1, ci_high=accuracy + 1, ci_method="percentile bootstrap", seed=seed, step=1,
                    selected_on="nothing", limited=None, precision="fp32", device="cpu", seconds=1.0, truncated=0,
                    predictions=name, predictions_sha256=hashlib.sha256(content).hexdigest(), tool="0.1.0",
                )
            )  # fmt: skip
    run.results.write_text("".join(json.dumps(row.to_json()) + "\n" for row in rows))
    return run.folder
