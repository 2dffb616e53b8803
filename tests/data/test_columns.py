"""Columns: those that are missing, those that occur twice, ids, and how to do without."""

import csv
import json
import random
import shlex
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError
from xmodctl.core.schema import parse_override
from xmodctl.data import load_rows
from xmodctl.data.columns import SIMILAR, nearest, similarity

QUESTIONS = Task(
    name="qa", title="Questions", kind="question-answering", languages=["en", "ja"], recipe="qa",
    columns={"context": "context", "question": "question", "answers": "answers", "id": "id"},
)  # fmt: skip


def put(folder: Path, name: str, *rows: dict[str, Any]) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def refusal(task: Task, folder: Path, language: str = "en", split: str = "test") -> str:
    with pytest.raises(UserError) as caught:
        load_rows(task, language, split, folder=folder)
    return str(caught.value)


def following(message: str, task: Task, *, last: bool = False) -> Task:
    """Return the task with the setting that a message gives."""
    words = shlex.split(message[message.index("--set") if not last else message.rindex("--set") :])
    return task.with_values(dict([parse_override(words[1].rstrip(","))]), origin="--set")


# --- missing ----------------------------------------------------------------------------------------------------------

PARALLEL = ["id", "sentence_A_En", "sentence_B_En", "sentence_A_Ja", "sentence_B_Ja", "label"]


@pytest.mark.parametrize(
    ("wanted", "names", "language", "meant"),
    [
        ("sentence_A", PARALLEL, "ja", "sentence_A_Ja"),
        ("sentence_A", PARALLEL, "en", "sentence_A_En"),
        ("sentence_A", ["sentence_B", "sentence_B_Ja"], "ja", None),
        ("sentence1", ["sentence2", "label"], "en", None),
        ("hypothesis", ["hypothesys", "premise"], "en", "hypothesys"),
        ("hypothesis", ["hypo", "premise"], "en", None),
        ("label", ["gold_label", "lable"], "en", "gold_label"),
        ("premise", ["Premise"], "en", "Premise"),
        ("premise", [" premise", "x"], "en", " premise"),
        ("reveiw", ["review", "rating"], "en", "review"),
        ("x" * 5000, ["y" * 5000], "en", None),
    ],
)
def test_the_nearest_name_is_the_one_that_is_meant(wanted, names, language, meant):
    assert nearest(wanted, names, language) == meant


def test_a_column_in_use_is_never_suggested_and_one_text_is_a_choice(tmp_path, nli):
    task = nli.with_values({"columns.text": "text"}, origin="--set")
    put(tmp_path, "en/test.jsonl", {"text": "a", "label": 0}, {"text": "b", "label": 1})
    message = refusal(task, tmp_path)
    assert "no column `hypothesis` for the text_pair (found text, label)" in message
    assert "columns.text_pair=NAME" in message
    rows = load_rows(following(message, task, last=True), "en", "test", folder=tmp_path)
    assert rows.arrow.column_names == ["id", "text", "label"]


def test_a_column_of_another_role_is_never_suggested(tmp_path, nli):
    put(tmp_path, "en/test.jsonl", {"premise": "a", "text": "b", "label": 0})
    assert "columns.text_pair=NAME" in refusal(nli, tmp_path)


def test_a_name_with_spaces_is_suggested_so_that_a_shell_passes_it_on(tmp_path, nli):
    (tmp_path / "en").mkdir()
    (tmp_path / "en/test.csv").write_text("  premise,hypothesis,label\nx,y,0\nx,y,1\n")
    message = refusal(nli, tmp_path)
    assert "--set 'columns.text=\"  premise\"'" in message
    assert load_rows(following(message, nli), "en", "test", folder=tmp_path).arrow["text"].to_pylist() == ["x", "x"]


@pytest.mark.parametrize("name", ["it's", "a b", "a: b", "#x", "yes", "null", "$HOME", "{x}", "ä,b"])
def test_every_name_is_suggested_in_a_form_that_is_read_back(tmp_path, nli, name):
    put(tmp_path, "en/test.jsonl", {"premise": "a", f"hypothesis {name}": "b", "label": 0}, {})
    message = refusal(nli, tmp_path)
    changed = following(message[: message.index(", or, if")], nli)
    assert changed.columns["text_pair"] == f"hypothesis {name}"


