"""Text with tagged parts in brackets, as MASSIVE has it, becomes words and tags."""

import json
from pathlib import Path

import pytest

from xmodctl.catalog import catalog as library
from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError
from xmodctl.core.schema import parse
from xmodctl.data import load_rows

SLOTS = Task.model_validate(
    {
        "name": "slots", "title": "Slots", "kind": "token-classification", "languages": ["de", "ja", "zh"],
        "columns": {"tokens": "tokens", "tags": "tags"}, "tagged_text": {"column": "annot_utt", "by_character": ["ja"]},
        "labels": ["O", "B-date", "I-date", "B-time", "I-time"], "recipe": "ner",
    }
)  # fmt: skip


def loaded(folder: Path, text: object, language: str = "de", task: Task = SLOTS) -> list[tuple[str, str]]:
    (folder / language).mkdir(parents=True, exist_ok=True)
    rows = [text] if isinstance(text, dict) else [{"annot_utt": text}]
    (folder / language / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    row = load_rows(task, language, "test", folder=folder).table[0]
    return [(word, task.labels[tag]) for word, tag in zip(row["tokens"], row["tags"], strict=True)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("wake me [date : this week] at [time : 5 : 30]",
         "wake/O me/O this/B-date week/I-date at/O 5/B-time :/I-time 30/I-time"),
        ("[date:tomorrow][date : today]  please", "tomorrow/B-date today/B-date please/O"),
        ("am [date : montag]s", "am/O montag/B-date s/O"),
        ("[ TIME : noon ] ok :", "noon/B-time ok/O :/O"),
    ],
)  # fmt: skip
def test_words_and_tags_are_made_from_the_text(text, words, tmp_path):
    assert loaded(tmp_path, text) == [tuple(word.rsplit("/", 1)) for word in words.split()]


def test_in_languages_without_spaces_each_character_is_a_word_except_ascii(tmp_path):
    text = "[date : 今週]の wifi を"
    assert loaded(tmp_path, text, "ja") == [
        ("今", "B-date"), ("週", "I-date"), ("の", "O"), ("wifi", "O"), ("を", "O"),
    ]  # fmt: skip
    assert loaded(tmp_path, text, "zh") == [("今週", "B-date"), ("の", "O"), ("wifi", "O"), ("を", "O")]


def test_rows_that_have_words_and_tags_are_read_as_they_are(tmp_path):
    assert loaded(tmp_path, {"tokens": ["a"], "tags": ["B-date"]}) == [("a", "B-date")]


@pytest.mark.parametrize("text", ["a [date : b", "a ] b", "[date] a", "[ : b] c", "[date : ] c", "[a [date : b] c]"])
def test_brackets_that_do_not_fit_are_reported_with_their_line(text, tmp_path):
    with pytest.raises(
        UserError, match=r"test\.jsonl:1: `annot_utt` is .*a bracket that is not closed or contains no tag"
    ):
        loaded(tmp_path, text)


@pytest.mark.parametrize("text", [3, None, ["a"]])
def test_what_is_no_text_is_reported(text, tmp_path):
    with pytest.raises(UserError, match=r"`annot_utt` is .*expected text"):
        loaded(tmp_path, {"annot_utt": text})


def test_an_unknown_slot_is_one_mistake_with_its_remedy(tmp_path):
    with pytest.raises(UserError, match=r"labels_mapped.place=O"):
        loaded(tmp_path, "in [place : berlin]")


def test_a_file_without_the_text_names_the_setting_which_works(tmp_path):
    row = {"markup": "on [date : monday]"}
    with pytest.raises(UserError, match=r"no column `annot_utt` .*found markup.*--set tagged_text.column=NAME"):
        loaded(tmp_path, row)
    task = SLOTS.with_values({"tagged_text.column": "markup"}, origin="--set")
    assert loaded(tmp_path, row, task=task) == [("on", "O"), ("monday", "B-date")]


def test_a_column_that_is_given_twice_is_refused(tmp_path):
    (tmp_path / "de").mkdir()
    (tmp_path / "de" / "test.jsonl").write_text('{"annot_utt": "[date : a]", "annot_utt": "[date : b]"}\n')
    with pytest.raises(UserError, match="annot_utt"):
        load_rows(SLOTS, "de", "test", folder=tmp_path)


def test_a_single_file_with_languages_is_divided_by_its_texts(tmp_path):
    rows = [{"annot_utt": f"[date : day {number}] x", "locale": code} for number in range(40) for code in ("de", "ja")]
    file = tmp_path / "all.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    counts = {split: len(load_rows(SLOTS, "ja", split, folder=file)) for split in ("train", "validation", "test")}
    assert counts == {"train": 32, "validation": 4, "test": 4}


def test_only_tasks_of_words_have_tagged_text():
    values = library.task("xnli").model_dump(by_alias=True) | {"tagged_text": {"column": "x"}}
    with pytest.raises(
        UserError, match="`tagged_text` has words and their tags, which sequence-classification does not"
    ):
        parse(Task, values, origin="mine.yaml", lines={})
