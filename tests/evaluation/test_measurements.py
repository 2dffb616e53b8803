import tracemalloc

import numpy as np
import pytest
from scored import labels, make_run, score

from xmodctl.catalog import catalog as library
from xmodctl.evaluation.measurements import Measurement, has_own, resampled, with_intervals
from xmodctl.evaluation.results import read_rows, report


def right(share: float, n: int = 600, *, seed: int = 0) -> np.ndarray:
    """Return which of n examples are right; the same seed finds the same examples hard."""
    return np.random.default_rng(seed).random(n) < share


def scored(run, **options):
    rows = read_rows(run.results)
    return with_intervals(report("r", rows), run, rows, **options)


def width(ends: tuple[float, float]) -> float:
    return ends[1] - ends[0]


@pytest.fixture
def run(tmp_path):
    run = make_run(tmp_path / "run")
    for language, share in {"en": 0.8, "de": 0.7, "sw": 0.6}.items():
        score(run, language, labels(right(share)))
    return run


def test_gaps_and_averages_have_intervals_around_them(run):
    result = scored(run)
    english, german, _ = result.scores
    assert english.gap_ci is None
    assert german.gap_ci[0] < german.gap < german.gap_ci[1]
    assert result.gap_ci[0] < result.gap < result.gap_ci[1]
    for name, value in result.averages.items():
        assert result.averages_ci[name][0] < value < result.averages_ci[name][1]
    assert result.gap == pytest.approx(15, abs=2)
    assert result.notes == ()


def test_one_seed_keeps_the_interval_its_row_has(run):
    rows = read_rows(run.results)
    assert [(score.ci_low, score.ci_high) for score in scored(run).scores] == [
        (row.ci_low, row.ci_high) for row in rows
    ]


def test_a_gap_is_paired_where_the_task_is_parallel(run, tmp_path):
    """The same examples are hard in both languages here: most of the noise cancels in the gap, and adds up in means."""
    apart = make_run(tmp_path / "apart", library.task("xnli").model_copy(update={"parallel": False}))
    for language, share in {"en": 0.8, "de": 0.7, "sw": 0.6}.items():
        score(apart, language, labels(right(share)))
    together, alone = scored(run), scored(apart)
    assert width(together.scores[1].gap_ci) < 0.75 * width(alone.scores[1].gap_ci)
    assert width(together.averages_ci["all languages"]) > 1.3 * width(alone.averages_ci["all languages"])
    assert "by id, the same in every language" in together.ci_method
    assert "separately in each language, because the task is not parallel" in alone.ci_method


def test_where_ids_differ_a_language_is_drawn_by_itself_and_that_is_said(run):
    score(run, "sw", labels(right(0.6)), ids=[f"sw-{number}" for number in range(600)])
    result = scored(run)
    assert "in 2 groups of languages, because their ids differ" in result.ci_method
    german, swahili = result.scores[1:]
    assert width(swahili.gap_ci) > 1.2 * width(german.gap_ci)


def test_intervals_are_the_same_every_time_and_in_any_order_of_languages(run, tmp_path):
    other = make_run(tmp_path / "other")
    for language, share in {"sw": 0.6, "en": 0.8, "de": 0.7}.items():
        score(other, language, labels(right(share)))
    first, two = scored(run), scored(other)
    assert scored(run) == first
    assert {score.language: score.gap_ci for score in first.scores} == {
        score.language: score.gap_ci for score in two.scores
    }
    assert first.averages_ci["all languages"] == pytest.approx(two.averages_ci["all languages"])
    assert scored(run, seed=1).gap_ci != first.gap_ci


def test_seeds_that_differ_widen_an_interval_and_the_method_says_so(run):
    before = scored(run).scores[1]
    for seed, shift in ((2, 0.06), (3, -0.06)):
        for language, share in {"en": 0.8, "de": 0.7, "sw": 0.6}.items():
            score(run, language, labels(right(share + shift)), seed=seed)
    after = scored(run).scores[1]
    assert after.ci_high - after.ci_low > 1.5 * (before.ci_high - before.ci_low)
    assert after.ci_method.endswith("the variance between 3 seeds by Student's t")
    # All languages move with the seed, so gaps do not.
    assert width(after.gap_ci) < 1.5 * width(before.gap_ci)


def test_perfect_scores_are_not_shown_as_certain(tmp_path):
    run = make_run(tmp_path / "run")
    for seed in (1, 2):
        for language in ("en", "de"):
            score(run, language, labels(np.ones(30, dtype=bool)), seed=seed)
    rows, found = read_rows(run.results), scored(run)
    for low, high in (
        (rows[0].ci_low, rows[0].ci_high),
        (found.scores[1].ci_low, found.scores[1].ci_high),
        found.averages_ci["all languages"],
    ):
        assert (low, high) == (pytest.approx(100 * 30 / (30 + 1.96**2), abs=0.01), 100)
    assert rows[0].ci_method == "Wilson score interval"
    assert found.gap_ci[0] < -5 < 5 < found.gap_ci[1]


