"""Findings before a training: each mistake in data is told, and sound data passes."""

import json
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from xmodctl.cli.app import app
from xmodctl.languages.scripts import script_of


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def check(model: Path, data: Path, *more: object) -> Result:
    return run("check", "--task", "xnli", "--lang", "en", "--model", model, "--data", data, *more)


def findings_of(result: Result, level: str) -> dict[str, str]:
    """Return the text of each check's findings of a level."""
    entry: dict[str, str] = {}
    for finding in json.loads(result.stdout)["findings"]:
        if finding["level"] == level:
            entry[finding["check"]] = f"{entry.get(finding['check'], '')} {finding['text']}".strip()
    return entry


def rows_of(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(path: Path, rows: list[dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_sound_data_passes_with_a_closing_count(tiny_model, pairs):
    result = check(tiny_model, pairs)
    assert result.exit_code == 0, result.output
    last = result.stdout.splitlines()[-1]
    passed, warnings, errors = (part.split() for part in last.split(", "))
    assert int(passed[0]) == sum(line.startswith("passed") for line in result.stdout.splitlines())
    assert warnings == ["0", "warnings"], result.output
    assert errors == ["0", "errors"]


def test_a_note_on_a_file_that_holds_every_split_and_language_is_one_finding(tiny_model, tmp_path):
    lines = ["text;label;lang"]
    for number in range(90):
        word, label = (("cat", "cats"), ("dog", "dogs"), ("red", "colors"))[number % 3]
        lines.append(f"the {word} runs {number};{label};{('en', 'de')[number % 2]}")
    (tmp_path / "tickets.csv").write_text("\n".join(lines) + "\n")
    words = ("--task", "classification", "--lang", "en", "--model", tiny_model, "--data", tmp_path / "tickets.csv")
    result = run("check", *words, "--json")
    assert findings_of(result, "passed")["rows"].count("columns are separated by") == 1
    assert "rows" not in findings_of(result, "warning"), "the mark between columns is no problem"
    assert "rows in 5 splits of 2 languages" in findings_of(result, "passed")["rows"]


@pytest.mark.parametrize(
    ("check_", "change", "predicted"),
    [
        ("overlap", lambda rows, train: [*rows[1:], train[0]], "en test: 1 of 24 rows also in the training data"),
        ("labels", lambda rows, _: [{**row, "label": "neutral"} for row in rows[1:]] + rows[:1], "100% are neutral"),
        ("labels", lambda rows, _: [row for row in rows if row["label"] != "neutral"], "no row has neutral"),
        ("duplicates", lambda rows, _: rows + rows[:3], "3 duplicate rows (11%)"),
        (
            "duplicates",
            lambda rows, _: [*rows, {**rows[0], "label": "contradiction"}],
            "1 duplicate row with a different label from the first one",
        ),
        ("script", lambda rows, _: [{**row, "premise": "кошка спит" * 9} for row in rows], "are cyrillic"),
        ("lengths", lambda rows, _: [{**row, "premise": "cat " * 200} for row in rows[:12]] + rows[12:], "12 rows"),
        ("vocabulary", lambda rows, _: [{**row, "premise": "unheard"} for row in rows], "does not know"),
    ],
)
def test_a_flaw_in_rows_is_a_warning(tiny_model, pairs, check_, change, predicted):
    path = pairs / "en" / "test.jsonl"
    if check_ == "labels" and "100" in predicted:  # one row in 24 differs: 96%
        predicted = "96% are neutral"
    write(path, change(rows_of(path), rows_of(pairs / "en" / "train.jsonl")))
    result = check(tiny_model, pairs, "--json")
    assert result.exit_code == 0, result.output
    assert predicted in findings_of(result, "warning")[check_]


def test_a_folder_that_names_no_language_is_told(tiny_model, pairs):
    write(pairs / "qx" / "test.jsonl", rows_of(pairs / "de" / "test.jsonl"))
    result = findings_of(check(tiny_model, pairs, "--json"), "warning")
    assert "qx: not a language code or name" in result["languages"]
    assert "adapters" not in result


def test_a_training_in_several_languages_is_checked_in_each(tiny_model, pairs):
    lacking = findings_of(check(tiny_model, pairs, "--lang", "en,de", "--json"), "error")
    assert "no training data in de_DE" in lacking["splits"]


def test_a_file_that_was_not_translated_is_told(tiny_model, pairs):
    write(pairs / "de" / "test.jsonl", rows_of(pairs / "en" / "test.jsonl"))
    result = check(tiny_model, pairs, "--json")
    assert "en test: 24 of 24 rows" in findings_of(result, "warning")["copies"]


def test_a_flaw_of_several_splits_is_one_finding(tiny_model, pairs):
    for language in ("de", "fr", "sw"):
        for split in ("validation", "test"):
            rows = rows_of(pairs / "en" / f"{split}.jsonl")
            write(pairs / language / f"{split}.jsonl", [{**row, "premise": "unheard слова " * 99} for row in rows])
    findings = json.loads(check(tiny_model, pairs, "--json").stdout)["findings"]
    warnings = [finding["text"] for finding in findings if finding["level"] == "warning"]
    assert [text.partition(": ")[0] for text in warnings] == [
        "duplicate rows",
        "letters that are not in the script of their language",
        "rows that are the same as in another language, perhaps untranslated",
        "rows that are truncated to the recipe's max_length",
        "tokens that the tokenizer does not know",
    ]
    assert "24 (100%) in sw test" in warnings[3]
    assert findings_of(check(tiny_model, pairs, "--langs", "en", "--json"), "warning") == {}


def test_hidden_labels_and_missing_training_data_are_errors_and_the_exit_code_is_1(tiny_model, pairs):
    path = pairs / "de" / "test.jsonl"
    write(path, [{**row, "label": "-"} for row in rows_of(path)])
    (pairs / "en" / "train.jsonl").unlink()
    result = check(tiny_model, pairs, "--json")
    assert result.exit_code == 1
    errors = findings_of(result, "error")
    assert "looks like a hidden test set" in errors["rows"]
    assert "no training data in en_XX" in errors["splits"]
    assert json.loads(result.stdout)["counts"]["error"] == 2


def test_a_language_without_adapter_is_told_and_one_without_data_is_an_error(tiny_model, pairs):
    (pairs / "sw").rename(pairs / "yo")
    result = check(tiny_model, pairs, "--json")
    assert "no adapter for yo" in findings_of(result, "warning")["adapters"]
    result = check(tiny_model, pairs, "--langs", "en,zh_TW", "--json")
    assert result.exit_code == 1
    assert "zh_TW" in findings_of(result, "error")["data"]


def test_an_answer_that_is_not_at_its_offset_is_told_with_its_line(tiny_model, tmp_path):
    task = tmp_path / "own.yaml"
    task.write_text(
        "title: Own\nkind: question-answering\nlanguages: [en]\nrecipe: nli\n"
        "columns: {context: context, question: question, answers: answers}\n"
    )
    row = {"context": "the cat runs", "question": "not", "answers": [{"text": "cat", "answer_start": 4}]}
    for split in ("train", "validation", "test"):
        write(tmp_path / "data" / "en" / f"{split}.jsonl", [{**row, "question": f"not {split}"}, row])
    flawed = [row, {**row, "answers": [{"text": "runs", "answer_start": 4}]}]
    write(tmp_path / "data" / "en" / "test.jsonl", flawed)
    result = run("check", "--task", task, "--model", tiny_model, "--data", tmp_path / "data", "--json")
    assert result.exit_code == 1
    assert "test.jsonl:2: the answer" in findings_of(result, "error")["rows"]


def test_nothing_is_downloaded_to_check_what_lies_on_the_hub():
    result = run("check", "--task", "xnli")
    assert result.exit_code == 0, result.output
    assert "--download" in result.stderr
    assert "15 languages" in result.stdout


def test_what_training_needs_is_held_against_what_there_is(tiny_model, pairs, monkeypatch):
    monkeypatch.setattr("xmodctl.training.preflight._memory", lambda: (10_000, "a very small machine"))
    monkeypatch.setattr("xmodctl.training.preflight.shutil.disk_usage", lambda _: type("Usage", (), {"free": 1})())
    result = check(tiny_model, pairs, "--json")
    assert result.exit_code == 1
    assert set(findings_of(result, "error")) == {"memory", "disk"}


@pytest.mark.parametrize(
    ("character", "script"),
    [("a", "LATIN"), ("ж", "CYRILLIC"), ("中", "CJK"), ("が", "HIRAGANA"), ("ก", "THAI"), ("7", None)],
)
def test_a_letter_tells_its_script(character, script):
    assert script_of(character) == script


def test_rows_are_shown_with_their_tokens_and_label(tiny_model, pairs):
    words = ("--task", "xnli", "--lang", "de", "--split", "test", "--model", tiny_model, "--data", pairs)
    result = run("inspect", *words, "--rows", "2", "--json")
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    first = rows_of(pairs / "de" / "test.jsonl")[0]
    assert [row["row"]["label"] for row in rows] == ["entailment", "neutral"]
    (sequence,) = rows[0]["sequences"]
    assert sequence["label"] == "entailment"
    assert sequence["tokens"] == ["<s>", *first["premise"].split(), "</s>", "</s>",
                                  *first["hypothesis"].split(), "</s>"]  # fmt: skip
    assert "-> entailment" in run("inspect", *words).stdout


def test_rows_of_a_language_that_the_model_lacks_are_shown_too(tiny_model, pairs, write_pairs):
    write_pairs(pairs, "ta", "test", 2)  # the model has six languages, not Tamil
    words = ("--lang", "ta", "--split", "test", "--model", tiny_model, "--data", pairs)
    result = run("inspect", "--task", "xnli", *words)
    assert result.exit_code == 0, result.output
    assert "-> entailment" in result.stdout


@pytest.mark.parametrize(
    ("kind", "columns", "row", "shown"),
    [
        (
            "token-classification",
            "{tokens: tokens, tags: tags}",
            {"tokens": ["the", "cat"], "tags": ["O", "B-X"]},
            "<s> the[O] cat[B-X] </s>",
        ),
        (
            "question-answering",
            "{context: context, question: question, answers: answers}",
            {"context": "the cat", "question": "not", "answers": [{"text": "cat", "answer_start": 4}]},
            "<s> not </s> </s> the cat[answer] </s>",
        ),
        (
            "question-answering",
            "{context: context, question: question, answers: answers}",
            {"context": "the cat", "question": "not", "answers": [{"text": "ca", "answer_start": 4}]},
            "-> cat (the answer, ca, begins or ends inside a token)",
        ),
        (
            "multiple-choice",
            "{context: context, choices: choices, label: label}",
            {"context": "the", "choices": ["cat", "dog"], "label": 1},
            "sequence 2 of 2, 6 tokens -> right\n    <s> the </s> </s> dog </s>",
        ),
    ],
)
def test_every_kinds_labels_stand_at_their_tokens(tiny_model, tmp_path, kind, columns, row, shown):
    task = tmp_path / "own.yaml"
    labels = "labels: [O, B-X, I-X]\n" if kind == "token-classification" else ""
    task.write_text(f"title: Own\nkind: {kind}\nlanguages: [en]\nrecipe: nli\n{labels}columns: {columns}\n")
    write(tmp_path / "data" / "en" / "train.jsonl", [row])
    result = run("inspect", "--task", task, "--lang", "en", "--model", tiny_model, "--data", tmp_path / "data")
    assert result.exit_code == 0, result.output
    assert shown in result.stdout


def test_checking_another_language_says_nothing_false_about_the_source(tiny_model, pairs):
    (pairs / "als").mkdir()
    (pairs / "als" / "test.jsonl").write_bytes((pairs / "de" / "test.jsonl").read_bytes())
    result = check(tiny_model, pairs, "--langs", "als", "--json")
    assert "splits" not in findings_of(result, "error")
    assert "en_XX has train" in findings_of(result, "passed")["splits"]


def test_data_with_other_names_is_named_in_the_finding(tiny_model, pairs):
    (pairs / "en" / "train.jsonl").rename(pairs / "en" / "de_train.jsonl")
    errors = findings_of(check(tiny_model, pairs, "--json"), "error")
    assert f"mv {pairs}/en/de_train.jsonl {pairs}/en/train.jsonl" in errors["splits"]


def test_numbers_that_are_all_the_same_are_one_finding(tiny_model, tmp_path):
    rows = [f"text {number},3,en" for number in range(40)]
    (tmp_path / "d.csv").write_text("\n".join(["text,score,lang", *rows]) + "\n")
    words = ("--task", "regression", "--lang", "en", "--model", tiny_model, "--data", tmp_path / "d.csv", "--json")
    (error,) = [each for each in json.loads(run("check", *words).stdout)["findings"] if each["level"] == "error"]
    assert error["text"] == (
        f"en train, en validation, en test: {tmp_path}/d.csv: every row has the same number, so there is nothing to "
        "learn; use data in which they differ"
    )


def test_one_cause_in_several_files_is_one_finding_whose_remedy_works(tiny_model, pairs):
    for split, changed in (("train", 5), ("test", 2)):
        path = pairs / "en" / f"{split}.jsonl"
        rows = rows_of(path)
        write(path, [{**row, "label": "maybe"} for row in rows[:changed]] + rows[changed:])
    result = check(tiny_model, pairs, "--json")
    (finding,) = [finding for finding in json.loads(result.stdout)["findings"] if finding["level"] == "error"]
    assert '`label` is "maybe"' in finding["text"]
    assert "5 rows in en train, 2 in en test (first: " in finding["text"]
    setting = shlex.split(finding["text"].rpartition("--set ")[2])[0]
    assert json.loads(setting.partition("=")[2]) == ["entailment", "neutral", "contradiction", "maybe"]
    assert not findings_of(check(tiny_model, pairs, "--json", "--set", setting), "error")
