import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmodctl.statistics.resampling import Scores, bootstrap, percentiles, redraw, resample
from xmodctl.statistics.significance import holm, mcnemar, p_value


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


def test_a_score_without_variation_has_an_interval_without_width():
    interval = bootstrap(outcomes(20, 0), accuracy)
    assert (interval.low, interval.high) == (100.0, 100.0)


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


def test_seeds_that_agree_add_nothing_and_one_seed_has_no_such_level():
    drawn = np.random.default_rng(0).normal(70, 1, 500)
    scores = Scores((1,), np.array([70.0]), drawn[:, None])
    assert np.array_equal(redraw(scores), drawn)
    alike = Scores((1, 2, 3), np.array([70.0] * 3), np.stack([drawn] * 3, axis=1))
    assert np.allclose(redraw(alike), drawn)


def test_the_variance_between_seeds_is_told_from_the_noise_of_the_test_set():
    """Searle, Casella and McCulloch's estimate is unbiased: its mean over many experiments is the true variance."""
    draw = np.random.default_rng(0)
    results = []
    for _ in range(600):
        examples = (
            50.0 + 2.0 * draw.normal(size=(4, 1)) + 30 * draw.normal(size=(1, 60)) + 15 * draw.normal(size=(4, 60))
        )
        times = draw.multinomial(60, np.full(60, 1 / 60), size=200) / 60
        results.append(Scores((1, 2, 3, 4), examples.mean(axis=1), times @ examples.T).seed_variance)
    assert np.mean(results) == pytest.approx(4.0, abs=4 * np.std(results) / np.sqrt(600))


def test_a_single_seed_borrows_the_variance_of_the_other_side():
    calm = Scores((1,), np.array([60.0]), np.full((4000, 1), 60.0))
    spread = Scores((1, 2, 3), np.array([70.0, 71.0, 72.0]), np.tile([70.0, 71.0, 72.0], (4000, 1)))
    values = redraw(spread, calm)
    assert np.median(values) == pytest.approx(11, abs=0.1)
    assert np.percentile(values, 97.5) - 11 == pytest.approx(4.303 * np.sqrt(1 / 3 + 1), rel=0.15)  # t with 2 degrees


def test_scores_are_subtracted_and_averaged_seed_by_seed():
    first = Scores((1, 2), np.array([1.0, 2.0]), np.array([[1.0, 2.0], [3.0, 4.0]]))
    second = Scores((1, 2), np.array([0.0, 4.0]), np.array([[0.0, 0.0], [1.0, 1.0]]))
    assert (first - second).drawn.tolist() == [[1.0, 2.0], [2.0, 3.0]]
    assert Scores.mean([first, second]).observed.tolist() == [0.5, 3.0]
    assert first.value == 1.5


# Tests


@pytest.mark.parametrize("counts", [(0, 0), (1, 0), (5, 5), (10, 3), (3, 10), (60, 25), (0, 12), (400, 330), (900, 20)])
def test_mcnemar_agrees_with_statsmodels(counts):
    from statsmodels.stats.contingency_tables import mcnemar as reference

    only_first, only_second = counts
    first = [True] * only_first + [False] * only_second + [True] * 7 + [False] * 4
    second = [False] * only_first + [True] * only_second + [True] * 7 + [False] * 4
    expected = reference([[7, only_first], [only_second, 4]], exact=True).pvalue
    assert mcnemar(first, second) == pytest.approx(min(1.0, expected), rel=1e-9)


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


def test_a_p_value_is_small_where_the_interval_leaves_zero_out_and_never_nothing():
    draw = np.random.default_rng(0)
    for mean in (0.0, 1.0, 1.8, 2.2, 3.0):
        values = draw.normal(mean, 1, 10_000)
        low, high = percentiles(values)
        assert (p_value(values) < 0.05) == (not low <= 0 <= high)
    assert p_value(np.full(999, 5.0)) == pytest.approx(0.002)
    assert p_value(np.zeros(999)) == 1.0


def test_the_bootstrap_p_value_is_close_to_the_exact_one():
    for number in range(6):
        first, second = correlated(np.random.default_rng(number), 300)
        values = resample([table(first), table(second)], accuracy, resamples=5000)
        exact = mcnemar(first, second)  # a little conservative: it counts whole examples
        assert exact - 0.06 <= p_value(values[:, 0] - values[:, 1]) <= exact + 0.01


# What the intervals promise


def share_covered(trial, trials: int) -> float:
    return sum(trial(np.random.default_rng([7, number])) for number in range(trials)) / trials


@pytest.mark.slow
def test_the_interval_of_a_score_covers_the_truth_as_often_as_it_says():
    def trial(draw):
        right = draw.binomial(300, 0.6)
        interval = bootstrap(outcomes(right, 300 - right), accuracy, resamples=500)
        return interval.low <= 60 <= interval.high

    assert 0.93 <= share_covered(trial, 1000) <= 0.97


@pytest.mark.slow
def test_the_interval_of_a_gap_between_parallel_languages_covers_the_truth_as_often_as_it_says():
    from scipy.stats import norm

    truth = 100 * (norm.cdf(0.6 / np.sqrt(2)) - norm.cdf(0.3 / np.sqrt(2)))

    def trial(draw):
        first, second = correlated(draw, 200)
        values = resample([table(first), table(second)], accuracy, resamples=300)
        low, high = percentiles(values[:, 0] - values[:, 1])
        return low <= truth <= high

    assert 0.93 <= share_covered(trial, 800) <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "between"), [(2, 1.0), (3, 0.3), (3, 3.0), (5, 1.0)])
def test_the_interval_over_seeds_and_examples_covers_the_truth_as_often_as_it_says(seeds, between):
    """Resampling the seeds, as if they were many, covers 85% where three seeds differ three times the noise."""
    n, alike, own = 100, 0.4, 0.28  # `between`: how much seeds differ, relative to the noise of the test set
    noise = np.hypot(alike, own) / np.sqrt(n)

    def trial(draw):
        scores = between * noise * draw.normal(size=(seeds, 1)) + alike * draw.normal(size=n)
        examples = scores + own * draw.normal(size=(seeds, n))
        times = draw.multinomial(n, np.full(n, 1 / n), size=300) / n
        low, high = percentiles(redraw(Scores(tuple(range(seeds)), examples.mean(axis=1), times @ examples.T)))
        return low <= 0 <= high

    assert 0.93 <= share_covered(trial, 1000) <= 0.97
