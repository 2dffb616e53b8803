import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.coverage import Cell, Design, coverage
from xmodctl.statistics.intervals import (
    contrast,
    contrast_of_shares,
    mean_interval,
    noise,
    score_interval,
    share_interval,
    wilson,
)
from xmodctl.statistics.resampling import Scores, resample
from xmodctl.statistics.significance import mcnemar

NORMAL = 1.959963984540054


def accuracy(totals):
    return 100 * totals[..., 0] / totals[..., 1]


def f1(totals):
    hit, false_positive, false_negative = np.moveaxis(totals, -1, 0)
    return 200 * hit / (2 * hit + false_positive + false_negative)


def outcomes(right: int, wrong: int) -> np.ndarray:
    return np.array([[1, 1]] * right + [[0, 1]] * wrong)


def seeds_of(outcome: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores of seeds, and their covariance, from which seed is right on which example."""
    return outcome.mean(axis=1), np.atleast_2d(np.cov(outcome, ddof=0)) / outcome.shape[1]


# One score


@given(st.integers(0, 400), st.integers(0, 400))
def test_the_interval_of_a_share_is_wilsons_as_statsmodels_has_it(right, wrong):
    from statsmodels.stats.proportion import proportion_confint

    if right + wrong == 0:
        return
    interval = score_interval(outcomes(right, wrong), accuracy, is_share=True)
    expected = proportion_confint(right, right + wrong, method="wilson")
    assert (interval.low / 100, interval.high / 100) == pytest.approx(expected, abs=1e-12)
    assert interval.method == "Wilson score interval"


def test_thirty_of_thirty_right_is_no_proof_of_perfection():
    interval = score_interval(outcomes(30, 0), accuracy, is_share=True)
    assert interval.low == pytest.approx(100 * 30 / (30 + NORMAL**2))
    assert interval.high == 100
    assert score_interval(outcomes(0, 30), accuracy, is_share=True).low == 0


def test_a_perfect_f1_and_perfect_seeds_have_the_interval_of_a_perfect_share():
    perfect = score_interval(np.array([[2, 0, 0]] * 30), f1, is_share=False)
    seeds = Scores((1, 2, 3), np.full(3, 100.0), np.full((50, 3), 100.0), {"ids": 30})
    expected = pytest.approx((100 * 30 / (30 + NORMAL**2), 100.0))
    assert (perfect.low, perfect.high) == expected
    assert mean_interval(seeds) == expected


def test_an_f1_has_the_interval_of_the_share_that_varies_as_much():
    counts = np.random.default_rng(0).poisson((2, 1, 1), size=(500, 3))
    interval = score_interval(counts, f1, is_share=False)
    values = resample([counts], f1, resamples=20_000)
    low, high = np.percentile(values, [2.5, 97.5])  # far from 0 and 100, percentiles are about right
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=0.25)
    assert interval.method == "Wilson score interval, effective sample size by 2000 resamples, seed 0"


def test_the_same_seed_gives_the_same_interval_in_any_order_of_examples():
    counts = np.random.default_rng(0).poisson((2, 1, 1), size=(50, 3))
    interval = score_interval(counts, f1, is_share=False)
    assert interval == score_interval(counts[::-1], f1, is_share=False)
    assert interval != score_interval(counts, f1, is_share=False, seed=1)


@given(st.floats(0, 1), st.floats(0.1, 1e6), st.floats(0.1, 100))
def test_wilsons_interval_stays_between_0_and_1_around_the_share(share, examples, quantile):
    low, high = wilson(share, examples, quantile)
    assert 0 <= low <= share + 1e-9
    assert share - 1e-9 <= high <= 1


# Seeds


def test_resamples_estimate_the_covariance_that_shares_have():
    draw = np.random.default_rng(0)
    outcome = (draw.normal(size=200) + 0.7 * draw.normal(size=(3, 200)) < 0.8).astype(int)
    tables = [np.stack([right, np.ones_like(right)], axis=1) for right in outcome]
    scores = Scores((1, 2, 3), 100 * outcome.mean(axis=1), resample(tables, accuracy, resamples=20_000), {"ids": 200})
    assert mean_interval(scores) == pytest.approx([100 * end for end in share_interval(*seeds_of(outcome), 200)], 5e-3)


def test_the_variance_of_a_mean_over_seeds_has_two_parts():
    draw = np.random.default_rng(0)
    outcome = (draw.normal(size=500) + draw.normal(size=(4, 500)) < 0.8).astype(int)
    observed, covariance = seeds_of(outcome)
    parts = noise(observed, covariance, 500)
    assert parts.seeds == pytest.approx(observed.var(ddof=1) / 4)
    off = covariance[~np.eye(4, dtype=bool)]
    assert parts.examples == pytest.approx(off.mean())
    assert parts.freedom == 3
    # Seeds that are right on the same examples add nothing to the noise of one.
    alike = noise(np.full(3, 0.7), np.full((3, 3), 1e-4), 100)
    assert (alike.seeds, alike.examples) == pytest.approx((0, 1e-4))


def test_seeds_that_differ_need_a_wider_interval_the_fewer_they_are():
    flat = np.zeros((5, 5))
    widths = []
    for count in (2, 3, 5):
        observed = 0.7 + 0.02 * np.array([-1, 1, 0, 1, -1])[:count]
        low, high = share_interval(observed, flat[:count, :count], 1000)
        widths.append((high - low) / 2 / (observed.std(ddof=1) / math.sqrt(count)))
    assert widths[0] > widths[1] > widths[2]
    assert widths[2] == pytest.approx(2.776, rel=0.05)  # Student's t with four degrees of freedom


# Differences


def test_the_difference_of_two_shares_has_newcombes_interval():
    """36 examples are right on both sides, 12 and 2 on one, 10 on none; the formula is that of method 10."""
    first = np.array([1] * 36 + [1] * 12 + [0] * 2 + [0] * 10)
    second = np.array([1] * 36 + [0] * 12 + [1] * 2 + [0] * 10)
    observed, covariance = seeds_of(np.stack([first, second]))
    low, high = contrast_of_shares(observed[:1], observed[1:], covariance, (60, 60), paired=False).interval()
    phi = (36 * 10 - 12 * 2) / math.sqrt(48 * 12 * 38 * 22)
    (l1, u1), (l2, u2) = wilson(48 / 60, 60, NORMAL), wilson(38 / 60, 60, NORMAL)
    p1, p2 = 48 / 60, 38 / 60
    below = math.sqrt((p1 - l1) ** 2 - 2 * phi * (p1 - l1) * (u2 - p2) + (u2 - p2) ** 2)
    above = math.sqrt((u1 - p1) ** 2 - 2 * phi * (u1 - p1) * (p2 - l2) + (p2 - l2) ** 2)
    assert (low / 100, high / 100) == pytest.approx((p1 - p2 - below, p1 - p2 + above))


def test_two_perfect_models_may_still_differ():
    perfect = Scores((1,), np.array([100.0]), np.full((50, 1), 100.0), {"ids": 30})
    difference = contrast(perfect, perfect, paired=True)
    low, high = difference.interval()
    assert low == pytest.approx(-high) == pytest.approx(-100 * (1 - 30 / (30 + NORMAL**2)))
    assert difference.p_value() == 1


def random_contrast(number: int):
    draw = np.random.default_rng(number)
    sizes = draw.integers(1, 5, 2)
    paired = number % 3 == 0
    sizes[1] = sizes[0] if paired else sizes[1]
    count = int(draw.choice([20, 100, 1000]))
    means = draw.uniform(0.3, 1.2) + draw.normal(size=(sizes.sum(), 1)) * draw.choice([0, 0.1])
    means[: sizes[0]] += draw.normal() * draw.choice([0.05, 0.3])
    outcome = (draw.normal(size=count) + draw.normal(size=(sizes.sum(), count)) < means).astype(int)
    observed, covariance = seeds_of(outcome)
    first, second = observed[: sizes[0]], observed[sizes[0] :]
    turned = np.roll(np.roll(covariance, sizes[1], axis=0), sizes[1], axis=1)
    return (
        contrast_of_shares(first, second, covariance, (count, count), paired=paired),
        contrast_of_shares(second, first, turned, (count, count), paired=paired),
    )


@pytest.mark.parametrize("number", range(60))
def test_a_p_value_is_below_5_percent_where_the_interval_excludes_0_and_never_nothing(number):
    one, other = random_contrast(number)
    low, high = one.interval()
    assert low <= 100 * one.value <= high
    assert (one.p_value() < 0.05) == (not low <= 0 <= high)
    assert 0 < one.p_value() <= 1
    assert one.p_value() == pytest.approx(other.p_value())
    assert other.interval() == pytest.approx((-high, -low))


def test_the_p_value_of_one_seed_per_side_is_close_to_mcnemars():
    for number in range(12):
        draw = np.random.default_rng(number)
        outcome = (draw.normal(size=300) + draw.normal(size=(2, 300)) < [[0.6], [0.45]]).astype(int)
        observed, covariance = seeds_of(outcome)
        p = contrast_of_shares(observed[:1], observed[1:], covariance, (300, 300), paired=False).p_value()
        assert abs(mcnemar(*outcome) - p) <= 0.03


def test_a_single_seed_takes_the_variance_of_the_other_side():
    flat = np.zeros((4, 4))
    single, several = np.array([0.6]), np.array([0.70, 0.71, 0.72])
    difference = contrast_of_shares(several, single, flat, (4000, 4000), paired=False)
    assert difference.noise.seeds == pytest.approx(0.01**2 * (1 / 3 + 1))
    assert difference.noise.freedom == 2
    low, high = difference.interval()
    assert (high - low) / 2 == pytest.approx(100 * 4.303 * 0.01 * math.sqrt(1 / 3 + 1), rel=0.01)


def test_seeds_of_one_run_are_compared_model_by_model():
    """Models that differ much from each other, but by the same amount on both sides."""
    first = np.array([0.6, 0.7, 0.8])
    covariance = np.full((6, 6), 1e-6)
    paired = contrast_of_shares(first, first - 0.05, covariance, (400, 400), paired=True)
    apart = contrast_of_shares(first, first - 0.05, covariance, (400, 400), paired=False)
    assert paired.p_value() < 0.01
    assert apart.p_value() > 0.3


# What the intervals promise


@pytest.mark.parametrize(
    ("design", "cell", "lowest", "highest"),
    [
        (Design("score", (1,)), Cell(100, 80, 0, 0.6), 93, 97),
        (Design("score", (3,)), Cell(100, 80, 1, 0.6), 93, 98),
        (Design("score", (5,)), Cell(1000, 95, 1, 0.6), 93, 97),
        (Design("score", (2,)), Cell(1000, 80, 1, 0.6), 95, 100),  # two seeds: conservative, as the screen says
        (Design("mean", (3,), 15), Cell(100, 80, 1, 0.6), 93, 98),
        (Design("difference", (1, 1)), Cell(100, 80, 0, 0.6), 93, 97),
        (Design("difference", (3, 3)), Cell(100, 80, 1, 0.6), 93, 97),
        (Design("mean difference", (2, 2), 15), Cell(100, 80, 1, 0.6), 93, 97),
        (Design("gap", (3, 3), paired=True), Cell(1000, 80, 1, 0.6), 93, 97),
    ],
)
def test_an_interval_covers_the_true_value_as_often_as_the_docs_say(design, cell, lowest, highest):
    """With a fixed seed; `python -m bench.coverage` runs the whole grid."""
    assert lowest <= coverage(design, cell, 800) <= highest


def test_scores_near_100_percent_of_few_rows_are_covered():
    """The percentile bootstrap covers 63% here."""
    for examples in (30, 50, 100):
        draw = np.random.default_rng(examples)
        covered = 0
        for _ in range(1000):
            right = int(draw.binomial(examples, 0.98))
            interval = score_interval(outcomes(right, examples - right), accuracy, is_share=True)
            covered += interval.low <= 98 <= interval.high
        assert covered >= 880
