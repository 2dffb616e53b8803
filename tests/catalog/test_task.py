import pytest

from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError
from xmodctl.core.schema import parse

SENTENCES = {
    "name": "mine", "title": "Mine", "languages": ["de", "en"], "recipe": "nli", "kind": "sequence-classification",
    "columns": {"text": "sentence", "label": "label"}, "labels": ["bad", "good"],
}  # fmt: skip
ENTITIES = SENTENCES | {
    "kind": "token-classification", "columns": {"tokens": "tokens", "tags": "tags"}, "labels": ["O", "B-PER", "I-PER"],
}  # fmt: skip
CHOICES = SENTENCES | {
    "kind": "multiple-choice", "labels": [],
    "columns": {"context": "premise", "question": "asks", "choices": ["a", "b"], "label": "label"},
}  # fmt: skip


def task(values: dict[str, object]) -> Task:
    return parse(Task, values, origin="mine.yaml", lines={})


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (
            SENTENCES | {"labels_mapped": {"fair": "fine"}},
            r"`labels_mapped.fair` is 'fine'; it becomes one of bad, good",
        ),
        (SENTENCES | {"labels_mapped": {"bad": "good"}}, "`labels_mapped.bad` maps a label that the task has"),
        (ENTITIES | {"labels_mapped": {"DATE": "LOC"}}, r"`labels_mapped.DATE` is 'LOC'; it becomes one of O, PER"),
        (CHOICES | {"labels_mapped": {"x": "y"}}, "`labels_mapped` is about classes; multiple-choice has none"),
        (SENTENCES | {"connectives": {"en": {"cause": "because"}}}, "`connectives` stand for the `question`"),
        (
            CHOICES | {"connectives": {"en": {"cause": "because", "effect": "so"}, "de": {"cause": "weil"}}},
            "`connectives.de` has cause; that of en cause, effect",
        ),
        (SENTENCES | {"language_ends_at": "-"}, "`language_ends_at` needs `language_column`"),
    ],
)
def test_a_task_that_contradicts_itself_is_refused(values, told):
    with pytest.raises(UserError, match=told):
        task(values)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (SENTENCES, "`labels` of a data set are 3, those of the task 2"),
        (ENTITIES, "`labels` of a data set say nothing about token-classification"),
    ],
)
def test_labels_of_a_data_set_stand_for_those_of_the_task_one_by_one(values, told):
    data = {"locations": [{"repository": "some/where", "files": "{split}.csv"}], "labels": ["x", "y", "z"]}
    with pytest.raises(UserError, match=told):
        task(values | {"training": data})


def test_entity_types_of_other_data_may_become_a_type_or_none():
    assert task(ENTITIES | {"labels_mapped": {"DATE": "O", "PERSON": "PER"}}).labels_mapped["PERSON"] == "PER"
