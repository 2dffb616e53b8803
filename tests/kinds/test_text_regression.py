"""Text regression: numbers as data writes them, correlations, and their intervals."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.coverage import pairs_of
from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError
from xmodctl.data import load_rows
from xmodctl.kinds import KINDS
from xmodctl.kinds.correlation import ranked_correlations
from xmodctl.kinds.scoring import headline_interval
from xmodctl.statistics.correlations import FEWEST, fisher, freedoms_of, widened
from xmodctl.statistics.intervals import contrast, mean_interval, wilson
from xmodctl.statistics.resampling import Scores

KIND = KINDS["text-regression"]
FACTS: dict[str, Any] = {
    "name": "t", "title": "T", "kind": KIND.name, "languages": ["en"], "recipe": "regression",
    "columns": {"text": "sentence1", "text_pair": "sentence2", "label": "score"},
}  # fmt: skip
TASK = Task.model_validate(FACTS)


def read(tmp_path: Path, text: str, name: str = "test.jsonl") -> list[float]:
    path = tmp_path / "en" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return load_rows(TASK, "en", "test", folder=tmp_path).table["label"][:]


def pair(score: str) -> str:
    return f'{{"sentence1": "a", "sentence2": "b", "score": {score}}}\n'


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("3", 3.0),
        ("-1", -1.0),
        ("2.5", 2.5),
        ('" 4.25 "', 4.25),
        ('"1e-3"', 0.001),
        ('".5"', 0.5),
        ('"-2."', -2.0),
        ('"4,5"', 4.5),
        ('"-0,125"', -0.125),
        ('"1234,500"', 1234.5),
    ],
)
def test_a_number_is_read_as_number_or_text(tmp_path, cell, number):
    assert read(tmp_path, pair(cell) + pair("0")) == [number, 0.0]


def test_decimal_commas_are_noted(tmp_path):
    path = tmp_path / "en" / "test.csv"
    path.parent.mkdir()
    path.write_text('sentence1,sentence2,score\na,b,"1,5"\nc,d,2\n')
    rows = load_rows(TASK, "en", "test", folder=tmp_path)
    assert rows.table["label"][:] == [1.5, 2.0]
    assert rows.notes == (f"{path}: numbers in `score` have decimal commas (1,5 is 1.5)",)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("NaN", r"test\.jsonl:2: `score` is empty \(NaN\)"),
        ("null", r"test\.jsonl:2: `score` is empty \(null\)"),
        ("Infinity", "expected a finite number"),
        ('"nan"', r'test\.jsonl:2: `score` is "nan"; expected a finite number'),
        ('""', "`score` is empty; fill it in or remove the row"),
        ('"4,500"', r'`score` is "4,500", which may be 4\.500 or 4500; write one of them'),
        ('"-1,234,567"', "expected a finite number"),
        ("true", "expected a finite number"),
        ('"good"', "expected a finite number"),
        ("1e400", "expected a finite number"),
    ],
)
def test_what_is_no_number_is_refused_with_its_line(tmp_path, cell, message):
    with pytest.raises(UserError, match=message):
        read(tmp_path, pair("1") + pair(cell) + pair("3"))


def test_an_empty_cell_of_a_table_is_refused_with_its_line(tmp_path):
    with pytest.raises(UserError, match=r"test\.csv:3: `score` is empty"):
        read(tmp_path, "sentence1,sentence2,score\na,b,1\nc,d,\n", "test.csv")


def test_a_task_of_numbers_has_no_labels():
    with pytest.raises(ValueError, match="predicts numbers and has no `labels`"):
        Task.model_validate(FACTS | {"labels": ["low", "high"]})


def scores(gold: Any, predicted: Any) -> dict[str, float]:
    totals = KIND.statistics(gold, predicted, TASK, "en").sum(axis=0)
    return {name: float(value) for name, value in KIND.metrics(totals, TASK).items()}


@pytest.mark.parametrize("seed", range(6))
def test_correlations_are_those_of_scipy(seed):
    stats = pytest.importorskip("scipy.stats")
    draw = np.random.default_rng(seed)
    gold = draw.normal(1e6 * (seed % 2), 1, 80)
    predicted = gold * draw.normal() + draw.normal(0, 2, 80)
    if seed > 2:  # ties
        gold, predicted = gold.round(), predicted.round()
    result = scores(gold.tolist(), predicted.tolist())
    assert result["pearson"] == pytest.approx(100 * stats.pearsonr(gold, predicted).statistic, abs=1e-7)
    assert result["spearman"] == pytest.approx(100 * stats.spearmanr(gold, predicted).statistic, abs=1e-7)


def test_numbers_that_are_all_the_same_have_no_correlation_and_a_note():
    gold, constant = [1.0, 2.0, 3.0, 5.0, 4.0], [2.5] * 5
    assert scores(gold, constant)["pearson"] == scores(gold, constant)["spearman"] == 0
    assert KIND.score_notes(KIND.statistics(gold, constant, TASK, "en"), TASK) == (
        "all predicted numbers are the same, so correlations are undefined and count as 0",
    )
    assert not KIND.score_notes(KIND.statistics(gold, gold, TASK, "en"), TASK)
    interval = headline_interval(KIND, TASK, KIND.statistics(gold, constant, TASK, "en"))
    assert -100 <= interval.low < 0 < interval.high <= 100


def test_each_resample_is_ranked_anew():
    stats = pytest.importorskip("scipy.stats")
    draw = np.random.default_rng(0)
    gold = draw.normal(size=30).round(1)
    predicted = (gold + draw.normal(size=30)).round(1)
    chosen = draw.integers(0, 30, (20, 30))
    times = np.stack([np.bincount(numbers, minlength=30) for numbers in chosen]).astype(float)
    expected = [stats.spearmanr(gold[numbers], predicted[numbers]).statistic for numbers in chosen]
    assert ranked_correlations(times, gold, predicted) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("metric", ["pearson", "spearman"])
def test_the_interval_is_close_to_scipys_bootstrap_of_pairs(metric):
    stats = pytest.importorskip("scipy.stats")
    draw = np.random.default_rng(1)
    gold = draw.normal(size=250)
    predicted = 0.8 * gold + 0.6 * draw.normal(size=250)
    task = Task.model_validate(FACTS | {"metric": metric})
    interval = headline_interval(KIND, task, KIND.statistics(gold.tolist(), predicted.tolist(), task, "en"))
    function = {"pearson": stats.pearsonr, "spearman": stats.spearmanr}[metric]
    reference = stats.bootstrap(
        (gold, predicted), lambda x, y: function(x, y).statistic, paired=True, vectorized=False, n_resamples=1500,
        method="BCa", rng=1,
    ).confidence_interval  # fmt: skip
    assert interval.low == pytest.approx(100 * reference.low, abs=1.2)
    assert interval.high == pytest.approx(100 * reference.high, abs=1.2)
    assert interval.method.startswith("Fisher z interval, variance by 2000 resamples")


def test_the_interval_of_two_normal_variables_is_fishers():
    draw = np.random.default_rng(2)
    gold = draw.normal(size=2000)
    predicted = gold + draw.normal(size=2000)
    interval = headline_interval(KIND, TASK, KIND.statistics(gold.tolist(), predicted.tolist(), TASK, "en"))
    z = np.arctanh(np.corrcoef(gold, predicted)[0, 1])
    low, high = np.tanh([z - 1.96 / np.sqrt(1997), z + 1.96 / np.sqrt(1997)])
    assert (interval.low, interval.high) == pytest.approx((100 * low, 100 * high), abs=0.6)


@pytest.mark.parametrize(
    ("variables", "rows", "correlation"),
    [
        ("normal variables", 10, 0.0),
        ("normal variables", 20, 0.0),
        ("normal variables", 50, 0.5),
        ("heavy tails", 20, 0.0),
        ("heavy tails", 50, 0.0),
        ("heavy tails", 50, 0.9),
    ],
)
def test_correlations_of_few_rows_are_covered(variables, rows, correlation):
    """`python -m bench.coverage` runs the whole grid; without `widened`, 20 rows without correlation are in 91%."""
    draw = np.random.default_rng([rows, int(10 * correlation)])
    covered = 0
    for _ in range(400):
        gold, predicted = pairs_of(draw, variables, rows, correlation).T
        interval = headline_interval(KIND, TASK, KIND.statistics(gold, predicted, TASK, "en"))
        covered += interval.low <= 100 * correlation <= interval.high
    assert 93 <= covered / 4 <= 99


def test_the_variance_of_a_correlation_is_known_less_well_where_few_pairs_decide_it():
    stats = pytest.importorskip("scipy.stats")
    draw = np.random.default_rng(5)
    normal, extreme = draw.normal(size=(200, 2)), draw.normal(size=(200, 2))
    extreme[0] = 40, 40

    def metric(totals):
        return KIND.metrics(totals, TASK)["pearson"]

    tables = [KIND.statistics(*pairs.T, TASK, "en") for pairs in (normal, extreme)]
    known, unknown = freedoms_of(tables, metric, None)
    z = (normal - normal.mean(axis=0)) / normal.std(axis=0)
    product, squares = z.prod(axis=1), (z**2).sum(axis=1)
    influence = product - product.mean() * squares / 2
    kurtosis = (influence**4).mean() / (influence**2).mean() ** 2
    assert known == pytest.approx(2 * 200 / (kurtosis - 1), rel=0.15)
    assert unknown == FEWEST
    drawn = np.stack([draw.normal(50, 30, 200)] * 2, axis=1)
    wider = widened(drawn, np.array([50.0, 50.0]), 200, [math.inf, 4.0])
    assert np.array_equal(wider[:, 0], drawn[:, 0])
    assert wider[:, 1].std() / drawn[:, 1].std() == pytest.approx(stats.t.ppf(0.975, 4) / stats.norm.ppf(0.975))
    assert freedoms_of(tables, metric, lambda times, table: times) == []


def test_only_correlations_that_vary_less_than_normal_variables_are_widened():
    draw = np.random.default_rng(3)
    drawn = np.stack([draw.normal(50, 1, 200), draw.normal(50, 90, 200), np.full(200, 50.0)], axis=1)
    wider = widened(drawn, np.array([50.0, 50.0, 50.0]), 20)
    assert wider[:, 0].std(ddof=1) == pytest.approx(100 * 0.75 / 17**0.5)
    assert wider.mean(axis=0) == pytest.approx(drawn.mean(axis=0))
    assert np.array_equal(wider[:, 1:], drawn[:, 1:])
    assert np.array_equal(widened(drawn, np.array([50.0] * 3), 3), drawn)


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_perfect_correlation_has_the_width_of_a_perfect_share(sign):
    assert fisher(sign, 0.0, 30, 1.96) == tuple(sorted((sign, sign * 30 / (30 + 1.96**2))))
    assert wilson(1.0, 30, 1.96)[0] == pytest.approx(30 / (30 + 1.96**2))


def test_a_correlation_of_ranks_that_is_perfect_by_chance_is_covered():
    task = Task.model_validate(FACTS | {"metric": "spearman"})
    draw = np.random.default_rng(4)
    covered = 0
    for _ in range(200):
        gold, predicted = pairs_of(draw, "normal variables", 5, 0.9).T
        interval = headline_interval(KIND, task, KIND.statistics(gold, predicted, task, "en"))
        covered += interval.low <= 89 <= interval.high
    assert covered >= 186


@pytest.mark.parametrize("value", [-1.0, -0.7, 0.0, 0.3, 1.0])
def test_intervals_of_correlations_stay_between_their_bounds(value):
    assert fisher(value, 0.0, 3, 1.96) == (-1.0, 1.0)
    low, high = fisher(value, 0.2, 20, 1.96)
    assert -1 <= low <= value <= high <= 1
    draw = np.random.default_rng(0)
    observed = np.array([100 * value] * 2)
    own = Scores((1, 2), observed, observed + draw.normal(0, 3, (50, 2)), {"s": 50}, is_correlation=True)
    other = Scores((1, 2), -observed, -observed + draw.normal(0, 3, (50, 2)), {"s": 50}, is_correlation=True)
    low, high = mean_interval(own)
    assert -100 <= low <= 100 * value <= high <= 100
    difference = contrast(own, other, paired=True)
    low, high = difference.interval()
    assert -200 <= low <= 200 * value <= high <= 200
    assert 0 <= difference.p_value() <= 1
    assert Scores.mean([own, other]).is_correlation
