import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmodctl.statistics.resampling import Scores, bootstrap, percentiles, resample
from xmodctl.statistics.significance import holm, mcnemar


def accuracy(totals):
    return 100 * totals[..., 0] / totals[..., 1]


def f1(totals):
    hit, false_positive, false_negative = np.moveaxis(totals, -1, 0)
    return 200 * hit / (2 * hit + false_positive + false_negative)


def outcomes(right: int, wrong: int) -> np.ndarray:
    return np.array([[1, 1]] * right + [[0, 1]] * wrong)


def table(right: np.ndarray) -> np.ndarray:
    return np.stack([right, np.ones_like(right)], axis=1)


def correlated(draw: np.random.Generator, n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Return what two models get right: examples that are hard for one are hard for the other."""
    hardness = draw.normal(size=n)
    return tuple((hardness + draw.normal(size=n) < mean).astype(int) for mean in (0.6, 0.3))


# One score


def test_the_interval_is_close_to_the_normal_approximation_for_many_examples():
    interval = bootstrap(outcomes(700, 300), accuracy)
    half = 1.96 * 100 * np.sqrt(0.7 * 0.3 / 1000)
    assert interval.low == pytest.approx(70 - half, abs=0.4)
    assert interval.high == pytest.approx(70 + half, abs=0.4)


def test_the_interval_agrees_with_scipys():
    from scipy import stats

    counts = np.random.default_rng(0).poisson((2, 1, 1), size=(500, 3))
    reference = stats.bootstrap(
        (np.arange(500),), lambda rows, axis: f1(counts[rows].sum(axis=axis - 1)),
        n_resamples=20_000, batch=1000, method="percentile", rng=1,
    ).confidence_interval  # fmt: skip
    first, other = bootstrap(counts, f1, resamples=20_000), percentiles(resample([counts], f1, resamples=20_000))
    for low, high in ((first.low, first.high), other):
        assert low == pytest.approx(reference.low, abs=0.08)
        assert high == pytest.approx(reference.high, abs=0.08)


def test_the_same_seed_gives_the_same_interval_in_any_order_of_examples():
    rows = outcomes(31, 19)
    assert bootstrap(rows, accuracy) == bootstrap(rows[::-1], accuracy)
    assert bootstrap(rows, accuracy, seed=1) != bootstrap(rows, accuracy, seed=2)


# Several scores on the same examples


def test_tables_are_resampled_by_the_same_rows():
    first = table(np.random.default_rng(0).integers(0, 2, 50))
    wrong_where_right = np.stack([1 - first[:, 0], first[:, 1]], axis=1)
    values = resample([first, wrong_where_right, first], accuracy, resamples=100)
    assert np.allclose(values[:, 0] + values[:, 1], 100)
    assert np.array_equal(values[:, 0], values[:, 2])


def test_resamples_depend_on_seed_and_stream_alone_and_not_on_how_many_are_held_at_a_time(monkeypatch):
    tables = [table(np.random.default_rng(number).integers(0, 2, 40)) for number in range(7)]
    whole = resample(tables, accuracy, resamples=60, stream="de")
    assert np.array_equal(whole, resample(tables, accuracy, resamples=60, stream="de"))
    assert np.array_equal(whole[:, 3:4], resample(tables[3:4], accuracy, resamples=60, stream="de"))
    assert not np.array_equal(whole, resample(tables, accuracy, resamples=60, stream="fr"))
    assert not np.array_equal(whole, resample(tables, accuracy, resamples=60, stream="de", seed=1))
    monkeypatch.setattr("xmodctl.statistics.resampling.CELLS", 300)
    assert np.array_equal(whole, resample(tables, accuracy, resamples=60, stream="de"))


def test_the_paired_interval_of_a_difference_agrees_with_scipys_and_is_narrower_than_an_unpaired_one():
    from scipy import stats

    first, second = correlated(np.random.default_rng(0), 1000)
    values = resample([table(first), table(second)], accuracy, resamples=20_000)
    low, high = percentiles(values[:, 0] - values[:, 1])
    reference = stats.bootstrap(
        (first, second), lambda a, b, axis: 100 * (a.mean(axis=axis) - b.mean(axis=axis)),
        paired=True, n_resamples=20_000, method="percentile", rng=1,
    ).confidence_interval  # fmt: skip
    assert low == pytest.approx(reference.low, abs=0.15)
    assert high == pytest.approx(reference.high, abs=0.15)
    unpaired = stats.bootstrap(
        (first, second), lambda a, b, axis: 100 * (a.mean(axis=axis) - b.mean(axis=axis)),
        n_resamples=5000, method="percentile", rng=1,
    ).confidence_interval  # fmt: skip
    assert high - low < 0.9 * (unpaired.high - unpaired.low)


# Seeds


def test_scores_are_averaged_seed_by_seed_and_shared_examples_count_once():
    first = Scores((1, 2), np.array([1.0, 2.0]), np.array([[1.0, 2.0], [3.0, 4.0]]), {"ids": 7})
    second = Scores((1, 2), np.array([0.0, 4.0]), np.array([[0.0, 0.0], [1.0, 1.0]]), {"ids": 7})
    mean = Scores.mean([first, second])
    assert mean.observed.tolist() == [0.5, 3.0]
    assert mean.drawn.tolist() == [[0.5, 1.0], [2.0, 2.5]]
    assert first.value == 1.5
    assert mean.count == 7
    third = Scores((1, 2), second.observed, second.drawn, {"other ids": 5})
    assert Scores.mean([first, third]).count == 12


# Tests


@pytest.mark.parametrize("counts", [(0, 0), (1, 0), (5, 5), (10, 3), (3, 10), (60, 25), (0, 12), (400, 330), (900, 20)])
def test_mcnemar_is_the_exact_test_of_statsmodels_with_half_the_probability_of_ties(counts):
    from scipy.stats import binom
    from statsmodels.stats.contingency_tables import mcnemar as reference

    only_first, only_second = counts
    first = [True] * only_first + [False] * only_second + [True] * 7 + [False] * 4
    second = [False] * only_first + [True] * only_second + [True] * 7 + [False] * 4
    exact = reference([[7, only_first], [only_second, 4]], exact=True).pvalue
    tie = binom.pmf(min(counts), sum(counts), 0.5)
    expected = exact - tie if only_first != only_second else 1 - tie / 2 if only_first else 1
    assert mcnemar(first, second) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_is_significant_by_chance_in_about_5_percent():
    draw = np.random.default_rng(4)
    positive = 0
    for _ in range(2000):
        hard = draw.normal(size=100)
        first, second = (hard + draw.normal(size=100) < 0.3 for _ in range(2))
        positive += mcnemar(first, second) < 0.05
    assert 0.03 <= positive / 2000 <= 0.07


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60))
def test_mcnemar_is_a_probability_and_does_not_care_who_comes_first(pairs):
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    assert 0 < mcnemar(first, second) <= 1
    assert mcnemar(first, second) == mcnemar(second, first)


@pytest.mark.parametrize("count", [1, 2, 15, 81])
def test_holm_agrees_with_statsmodels(count):
    from statsmodels.stats.multitest import multipletests

    p_values = np.random.default_rng(count).beta(0.2, 1, count).round(3).tolist()  # some are equal
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])


@given(st.lists(st.floats(0, 1), max_size=40))
def test_holm_never_makes_a_p_value_smaller_and_keeps_their_order(p_values):
    corrected = holm(p_values)
    assert all(old <= new <= 1 for old, new in zip(p_values, corrected, strict=True))
    assert [corrected[place] for place in np.argsort(p_values, kind="stable")] == sorted(corrected)
