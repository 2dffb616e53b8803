"""A kind of task is one file: a fifth kind, defined here alone, goes the whole way from its task file to a report."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from xmodctl.cli.app import app
from xmodctl.evaluation.results import read_rows
from xmodctl.kinds import KINDS, Kind, Metric, TaskView, Usage
from xmodctl.kinds.texts import decode_labels, encode_texts


class LinguisticAcceptability(Kind):
    """Decide whether a sentence is acceptable; scored by Matthews correlation (Warstadt et al. 2019, CoLA)."""

    name = "linguistic-acceptability"
    required = ("text", "label")
    headlines: ClassVar = {"matthews_correlation": Metric("Matthews correlation", "matthews_correlation")}
    needs_labels = True
    head = "sequence"
    auto_class = "AutoModelForSequenceClassification"
    pipeline = "text-classification"

    def outputs(self, task: TaskView) -> tuple[str, ...]:
        return task.labels

    def check_task(self, task: TaskView) -> None:
        if len(task.labels) != 2:
            raise ValueError(f"{self.name} needs two `labels`: unacceptable and acceptable, in this order")

    def encode(self, rows, tokenizer, *, max_length, stride):
        return encode_texts(rows, ["text"], tokenizer, max_length=max_length)

    def decode(self, logits, encoded, rows, task):
        return decode_labels(logits, rows, task.labels)

    def statistics(self, gold: Sequence[Any], predicted: Sequence[Any], task: TaskView, language: str) -> np.ndarray:
        numbers = [2 * task.labels.index(a) + task.labels.index(b) for a, b in zip(gold, predicted, strict=True)]
        return np.eye(4, dtype=np.int64)[numbers]

    def metrics(self, totals: np.ndarray, task: TaskView) -> Mapping[str, np.ndarray]:
        tn, fp, fn, tp = np.moveaxis(totals.astype(np.float64), -1, 0)
        scale = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
        value = np.divide(tp * tn - fp * fn, scale, out=np.zeros_like(scale), where=scale > 0)
        return {"matthews_correlation": 100 * value}

    def usage(self, task: TaskView) -> Usage:
        return Usage('tokenizer("A sentence.", return_tensors="pt")', "print(int(outputs.logits.argmax(-1)))")


ROWS = [
    {"sentence": "the red cat runs", "label": "good"},
    {"sentence": "cat cat the cat", "label": "bad"},
    {"sentence": "a dog sleeps", "label": "good"},
    {"sentence": "never never a dog", "label": "bad"},
]


def run(*words: object, standard_input: str | None = None) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words], input=standard_input)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a task file of the new kind and data in two languages."""
    kind = LinguisticAcceptability()
    monkeypatch.setitem(KINDS, kind.name, kind)
    task = {
        "title": "Acceptability", "kind": kind.name, "columns": {"text": "sentence", "label": "label"},
        "labels": ["bad", "good"], "languages": ["en", "de"], "recipe": "nli",
    }  # fmt: skip
    (tmp_path / "cola.yaml").write_text(yaml.safe_dump(task))
    for language in ("en", "de"):
        for split, copies in (("train", 4), ("validation", 1), ("test", 1)):
            path = tmp_path / "data" / language / f"{split}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps(row) + "\n" for row in ROWS * copies))
    return tmp_path


def test_a_kind_in_one_file_goes_the_whole_way(tiny_model, folder):
    task, data, trained = folder / "cola.yaml", folder / "data", folder / "run"
    where = ("--task", task, "--model", tiny_model, "--data", data)

    findings = json.loads(run("check", *where, "--lang", "en", "--out", folder, "--json"))["findings"]
    assert not [finding for finding in findings if finding["level"] == "error"], findings
    inspected = json.loads(run("inspect", *where, "--lang", "de", "--split", "test", "--json"))
    assert [row["row"]["label"] for row in inspected[:2]] == ["good", "bad"]
    assert [row["sequences"][0]["label"] for row in inspected[:2]] == ["good", "bad"]

    settings = ("epochs=40", "batch_size=16", "learning_rate=0.01", "max_length=32", "dropout=0", "attention_dropout=0")
    run(
        "finetune",
        *where,
        "--lang",
        "en",
        "--out",
        trained,
        *[word for setting in settings for word in ("--set", setting)],
    )
    run("eval-transfer", "--run", trained, "--langs", "en,de", "--data", data)
    rows = {row.language: row for row in read_rows(trained / "results.jsonl")}
    assert rows["en"].metric == "matthews_correlation"
    assert rows["en"].value == 100.0
    assert rows["en"].baseline == 0.0

    for page in (folder / "report.html", folder / "report.md"):
        run("report", trained, "--out", page)
        assert "Acceptability" in page.read_text()
        assert "100.0" in page.read_text()
    run("score", "--run", trained)
    run("export", "--run", trained, "--out", folder / "exported")
    card = (folder / "exported" / "README.md").read_text()
    assert "metric_name" not in card.split("---")[0]
    assert "Matthews correlation" in card

    labeled = run("predict", "--run", trained, "--lang", "en", standard_input="the red cat runs\n")
    assert json.loads(labeled)["prediction"] == "good"


def test_what_a_kind_refuses_is_reported_with_the_task_file(folder):
    task = folder / "cola.yaml"
    task.write_text(task.read_text().replace("- bad\n", "- bad\n- worse\n"))
    result = CliRunner().invoke(app, ["tasks", "show", str(task)])
    assert result.exit_code == 2
    assert "linguistic-acceptability needs two `labels`" in result.stderr