@pytest.mark.parametrize("value", ["none", "None", "null", "~", ""])
def test_an_optional_column_is_removed_also_from_the_training_data(value):
    location = {"locations": [{"repository": "a/b", "files": "x"}], "columns": {"id": "uid"}}
    task = Task.model_validate({**QUESTIONS.model_dump(exclude_unset=True), "training": location})
    changed = task.with_values(dict([parse_override(f"columns.id={value}")]), origin="--set")
    assert "id" not in changed.columns
    assert changed.training is not None
    assert changed.training.columns == {}


def test_a_needed_column_may_be_called_none():
    task = QUESTIONS.with_values({"columns.context": "none"}, origin="--set")
    assert task.columns["context"] == "none"


# --- ids --------------------------------------------------------------------------------------------------------------


def question(id_: Any, word: str, **more: Any) -> dict[str, Any]:
    start = "Anna and Bert.".index(word)
    answers = {"text": [word], "answer_start": [start]}
    return {"id": id_, "context": "Anna and Bert.", "question": "Who?", "answers": answers, **more}


def test_training_rows_may_share_an_id(tmp_path):
    put(tmp_path, "en/train.jsonl", question("q", "Anna"), question("q", "Bert"))
    assert len(load_rows(QUESTIONS, "en", "train", folder=tmp_path, evaluation=False)) == 2


def test_rows_to_score_that_share_an_id_are_refused_with_a_remedy_that_works(tmp_path):
    put(tmp_path, "en/test.jsonl", question("q", "Anna"), question("q", "Bert"))
    message = refusal(QUESTIONS, tmp_path)
    assert '`id` "q" is also the id of an earlier row' in message
    rows = load_rows(following(message, QUESTIONS), "en", "test", folder=tmp_path)
    assert rows.arrow["id"].to_pylist() == ["0", "1"]


@pytest.mark.parametrize(("id_", "written"), [(7, "7"), (7.0, "7.0"), (True, "true"), (" a ", "a"), (1.5, "1.5")])
def test_an_id_is_any_value_as_it_is_written(tmp_path, id_, written):
    put(tmp_path, "en/test.jsonl", question(id_, "Anna"), question("other", "Bert"))
    assert load_rows(QUESTIONS, "en", "test", folder=tmp_path).arrow["id"].to_pylist() == [written, "other"]


@pytest.mark.parametrize(
    ("id_", "problem"),
    [(None, "empty (null)"), ("", "expected text or a number"), ([1], "expected text or a number"),
     (float("nan"), "empty (NaN)"), ("x\ud800", "unpaired surrogate")],
)  # fmt: skip
@pytest.mark.parametrize("split", ["train", "test"])
def test_an_id_that_is_none_is_refused_in_one_sentence(tmp_path, id_, problem, split):
    put(tmp_path, f"en/{split}.jsonl", question(id_, "Anna"), question("other", "Bert"))
    message = refusal(QUESTIONS, tmp_path, split=split)
    assert problem in message
    assert "\n" not in message
    message.encode()


# --- twice ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_a_header_that_names_a_needed_column_twice_is_refused(tmp_path, nli, ending):
    mark = "," if ending == "csv" else "\t"
    lines = ["premise", "hypothesis", "label", "premise"], ["a", "b", "0", "c"]
    (tmp_path / "en").mkdir()
    (tmp_path / f"en/test.{ending}").write_text("".join(mark.join(line) + "\n" for line in lines))
    assert 'columns 1 and 4 are all called "premise"' in refusal(nli, tmp_path)


def test_a_header_that_names_another_column_twice_is_read(tmp_path, nli):
    (tmp_path / "en").mkdir()
    (tmp_path / "en/test.csv").write_text("premise,hypothesis,label,note,note\na,b,0,x,y\na,b,1,x,y\n")
    assert len(load_rows(nli, "en", "test", folder=tmp_path)) == 2


def test_a_parquet_file_with_a_needed_column_twice_is_refused(tmp_path, nli):
    (tmp_path / "en").mkdir()
    columns = [pa.array(["a", "b"]), pa.array(["a", "b"]), pa.array([0, 1]), pa.array([1, 0])]
    pq.write_table(pa.table(columns, names=["premise", "hypothesis", "label", "label"]), tmp_path / "en/test.parquet")
    assert 'columns 3 and 4 are all called "label"' in refusal(nli, tmp_path)


