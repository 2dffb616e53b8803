"""Retrieval and similarity of sentences by their vectors, against definitions of benchmarks and other libraries."""

import numpy as np
import pytest
from datasets import Dataset
from scipy import stats

from xmodctl.catalog.task import Task
from xmodctl.core.encoded import Encoded, Ragged
from xmodctl.kinds import KINDS
from xmodctl.kinds.scoring import headline_interval, score_predictions
from xmodctl.kinds.sentence_pairs import nearest_rows


def described(kind: str, **changes: object) -> Task:
    columns = {name: name for name in KINDS[kind].required}
    return Task.model_validate({"name": "own", "title": "Own", "kind": kind, "columns": columns, **changes})


def encoded(count: int) -> Encoded:
    """Return an encoding of `count` rows, whose tokens do not matter."""
    return Encoded(
        Ragged.of([[0]] * (2 * count)), np.repeat(np.arange(count), 2), {"side": np.tile(np.arange(2), count)}
    )


def vectors(seed: int, count: int, *, noise: float) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    texts = draw.normal(size=(count, 8)) + 0.3
    return texts, texts + noise * draw.normal(size=texts.shape)


def interleaved(texts: np.ndarray, pairs: np.ndarray) -> list[np.ndarray]:
    return [vector for row in zip(texts, pairs, strict=True) for vector in row]


def xtreme_accuracy(x: np.ndarray, y: np.ndarray) -> float:
    """Return the share of `y` whose nearest `x` by L2 distance of normalized vectors has the same position.

    As XTREME's `third_party/utils_retrieve.py`: `faiss.normalize_L2` of both, `IndexFlatL2.add(x)`, `search(y, 1)`,
    where `x` has the sentences of the language, and `y` the English ones.
    """
    x, y = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (x, y))
    distances = ((y[:, None] - x[None]) ** 2).sum(-1)
    return 100 * float(np.mean(distances.argmin(axis=1) == np.arange(len(y))))


@pytest.mark.parametrize("seed", range(4))
def test_accuracy_is_xtremes_in_both_directions(seed):
    kind, task = KINDS["sentence-retrieval"], described("sentence-retrieval")
    texts, pairs = vectors(seed, 60, noise=0.8)
    rows = Dataset.from_dict({"id": [f"r{number}" for number in range(60)]})
    predictions, _, metrics = score_predictions(kind, task, rows, "de", encoded(60), interleaved(texts, pairs))
    assert 20 < metrics["accuracy"] < 95
    assert metrics["accuracy"] == pytest.approx(xtreme_accuracy(texts, pairs), abs=1e-9)
    assert metrics["reverse_accuracy"] == pytest.approx(xtreme_accuracy(pairs, texts), abs=1e-9)
    own = [np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(texts, pairs, strict=True)]
    np.testing.assert_allclose([row.scores[2] for row in predictions], own, atol=1e-6)


def test_the_nearest_rows_are_those_of_scikit_learn_in_every_block(monkeypatch):
    from sklearn.neighbors import NearestNeighbors

    monkeypatch.setattr("xmodctl.kinds.sentence_pairs.ROWS_AT_A_TIME", 7)
    texts, pairs = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in vectors(0, 50, noise=1.0))
    nearest, cosines = nearest_rows(pairs, texts)
    distances, neighbors = NearestNeighbors(n_neighbors=1, metric="cosine").fit(texts).kneighbors(pairs)
    np.testing.assert_array_equal(nearest, neighbors[:, 0])
    np.testing.assert_allclose(cosines, 1 - distances[:, 0], atol=1e-9)


def test_of_equal_texts_only_the_first_is_found():
    texts = np.array([[1.0, 0], [1.0, 0], [0, 1.0]])
    kind, task = KINDS["sentence-retrieval"], described("sentence-retrieval")
    rows = Dataset.from_dict({"id": ["a", "b", "c"]})
    predictions, _, metrics = score_predictions(kind, task, rows, "de", encoded(3), interleaved(texts, texts))
    assert [row.prediction for row in predictions] == [["a", "a"], ["a", "a"], ["c", "c"]]
    assert metrics["accuracy"] == pytest.approx(200 / 3)
    assert kind.baseline(["a", "b", "c"], rows, task, "de") == pytest.approx(100 / 3)


def test_an_interval_of_accuracy_is_one_of_a_share():
    kind, task = KINDS["sentence-retrieval"], described("sentence-retrieval")
    found = [["r", "x"]] * 45 + [["x", "r"]] * 5
    statistics = kind.statistics(["r"] * 50, found, task, "de")
    interval = headline_interval(kind, task, statistics)
    wilson = stats.binomtest(45, 50).proportion_ci(method="wilson")
    assert (interval.low, interval.high) == pytest.approx((100 * wilson.low, 100 * wilson.high), abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_similarity_is_the_correlation_of_cosines_with_gold_numbers(seed):
    kind, task = KINDS["sentence-similarity"], described("sentence-similarity")
    texts, pairs = vectors(seed, 80, noise=1.0)
    lengths = np.linalg.norm(texts, axis=1) * np.linalg.norm(pairs, axis=1)
    cosines = (texts * pairs).sum(axis=1) / lengths
    gold = np.round(5 * cosines + np.random.default_rng(seed).normal(size=80), 1)
    rows = Dataset.from_dict({"id": [str(number) for number in range(80)], "label": gold})
    _, _, metrics = score_predictions(kind, task, rows, "de", encoded(80), interleaved(texts, pairs))
    assert metrics["pearson"] == pytest.approx(100 * stats.pearsonr(cosines.round(9), gold).statistic, abs=1e-9)
    assert metrics["spearman"] == pytest.approx(100 * stats.spearmanr(cosines.round(9), gold).statistic, abs=1e-9)
