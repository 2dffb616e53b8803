import datasets
import numpy as np
import pytest
import torch
from samples import task

from xmodctl.kinds import KINDS
from xmodctl.model import find, load
from xmodctl.model.batches import collate, evaluation_batches

KIND = KINDS["multiple-choice"]
MC = task("multiple-choice")

ROWS = [
    {"context": "The bridge", "question": "because", "choices": ["the Thames", "Волга"], "label": 1},
    {"context": "长江", "question": "所以", "choices": ["上海", "高原", "黄金水道", "上海。"], "label": 3},
    {"context": "गंगा नदी", "question": "क्योंकि", "choices": ["है।", "नदी", "हिमालय"], "label": 0},
    {"context": "The bridge", "question": "so", "choices": ["built", "Tower"], "label": 0},
]


def rows(*columns: str) -> datasets.Dataset:
    return datasets.Dataset.from_list([{column: row[column] for column in columns} for row in ROWS])


ALL = ("context", "question", "choices", "label")


def test_gold_choices_come_back_whatever_their_number(tokenizer, there_and_back):
    encoded, decoded = there_and_back(MC, rows(*ALL), tokenizer)
    assert encoded.sizes.tolist() == [2, 4, 3, 2]
    assert [(gold, predicted) for gold, predicted, _ in decoded] == [(1, 1), (3, 3), (0, 0), (0, 0)]
    assert [len(scores) for _, _, scores in decoded] == [2, 4, 3, 2]
    assert all(sum(scores) == pytest.approx(1, abs=1e-5) for _, _, scores in decoded)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (("context", "question", "choices"), ("The bridge", "because Волга")),
        (("context", "choices"), ("The bridge", "Волга")),
        (("question", "choices"), ("because", "Волга")),
        (("choices",), ("Волга",)),
    ],
)
def test_a_choice_follows_its_question_after_the_context(columns, expected, small):
    encoded = KIND.encode(rows(*columns), small, max_length=128, stride=0)
    assert encoded.input_ids[1].tolist() == small(*expected)["input_ids"]
    assert encoded.scalars == {}


def test_a_question_that_is_missing_in_a_row_leaves_its_place_empty(small):
    table = datasets.Dataset.from_list([{**ROWS[0], "question": None}])
    encoded = KIND.encode(table, small, max_length=128, stride=0)
    assert encoded.input_ids[0].tolist() == small("The bridge", " the Thames")["input_ids"]


def test_truncated_rows_are_counted_once_and_keep_their_choices(small):
    table = datasets.Dataset.from_list(
        [
            {"context": "the " * 50, "choices": ["Волга", "上海"], "label": 0},
            {"context": "the", "choices": ["a", "c"], "label": 1},
        ]
    )
    encoded = KIND.encode(table, small, max_length=24, stride=0)
    assert encoded.counts == {"truncated": 1}
    assert encoded.input_ids.lengths.max() == 24
    choice = small("上海", add_special_tokens=False)["input_ids"]
    assert encoded.input_ids[1].tolist()[-1 - len(choice) : -1] == choice


def test_accuracy_and_its_baseline():
    statistics = KIND.statistics([0, 1, 1, 2], [0, 1, 0, 0], MC, "en")
    assert float(KIND.metrics(statistics.sum(axis=0), MC)["accuracy"]) == 50.0
    assert KIND.baseline([0, 1, 1, 2], rows(*ALL), MC, "en") == 50.0
    assert KIND.metrics(np.stack([statistics.sum(axis=0)] * 5), MC)["accuracy"].shape == (5,)


@pytest.fixture
def model(tiny_model):
    return load(find(str(tiny_model)), "choice", ["en_XX", "sw_KE", "de_DE"], num_labels=1, seed=3)


def encoded_words() -> datasets.Dataset:
    choices = [["red cat", "blue"], ["dog", "the dog runs", "paka"], ["chat", "never red"], ["cat", "not a cat", "dog"]]
    contexts = ["the cat sleeps", "a dog", "katze paka chat dog runs", "red"]
    return datasets.Dataset.from_dict({"context": contexts, "choices": choices, "label": [0, 2, 1, 1]})


def test_questions_score_the_same_in_any_batch_whatever_the_number_of_choices(model, tiny_model):
    from transformers import AutoTokenizer

    encoded = KIND.encode(encoded_words(), AutoTokenizer.from_pretrained(tiny_model), max_length=32, stride=0)
    model.activate("de_DE")
    alone = {
        unit: model.module(**_inputs(collate(encoded, [unit], pad_id=1))).logits[0].detach().numpy()
        for unit in range(len(encoded))
    }
    batches = evaluation_batches(encoded.lengths, choices=encoded.sizes, tokens_per_step=1000)
    assert sorted(map(len, batches)) == [2, 2]
    for batch in batches:
        logits = model.module(**_inputs(collate(encoded, batch, pad_id=1))).logits
        for unit, values in zip(batch, logits, strict=True):
            assert values.detach().numpy() == pytest.approx(alone[int(unit)], abs=1e-6)


def test_mixed_languages_in_a_batch_score_as_one_language_at_a_time(model, tiny_model):
    from transformers import AutoTokenizer

    encoded = KIND.encode(encoded_words(), AutoTokenizer.from_pretrained(tiny_model), max_length=32, stride=0)
    with torch.no_grad():  # weights as they are drawn hardly tell languages apart
        for number, parameter in enumerate(model.module.parameters()):
            parameter.normal_(std=0.5, generator=torch.Generator().manual_seed(number))
    languages = ["sw_KE", "en_XX"]
    inputs = _inputs(collate(encoded, [0, 2], pad_id=1))
    mixed = model.module(**inputs, lang_ids=model.ids(languages)).logits.detach()
    for position, language in enumerate(languages):
        model.activate(language)
        alone = model.module(**inputs).logits.detach()
        assert mixed[position].numpy() == pytest.approx(alone[position].numpy(), abs=1e-5)
        assert mixed[1 - position].numpy() != pytest.approx(alone[1 - position].numpy(), abs=1e-2)


def _inputs(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: batch[name] for name in ("input_ids", "attention_mask")}
