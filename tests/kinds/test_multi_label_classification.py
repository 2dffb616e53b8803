"""Multi-label classification: sets of labels as data writes them, and their scores."""

from itertools import chain, combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError
from xmodctl.data import load_rows
from xmodctl.kinds import KINDS
from xmodctl.training.training_data import draw_shots

KIND = KINDS["multi-label-classification"]
FACTS: dict[str, Any] = {
    "name": "t", "title": "T", "kind": KIND.name, "columns": {"text": "text", "label": "labels"},
    "labels": ["food", "sport", "arts, culture"], "languages": ["en"], "recipe": "multi-label",
}  # fmt: skip
TASK = Task.model_validate(FACTS)


def read(tmp_path: Path, text: str, name: str = "test.jsonl", **changes: Any) -> list[list[int]]:
    path = tmp_path / "en" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    rows = load_rows(Task.model_validate(FACTS | changes), "en", "test", folder=tmp_path)
    return rows.table["label"][:]


@pytest.mark.parametrize(
    ("cell", "members"),
    [
        ('["food", "Sport"]', [1, 1, 0]),
        ("[]", [0, 0, 0]),
        ('""', [0, 0, 0]),
        ("[2, 0]", [1, 0, 1]),
        ("[0]", [1, 0, 0]),
        ("1", [0, 1, 0]),
        ("[0, 1, 1]", [0, 1, 1]),
        ("[0.0, 1.0, 0.0]", [0, 1, 0]),
        ("[false, true, false]", [0, 1, 0]),
        ('"food|sport"', [1, 1, 0]),
        ('"food; sport"', [1, 1, 0]),
        ('"food,sport"', [1, 1, 0]),
        ('"arts, culture"', [0, 0, 1]),
        ('"sport|arts, culture"', [0, 1, 1]),
        ('"[\\"sport\\", \\"food\\"]"', [1, 1, 0]),
        ('"none of these"', [0, 0, 0]),
    ],
)
def test_a_set_is_read_as_people_write_it(tmp_path, cell, members):
    text = f'{{"text": "a", "labels": {cell}}}\n{{"text": "b", "labels": ["food"]}}\n'
    mapped = {"labels": [*FACTS["labels"], "other"], "labels_mapped": {"none of these": "other"}}
    changes = mapped if "none" in cell else {}
    assert read(tmp_path, text, **changes)[0] == (members if not changes else [0, 0, 0, 1])


def logits_and_rows(probabilities: Any, gold: Any) -> tuple[Any, Any]:
    values = np.asarray(probabilities, dtype=np.float64)
    return list(np.log(values / (1 - values))), {"label": gold}


@pytest.mark.parametrize("headline", ["micro_f1", "macro_f1", "subset_accuracy"])
def test_a_chosen_threshold_scores_best_on_the_validation_data(headline):
    task = TASK.with_values({"threshold": "source-dev", "metric": headline}, origin="test")
    draw = np.random.default_rng(3)
    gold = draw.integers(0, 2, (80, 3))
    probabilities = np.clip(0.25 * gold + draw.uniform(0.02, 0.3, (80, 3)), 0.01, 0.99)
    (name,) = KIND.chosen_keys(task)
    chosen = KIND.choose([logits_and_rows(probabilities, gold.tolist())], task)[name]
    names = [[label for label, has in zip(TASK.labels, row, strict=True) if has] for row in gold]

    def score(threshold: float) -> float:
        guess = [[label for label, p in zip(TASK.labels, row, strict=True) if p >= threshold] for row in probabilities]
        return KIND.headline_of(names, guess, task, "en")

    values = {threshold / 100: score(threshold / 100) for threshold in range(1, 100)}
    assert 0.2 < chosen < 0.45
    assert values[chosen] == max(values.values()) > values[0.5]
    nearer = [other for other in values if abs(other - 0.5) < abs(chosen - 0.5) - 1e-9]
    assert max(values[other] for other in nearer) < values[chosen]


