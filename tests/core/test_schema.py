from pathlib import Path

import pytest

from xmodctl.catalog.recipe import Recipe
from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError
from xmodctl.core.schema import parse_override, read


def said(path: Path, text: str, kind=Recipe) -> str:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read(kind, path, name="mine")
    return str(caught.value)


def test_a_bad_file_tells_all_its_mistakes_at_once_with_their_lines(tmp_path):
    message = said(tmp_path / "r.yaml", "learnin_rate: 1e-5\nbatch_size: many\nkeep: best\n")
    assert "3 mistakes" in message
    assert "line 1: there is no key `learnin_rate`; did you mean learning_rate?" in message
    assert "line 2: `batch_size` is 'many'" in message
    assert "'best' is not 'last', 'source-dev', or 'average:N'" in message


def test_a_key_given_twice_is_a_mistake(tmp_path):
    assert "line 2: `epochs` is given twice (first on 1)" in said(tmp_path / "r.yaml", "epochs: 1\nepochs: 2\n")


@pytest.mark.parametrize("text", ["a: [1", "{", "epochs: 2\n\tbatch_size: 3", "- 1\n- 2", "", "just words"])
def test_what_is_no_yaml_mapping_is_told_in_one_sentence(tmp_path, text):
    message = said(tmp_path / "r.yaml", text)
    assert str(tmp_path / "r.yaml") in message
    assert "\n" not in message


def test_bytes_that_are_no_text_are_told(tmp_path):
    (tmp_path / "r.yaml").write_bytes(b"title: \xff\xfe\n")
    with pytest.raises(UserError, match="not UTF-8 text"):
        read(Recipe, tmp_path / "r.yaml")


def test_a_python_object_in_a_yaml_file_is_not_built(tmp_path):
    assert "YAML" in said(tmp_path / "r.yaml", "title: !!python/object/apply:os.getcwd []\n")


def test_a_nested_unknown_key_gets_a_near_miss_from_its_own_level(tmp_path):
    text = """
title: T
kind: sequence-classification
columns: {text: t, label: l}
labels: [a, b]
languages: [en]
recipe: nli
evaluation: {locations: [{repositori: a/b, files: x}]}
"""
    message = said(tmp_path / "t.yaml", text, Task)
    assert "`evaluation.locations.0.repositori`; did you mean repository?" in message


def test_an_unquoted_no_is_told_as_the_yaml_trap_it_is(tmp_path):
    text = "title: T\nkind: sequence-classification\ncolumns: {text: t, label: l}\nlabels: [a, b]\nrecipe: nli\n"
    assert "write 'no'" in said(tmp_path / "t.yaml", text + "languages: [de, no]\n", Task)


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [("epochs=3", "epochs", 3), ("freeze=none", "freeze", "none"), ("labels=[a, b]", "labels", ["a", "b"])],
)
def test_an_override_is_read_as_yaml(text, key, value):
    assert parse_override(text) == (key, value)


@pytest.mark.parametrize("text", ["epochs", "=3", "labels=[a"])
def test_an_override_that_is_none_is_refused(text):
    with pytest.raises(UserError, match="--set"):
        parse_override(text)


def test_changed_values_are_validated_and_told_by_their_key():
    recipe = Recipe(name="mine").with_values({"learning_rate": "3e-5"}, origin="--set")
    assert recipe.learning_rate == 3e-5
    with pytest.raises(UserError, match="`learning_rate` is -1"):
        recipe.with_values({"learning_rate": -1}, origin="--set")


def test_a_part_of_a_plain_value_cannot_be_set():
    with pytest.raises(UserError, match="has no keys"):
        Recipe(name="mine", epochs=2).with_values({"epochs.first": 1}, origin="--set")
