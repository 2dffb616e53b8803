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
    ("values", "message"),
    [
        (
            SENTENCES | {"labels_mapped": {"fair": "fine"}},
            r"`labels_mapped.fair` is 'fine'; expected one of bad, good",
        ),
        (SENTENCES | {"labels_mapped": {"bad": "good"}}, "`labels_mapped.bad` maps a label that the task has"),
        (ENTITIES | {"labels_mapped": {"DATE": "LOC"}}, r"`labels_mapped.DATE` is 'LOC'; expected one of O, PER"),
        (
            CHOICES | {"labels_mapped": {"x": "y"}},
            "`labels_mapped` renames labels, which multiple-choice does",
        ),
        (SENTENCES | {"connectives": {"en": {"cause": "because"}}}, "`connectives` replace the `question`"),
        (
            CHOICES | {"connectives": {"en": {"cause": "because", "effect": "so"}, "de": {"cause": "weil"}}},
            "`connectives.de` has cause; that of en has cause, effect",
        ),
        (SENTENCES | {"language_ends_at": "-"}, "`language_ends_at` needs `language_column`"),
    ],
)
def test_a_task_that_contradicts_itself_is_refused(values, message):
    with pytest.raises(UserError, match=message):
        task(values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (SENTENCES, "`training.labels` has 3 labels, and `labels` has 2"),
        (ENTITIES, "`training.labels` renames .* token-classification does not have; use `labels_mapped`"),
    ],
)
def test_labels_of_a_data_set_correspond_to_those_of_the_task_one_to_one(values, message):
    data = {"locations": [{"repository": "some/where", "files": "{split}.csv"}], "labels": ["x", "y", "z"]}
    with pytest.raises(UserError, match=message):
        task(values | {"training": data})


def test_entity_types_of_other_data_may_become_a_type_or_none():
    assert task(ENTITIES | {"labels_mapped": {"DATE": "O", "PERSON": "PER"}}).labels_mapped["PERSON"] == "PER"