def test_a_threshold_is_chosen_for_all_training_languages_together_and_is_a_half_without_data():
    task = TASK.with_values({"threshold": "source-dev"}, origin="test")
    low = logits_and_rows([[0.3, 0.05, 0.05]] * 4, [[1, 0, 0]] * 4)
    high = logits_and_rows([[0.9, 0.25, 0.05]] * 4, [[1, 0, 0]] * 4)
    assert KIND.choose([low], task) == {"threshold": 0.3}
    assert KIND.choose([high], task) == {"threshold": 0.5}
    assert KIND.choose([low, high], task) == {"threshold": 0.3}
    assert KIND.choose([], task) == {"threshold": 0.5}
    assert KIND.chosen_keys(TASK) == ()


@pytest.mark.parametrize("value", ["0", "1", "1.5", "dev", "nan"])
def test_what_is_no_threshold_is_refused(value):
    with pytest.raises(UserError, match=f"--set has a mistake:\n  `threshold`: {value} is not between 0 and 1; give"):
        TASK.with_values({"threshold": value}, origin="--set")


def test_a_table_has_a_delimited_column_or_one_column_per_label(tmp_path):
    assert read(tmp_path, "text,labels\na,food|sport\nb,\n", "test.csv") == [[1, 1, 0], [0, 0, 0]]
    columns = {"columns": {"text": "text", "label": ["f", "s", "c"]}}
    table = "text,f,s,c\na,1,0,1\nb,0.0,True,false\n"
    assert read(tmp_path, table, "test.csv", **columns) == [[1, 0, 1], [0, 1, 0]]


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ('["food", "foot"]', r'test\.jsonl:1: `labels` is "foot"; the labels are food, sport, arts, culture'),
        ("null", r"`labels` is empty \(null\)"),
        ("\"['food', sport]\"", r"not a list; write a\|b, or"),
        ('[["food"]]', r"expected a list of labels"),
        ("[4]", "the labels are"),
        ("[-1]", "means that there is no gold label"),
    ],
)
def test_what_is_no_set_is_refused_with_its_line(tmp_path, cell, message):
    with pytest.raises(UserError, match=message):
        read(tmp_path, f'{{"text": "a", "labels": {cell}}}\n{{"text": "b", "labels": ["food"]}}\n')


def test_two_numbers_that_may_be_ids_or_flags_are_refused(tmp_path):
    with pytest.raises(UserError, match="may be 0 or 1 for each label, or ids of labels; write the names"):
        read(tmp_path, '{"text": "a", "labels": [0, 1]}\n', labels=["food", "sport"])


def test_columns_of_flags_correspond_to_the_labels(tmp_path):
    with pytest.raises(UserError, match=r"names 2 columns \(f, s\), and the task has 3 labels"):
        read(tmp_path, "text,f,s\na,1,0\n", "test.csv", columns={"text": "text", "label": ["f", "s"]})
    with pytest.raises(UserError, match=r'test\.csv:2: `f` is "2"; expected 0 or 1'):
        read(tmp_path, "text,f,s,c\na,2,0,0\n", "test.csv", columns={"text": "text", "label": ["f", "s", "c"]})


def test_a_test_set_without_any_label_is_hidden(tmp_path):
    with pytest.raises(UserError, match="this looks like a hidden test set"):
        read(tmp_path, '{"text": "a", "labels": []}\n{"text": "b", "labels": []}\n')


def random_sets(draw: np.random.Generator, rows: int, labels: int) -> np.ndarray:
    return (draw.random((rows, labels)) < draw.random(labels)).astype(int)


