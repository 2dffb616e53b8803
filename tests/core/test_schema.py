import itertools
import shlex
from pathlib import Path

import pytest

from xmodctl.catalog.recipe import Recipe
from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError
from xmodctl.core.schema import parse_override, read


def refusal(path: Path, text: str, kind=Recipe) -> str:
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read(kind, path, name="mine")
    return str(caught.value)


def test_a_bad_file_tells_all_its_mistakes_at_once_with_their_lines(tmp_path):
    message = refusal(tmp_path / "r.yaml", "learnin_rate: 1e-5\nbatch_size: many\nkeep: best\n")
    assert "3 mistakes" in message
    assert "line 1: there is no key `learnin_rate` (did you mean learning_rate?)" in message
    assert "line 2: `batch_size` is 'many'" in message
    assert "'best' is not 'last', 'source-dev', 'average:N'" in message


def test_a_key_given_twice_is_a_mistake(tmp_path):
    assert "line 2: `epochs` is given twice (first on 1)" in refusal(tmp_path / "r.yaml", "epochs: 1\nepochs: 2\n")


@pytest.mark.parametrize("text", ["a: [1", "{", "epochs: 2\n\tbatch_size: 3", "- 1\n- 2", "", "just words"])
def test_what_is_no_yaml_mapping_is_told_in_one_sentence(tmp_path, text):
    message = refusal(tmp_path / "r.yaml", text)
    assert str(tmp_path / "r.yaml") in message
    assert "\n" not in message


def test_bytes_that_are_no_text_are_told(tmp_path):
    (tmp_path / "r.yaml").write_bytes(b"title: \xff\xfe\n")
    with pytest.raises(UserError, match="not UTF-8 text"):
        read(Recipe, tmp_path / "r.yaml")


def test_a_python_object_in_a_yaml_file_is_not_built(tmp_path):
    assert "YAML" in refusal(tmp_path / "r.yaml", "title: !!python/object/apply:os.getcwd []\n")


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
    message = refusal(tmp_path / "t.yaml", text, Task)
    assert "`evaluation.locations.0.repositori` (did you mean repository?)" in message


TASK = "title: T\nkind: sequence-classification\ncolumns: {text: t, label: l}\nrecipe: nli\n"


def test_words_that_yaml_1_1_reads_as_something_else_are_text_where_text_is_expected(tmp_path):
    path = tmp_path / "t.yaml"
    path.write_text(TASK + "languages: [de, no]\nlabels: [yes, 1.0, 2024-13-45, 0x_, 1:30]\nparallel: yes\n")
    task = read(Task, path, name="mine")
    assert list(task.languages) == ["de", "no"]
    assert task.labels == ("yes", "1.0", "2024-13-45", "0x_", "1:30")
    assert task.parallel is True


@pytest.mark.parametrize("labels", ["[yes, no]", "[on, off]", "[1.0, 0.0]", "[true, false]", "[2024-01-05, 007]"])
def test_labels_are_set_as_they_are_written(labels):
    task = Task(name="t", title="T", kind="sequence-classification", columns={"text": "t", "label": "l"},
                labels=("a", "b"), languages=["en"], recipe="nli")  # fmt: skip
    changed = task.with_values(dict([parse_override(f"labels={labels}")]), origin="--set")
    assert list(changed.labels) == labels.strip("[]").split(", ")


def test_a_label_that_yaml_reads_as_nothing_is_told_with_the_quotes_that_it_needs(tmp_path):
    message = refusal(tmp_path / "t.yaml", TASK + "languages: [de]\nlabels: [null, x]\n", Task)
    assert "`labels.0` is empty: YAML reads an empty value, null, and ~ as nothing; put text in quotes" in message


BOMB = "{a: &a [x, x, x, x, x, x, x, x, x], " + ", ".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]" for old, new in itertools.pairwise("abcdefghi")
) + "}"  # fmt: skip


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (BOMB, "more than 100,000 values, counting aliases"),
        ("{a: &a [*a]}", "an alias (*) refers to something that contains it"),
        ("&a {b: *a}", "an alias (*) refers to something that contains it"),
        ("[" * 3000, "more than 50 levels"),
        ("[" * 3000 + "]" * 3000, "more than 50 levels"),
        ("{" + ", ".join(f"a{n + 1}: &a{n + 1} [*a{n}]" for n in range(1)) + "}", "undefined alias"),
        ("{a0: &a0 [x], " + ", ".join(f"a{n + 1}: &a{n + 1} [*a{n}]" for n in range(60)) + "}", "nest more than 50"),
        ("!!int y", "the tag !!int is not supported"),
        ("!!timestamp y", "the tag !!timestamp is not supported"),
        ("!!python/object/apply:os.getcwd []", "is not supported"),
        ("{? [a] : b}", "unhashable"),
        ("\0", "unacceptable character"),
    ],
)
def test_hostile_yaml_is_refused_in_one_sentence(tmp_path, value, problem):
    with pytest.raises(UserError) as caught:
        parse_override(f"labels={value}")
    message = refusal(tmp_path / "t.yaml", f"labels: {value}\n", Task)
    for text in (str(caught.value), message):
        assert problem in text
        assert "\n" not in text
        assert len(text) < 400 + len(str(tmp_path))


def test_a_file_that_is_much_too_large_for_a_task_is_not_read(tmp_path):
    assert "larger than 1 MiB" in refusal(tmp_path / "t.yaml", "#" * (2**20 + 1), Task)


def test_the_quoted_form_that_a_message_gives_is_accepted():
    with pytest.raises(UserError) as caught:
        parse_override("labels=*x")
    option, value = shlex.split(str(caught.value).rpartition(": ")[2])
    assert (option, parse_override(value)) == ("--set", ("labels", "*x"))


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [("epochs=3", "epochs", "3"), ("freeze=none", "freeze", "none"), ("labels=[a, b]", "labels", ["a", "b"])],
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


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("columns.text=", "`columns.text` is empty: YAML reads"),
        ("columns.text={a: b}", "`columns.text` is {a: b}; it should be text or a list, such as [a, b]"),
        ("labels=[[a]]", "`labels.0` is [a]; it should be text"),
        ("languages=[[a]]", "`languages`: [a] is not a name; expected a list of names, such as [a, b]"),
        ("languages=[{a: b}]", "`languages`: {a: b} is not a name; expected a list of names, such as [a, b]"),
    ],
)
def test_a_value_with_alternatives_is_one_mistake_at_its_own_key(setting, message):
    key, value = parse_override(setting)
    task = Task(name="mine", title="Mine", kind="sequence-classification", columns={"text": "a"}, labels=["a", "b"])
    with pytest.raises(UserError) as refused:
        task.with_values({key: value}, origin="--set")
    assert "has a mistake" in str(refused.value)
    assert message in str(refused.value)
    assert "list[" not in str(refused.value)


def test_locations_with_a_list_in_place_of_a_language_are_a_mistake(tmp_path):
    text = "title: a\nkind: text-regression\nevaluation: {locations: [{repository: a/b, files: x, languages: [[a]]}]}\n"
    assert "[a] is not a name; expected a list of names" in refusal(tmp_path / "t.yaml", text, Task)
