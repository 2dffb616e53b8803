"""The examples in docs/extending.md work as the page says."""

import importlib.util
import json
import random
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from xmodctl.cli.app import app
from xmodctl.kinds import KINDS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
REVIEWS = ("the cat sleeps", "a red dog runs", "never a blue chat", "paka runs not", "the katze sleeps", "a dog never")


def write_example(mark: str, folder: Path) -> Path:
    """Write the code block after `<!-- ...: NAME -->` to a file of that name."""
    match = re.search(rf"<!-- \w+: {re.escape(mark)} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert match, mark
    path = folder / mark
    path.write_text(match[1], encoding="utf-8")
    return path


def write_reviews(folder: Path, column: str, labels: tuple[str, ...]) -> Path:
    draw = random.Random(0)
    for language, splits in {"en": ("train", "validation", "test"), "de": ("test",), "sw": ("test",)}.items():
        (folder / language).mkdir(parents=True)
        for split in splits:
            rows = [
                {
                    "review": f"{draw.choice(REVIEWS)} {draw.choice(REVIEWS)} {number}",
                    column: labels[number % len(labels)],
                }
                for number in range(20)
            ]
            (folder / language / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def run(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exit_code and result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def train_and_score(task: Path, data: Path, model: Path, out: Path) -> dict:
    settings = ("--set", "epochs=1", "--set", "max_length=32", "--data", data)
    run("finetune", "--task", task, "--lang", "en", "--model", model, "--out", out, *settings)
    return json.loads(run("eval-transfer", "--run", out, "--langs", "de,sw", "--controls", "source", "--json"))


def test_a_benchmark_is_one_yaml_file(tiny_model, tmp_path):
    task = write_example("sentiment.yaml", tmp_path)
    data = write_reviews(tmp_path / "reviews", "sentiment", ("negative", "positive"))
    assert "Sentiment of reviews" in run("tasks", "show", task)
    scored = train_and_score(task, data, tiny_model, tmp_path / "run")
    assert {row["metric"] for row in scored["rows"]} == {"accuracy"}
    assert {row["language"] for row in scored["rows"]} == {"en", "de", "sw"}


def test_a_kind_of_task_is_one_python_file(tiny_model, tmp_path, monkeypatch):
    specification = importlib.util.spec_from_file_location("text_rating", write_example("text_rating.py", tmp_path))
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    monkeypatch.setitem(KINDS, "text-rating", module.TextRating())

    task = write_example("ratings.yaml", tmp_path)
    data = write_reviews(tmp_path / "reviews", "stars", ("1", "2", "3", "4", "5"))
    folder = tmp_path / "run"
    scored = train_and_score(task, data, tiny_model, folder)
    assert {row["kind"] for row in scored["rows"]} == {"text-rating"}
    assert all(0 <= row["metrics"]["accuracy"] <= row["metrics"]["within_one"] <= 100 for row in scored["rows"])
    assert all(row["ci_low"] <= row["value"] <= row["ci_high"] for row in scored["rows"])

    assert "within_one" in run("report", folder, "--format", "csv")
    assert "Ratings of reviews" in run("report", folder, "--format", "markdown")
    run("report", folder)
    assert "within_one" in run("compare", folder, "--json")
    run("score", "--run", folder)
    (tmp_path / "texts.txt").write_text("the cat runs\n")
    assert json.loads(run("predict", "--run", folder, "--lang", "de", tmp_path / "texts.txt"))["prediction"] in "12345"
    inspected = run("inspect", "--task", task, "--lang", "de", "--split", "test", "--model", tiny_model, "--data", data)
    assert "tokens -> 1" in inspected
    run("check", "--task", task, "--lang", "en", "--model", tiny_model, "--data", data)
    run("export", "--run", folder, "--out", tmp_path / "exported")
    assert "id2label" in (tmp_path / "exported" / "README.md").read_text()


def test_a_report_format_is_one_python_file(tmp_path, monkeypatch):
    from scored import labels, make_run, score

    from xmodctl.reports import formats

    write_example("tsv.py", tmp_path)
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(tmp_path)])
    scored = make_run(tmp_path / "run")
    for language, right in (("en", [True, True, True, False]), ("de", [True, False, True, False])):
        score(scored, language, labels(right))
    table = "language\trun\nen\t75.0\nde\t50.0\n"
    assert run("report", scored.folder, "--format", "tsv") == table
    run("report", scored.folder, "--out", tmp_path / "scores.tsv")
    assert (tmp_path / "scores.tsv").read_text() == table


def test_a_command_is_one_python_file(tmp_path, monkeypatch):
    from scored import make_run

    from xmodctl.cli import commands

    write_example("delta_size.py", tmp_path)
    monkeypatch.setattr(commands, "__path__", [*commands.__path__, str(tmp_path)])
    trained = make_run(tmp_path / "run")
    trained.delta(1).parent.mkdir(parents=True)
    trained.delta(1).write_bytes(bytes(1234))
    assert "Show the size of each delta of a run." in run("--help")
    assert "1,234" in run("delta-size", "--run", trained.folder)
    assert json.loads(run("delta-size", "--run", trained.folder, "--json")) == [{"seed": 1, "bytes": 1234}]


@pytest.mark.parametrize("mark", re.findall(r"<!-- (?:kind|command|format): (\w+\.py) -->", PAGE))
def test_an_example_says_what_it_is(mark, tmp_path):
    assert write_example(mark, tmp_path).read_text().startswith('"""')
