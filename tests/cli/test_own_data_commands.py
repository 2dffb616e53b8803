"""Data of your own, from one file to scores, a report, and predictions, with one line each."""

import json
import re
import shlex
from pathlib import Path

import pytest
from command_line import run

from xmodctl.evaluation.results import Row, read_rows
from xmodctl.evaluation.scoring_commands import scoring_command

FAST = ("--set", "epochs=1", "--set", "max_length=32")  # for time alone


def succeed(*words: object) -> str:
    result = run(*words)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def write_tickets(folder: Path) -> Path:
    words = {"cats": "cat", "dogs": "dog", "colors": "red"}
    lines = ["body;category;lang"]
    for number in range(90):
        label = list(words)[number % 3]
        lines.append(f"the {words[label]} runs {number};{label};{('en', 'de')[number % 2]}")
    (folder / "tickets.csv").write_text("\n".join(lines) + "\n")
    return folder / "tickets.csv"


def score_again(folder: Path, row: Row) -> None:
    """Run the command that messages print for a row, and compare what it measures."""
    count = len(read_rows(folder / "results.jsonl"))
    words = shlex.split(scoring_command(folder, row, redo=True))
    succeed(*words[1:])
    again = [new for new in read_rows(folder / "results.jsonl") if new.key == row.key]
    assert [(new.data, new.n, new.value, new.read_as) for new in again] == [(row.data, row.n, row.value, row.read_as)]
    assert len(read_rows(folder / "results.jsonl")) == count


@pytest.mark.slow
def test_one_line_each_from_a_csv_to_predictions(tiny_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_tickets(tmp_path)
    words = ("--task", "classification", "--lang", "en", "--model", tiny_model, "--data", "tickets.csv")
    output = succeed("finetune", *words, *FAST)
    assert "label from `category`" in output
    assert output.count('separated by ";"') == 1
    assert "of the rows in de, too, only one in ten is scored" in " ".join(output.split())
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("tickets-en_XX-")
    assert f"--run runs/{folder.name} --langs all" in " ".join(output.split())
    assert succeed("eval-transfer", "--langs", "all").count('separated by ";"') == 1
    rows = {row.language: row for row in read_rows(folder / "results.jsonl")}
    assert set(rows) == {"en", "de"}
    assert rows["de"].data_set == str(tmp_path / "tickets.csv")
    score_again(folder, rows["de"])
    assert "cannot be read" not in succeed("report")
    assert "the cat runs" in (folder / "report.html").read_text()
    assert json.loads((folder / "run.json").read_text())["plan"]["task"]["labels"] == ["cats", "colors", "dogs"]

    succeed("predict", "tickets.csv", "--keep-input", "--out", "labeled.csv")
    labeled = (tmp_path / "labeled.csv").read_text().splitlines()
    assert labeled[0] == "id,body,category,lang,prediction,score.cats,score.colors,score.dogs"
    assert len(labeled) == 91
    assert labeled[1].startswith("2,the cat runs 0,cats,en,")

    # Another file is scored as a whole, and kept apart.
    other = tmp_path / "other.csv"
    other.write_text("body,category\nthe cat,cats\nthe dog,dogs\nthe red,colors\n")
    succeed("eval-transfer", "--langs", "de", "--data", other)
    (row,) = (row for row in read_rows(folder / "results.jsonl") if row.data_set == str(other))
    assert row.n == 3
    score_again(folder, row)
    assert "has changed" not in succeed("report")


@pytest.mark.slow
def test_one_line_each_from_spans_to_entities(tiny_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = []
    for number in range(60):
        text = f"the {('cat', 'dog')[number % 2]} runs, {number}."
        rows.append({"text": text, "label": [[4, 7, "ANIMAL"]], "lang": ("en", "de")[number // 2 % 2]})
    (tmp_path / "spans.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    succeed("finetune", "--task", "entities", "--lang", "en", "--model", tiny_model, "--data", "spans.jsonl", *FAST)
    succeed("eval-transfer", "--langs", "all")
    assert "cannot be read" not in succeed("report")
    output = run("predict", "spans.jsonl").stdout.splitlines()
    assert len(output) == 60
    assert json.loads(output[0])["tokens"] == ["the", "cat", "runs", ",", "0", "."]


OPTION = re.compile(r"--(?:set|lang-column|lang|task) (?:'[^']*'|[^\s,;]+)")


def follow(words: list[str], message: str) -> list[str]:
    """Return a command with the first option that a message names, as a user would type it."""
    option, value = shlex.split(OPTION.search(message)[0])
    if option in words and option != "--set":
        place = words.index(option) + 1
        return [*words[:place], value, *words[place + 1 :]]
    return [*words, option, value]


def rows_of(header: str, *lines: str) -> str:
    return "\n".join(
        [header, *[line.format(n=number, label="ab"[number // 2 % 2]) for number in range(40) for line in lines]]
    )


TROUBLED = {
    "two texts": rows_of("review,comment,label", "t {n},u,{label}"),
    "two languages": rows_of("text,label,lang,locale", "t {n},{label},en,en_US"),
    "no usual name": rows_of("blurb,verdict,lang", "t {n},{label},en"),
    "other language": rows_of("text,label,lang", "t {n},{label},de"),
    "label elsewhere": rows_of("text,label,lang", "t {n},{label},en") + "\nt,c,de\n",
    "numbers": rows_of("text,label,lang", "t {n},{n}.5,en"),
    "all at once": rows_of("review,comment,verdict,lang,locale", "t {n},u,{label},de,de_DE") + "\nt,u,c,fr,fr_FR",
}


@pytest.mark.parametrize("name", TROUBLED)
def test_remedies_that_are_followed_mechanically_lead_to_a_plan(tiny_model, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d.csv").write_text(TROUBLED[name])
    words = ["--task", "classification", "--lang", "en", "--model", str(tiny_model), "--data", "d.csv", "--dry-run"]
    messages = []
    while (result := run("finetune", *words)).exit_code:
        assert result.exit_code == 2
        messages.append(" ".join(result.stderr.split()))
        assert len(messages) < 8, messages
        words = follow(words, messages[-1])
    assert messages


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("finetune", "--task", "classification", "--lang", "en"), "give it with --data FILE or --data DIR"),
        (
            ("finetune", "--task", "classification", "--lang", "en", "--data", "none.csv"),
            "none.csv is not a folder or a file",
        ),
        (("finetune", "--task", "classification", "--lang", "en", "--data", "book.xls"), "save it as CSV"),
        (
            ("finetune", "--task", "classification", "--lang", "en", "--data", "tickets"),
            "rename it, such as to tickets.csv",
        ),
    ],
)
def test_what_is_missing_is_said_before_anything_is_loaded(tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "book.xls").write_bytes(b"PK")
    (tmp_path / "tickets").write_text("text,label\n")
    result = run(*words, "--model", "mini")
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


def test_a_run_is_named(tmp_path, monkeypatch, tiny_model):
    monkeypatch.chdir(tmp_path)
    write_tickets(tmp_path)
    words = ("finetune", "--task", "classification", "--lang", "en", "--model", tiny_model, "--data", "tickets.csv")
    planned = json.loads(run(*words, "--name", "my-tickets", "--dry-run", "--json").stdout)
    assert planned["run"] == "runs/my-tickets"
    for name in ("../up", "a/b", ""):
        assert run(*words, "--name", name, "--dry-run").exit_code == 2
    assert run(*words, "--name", "a", "--out", "b", "--dry-run").exit_code == 2


def test_tasks_list_says_that_languages_come_from_the_data():
    assert "of your data" in succeed("tasks", "list")
