"""`langs` with several tasks: a map of languages, tasks, adapters, and fertility, on the terminal and as a page."""

import json
import re
from pathlib import Path

import pytest
from command_line import refused, run

import xmodctl
from xmodctl.catalog import catalog as library
from xmodctl.catalog.catalog import task_names
from xmodctl.core.errors import UserError

SEVERAL = "xnli,wikiann,sib200"


def test_of_several_tasks_each_language_has_those_with_data():
    result = run("langs", "--task", SEVERAL, "--no-fertility", "--json")
    assert result.exit_code == 0, result.output
    languages = {entry["language"]: entry for entry in json.loads(result.stdout)}
    assert languages["de_DE"]["tasks"] == ["xnli", "wikiann", "sib200"]
    assert languages["sv_SE"]["tasks"] == ["sib200"]
    assert languages["yo"] == {
        "language": "yo", "name": "Yoruba", "adapter": False, "data": True, "why": languages["yo"]["why"],
        "tasks": ["wikiann", "sib200"],
    }  # fmt: skip
    coverage = xmodctl.langs("facebook/xmod-base", SEVERAL.split(","), fertility=False)
    assert coverage.usable("xnli") == (15, 15)
    assert [entry.to_json()["language"] for entry in coverage.entries] == list(languages)


def test_tasks_of_several_options_are_those_of_one():
    words = [word for task in SEVERAL.split(",") for word in ("--task", task)]
    assert run("langs", *words, "--no-fertility").stdout == run("langs", "--task", SEVERAL, "--no-fertility").stdout


def test_the_map_of_the_most_tasks_fits_80_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    result = run("langs", "--task", ",".join([*task_names()][:12]), "--no-fertility")
    assert result.exit_code == 0, result.output
    assert max(map(len, result.stdout.splitlines())) <= 80, result.stdout
    assert re.search(r"(?m)^12  \S+: data in \d+ languages, \d+ with an adapter$", result.stdout)


@pytest.mark.slow
def test_on_a_narrow_terminal_many_tasks_are_listed_by_number(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    tasks = [name for name, task in library.tasks().items() if task.evaluation]
    result = run("langs", "--task", ",".join(tasks), "--no-fertility")
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80, result.stdout
    sw = lines.index(next(line for line in lines if line.startswith("sw_KE")))
    after = next(number for number, line in enumerate(lines[sw + 1 :], start=sw + 1) if line[:1].strip())
    numbers = " ".join(line[8:] for line in lines[sw:after]).split("yes")[1]
    parts = [part.split("-") for part in numbers.replace(" ", "").split(",")]
    listed = [tasks[number - 1] for part in parts for number in range(int(part[0]), int(part[-1]) + 1)]
    entry = next(entry for entry in xmodctl.langs(task=tasks, fertility=False).entries if entry.language == "sw_KE")
    assert listed == list(entry.tasks)


def test_fertility_is_the_pieces_per_word_of_the_data(tiny_model, pairs):
    from transformers import AutoTokenizer

    entries = xmodctl.langs(tiny_model, "xnli", pairs, fertility=True).entries
    measured = {entry.language: entry.fertility for entry in entries if entry.data}
    assert set(measured) == {"en_XX", "de_DE", "fr_XX", "sw_KE"}
    rows = [json.loads(line) for line in (pairs / "de" / "test.jsonl").read_text().splitlines()]
    texts = [row[column] for row in rows for column in ("premise", "hypothesis")]
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    pieces = sum(len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts)
    words = sum(len(re.findall(r"\w+|[^\w\s]", text)) for text in texts)
    assert measured["de_DE"] == pytest.approx(pieces / words, abs=1e-12)
    shown = json.loads(
        run("langs", "--model", tiny_model, "--task", "xnli", "--data", pairs, "--fertility", "--json").stdout
    )
    assert next(entry for entry in shown if entry["language"] == "de_DE")["fertility"] == round(pieces / words, 4)


def test_without_a_tokenizer_or_text_at_hand_the_map_says_so_and_asks_nobody(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    without_text = xmodctl.langs(tiny_model, "xnli,xquad")
    assert not any(entry.fertility for entry in without_text.entries)
    assert "their data is not on this disk" in without_text.remarks[0]
    (tmp_path / "config.json").write_text((tiny_model / "config.json").read_text())
    without_tokenizer = xmodctl.langs(tmp_path, "xnli,xquad")
    assert without_tokenizer.remarks == (f"no fertility: the tokenizer of {tmp_path} is not on this disk",)


def test_the_page_needs_nothing_else_is_escaped_and_has_a_dark_mode(tiny_model, pairs, tmp_path):
    evil = "<script>alert(1)</script>&\x1b[2J"
    task = tmp_path / "a&b <i>.yaml"
    values = {"title": evil, "kind": "sequence-classification", "labels": ["x", "y"], "languages": ["en", "xx", "de"]}
    task.write_text(json.dumps({**values, "columns": {"text": "text", "label": "label"}, "recipe": "nli"}))
    out = tmp_path / "map.html"
    result = run("langs", "--model", tiny_model, "--task", f"xnli,{task}", "--out", out)
    assert result.exit_code == 0, result.output
    assert f"map: {out}" in " ".join(result.stderr.split())
    page = out.read_text()
    assert not re.search(r"<script|<i>|\x1b|https?://|<link rel=\"stylesheet|src=", page.replace("img-src data:", ""))
    assert "a&amp;b &lt;i&gt;" in page
    assert "prefers-color-scheme: dark" in page
    assert page.startswith("<!DOCTYPE html>")
    assert ">de_DE<" in page
    xmodctl.langs(tiny_model, "xnli", pairs, out=out)
    assert re.search(r'class="heat" style="[^"]+">\d\.\d\d<', out.read_text())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--task", "xnli,xquad", "--data", "folder"], "--data needs a single --task"),
        (["--task", "xnli", "--out", "map.txt"], "a name that ends in .html"),
        (["--fertility"], "--fertility needs --task"),
        (["--task", "xnli,klingon"], "klingon"),
        (["--task", "xnli", "--out", "absent/folder/"], "a name that ends in .html"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    assert message in refused(run("langs", *options))


def test_two_tasks_of_one_name_are_refused(tmp_path):
    values = {"title": "a", "kind": "sequence-classification", "labels": ["x", "y"], "languages": ["en"]}
    mine = tmp_path / "xnli.yaml"
    mine.write_text(json.dumps({**values, "columns": {"text": "text", "label": "label"}, "recipe": "nli"}))
    with pytest.raises(UserError, match="two tasks are called xnli"):
        xmodctl.langs("mini", ["xnli", Path(mine)])
