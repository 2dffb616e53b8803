import itertools

import numpy as np
import pytest

from xmodctl.catalog import catalog as library
from xmodctl.catalog.task import Task
from xmodctl.kinds import KINDS
from xmodctl.kinds.evaluate_metric import metric
from xmodctl.statistics.intervals import score_interval

NLI = library.task("xnli")


def task(kind: str, columns: list[str], **more) -> Task:
    named = {"name": kind, "title": "T", "kind": kind, "languages": {"en": None}, "recipe": "nli"}
    return Task.model_validate({**named, "columns": {column: column for column in columns}, **more})


def test_accuracy_and_macro_f1_follow_their_definitions():
    gold = ["entailment", "entailment", "neutral", "contradiction"]
    predicted = ["entailment", "neutral", "neutral", "neutral"]
    scores = metric(NLI).compute(predictions=predicted, references=gold)
    assert scores["accuracy"] == 50.0
    # F1: entailment 2/3, neutral 1/2, contradiction 0
    assert scores["macro_f1"] == pytest.approx(100 * (2 / 3 + 1 / 2 + 0) / 3)


@pytest.mark.parametrize("occurring", [1, 2, 3])
def test_macro_f1_is_scikit_learns_where_labels_are_absent_too(occurring):
    from sklearn.metrics import f1_score

    draw = np.random.default_rng(occurring)
    for labels in itertools.combinations(NLI.labels, occurring):
        for gold_labels in (labels, labels[:1]):  # a label may be predicted alone
            gold, predicted = draw.choice(gold_labels, 20).tolist(), draw.choice(labels, 20).tolist()
            expected = 100 * f1_score(gold, predicted, average="macro")
            assert metric(NLI).compute(predictions=predicted, references=gold)["macro_f1"] == pytest.approx(expected)
    assert metric(NLI).compute(predictions=gold, references=gold)["macro_f1"] == 100


def test_a_perfect_macro_f1_does_not_vary_where_resamples_miss_a_rare_label():
    kind = KINDS[NLI.kind]
    gold = ["neutral"] * 29 + ["contradiction"]
    statistics = kind.statistics(gold, gold, NLI, "en")
    interval = score_interval(statistics, lambda totals: kind.metrics(totals, NLI)["macro_f1"], is_share=False)
    assert (interval.low, interval.high) == (pytest.approx(88.65, abs=0.01), 100)


def test_batches_add_up_to_the_whole():
    gold, predicted = ["neutral", "entailment", "neutral"], ["neutral", "neutral", "neutral"]
    accumulated = metric(NLI)
    accumulated.add_batch(predictions=predicted[:2], references=gold[:2])
    accumulated.add_batch(predictions=predicted[2:], references=gold[2:])
    assert accumulated.compute() == metric(NLI).compute(predictions=predicted, references=gold)


def test_the_metrics_of_every_kind_run_without_a_network():
    tags = task("token-classification", ["tokens", "tags"], labels=["O", "B-PER", "I-PER"])
    scores = metric(tags).compute(predictions=[["B-PER", "I-PER", "O"]], references=[["B-PER", "I-PER", "O"]])
    assert scores["entity_f1"] == 100.0
    answers = task("question-answering", ["context", "question", "answers"])
    scores = metric(answers).compute(predictions=["the cat"], references=[["A cat!", "dog"]])
    assert (scores["exact_match"], scores["f1"]) == (100.0, 100.0)
    choices = task("multiple-choice", ["choices", "label"])
    assert metric(choices).compute(predictions=[0, 1], references=[0, 0])["accuracy"] == 50.0
