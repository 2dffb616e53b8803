import pytest

from xmodctl.catalog import catalog as library
from xmodctl.catalog.task import Task
from xmodctl.kinds.evaluate_metric import metric

NLI = library.task("xnli")


def task(kind: str, columns: list[str], **more) -> Task:
    named = {"name": kind, "title": "T", "kind": kind, "languages": {"en": None}, "recipe": "nli"}
    return Task.model_validate({**named, "columns": {column: column for column in columns}, **more})


def test_accuracy_and_macro_f1_are_what_their_definitions_say():
    gold = ["entailment", "entailment", "neutral", "contradiction"]
    said = ["entailment", "neutral", "neutral", "neutral"]
    told = metric(NLI).compute(predictions=said, references=gold)
    assert told["accuracy"] == 50.0
    # F1: entailment 2/3, neutral 1/2, contradiction 0
    assert told["macro_f1"] == pytest.approx(100 * (2 / 3 + 1 / 2 + 0) / 3)


def test_batches_add_up_to_the_whole():
    gold, said = ["neutral", "entailment", "neutral"], ["neutral", "neutral", "neutral"]
    one = metric(NLI)
    one.add_batch(predictions=said[:2], references=gold[:2])
    one.add_batch(predictions=said[2:], references=gold[2:])
    assert one.compute() == metric(NLI).compute(predictions=said, references=gold)


def test_the_metrics_of_every_kind_run_without_a_network():
    tags = task("token-classification", ["tokens", "tags"], labels=["O", "B-PER", "I-PER"])
    told = metric(tags).compute(predictions=[["B-PER", "I-PER", "O"]], references=[["B-PER", "I-PER", "O"]])
    assert told["entity_f1"] == 100.0
    answers = task("question-answering", ["context", "question", "answers"])
    told = metric(answers).compute(predictions=["the cat"], references=[["A cat!", "dog"]])
    assert (told["exact_match"], told["f1"]) == (100.0, 100.0)
    choices = task("multiple-choice", ["choices", "label"])
    assert metric(choices).compute(predictions=[0, 1], references=[0, 0])["accuracy"] == 50.0
