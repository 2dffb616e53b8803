"""Files with mistakes, from the first command to predictions: every remedy and every printed command is followed."""

import csv
import io
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from command_line import refused, run

from xmodctl.evaluation.results import read_rows

ROWS = 60
LANGUAGES = ("en", "de", "sw")
OPTION = re.compile(r"--(?:set|lang-column|lang|task|langs) (?:[^\s,;']*'[^']*'|[^\s,;)]+)")
PLACES = re.compile(r"(?:line |d\.csv:)(\d+)")
SPANS = {"the": [0, 3, "DET"], "cat": [4, 7, "ANIMAL"]}


def row(task: str, n: int) -> dict[str, str]:
    """Return a row whose columns have names that nobody can guess, but for the gold column and the language."""
    letter = "ab"[n % 2]
    columns: dict[str, dict[str, Any]] = {
        "classification": {"blurb": f"t, {n}\nthe cat", "verdict": letter},
        "pairs": {"left": f"t {n}", "right": f"u\n{n}", "verdict": letter},
        "multi-label": {"blurb": f"t {n}", "kinds": letter if n % 3 else "a|b"},
        "regression": {"blurb": f"t {n}", "points": f"{n % 5}.5"},
        "tagging": {"words_": f"the cat {n}", "parts": f"DET NOUN {'NUM' if n % 4 else 'X'}"},
        "entities": {"blurb": f"the cat {n}", "marked": json.dumps([list(SPANS.values())[n % 2]])},
        "answers": {"passage_": f"the cat {n} runs", "ask": "who", "reply_": f"cat {n}"},
        "choices": {"ask": f"q {n}", "first": f"x {n}", "second": "y", "right_": str(n % 2)},
    }
    return {**columns[task], "lang": LANGUAGES[n // 2 % 3], "locale": LANGUAGES[n // 2 % 3]}


def troubled(task: str) -> bytes:
    """Return a file with semicolons and Windows line ends, in which some rows cannot be used."""
    rows = [row(task, n) for n in range(ROWS)]
    gold = [*rows[0]][-3]
    rows += [{**rows[1], gold: ""}, {**rows[4], gold: ""}, {**rows[2], "lang": ""}, {**rows[3], "lang": " "}]
    rows += [{**rows[5], next(iter(rows[5])): "  "}]
    if task == "entities":
        rows += [{**rows[0], gold: '[[0, 99, "DET"]]'}, {**rows[6], gold: '[[0, 5, "DET"], [4, 7, "ANIMAL"]]'}]
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), delimiter=";", lineterminator="\r\n", quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().replace('"y"', '"ÿ"').encode("latin-1")


def without_rows(content: bytes, first_lines: set[int]) -> bytes:
    """Return a CSV file without the rows that begin at some lines."""
    kept, number = [], 1
    reader = csv.reader(io.StringIO(content.decode(), newline=""), delimiter=";")
    for fields in reader:
        if number not in first_lines:
            kept.append(fields)
        number = reader.line_num + 1
    file = io.StringIO()
    csv.writer(file, delimiter=";", lineterminator="\r\n", quoting=csv.QUOTE_ALL).writerows(kept)
    return file.getvalue().encode()


def follow(words: list[str], message: str, file: Path) -> list[str]:
    """Do what a message says, and return the command that is repeated: with its option, or on a corrected file."""
    if "save the file as UTF-8" in message:
        file.write_bytes(file.read_bytes().decode("latin-1").encode())
    elif option := OPTION.search(message):
        name, value = shlex.split(option[0])
        if name in words and name != "--set":
            place = words.index(name) + 1
            return [*words[:place], value, *words[place + 1 :]]
        return [*words, name, value]
    else:
        assert re.search("remove|correct", message), message
        wrong = {int(number) for number in PLACES.findall(message)}
        assert wrong, message
        file.write_bytes(without_rows(file.read_bytes(), wrong))
    return words


def succeed(words: list[str], file: Path) -> tuple[str, str, list[str]]:
    """Repeat a command after each remedy until it succeeds; return its outputs, and the messages that it ended with."""
    messages: list[str] = []
    while (result := run(*words)).exit_code:
        messages.append(refused(result) if result.exit_code == 2 else " ".join(result.stderr.split()))
        assert len(messages) < 12, messages
        words = follow(words, messages[-1], file)
    return result.stdout, " ".join(result.stderr.split()), messages


TASKS = ("classification", "pairs", "multi-label", "regression", "tagging", "entities", "answers", "choices")


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_remedies_and_printed_commands_lead_from_a_file_with_mistakes_to_predictions(
    tiny_model, tmp_path, monkeypatch, task
):
    monkeypatch.chdir(tmp_path)
    file = Path("d.csv")
    file.write_bytes(troubled(task))
    words = ["finetune", "--task", task, "--lang", "en", "--model", str(tiny_model), "--data", "d.csv"]
    _, notes, messages = succeed(words, file)
    assert messages, notes
    printed = re.search(r"next: xmodctl (eval-transfer --run \S+ --langs all)", notes)
    assert printed, notes
    succeed(shlex.split(printed[1]), file)
    assert not succeed(["eval-transfer", "--langs", "all"], file)[2]
    assert not succeed(["report"], file)[2]
    predicted, _, _ = succeed(["predict", "d.csv"], file)
    kept = list(csv.DictReader(io.StringIO(file.read_bytes().decode(), newline=""), delimiter=";"))
    assert len(predicted.splitlines()) == len(kept) >= ROWS
    (folder,) = Path("runs").iterdir()
    assert {each.language for each in read_rows(folder / "results.jsonl")} == set(LANGUAGES)
    assert (folder / "report.html").is_file()
