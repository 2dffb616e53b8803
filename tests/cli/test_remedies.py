"""Data with a mistake, for every task about data of your own: each message's remedy, followed literally, works."""

import csv
import io
import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import run

import xmodctl
from xmodctl.core.errors import UserError
from xmodctl.core.events import Notice
from xmodctl.core.schema import parse_override
from xmodctl.data import unusable
from xmodctl.training.findings import unreadable
from xmodctl.training.planning import resolve_plan
from xmodctl.training.request import FinetuneRequest

GOLD = {
    "classification": "label", "pairs": "label", "multi-label": "labels", "regression": "score", "tagging": "tags",
    "entities": "spans", "answers": "answer", "choices": "answer",
}  # fmt: skip
Row = dict[str, str]


def row(task: str, n: int) -> Row:
    letter = "ab"[n % 2]
    columns = {
        "classification": {"text": f"t {n}", "label": letter},
        "pairs": {"text": f"t {n}", "text_pair": f"u {n}", "label": letter},
        "multi-label": {"text": f"t {n}", "labels": letter if n % 3 else "a|b"},
        "regression": {"text": f"t {n}", "score": f"{n % 5}.5"},
        "tagging": {"tokens": f"the cat {n}", "tags": f"DET NOUN {'NUM' if n % 2 else 'X'}"},
        "entities": {"text": f"the cat {n}", "spans": json.dumps([[4, 7, "ANIMAL"] if n % 2 else [0, 3, "DET"]])},
        "answers": {"context": f"the cat {n} runs", "question": "who", "answer": f"cat {n}"},
        "choices": {"question": f"q {n}", "option_a": f"x {n}", "option_b": "y", "answer": letter},
    }[task]
    return {**columns, "lang": ("en", "de")[n // 2 % 2]}


def table(rows: list[Row], delimiter: str = ",") -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def with_last(**columns: str) -> Callable[[str], str]:
    """Return a file whose last rows have a mistake; the gold column is called `gold` here."""

    def content(task: str) -> str:
        wrong = {GOLD[task] if name == "gold" else name: value for name, value in columns.items()}
        rows = [dict.fromkeys(wrong, "") | row(task, n) for n in range(40)]
        return table([*rows, *({**rows[n], **wrong} for n in (1, 2))])

    return content


def split_with(gold: Callable[[str, int], str]) -> Callable[[str], str]:
    """Return a file whose test rows have other gold answers than its training rows."""

    def content(task: str) -> str:
        rows = [{**row(task, n), "split": "train"} for n in range(40)]
        return table([*rows, *({**row(task, n), GOLD[task]: gold(task, n), "split": "test"} for n in range(3))])

    return content


def renamed(task: str) -> str:
    names = {name: f"col{number}" for number, name in enumerate(row(task, 0)) if name != "lang"}
    return table([{names.get(name, name): value for name, value in row(task, n).items()} for n in range(40)])


NEW = {"entities": '[[0, 3, "NEW"]]', "tagging": "DET NOUN NEW", "answers": "none", "regression": "c"}
NUMBERS = {"tagging": "0 1 2", "entities": '[[0, 3, "0"]]', "answers": "0", "regression": "?"}
CASES: dict[str, Callable[[str], str]] = {
    "no header": lambda task: table([row(task, n) for n in range(40)]).partition("\n")[2],
    "no header, and semicolons": lambda task: table([row(task, n) for n in range(40)], ";").partition("\n")[2],
    "no header, and other columns": lambda task: table(
        [{**row(task, n), "note": "x 1", "more": ""} for n in range(40)]
    ).partition("\n")[2],
    "colons": lambda task: table([row(task, n) for n in range(40)], ":"),
    "other names": renamed,
    "semicolons": lambda task: table([row(task, n) for n in range(40)], ";"),
    "a class in test rows alone": split_with(lambda task, _: NEW.get(task, "c")),
    "numbers in place of words": split_with(lambda task, n: NUMBERS.get(task, str(n % 2))),
    "no gold": with_last(gold=""),
    "NaN": with_last(gold="NaN"),
    "no language": with_last(lang=""),
    "an unknown language": with_last(lang="x1"),
    "mixed encodings": with_last(note="stra\udcdfe"),
}
SPANS = {
    "a span outside the text": with_last(spans='[[4, 99, "DET"]]'),
    "spans that overlap": with_last(spans='[[0, 5, "DET"], [4, 7, "ANIMAL"]]'),
}
OPTION = re.compile(r"--(?:set|lang-column|lang|task) (?:[^\s,;']*'[^']*'|[^\s,;]+)")
PLACES = re.compile(r"(?:line |d\.csv:)(\d+)")
HEADER = re.compile(r"add a header line above it, such as ([\w,;]+)")
DELIMITER = re.compile(r"add the line `(sep=.)` above it")


def follow(options: dict[str, Any], message: str, file: Path) -> None:
    """Do what a message says: give its header, encode the file again, give its option, or remove rows."""
    content = file.read_text("utf-8", "surrogateescape")
    header, option = DELIMITER.search(message) or HEADER.search(message), OPTION.search(message)
    if header and (option is None or header.start() < option.start()):
        file.write_text(f"{header[1]}\n{content}")
    elif "save the file as UTF-8" in message:
        file.write_text(content.encode("utf-8", "surrogateescape").decode("latin-1"), "utf-8")
    elif option:
        name, value = shlex.split(option[0])
        assert name == "--set", message
        options.setdefault("overrides", {}).update([parse_override(value)])
    else:
        assert re.search("remove|correct", message), message
        wrong = {int(number) for number in PLACES.findall(message)}
        assert wrong, message
        lines = content.splitlines(keepends=True)
        file.write_text("".join(line for number, line in enumerate(lines, 1) if number not in wrong), "utf-8")


def problems(options: dict[str, Any], file: Path) -> Iterator[str]:
    """Yield what is wrong with data, as finetune reports it before it trains."""
    from xmodctl.model import look_up
    from xmodctl.training.training_data import load_training_data

    try:
        plan = resolve_plan(FinetuneRequest(lang="en", data=file, **options), look_up, lambda _: None)[0].plan
        load_training_data(plan, folder=file)
    except UserError as error:
        yield str(error)
    else:
        yield from (finding.text for finding in unreadable(unusable(plan.task, "test", file)))


@pytest.mark.parametrize("task", GOLD)
def test_remedies_that_are_followed_literally_lead_to_data_without_mistakes(tiny_model, tmp_path, task):
    for name, content in {**CASES, **(SPANS if task == "entities" else {})}.items():
        if (task, name) == ("choices", "no header, and other columns"):
            continue  # any number of columns may be choices
        file = tmp_path / "d.csv"
        file.write_text(content(task), "utf-8", "surrogateescape")
        options: dict[str, Any] = {"task": task, "model": tiny_model}
        messages: list[str] = []
        while message := next(problems(options, file), ""):
            messages.append(message)
            assert len(messages) < 8, (name, messages)
            assert message.count("\n") <= 1, (name, message)
            follow(options, message, file)


@pytest.mark.parametrize("task", GOLD)
def test_a_column_that_is_missing_is_never_replaced_with_another_that_is_read(tiny_model, tmp_path, monkeypatch, task):
    monkeypatch.chdir(tmp_path)
    needed = [name for name in row(task, 0) if name not in ("lang", "question" if task == "choices" else "")]
    for column in needed:
        rows = [{name: value for name, value in row(task, n).items() if name != column} for n in range(20)]
        Path("d.csv").write_text(table(rows))
        result = run("finetune", "--task", task, "--lang", "en", "--model", tiny_model, "--data", "d.csv", "--dry-run")
        assert result.exit_code == 2
        assert "no column is called" in result.stderr
        assert "--set" not in result.stderr, column
        if other := re.search(r"--task ([\w-]+)", result.stderr):
            again = run("finetune", "--task", other[1], "--lang", "en", "--model", tiny_model, "--data", "d.csv",
                        "--dry-run")  # fmt: skip
            assert again.exit_code == 0, again.stderr


@pytest.mark.parametrize("task", GOLD)
def test_data_without_anything_to_learn_is_refused_in_a_sentence(tiny_model, tmp_path, task):
    file = tmp_path / "d.csv"
    file.write_text(",".join(row(task, 0)) + "\n")
    (message,) = problems({"task": task, "model": tiny_model}, file)
    assert "contains no rows; give a header line" in message
    if task in ("tagging", "entities", "answers"):
        return  # whose rows have several answers
    file.write_text(table([{**row(task, n), GOLD[task]: row(task, 0)[GOLD[task]]} for n in range(20)]))
    (message,) = problems({"task": task, "model": tiny_model}, file)
    assert "there is nothing to learn" in message


def test_mistakes_in_test_rows_of_other_languages_are_reported_before_the_training(tiny_model, tmp_path):
    data = tmp_path / "data"
    rows = [f"t {n},{'ab'[n % 2]}" for n in range(20)]
    parts = {
        "en/train": [], "de/test": [",a"] * 3, "sw/test": [",b"], "de/train": [",a", ",b"], "fr/train": ["u,"] * 2,
        "fr/validation": [",a", "v,"],
    }  # fmt: skip
    for part, wrong in parts.items():
        (data / part).parent.mkdir(parents=True, exist_ok=True)
        (data / f"{part}.csv").write_text("\n".join(["text,label", *rows, *wrong]) + "\n")
    events: list[Any] = []
    xmodctl.finetune(
        "classification", "en", model=tiny_model, data=data, out=tmp_path / "run", listen=events.append,
        overrides={"epochs": 1, "max_length": 16},
    )  # fmt: skip
    texts = [event.text if isinstance(event, Notice) else type(event).__name__ for event in events]
    prefixes = ("test data that eval-transfer will refuse: ", "not read by this training: ")
    reported = [text for text in texts if text.startswith(prefixes)]
    assert [text.partition(" (first")[0] for text in reported] == [
        f"{prefixes[0]}`text` is empty; fill it in or remove the row: 3 rows in de test, 1 in sw test, 1 in fr "
        "validation, 2 in de train",
        f"{prefixes[1]}`label` is empty; fill it in or remove the row: 1 row in fr validation, 2 in fr train",
    ]
    assert texts.index(reported[-1]) < texts.index("RunOpened")
    (data / "fr/validation.csv").unlink()
    report = xmodctl.check("classification", "en", model=tiny_model, data=data)
    found = [(finding.level, finding.text.partition(" (")[0]) for finding in report.findings if "empty" in finding.text]
    assert found == [
        (
            "error",
            "`text` is empty; fill it in or remove the row: 3 rows in de test, 1 in sw test, 2 in de train",
        ),
        (
            "warning",
            f"not read by this training: fr train: {data}/fr/train.csv: `label` is empty; fill it in or remove the "
            "row: 2 rows",
        ),
    ]


def test_mistakes_in_training_rows_of_other_languages_of_one_file_are_reported_once(tiny_model, tmp_path):
    rows = [{"text": f"t {n}", "label": "ab"[n % 2], "lang": "en", "split": "train"} for n in range(20)]
    rows += [{"text": f"u {n}", "label": "ab"[n % 2] if n else "", "lang": "de", "split": "train"} for n in range(4)]
    rows += [{"text": f"v {n}", "label": "ab"[n % 2], "lang": "de", "split": "test"} for n in range(4)]
    file = tmp_path / "tickets.csv"
    file.write_text(table(rows))
    report = xmodctl.check("classification", "en", model=tiny_model, data=file)
    assert [(finding.level, finding.text) for finding in report.findings if "empty" in finding.text] == [
        (
            "warning",
            f"not read by this training: train: {file}:22: `label` is empty; fill it in or remove the row",
        )
    ]
