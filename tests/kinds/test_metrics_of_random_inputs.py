"""Every kind's scores on 200 random inputs: those of scikit-learn, SciPy, seqeval, and SQuAD's script, to 1e-9."""

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from xmodctl.catalog import catalog
from xmodctl.kinds import KINDS

INPUTS = 200
TAGS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]
ANSWERS = ["the cat", "Oslo", "a", "Dr. Who", "42", "cat!", "in Oslo", "U.S.", "an apple"]
Expected = dict[str, float]


def scores(name: str, labels: Sequence[str], gold: Sequence[Any], predicted: Sequence[Any]) -> dict[str, float]:
    task = catalog.task(name).with_values({"labels": [*labels]} if labels else {}, origin="--set")
    kind = KINDS[task.kind]
    totals = kind.statistics(gold, predicted, task, "en").sum(axis=0)
    return {metric: float(value) for metric, value in kind.metrics(totals, task).items()}


def names(rng: np.random.Generator, labels: Sequence[str], size: int) -> list[str]:
    return [labels[number] for number in rng.integers(0, len(labels), size)]


def one_label(rng: np.random.Generator) -> tuple[dict[str, float], Expected]:
    from sklearn.metrics import accuracy_score, f1_score

    labels = [f"l{n}" for n in range(rng.integers(2, 6))]
    size = int(rng.integers(2, 60))
    gold, predicted = names(rng, labels, size), names(rng, labels, size)
    macro = f1_score(gold, predicted, average="macro", zero_division=0)
    return scores("classification", labels, gold, predicted), {
        "accuracy": accuracy_score(gold, predicted), "macro_f1": macro,
    }  # fmt: skip


def sets_of_labels(rng: np.random.Generator) -> tuple[dict[str, float], Expected]:
    from sklearn.metrics import accuracy_score, f1_score

    labels = [f"l{n}" for n in range(rng.integers(2, 6))]
    gold, predicted = rng.integers(0, 2, (2, int(rng.integers(2, 60)), len(labels)))
    sets = [[[labels[n] for n in np.flatnonzero(row)] for row in rows] for rows in (gold, predicted)]
    occurring = np.flatnonzero((gold | predicted).any(axis=0))  # scikit-learn counts others as 0 in label indicators
    return scores("multi-label", labels, *sets), {
        "micro_f1": f1_score(gold, predicted, average="micro", zero_division=0),
        "macro_f1": f1_score(gold, predicted, average="macro", labels=occurring, zero_division=0),
        "subset_accuracy": accuracy_score(gold, predicted),
    }


def plain_tags(rng: np.random.Generator) -> tuple[dict[str, float], Expected]:
    from sklearn.metrics import accuracy_score, f1_score

    labels = ["DET", "NOUN", "VERB", "X"]
    gold = [names(rng, labels, int(rng.integers(1, 9))) for _ in range(rng.integers(1, 12))]
    predicted = [names(rng, labels, len(row)) for row in gold]
    words = [[tag for row in rows for tag in row] for rows in (gold, predicted)]
    return scores("tagging", labels, gold, predicted), {
        "accuracy": accuracy_score(*words), "macro_f1": f1_score(*words, average="macro", zero_division=0),
    }  # fmt: skip


def entity_tags(rng: np.random.Generator) -> tuple[dict[str, float], Expected]:
    from seqeval.metrics import f1_score
    from seqeval.scheme import IOB2

    gold = [names(rng, TAGS, int(rng.integers(1, 9))) for _ in range(rng.integers(1, 12))]
    predicted = [names(rng, TAGS, len(row)) for row in gold]
    expected = {"entity_f1": f1_score(gold, predicted, zero_division=0)}
    if any(tag[:2] == "B-" for row in (*gold, *predicted) for tag in row):  # else seqeval fails
        expected["strict_entity_f1"] = f1_score(gold, predicted, mode="strict", scheme=IOB2, zero_division=0)
    return scores("entities", TAGS, gold, predicted), expected


def squad_words(text: str) -> list[str]:
    """Return the words of an answer as SQuAD's evaluate-v1.1.py normalizes them."""
    kept = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", kept).split()


def squad_f1(gold: str, predicted: str) -> float:
    right, guess = squad_words(gold), squad_words(predicted)
    common = (Counter(right) & Counter(guess)).total()
    return 2 * common / (len(right) + len(guess)) if common else 0.0


def answers(rng: np.random.Generator) -> tuple[dict[str, float], Expected]:
    def text() -> str:
        return " ".join(rng.choice(ANSWERS, rng.integers(1, 4)))

    gold = [[text() for _ in range(rng.integers(1, 4))] for _ in range(rng.integers(2, 40))]
    predicted = [text() for _ in gold]
    pairs = [*zip(gold, predicted, strict=True)]
    return scores("answers", (), gold, predicted), {
        "f1": np.mean([max(squad_f1(one, guess) for one in texts) for texts, guess in pairs]),
        "exact_match": np.mean(
            [any(squad_words(one) == squad_words(guess) for one in texts) for texts, guess in pairs]
        ),
    }


def choices(rng: np.random.Generator) -> tuple[dict[str, float], Expected]:
    gold, predicted = rng.integers(0, 4, (2, int(rng.integers(2, 60))))
    return scores("choices", (), gold.tolist(), predicted.tolist()), {"accuracy": np.mean(gold == predicted)}


def numbers(rng: np.random.Generator) -> tuple[dict[str, float], Expected]:
    from scipy.stats import pearsonr, spearmanr

    gold = rng.normal(size=rng.integers(3, 60)).round(int(rng.integers(1, 4)))  # few digits make ties
    predicted = (gold * rng.normal() + rng.normal(size=len(gold))).round(1)
    results: dict[str, float] = {}
    for metric in ("pearson", "spearman"):
        task = catalog.task("regression").with_values({"metric": metric}, origin="--set")
        results[metric] = KINDS[task.kind].headline_of(gold.tolist(), predicted.tolist(), task, "en")
    expected = {"pearson": pearsonr(gold, predicted).statistic, "spearman": spearmanr(gold, predicted).statistic}
    return results, {metric: 0.0 if np.isnan(value) else value for metric, value in expected.items()}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of undefined scores
@pytest.mark.parametrize("draw", [one_label, sets_of_labels, plain_tags, entity_tags, answers, choices, numbers])
def test_scores_of_random_inputs_are_those_of_the_reference(
    draw: Callable[[np.random.Generator], tuple[dict[str, float], Expected]],
):
    for seed in range(INPUTS):
        computed, expected = draw(np.random.default_rng(seed))
        for metric, value in expected.items():
            assert computed[metric] == pytest.approx(100 * value, abs=1e-9), (seed, metric)
