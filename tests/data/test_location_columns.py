"""A location of a benchmark may name columns, splits, and languages in its own way."""

import json
from typing import Any

import pytest

from xmodctl.catalog.locations import Location
from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError
from xmodctl.data import coverage, load_rows

BASE: dict[str, Any] = {
    "name": "t", "title": "T", "kind": "sequence-classification", "labels": ["a", "b"],
    "columns": {"text": "text", "label": "label", "id": "id"}, "languages": ["de", "en"], "recipe": "nli",
    "evaluation": {
        "locations": [
            {"repository": "first/one", "files": "{language}/{split}.jsonl"},
            {
                "repository": "second/one",
                "files": "{language}/{split}.jsonl",
                "languages": {"de": "German"},
                "splits": {"test": "eval"},
                "columns": {"text": "utt", "id": "key"},
            },
        ],
        "splits": {"train": "train", "test": "tst"},
    },
}  # fmt: skip


def jsonl(**row: object) -> bytes:
    return "".join(json.dumps({**row, "label": label, "key": label, "id": label}) + "\n" for label in "ab").encode()


@pytest.fixture
def task() -> Task:
    return Task.model_validate(BASE)


def test_the_second_location_is_read_by_its_own_names(hub, task):
    hub.add("datasets", "second/one", {"German/eval.jsonl": jsonl(utt="x"), "German/train.jsonl": b"not this one"})
    table = load_rows(task, "de", "test").table
    assert (table["text"][:], table["id"][:]) == (["x", "x"], ["a", "b"])
    assert hub.fetched() == {"German/eval.jsonl"}
    hub.add("datasets", "first/one", {"de/tst.jsonl": jsonl(text="y")})
    assert load_rows(task, "de", "test").table["text"][:] == ["y", "y"]


def test_a_location_has_only_the_languages_and_splits_that_it_names(task):
    only = task.with_values({"evaluation.locations": [BASE["evaluation"]["locations"][1]]}, origin="test")
    assert coverage(only, None)["de"] == ("test",)
    assert coverage(only, None).get("en", ()) == ()
    location = only.evaluation.locations[0]
    assert location.model_dump()["languages"] == {"de": "German"}
    assert Location.model_validate(location.model_dump()) == location


def test_a_location_without_names_of_its_own_is_dumped_as_older_versions_do():
    values = {"repository": "a/b", "revision": "main", "files": "x", "languages": ["de"], "splits": ["test"]}
    assert Location.model_validate(values).model_dump() == values


def test_the_remedy_for_a_missing_column_works_for_every_location(hub, task):
    hub.add("datasets", "second/one", {"German/eval.jsonl": jsonl(body="x")})
    with pytest.raises(UserError, match=r"no column `utt` .*--set columns\.text="):
        load_rows(task, "de", "test")
    repaired = task.with_values({"columns.text": "body"}, origin="--set")
    assert load_rows(repaired, "de", "test").table["text"][:] == ["x", "x"]
    assert repaired.evaluation.locations[1].columns == {"id": "key"}
    numbered = repaired.with_values({"columns.id": None}, origin="--set")
    assert load_rows(numbered, "de", "test").table["id"][:] == ["0", "1"]


@pytest.mark.parametrize("part", ["evaluation", "training"])
def test_the_remedy_names_the_key_that_is_read(part, hub, task):
    data = {**BASE["evaluation"], "columns": {"text": "wrong"}, "splits": {}}
    task = task.with_values({part: data}, origin="test")
    hub.add("datasets", "first/one", {"en/train.jsonl": jsonl(body="x")})
    evaluation = part == "evaluation"
    with pytest.raises(UserError, match=rf"--set {part}\.columns\.text="):
        load_rows(task, "en", "train", evaluation=evaluation)
    repaired = task.with_values({f"{part}.columns.text": "body"}, origin="--set")
    assert load_rows(repaired, "en", "train", evaluation=evaluation).table["text"][:] == ["x", "x"]
