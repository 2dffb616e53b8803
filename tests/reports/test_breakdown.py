import pytest
from scored_runs import TASKS

from xmodctl.kinds import KINDS
from xmodctl.kinds.breakdown import SeedPredictions
from xmodctl.kinds.scoring import Predicted


def seeds(kind: str, *predictions: list[Predicted], metrics=None) -> tuple:
    """Return a kind, its task, and predictions, a list per seed."""
    task = TASKS[kind]
    return KINDS[kind], task, [SeedPredictions(KINDS[kind], task, "en", rows, metrics or {}) for rows in predictions]


def label(id_: str, gold: str, predicted: str, *scores: float) -> Predicted:
    return Predicted(id_, gold, predicted, scores)


def test_confusions_count_gold_against_predicted_over_seeds():
    kind, task, scored = seeds(
        "sequence-classification",
        [label("0", "entailment", "entailment", 1, 0, 0), label("1", "neutral", "contradiction", 0, 0.1, 0.9)],
        [label("0", "entailment", "neutral", 0.4, 0.6, 0), label("1", "neutral", "neutral", 0, 1, 0)],
    )
    assert kind.confusion(task, scored).counts == ((1, 1, 0), (0, 1, 1), (0, 0, 0))
    assert [(part.name, part.n, part.value) for part in kind.parts(task, scored)] == [
        ("entailment", 1, 50.0), ("neutral", 1, 50.0),
    ]  # fmt: skip
    assert kind.wrongness(task, scored[0]) == pytest.approx([0, 0.9])


def test_a_choice_is_called_by_its_place():
    kind, task, scored = seeds("multiple-choice", [Predicted("0", 1, 0, (0.7, 0.3)), Predicted("1", 0, 0, (0.6, 0.4))])
    assert kind.confusion(task, scored).labels == ("choice 1", "choice 2")
    assert kind.confusion(task, scored).counts == ((1, 0), (1, 0))
    assert kind.wrongness(task, scored[0]) == pytest.approx([0.7, 0])
    example = {"context": "rain", "question": "effect", "choices": ["wet", "dry"], "label": 1}
    assert kind.describe_mistake(task, 1, 0, example) == (
        "choice 2", "choice 1",
        (("context", "rain"), ("question", "effect"), ("choice 1", "wet"), ("choice 2", "dry")),
    )  # fmt: skip


def test_entities_that_only_one_side_has_are_told_by_their_words():
    kind, task, scored = seeds(
        "token-classification",
        [Predicted("0", ["B-PER", "I-PER", "O", "B-LOC"], ["B-PER", "O", "O", "B-LOC"], (0.9, 0.8, 0.9, 0.9))],
        metrics={"entity_f1": 50.0, "entity_f1.PER": 0.0, "entity_f1.LOC": 100.0, "precision.PER": 0.0},
    )
    assert [(part.name, part.value) for part in kind.parts(task, scored)] == [("PER", 0.0), ("LOC", 100.0)]
    assert kind.wrongness(task, scored[0]) == pytest.approx([0.8])
    prediction = scored[0].predictions[0]
    tokens = ["Angela", "Merkel", "in", "Berlin"]
    assert kind.describe_mistake(task, prediction.gold, prediction.prediction, {"tokens": tokens}) == (
        "PER: Angela Merkel", "PER: Angela", (("sentence", "Angela Merkel in Berlin"),),
    )  # fmt: skip
    assert kind.describe_mistake(task, prediction.gold, prediction.prediction, None) == (
        "PER: words 1 to 2",
        "PER: word 1",
        (),
    )


def test_answers_fall_into_quarters_of_their_length_and_those_without_one_stand_apart():
    answers = [["a"], ["bb"], ["cccc"], ["dddddddd"], []]
    results = ["a", "wrong", "cccc", "dddddddd", "wrong"]
    kind, task, scored = seeds(
        "question-answering",
        [Predicted(str(n), gold, text, (0.5,)) for n, (gold, text) in enumerate(zip(answers, results, strict=True))],
    )
    assert TASKS["question-answering"].metric_rules == "squad2"
    parts = [(part.name, part.n, part.value) for part in kind.parts(task, scored)]
    # `a` is an article: nothing is left of it, and it counts as no answer, as SQuAD 2.0's script has it.
    assert parts == [("shortest answers", 1, 100.0), ("short answers", 1, 0.0), ("long answers", 1, 100.0),
                     ("longest answers", 1, 100.0), ("no answer", 1, 0.0)]  # fmt: skip
    assert kind.wrongness(task, scored[0]) == pytest.approx([0, 0.5, 0, 0, 0.5])


def test_of_a_long_context_the_part_around_the_answer_is_shown():
    kind, task = KINDS["question-answering"], TASKS["question-answering"]
    context = "x" * 1000 + "answer" + "y" * 1000
    example = {"context": context, "question": "?", "answers": {"text": ["answer"], "answer_start": [1000]}}
    _, predicted, texts = kind.describe_mistake(task, ["answer"], "", example)
    shown = dict(texts)["context"]
    assert "answer" in shown
    assert len(shown) < 400
    assert shown.startswith("… x")
    assert predicted == "no answer"
