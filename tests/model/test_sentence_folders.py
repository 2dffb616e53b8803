"""Files of sentence-transformers beside a model, which others write."""

import json
import shutil

import pytest

from xmodctl.core.errors import UserError
from xmodctl.model import find
from xmodctl.model.sentence_folders import POOLING, PROMPTS, QUERY, StoredSettings, stored_settings, write_settings


@pytest.fixture
def folder(tiny_model, tmp_path):
    copy = shutil.copytree(tiny_model, tmp_path / "model")
    write_settings(copy, pooling="cls", prefix=QUERY, dimensions=16, max_length=32, versions={"torch": "2.13"})
    return copy


def test_what_was_written_is_read(folder):
    assert stored_settings(find(str(folder))) == StoredSettings("cls", QUERY)


@pytest.mark.parametrize("default", [None, "absent", "", [], {}, ["query"], 0, True])
def test_a_default_prompt_that_names_none_is_no_prompt(default, folder):
    value = json.loads((folder / PROMPTS).read_text())
    (folder / PROMPTS).write_text(json.dumps(value | {"default_prompt_name": default}))
    assert stored_settings(find(str(folder))) == StoredSettings("cls", "")


REFUSED = {
    "no pooling": (POOLING, {}, {"prefix": ""}, "give --pooling mean or --pooling cls"),
    "another pooling": (POOLING, {"pooling_mode_max_tokens": True}, {"prefix": ""}, "give --pooling mean"),
    "not an object": (POOLING, [], {"prefix": ""}, "is not a JSON object"),
    "a prompt that is a number": (
        PROMPTS, {"prompts": {"query": 7}, "default_prompt_name": "query"}, {"pooling": "mean"}, "give --prefix TEXT",
    ),
    "text": (PROMPTS, "x", {"pooling": "mean"}, "is not a JSON object"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_settings_that_cannot_be_used_are_refused_unless_the_user_gives_them(name, folder):
    file, value, given, remedy = REFUSED[name]
    source = find(str(folder))
    (folder / file).write_text(json.dumps(value))
    for words in ({}, given):
        with pytest.raises(UserError, match=remedy):
            stored_settings(source, **words)
    said = {"prefix": ""} if "pooling" in given else {"pooling": "mean"}
    settings = stored_settings(source, **said)
    assert {name: getattr(settings, name) for name in said} == said
