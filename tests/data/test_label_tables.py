"""Labels and questions that the data writes differently from the task."""

import json
from pathlib import Path
from typing import Any

import pytest

from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError
from xmodctl.data import load_rows

FACTS = {"name": "mine", "title": "Mine", "languages": ["de", "en"], "recipe": "any"}
CHOICES = FACTS | {
    "kind": "multiple-choice",
    "columns": {"context": ["first", "second"], "question": "asks", "choices": ["a", "b"], "label": "label"},
    "connectives": {"en": {"cause": "because", "effect": "so"}, "de": {"cause": "weil", "effect": "daher"}},
}


def put(folder: Path, language: str, *rows: dict[str, Any]) -> Path:
    (folder / language).mkdir()
    (folder / language / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def choice(asks: str, label: int) -> dict[str, Any]:
    return {"first": "One.", "second": "Two.", "asks": asks, "a": "x", "b": "y", "label": label}


def test_a_question_becomes_its_wording_and_texts_in_several_columns_are_joined(tmp_path):
    put(tmp_path, "deu", choice("Effect", 0), choice("cause", 1))
    rows = load_rows(Task.model_validate(CHOICES), "de_DE", "test", folder=tmp_path)
    assert rows.table["question"][:] == ["daher", "weil"]
    assert rows.table["context"][0] == "One. Two."


def test_a_question_without_a_wording_is_reported_with_its_line(tmp_path):
    put(tmp_path, "en", choice("cause", 0), choice("why", 1))
    with pytest.raises(UserError, match=r'test\.jsonl:2: `asks` is "why"; expected cause or effect'):
        load_rows(Task.model_validate(CHOICES), "en", "test", folder=tmp_path)


def test_a_language_without_connectives_is_refused_with_a_fix(tmp_path):
    put(tmp_path, "zu", choice("cause", 0))
    with pytest.raises(UserError, match=r"no connectives in `zu`, only in en, de; copy the task .* add `zu`"):
        load_rows(Task.model_validate(CHOICES), "zu", "test", folder=tmp_path)


def test_classes_that_a_task_joins_get_the_id_of_the_one_they_become(tmp_path):
    facts = FACTS | {"kind": "sequence-classification", "columns": {"text": "t", "label": "l"}}
    facts |= {"labels": ["entailed", "not"], "labels_mapped": {"neutral": "not", "Contradiction": "not"}}
    put(tmp_path, "en", *({"t": "x", "l": label} for label in ("neutral", "entailed", "contradiction", "not")))
    rows = load_rows(Task.model_validate(facts), "en", "test", folder=tmp_path)
    assert rows.table["label"][:] == [1, 0, 1, 1]


def test_entity_types_become_others_or_none_in_every_scheme(tmp_path):
    facts = FACTS | {"kind": "token-classification", "columns": {"tokens": "w", "tags": "t"}}
    facts |= {"labels": ["O", "B-PER", "I-PER"], "labels_mapped": {"DATE": "O", "Person": "PER"}}
    tags = ["U-DATE", "B-PERSON", "L-person", "B-DATE", "I-DATE", "I-PER"]
    put(tmp_path, "en", {"w": list("abcdef"), "t": tags})
    rows = load_rows(Task.model_validate(facts), "en", "test", folder=tmp_path)
    assert rows.table["tags"][0] == [0, 1, 2, 0, 0, 1]


def test_one_file_for_all_languages_may_have_them_at_the_front_of_a_column(tmp_path):
    facts = FACTS | {
        "kind": "sequence-classification",
        "labels": ["bad", "good"],
        "columns": {"text": "t", "label": "l"},
    }
    facts |= {"language_column": "key", "language_ends_at": ":"}
    rows = [{"key": f"{name}:{i}", "t": name, "l": i % 2} for i in range(2) for name in ("german", "english")]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert load_rows(Task.model_validate(facts), "de_DE", "test", folder=tmp_path).table["text"][:] == ["german"] * 2
