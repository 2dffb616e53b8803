"""From a task file to scores, a report, predictions, and an exported model: kinds that no other test covers."""

import ast
import json
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from command_line import SETTINGS, run

from xmodctl.evaluation.results import Row, read_rows

WORDS = ["the", "cat", "dog", "runs", "red", "blue", "paka", "chat"]


def text(draw: np.random.Generator) -> str:
    return " ".join(draw.choice(WORDS, 3))


@dataclass(frozen=True)
class Case:
    """A kind with a task and a data set that it learns."""

    task: dict[str, Any]
    row: Callable[[np.random.Generator], dict[str, Any]]
    example: dict[str, Any]  # what is predicted
    is_prediction: Callable[[dict[str, Any]], bool]
    in_config: tuple[str, Any]  # of the exported model
    in_report: str


def label_set(draw: np.random.Generator) -> dict[str, Any]:
    words = text(draw)
    return {"text": words, "labels": [label for label in ("cat", "dog", "red") if label in words.split()]}


def number(draw: np.random.Generator) -> dict[str, Any]:
    first, second = draw.choice(WORDS[:4], 2)
    return {"sentence1": f"the {first}", "sentence2": f"the {second}", "score": 4.0 * (first == second) + draw.random()}


def tagged(draw: np.random.Generator) -> dict[str, Any]:
    words = text(draw).split()
    tags = ["DET" if word == "the" else "VERB" if word == "runs" else "NOUN" for word in words]
    return {"tokens": words, "tags": tags}


CASES = {
    "multi-label-classification": Case(
        {"columns": {"text": "text", "label": "labels"}, "labels": ["cat", "dog", "red"], "recipe": "multi-label"},
        label_set,
        {"text": "the cat runs"},
        lambda row: set(row["prediction"]) <= {"cat", "dog", "red"} == set(row["scores"]),
        ("problem_type", "multi_label_classification"),
        "F1 of each label",
    ),
    "text-regression": Case(
        {"columns": {"text": "sentence1", "text_pair": "sentence2", "label": "score"}, "recipe": "regression"},
        number,
        {"sentence1": "the cat", "sentence2": "the dog"},
        lambda row: isinstance(row["prediction"], float) and "scores" not in row,
        ("problem_type", "regression"),
        "pearson",
    ),
    "word-tagging": Case(
        {"columns": {"tokens": "tokens", "tags": "tags"}, "labels": ["DET", "NOUN", "VERB"], "recipe": "tagging"},
        tagged,
        {"text": "the cat runs"},
        lambda row: row["tokens"] == ["the", "cat", "runs"] and len(row["tags"]) == len(row["scores"]) == 3,
        ("architectures", ["XmodForTokenClassification"]),
        "F1 of each tag",
    ),
}


def succeed(*words: object) -> str:
    result = run(*words)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.slow
@pytest.mark.parametrize("kind", CASES)
def test_a_kind_goes_the_whole_way(kind, tiny_model, tmp_path):
    case, draw = CASES[kind], np.random.default_rng(0)
    task, data, trained = tmp_path / "mine.yaml", tmp_path / "data", tmp_path / "run"
    task.write_text(yaml.safe_dump({"title": "Mine", "kind": kind, "languages": ["en", "de"], **case.task}))
    for language, splits in {"en": {"train": 160, "test": 40}, "de": {"test": 40}}.items():
        (data / language).mkdir(parents=True)
        for split, count in splits.items():
            lines = [json.dumps(case.row(draw)) + "\n" for _ in range(count)]
            (data / language / f"{split}.jsonl").write_text("".join(lines))
    where = ("--task", task, "--model", tiny_model, "--data", data)

    findings = json.loads(succeed("check", *where, "--lang", "en", "--json"))["findings"]
    assert not [finding for finding in findings if finding["level"] == "error"], findings
    succeed("inspect", *where, "--lang", "de", "--split", "test")
    succeed("finetune", *where, "--lang", "en", "--out", trained, *SETTINGS)
    succeed("eval-transfer", "--run", trained, "--langs", "all", "--controls", "source")
    rows = read_rows(trained / "results.jsonl")
    assert {row.language for row in rows} == {"en", "de"}
    english: Row = next(row for row in rows if row.language == "en")
    assert english.value > english.baseline + 15, (english.value, english.baseline)
    assert all(row.ci_low <= row.value <= row.ci_high for row in rows)
    assert "as stored" in succeed("score", "--run", trained)
    succeed("compare", trained)
    succeed("report", trained, "--out", tmp_path / "report.html")
    assert case.in_report in (tmp_path / "report.html").read_text()

    (tmp_path / "in.jsonl").write_text(json.dumps(case.example) + "\n")
    predicted = json.loads(succeed("predict", "--run", trained, "--lang", "de", tmp_path / "in.jsonl"))
    assert case.is_prediction(predicted), predicted
    exported = tmp_path / "exported"
    lines = json.loads(succeed("export", "--run", trained, "--langs", "en", "--out", exported, "--json"))["lines"]
    key, value = case.in_config
    assert json.loads((exported / "config.json").read_text())[key] == value
    english = json.loads(succeed("predict", "--run", trained, "--lang", "en", tmp_path / "in.jsonl"))
    check_pipeline(exported, predicted, english)
    check_lines(lines, english)


def check_lines(lines: str, english: dict[str, Any]) -> None:
    """Check that the lines that `export` prints give the prediction of `predict`."""
    for example, text in (("A text of words .", "the cat runs"), ("Another text.", "the dog")):
        lines = lines.replace(example, text)
    lines = lines.replace("A text.", "the cat runs" if "scores" in english else "the cat")
    with redirect_stdout(StringIO()) as printed:
        exec(lines, {})
    result = ast.literal_eval(printed.getvalue())
    wanted = english["tags"] if "tags" in english else english["prediction"]
    assert result == (pytest.approx(wanted, abs=1e-4) if isinstance(wanted, float) else wanted)


def check_pipeline(exported: Path, german: dict[str, Any], english: dict[str, Any]) -> None:
    """Check that transformers' own pipeline gives the scores of `predict`."""
    from transformers import pipeline

    assert german["id"] == english["id"]
    if "tags" in english:
        tagger = pipeline("token-classification", str(exported))
        assert [word["entity"] for word in tagger("the cat runs")] == english["tags"]
        return
    model = pipeline("text-classification", str(exported), top_k=None)
    text = {"text": "the cat", "text_pair": "the dog"} if "scores" not in english else "the cat runs"
    (answers,) = model([text])
    scores = english.get("scores", {"number": english["prediction"]})
    assert {answer["label"]: pytest.approx(answer["score"], abs=1e-4) for answer in answers} == scores