@pytest.mark.parametrize("ending", ["jsonl", "json"])
def test_an_object_that_names_a_needed_column_twice_is_refused(tmp_path, nli, ending):
    rows = (
        '{"premise": "a", "hypothesis": "b", "label": 0, "label": 1}',
        '{"premise": "a", "hypothesis": "b", "label": 0}',
    )
    (tmp_path / "en").mkdir()
    text = "\n".join(rows) if ending == "jsonl" else f"[{', '.join(rows)}]"
    (tmp_path / f"en/test.{ending}").write_text(text)
    assert 'an object has "label" 2 times' in refusal(nli, tmp_path)


def test_an_answer_that_names_its_place_twice_is_refused(tmp_path):
    text = json.dumps(question("q", "Anna")).replace('"answer_start": [0]', '"answer_start": [0], "answer_start": [9]')
    (tmp_path / "en").mkdir()
    (tmp_path / "en/test.jsonl").write_text(text + "\n")
    assert 'an object has "answer_start" 2 times' in refusal(QUESTIONS, tmp_path)


# --- contradictions, and size -----------------------------------------------------------------------------------------


def test_impossible_questions_with_answers_are_counted_in_a_note(tmp_path):
    rows = [question("a", "Anna", is_impossible=True), question("b", "Bert", is_impossible=False)]
    put(tmp_path, "a/en/test.jsonl", *rows)
    plain_rows = [{**row, "answers": [{key: row["answers"][key][0] for key in row["answers"]}]} for row in rows]
    document = {"data": [{"paragraphs": [{"context": rows[0]["context"], "qas": plain_rows}]}]}
    (tmp_path / "b/en").mkdir(parents=True)
    (tmp_path / "b/en/test.json").write_text(json.dumps(document))
    (tmp_path / "c/en").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "c/en/test.parquet")
    (tmp_path / "d/en").mkdir(parents=True)
    cells = [(row["id"], row["question"], row["context"], json.dumps(row["answers"])) for row in rows]
    with (tmp_path / "d/en/test.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "question", "context", "answers", "is_impossible"))
        writer.writerows([(*cells[0], "True"), (*cells[1], "False")])
    put(tmp_path, "e/en/test.jsonl", {**rows[0], "is_impossible": 1}, {**rows[1], "is_impossible": 0})
    for folder in "abcde":
        (note,) = load_rows(QUESTIONS, "en", "test", folder=tmp_path / folder).notes
        assert "`is_impossible` is true in 1 rows with answers" in note


def test_what_is_far_too_long_is_refused_before_it_fills_the_memory(tmp_path, nli, monkeypatch):
    from xmodctl.data import files, readers
    from xmodctl.kinds import rows

    row = {"premise": "word " * 1000, "hypothesis": "b", "label": 0}
    path = put(tmp_path, "en/test.jsonl", row)
    monkeypatch.setattr(rows, "LONGEST_TEXT", 4999)
    assert "`premise` has 5,000 characters; split it, the limit is 4,999" in refusal(nli, tmp_path)
    monkeypatch.setattr(files, "LONGEST_LINE", 2**12)
    assert f"{path}: line 1 is longer than" in refusal(nli, tmp_path)
    path = path.rename(path.with_suffix(".json"))
    monkeypatch.setattr(files, "LARGEST_DOCUMENT", 2**12)
    assert "line 1 is longer than" in refusal(nli, tmp_path)
    path.write_text(json.dumps([row] * 3, indent=1))
    monkeypatch.setattr(files, "LARGEST_DOCUMENT", 2**13)
    monkeypatch.setattr(readers, "LARGEST_DOCUMENT", 2**13)
    assert "is one JSON document of more than" in refusal(nli, tmp_path)


def test_names_with_few_letters_in_common_are_skipped_without_a_change_of_the_result():
    chance = random.Random(3)
    words = ["".join(chance.choices("abcdeé", k=chance.randint(1, 9))) for _ in range(340)]
    results = set()
    for wanted in words[300:]:
        suggested = nearest(wanted, words[:300])
        highest = max(similarity(wanted, name) for name in words[:300])
        results.add(suggested is None)
        assert (0.0 if suggested is None else similarity(wanted, suggested)) == (highest if highest >= SIMILAR else 0.0)
    assert results == {True, False}