def named(members: np.ndarray, task: Task) -> list[list[str]]:
    return [[task.labels[number] for number in np.flatnonzero(row)] for row in members]


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_those_of_scikit_learn(seed):
    metrics = pytest.importorskip("sklearn.metrics")
    draw = np.random.default_rng(seed)
    task = Task.model_validate(FACTS | {"labels": [f"l{number}" for number in range(6)]})
    gold, guess = random_sets(draw, 50, 6), random_sets(draw, 50, 6)
    gold[:, 5] = guess[:, 5] = 0  # a label that does not occur is not in the mean
    totals = KIND.statistics(named(gold, task), named(guess, task), task, "en").sum(axis=0)
    scores = KIND.metrics(totals, task)
    for average in ("micro", "macro"):
        expected = metrics.f1_score(gold, guess, average=average, labels=range(5), zero_division=0)
        assert scores[f"{average}_f1"] == pytest.approx(100 * expected, abs=1e-9)
    assert scores["subset_accuracy"] == pytest.approx(100 * metrics.accuracy_score(gold, guess), abs=1e-9)


def test_perfect_predictions_score_100_in_a_language_that_lacks_a_label():
    gold = [["food"], ["food", "sport"], []]
    assert len(TASK.labels) == 3
    totals = KIND.statistics(gold, gold, TASK, "en").sum(axis=0)
    assert KIND.metrics(totals, TASK) == {"micro_f1": 100, "macro_f1": 100, "subset_accuracy": 100}
    resamples = np.stack([totals, KIND.statistics(gold[:1], gold[:1], TASK, "en").sum(axis=0)])
    assert KIND.metrics(resamples, TASK)["macro_f1"].tolist() == [100, 100]


@pytest.mark.parametrize("metric", ["micro_f1", "subset_accuracy"])
def test_the_baseline_is_the_best_constant_answer(metric):
    draw = np.random.default_rng(3)
    task = Task.model_validate(FACTS | {"metric": metric})
    gold = named(random_sets(draw, 40, 3), task)
    answers = chain.from_iterable(combinations(task.labels, size) for size in range(4))
    best = max(KIND.headline_of(gold, [list(answer)] * 40, task, "en") for answer in answers)
    assert KIND.baseline(gold, None, task, "en") == pytest.approx(best)


def test_a_label_is_predicted_from_the_threshold_on():
    import datasets

    rows = datasets.Dataset.from_dict({"text": ["a"], "label": [[1, 0, 0]]})
    logits = [np.log(np.array([0.5, 0.4, 0.3]) / np.array([0.5, 0.6, 0.7])).astype(np.float32)]
    decoded = [KIND.decode(logits, None, rows, TASK.with_values({"threshold": t}, origin="--set")) for t in (0.5, 0.35)]
    assert [row[0][:2] for row in decoded] == [(["food"], ["food"]), (["food"], ["food", "sport"])]
    assert decoded[0][0][2] == pytest.approx((0.5, 0.4, 0.3), abs=1e-6)
    extreme = KIND.decode([np.array([-800.0, 800.0, 0.0])], None, rows, TASK)
    assert extreme[0][2] == (0.0, 1.0, 0.5)


def test_only_kinds_with_several_labels_have_a_threshold():
    assert "threshold" not in TASK.model_dump()
    with pytest.raises(ValueError, match=r"`threshold` decides on each of several labels, which .* does not have"):
        Task.model_validate(FACTS | {"kind": "sequence-classification", "threshold": 0.4})


def test_shots_are_drawn_evenly_over_the_sets(tmp_path):
    sets = ['["food"]'] * 12 + ['["sport"]'] * 2 + ["[]"] * 2
    path = tmp_path / "en" / "train.jsonl"
    path.parent.mkdir()
    path.write_text("".join(f'{{"text": "row {number}", "labels": {set_}}}\n' for number, set_ in enumerate(sets)))
    drawn = draw_shots(load_rows(TASK, "en", "train", folder=tmp_path, evaluation=False), 6, seed=1)
    assert sorted(map(str, drawn.table["label"])) == sorted(2 * ["[1, 0, 0]", "[0, 1, 0]", "[0, 0, 0]"])
