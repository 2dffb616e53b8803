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


def xtreme_bucc_f1(x: np.ndarray, y: np.ndarray, sources: list[str], targets: list[str]) -> tuple[float, set[tuple]]:
    """Return the F1 in percent, and the pairs, of mining as XTREME's script does; row i of both sides is a gold pair.

    Written anew from `third_party/utils_retrieve.py` of google-research/xtreme: `mine_bitext(mode="mine",
    retrieval="max", margin="ratio", neighborhood=4, dist="cosine")` keeps one vector of equal sentences (the last),
    `read_sent2id` drops repeated sentences, `bucc_optimize` finds the threshold on the gold pairs, and `bucc_extract`
    applies it.
    """
    x_of, y_of = (dict(zip(texts, side, strict=True)) for texts, side in ((sources, x), (targets, y)))
    x, y = (np.array([v / np.linalg.norm(v) for v in side.values()]) for side in (x_of, y_of))
    cosines = x @ y.T
    x_near = [sorted(range(len(y)), key=lambda j: -cosines[i, j])[:4] for i in range(len(x))]
    y_near = [sorted(range(len(x)), key=lambda i: -cosines[i, j])[:4] for j in range(len(y))]
    x_mean = [np.mean([cosines[i, j] for j in near]) for i, near in enumerate(x_near)]
    y_mean = [np.mean([cosines[i, j] for i in near]) for j, near in enumerate(y_near)]

    def margin(i: int, j: int) -> float:
        return cosines[i, j] / ((x_mean[i] + y_mean[j]) / 2)

    found = [max((margin(i, j), i, j) for j in near) for i, near in enumerate(x_near)]
    found += [max((margin(i, j), i, j) for i in near) for j, near in enumerate(y_near)]
    seen: set[tuple[str, int]] = set()
    candidates = []
    for score, i, j in sorted(found, reverse=True):
        if ("x", i) not in seen and ("y", j) not in seen:
            seen |= {("x", i), ("y", j)}
            source, target = [*x_of][i], [*y_of][j]
            if sources.count(source) == targets.count(target) == 1:
                candidates.append((score, (sources.index(source), targets.index(target))))
    best, threshold, correct = 0.0, 0.0, 0
    for number, (score, (i, j)) in enumerate(candidates):
        correct += i == j
        precision, recall = correct / (number + 1), correct / len(sources)
        if correct and (f1 := 2 * precision * recall / (precision + recall)) > best:
            best, threshold = f1, (score + candidates[min(number + 1, len(candidates) - 1)][0]) / 2
    return 100 * best, {pair for score, pair in candidates if score >= threshold}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("repeats", [False, True])
def test_f1_of_mined_pairs_is_xtremes(seed, repeats, monkeypatch):
    monkeypatch.setattr("xmodctl.kinds.mining.ROWS_AT_A_TIME", 7)
    kind, task = KINDS["sentence-retrieval"], described("sentence-retrieval", metric="f1")
    texts, pairs = vectors(seed, 60, noise=0.9)
    sides = {"text": [f"t{number}" for number in range(60)], "text_pair": [f"p{number}" for number in range(60)]}
    if repeats:
        for side, of_side in (("text", texts), ("text_pair", pairs)):
            for first, second in ((3, 17), (3, 40), (8, 9)):
                sides[side][second], of_side[second] = sides[side][first], of_side[first]
    rows = Dataset.from_dict({"id": [f"r{number}" for number in range(60)], **sides})
    predictions, statistics, metrics = score_predictions(kind, task, rows, "de", encoded(60), interleaved(texts, pairs))
    expected, mined = xtreme_bucc_f1(texts, pairs, sides["text"], sides["text_pair"])
    assert 20 < expected < 95
    assert metrics["f1"] == pytest.approx(expected, abs=1e-9)
    own = {(number, int(row.prediction[2][1:])) for number, row in enumerate(predictions) if row.prediction[2]}
    assert own == mined
    interval = headline_interval(kind, task, statistics)
    assert interval.low < expected < interval.high


@pytest.mark.parametrize(("count", "reversed_f1"), [(1, 100), (2, 0)])
def test_few_pairs_are_mined_with_fewer_neighbors(count, reversed_f1):
    kind, task = KINDS["sentence-retrieval"], described("sentence-retrieval", metric="f1")
    texts = np.eye(3)[:count] + 0.1
    rows = Dataset.from_dict({"id": ["a", "b"][:count]})
    _, _, metrics = score_predictions(kind, task, rows, "de", encoded(count), interleaved(texts, texts))
    assert metrics["f1"] == 100
    reverse = interleaved(texts, texts[::-1])
    _, _, metrics = score_predictions(kind, task, rows, "de", encoded(count), reverse)
    assert metrics["f1"] == reversed_f1


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
