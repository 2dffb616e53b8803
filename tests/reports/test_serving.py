"""The lines that `export` prints: pasted, with a row in place of the example, they give what `predict` gives."""

import json
import os
import shutil
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import run
from huggingface_hub import ModelCard
from tiny import WORDS

import xmodctl
from xmodctl.core.errors import UserError
from xmodctl.core.events import Event
from xmodctl.model.onnx import NO_TELEMETRY

FILLERS = [word for word in WORDS if word not in ("red", "blue", "never")]


def words(draw: np.random.Generator, count: int) -> list[str]:
    return draw.choice(FILLERS, count).tolist()


def pair(draw: np.random.Generator, label: int) -> dict[str, Any]:
    name = ("entailment", "neutral", "contradiction")[label % 3]
    return {"premise": " ".join(words(draw, 3)), "hypothesis": ("red", "blue", "never")[label % 3], "label": name}


def sentence(draw: np.random.Generator, number: int) -> dict[str, Any]:
    tokens = words(draw, 5)
    return {"tokens": tokens, "ner_tags": ["B-PER" if token in ("cat", "dog") else "O" for token in tokens]}


def question(draw: np.random.Generator, number: int) -> dict[str, Any]:
    context = " ".join(words(draw, 8))
    answers = {"text": [context.split()[2]], "answer_start": [len(" ".join(context.split()[:2])) + 1]}
    return {"id": str(number), "context": context, "question": "red cat", "answers": answers}


def choice(draw: np.random.Generator, number: int) -> dict[str, Any]:
    right = number % 2
    choices = {f"choice{right + 1}": "red", f"choice{2 - right}": " ".join(words(draw, 2))}
    return {
        "premise": " ".join(words(draw, 3)),
        **choices,
        "question": ("cause", "effect")[number % 3 % 2],
        "label": right,
    }


MADE = {"xnli": pair, "wikiann": sentence, "xquad": question, "xcopa": choice}


def pasted(lines: str, row: dict[str, Any], prediction: dict[str, Any]) -> tuple[str, str]:
    """Return the lines with a row in them, and what they are to print."""
    if "tokens" in row:
        return lines.replace('"A text of words ."', repr(" ".join(row["tokens"]))), str(prediction["tags"])
    if "premise" in row and "hypothesis" in row:
        lines = lines.replace('"A text."', repr(row["premise"])).replace('"Another text."', repr(row["hypothesis"]))
    elif "context" in row:
        lines = lines.replace('"A question?"', repr(row["question"])).replace('"A context."', repr(row["context"]))
    else:
        connective = {"cause": "weil", "effect": "daher"}[row["question"]]
        asked = [f"{connective} {row['choice1']}", f"{connective} {row['choice2']}"]
        lines = lines.replace('"A context."', repr(row["premise"])).replace(
            '["because One.", "because Two."]', repr(asked)
        )
    return lines, str(prediction["prediction"])


def fine_tuned(task: str, model: Path, place: Path) -> tuple[xmodctl.Run, list[dict[str, Any]]]:
    """Return a run of a few steps, and its rows."""
    draw = np.random.default_rng(0)
    rows = [MADE[task](draw, number) for number in range(12)]
    for split in ("train", "validation"):
        path = place / "data" / "en" / f"{split}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {"epochs": 2, "batch_size": 4, "max_length": 32, "learning_rate": 0.01}
    settings |= {"xquad": {"stride": 8}, "xcopa": {"stages": []}}.get(task, {})
    return xmodctl.finetune(task, "en", model=model, data=place / "data", overrides=settings, out=place / "run"), rows


def check(lines: str, run: xmodctl.Run, rows: list[dict[str, Any]]) -> None:
    """Check that lines give the German predictions of `predict`."""
    for row, prediction in zip(rows, xmodctl.predict(run, "de", rows), strict=True):
        code, wanted = pasted(lines, row, prediction)
        with redirect_stdout(StringIO()) as printed:
            exec(code, {})
        assert printed.getvalue().strip() == wanted.strip()


@pytest.mark.parametrize("task", MADE)
def test_the_printed_lines_give_the_predictions_of_predict(task, tiny_model, tmp_path, monkeypatch):
    trained, rows = fine_tuned(task, tiny_model, tmp_path)
    monkeypatch.chdir(tmp_path)
    result = run("export", "--run", "run", "--langs", "en,de", "--out", "mine")
    assert result.exit_code == 0, result.output
    lines, command = result.stderr.split("In Python", 1)[1].split("\n", 2)[2].split("\n\nA folder of one language")
    assert f"{'predict.' if 'pipeline' in lines else ''}model.set_default_language('en_XX')" in lines
    check(lines.replace("'en_XX'", "'de_DE'"), trained, rows[:4])
    with_class = (tmp_path / "mine" / "README.md").read_text().split("```python\n")[1].split("```")[0]
    check(with_class.replace("'en_XX'", "'de_DE'"), trained, rows[:2])
    assert command.splitlines()[1].startswith("xmodctl export --run ")
    assert run(*command.splitlines()[1].split()[1:]).exit_code == 0
    assert json.loads(Path("mine-en_XX/config.json").read_text())["default_language"] == "en_XX"


@pytest.mark.slow
def test_a_graph_gives_the_predictions_of_predict(tiny_model, tmp_path, monkeypatch):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    trained, rows = fine_tuned("xquad", tiny_model, tmp_path)
    monkeypatch.chdir(tmp_path)
    events: list[Event] = []
    exported = xmodctl.export("graph", run=trained, langs="de", format="onnx", listen=events.append)
    assert {"model.onnx", "config.json", "tokenizer.json", "README.md"} == {
        path.name for path in exported.folder.iterdir()
    } - {"tokenizer_config.json"}
    assert "checked: " in str(events[-1])
    metadata = ModelCard.load("graph/README.md").data
    assert metadata.library_name == "onnx"
    assert "onnx" in metadata.tags
    check(exported.lines, trained, rows[:4])
    monkeypatch.setattr("xmodctl.model.onnx._export", lambda *given: shutil.copy("graph/model.onnx", given[-1]))
    monkeypatch.setattr("xmodctl.model.onnx.TOLERANCE", 0)
    with pytest.raises(UserError, match="the ONNX graph differs from the model"):
        xmodctl.export("other", run=trained, langs="de", format="onnx")
    assert not Path("other").exists()


def test_a_missing_package_of_graphs_is_named_before_the_model_is_loaded(trained, tmp_path, monkeypatch):
    monkeypatch.setattr("xmodctl.model.onnx.PACKAGES", ("no_such_package",))
    events: list[Event] = []
    with pytest.raises(UserError, match=r"pip install 'xmodctl\[onnx\]'"):
        xmodctl.export(tmp_path / "graph", run=trained[0], langs="de", format="onnx", listen=events.append)
    assert not events


@pytest.mark.slow
def test_onnx_runtime_has_no_telemetry_and_leaves_no_file(tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    program = "from xmodctl.model.onnx import prepare_runtime; prepare_runtime(); import onnxruntime"
    environment = {name: value for name, value in os.environ.items() if name != NO_TELEMETRY}
    subprocess.run([sys.executable, "-c", program], check=True, env={**environment, "TMPDIR": str(tmp_path)})
    assert not list(tmp_path.iterdir())
