"""The lines that `export` prints: pasted, with a row in place of the example, they give what `predict` gives."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import run
from tiny import WORDS

import xmodctl

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


@pytest.mark.parametrize("task", MADE)
def test_the_printed_lines_give_the_predictions_of_predict(task, tiny_model, tmp_path, monkeypatch, capsys):
    draw = np.random.default_rng(0)
    rows = [MADE[task](draw, number) for number in range(12)]
    for split in ("train", "validation"):
        path = tmp_path / "data" / "en" / f"{split}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {"epochs": 2, "batch_size": 4, "max_length": 32, "learning_rate": 0.01}
    settings |= {"xquad": {"stride": 8}, "xcopa": {"stages": []}}.get(task, {})
    trained = xmodctl.finetune(
        task, "en", model=tiny_model, data=tmp_path / "data", overrides=settings, out=tmp_path / "run"
    )
    monkeypatch.chdir(tmp_path)
    result = run("export", "--run", "run", "--langs", "en,de", "--out", "mine")
    assert result.exit_code == 0, result.output
    lines, command = result.stderr.split("In Python", 1)[1].split("\n", 2)[2].split("\n\nA folder of one language")
    assert f"{'predict.' if 'pipeline' in lines else ''}model.set_default_language('en_XX')" in lines
    lines = lines.replace("'en_XX'", "'de_DE'")
    predictions = list(xmodctl.predict(trained, "de", rows[:4]))
    capsys.readouterr()
    for row, prediction in zip(rows, predictions, strict=False):
        code, wanted = pasted(lines, row, prediction)
        exec(code, {})
        assert capsys.readouterr().out.strip() == wanted.strip()
    assert command.splitlines()[1].startswith("xmodctl export --run ")
    assert run(*command.splitlines()[1].split()[1:]).exit_code == 0
    assert json.loads(Path("mine-en_XX/config.json").read_text())["default_language"] == "en_XX"