def test_scores_at_the_edge_are_said_to_have_other_coverage(tmp_path):
    run = make_run(tmp_path / "run")
    for language, errors in {"en": 3, "de": 4}.items():
        score(run, language, labels(np.arange(200) >= errors))
    assert not any("within 2 examples" in note for note in scored(run).notes)
    score(run, "sw", labels(np.arange(200) >= 2))
    assert any("some scores are within 2 examples of 0 or 100%" in note for note in scored(run).notes)


def test_two_seeds_are_said_to_be_few(run):
    assert not any("two seeds" in note for note in scored(run).notes)
    for language, share in {"en": 0.8, "de": 0.7, "sw": 0.6}.items():
        score(run, language, labels(right(share)), seed=2)
    assert any("two seeds say little about the variation" in note for note in scored(run).notes)


def test_controls_have_gaps_and_stay_out_of_averages(run):
    before = scored(run)
    score(run, "de", labels(right(0.5)), control="none")
    after = scored(run)
    assert after.averages_ci == before.averages_ci
    none = after.scores[-1]
    assert none.gap_ci[0] < none.gap < none.gap_ci[1]


def test_languages_with_an_adapter_of_their_own_have_an_average_where_others_have_none(run):
    assert "with an adapter of their own" not in scored(run).averages
    score(run, "jv", labels(right(0.3)), adapter="de_DE")
    result = scored(run)
    assert result.averages["with an adapter of their own"] == pytest.approx(70, abs=3)
    assert result.averages["all languages"] == pytest.approx(60, abs=3)
    assert set(result.averages_ci) == set(result.averages)


@pytest.mark.parametrize(
    ("language", "adapter", "own"),
    [("de", "de_DE", True), ("zh", "zh_CN", True), ("zh", "zh_TW", False), ("de", "en_XX", False), ("de", None, False)],
)
def test_an_adapter_is_a_languages_own_as_the_task_spells_it(language, adapter, own):
    assert has_own(language, adapter, library.task("xnli")) == own


def test_missing_predictions_cost_only_the_intervals_they_are_needed_for_and_are_told(run):
    row = read_rows(run.results)[2]
    (run.folder / row.predictions).unlink()
    result = scored(run)
    assert result.scores[1].gap_ci is not None
    assert result.scores[2].gap_ci is None
    assert result.averages_ci == {}
    assert "is missing" in result.notes[0]
    assert result.averages == report("r", read_rows(run.results)).averages


def test_without_any_predictions_the_report_is_what_it_was(run):
    rows = read_rows(run.results)
    for row in rows:
        (run.folder / row.predictions).unlink()
    result = scored(run)
    assert result.scores == report("r", rows).scores
    assert len(result.notes) == 3


def test_languages_with_other_seeds_have_no_common_intervals_and_that_is_said(run):
    score(run, "de", labels(right(0.7)), seed=2)
    result = scored(run)
    assert result.scores[1].gap_ci is None
    assert result.scores[2].gap_ci is not None
    assert result.averages_ci == {}
    assert any("not every language was scored with every seed" in note for note in result.notes)


@pytest.mark.slow
@pytest.mark.parametrize("parallel", [True, False])
def test_eighty_one_languages_five_seeds_and_five_thousand_rows_take_less_than_2_gb(tmp_path, parallel):
    from xmodctl.evaluation.example_statistics import ExampleStatistics
    from xmodctl.kinds import KINDS
    from xmodctl.statistics.intervals import mean_interval
    from xmodctl.statistics.resampling import RESAMPLES, Scores

    run = make_run(tmp_path / "run", library.task("xnli").model_copy(update={"parallel": parallel}))
    row = score(run, "en", labels(right(0.7, 5000)))
    kind, task = KINDS[run.plan.task.kind], run.plan.task
    draw = np.random.default_rng(0)
    measured = []
    for language in range(81):
        rows, outcomes = [], []
        for seed in range(5):
            gold, predicted = zip(*labels(draw.random(5000) < 0.7), strict=True)
            table = kind.statistics(gold, predicted, task, "en").astype(np.uint8)
            rows.append(type(row)(**{**row.to_json(), "language": f"l{language}", "seed": seed}))
            outcomes.append(ExampleStatistics(table, "ids", "gold"))
        measured.append(Measurement(run, tuple(rows), tuple(outcomes)))
    tracemalloc.start()
    scores = resampled(measured, seed=0, resamples=RESAMPLES)
    ends = mean_interval(Scores.mean(scores))
    assert ends[0] < 70 < ends[1]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2e9
