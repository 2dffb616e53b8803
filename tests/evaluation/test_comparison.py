import json
import shlex
from dataclasses import replace

import numpy as np
import pytest
from scored import labels, make_run, score

from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError
from xmodctl.core.files import sha256_of
from xmodctl.evaluation.compare import compare_controls, compare_runs, rows_of
from xmodctl.evaluation.results import read_rows
from xmodctl.run.plan import AveragedModels, AverageMember

RESAMPLES = 1000


def right(share: float, n: int = 400, *, seed: int = 0) -> np.ndarray:
    """Return which of n examples are right; the same seed finds the same examples hard."""
    return np.random.default_rng(seed).random(n) < share


@pytest.fixture
def two_runs(tmp_path):
    """Return two runs: the second is much better in Swahili, a trifle in German, and equal in English."""
    first, second = make_run(tmp_path / "first"), make_run(tmp_path / "second")
    for language, shares in {"en": (0.8, 0.8), "de": (0.70, 0.71), "sw": (0.5, 0.65)}.items():
        for run, share in zip((first, second), shares, strict=True):
            score(run, language, labels(right(share)))
    return first, second


def compare(*runs, **options):
    return compare_runs(runs, resamples=RESAMPLES, **options)


def refused(*runs, **options) -> str:
    with pytest.raises(UserError) as error:
        compare(*runs, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_each_language_has_its_difference_and_the_verdict_says_where_it_is_more_than_chance(two_runs):
    comparison = compare(*two_runs)
    english, german, swahili, mean = comparison.differences
    assert english.value == 0
    assert english.p == 1.0
    assert -1 < english.ci[0] < 0 < english.ci[1] < 1  # equal on 400 examples, perhaps not on others
    assert not german.significant
    assert swahili.significant
    assert swahili.ci[0] < swahili.value < swahili.ci[1]
    assert mean.language is None
    assert mean.value == pytest.approx((english.value + german.value + swahili.value) / 3)
    assert comparison.verdicts[0].startswith(
        "B scores significantly higher than A in 1 of 3 languages (sw) and lower in none; 2 are not"
    )


def test_the_other_way_round_every_sign_turns_and_no_p_value_changes(two_runs):
    first, other = compare(*two_runs), compare(*reversed(two_runs))
    assert [d.value for d in first.differences] == pytest.approx([-d.value for d in other.differences])
    assert [d.p for d in first.differences] == [d.p for d in other.differences]
    assert "B scores significantly higher than A in none and lower in 1 of 3 languages (sw)" in other.verdicts[0]


def test_p_values_are_mcnemars_and_holms_as_scipy_and_statsmodels_have_them(two_runs):
    from scipy.stats import binom
    from statsmodels.stats.multitest import multipletests

    comparison = compare(*two_runs)
    swahili = comparison.differences[2]
    a, b = right(0.5), right(0.65)
    fewer, more = sorted([(a & ~b).sum(), (~a & b).sum()])
    assert swahili.test == "McNemar's mid-p test"
    assert swahili.p == pytest.approx(2 * binom.cdf(fewer, fewer + more, 0.5) - binom.pmf(fewer, fewer + more, 0.5))
    expected = multipletests([d.p for d in comparison.differences], method="holm")[1]
    assert [d.p_corrected for d in comparison.differences] == pytest.approx(expected)
    assert "corrected for 4 tests by Holm" in comparison.ci_method


def test_runs_that_differ_by_chance_are_not_called_different(tmp_path):
    draw = np.random.default_rng(1)
    runs = [make_run(tmp_path / name) for name in "ab"]
    for language in ("en", "de", "sw", "fr"):
        hard = draw.random(300)
        for run in runs:
            score(run, language, labels(hard + 0.2 * draw.normal(size=300) < 0.6))
    comparison = compare(*runs)
    assert not any(d.significant for d in comparison.differences)
    assert comparison.verdicts[0].startswith("B and A are not significantly different in any language. On average")
    assert comparison.verdicts[0].endswith("): not significantly different.")


def test_the_same_seed_gives_the_same_comparison_and_another_almost_the_same(two_runs):
    assert compare(*two_runs) == compare(*two_runs)
    first, other = compare(*two_runs).differences[-1], compare(*two_runs, seed=1).differences[-1]
    assert first.ci != other.ci
    assert first.ci == pytest.approx(other.ci, abs=0.6)


def test_intervals_do_not_depend_on_the_order_of_languages_or_on_which_others_are_compared(two_runs):
    whole = {d.language: d.ci for d in compare(*two_runs).differences}
    for languages in ("sw", "sw,de", "de,sw,en"):
        for difference in compare(*two_runs, languages=languages).differences:
            assert difference.language is None or difference.ci == whole[difference.language]


def test_of_three_runs_each_is_compared_with_the_first(two_runs, tmp_path):
    third = make_run(tmp_path / "third")
    for language in ("en", "de", "sw"):
        score(third, language, labels(right(0.3)))
    comparison = compare(*two_runs, third)
    assert [side.label for side in comparison.sides] == ["A", "B", "C"]
    assert list(comparison.pairs) == [("B", "A"), ("C", "A")]
    assert (
        "C scores significantly higher than A in none and lower in 3 of 3 languages (en, de, sw)"
        in comparison.verdicts[1]
    )


def test_runs_that_differ_only_in_their_seeds_are_never_called_different(two_runs):
    first, second = two_runs
    second = replace(second, fingerprints=first.fingerprints, plan=replace(second.plan, data="/elsewhere"))
    comparison = compare(first, second)
    assert min(difference.p_corrected for difference in comparison.differences) < 0.001
    assert not any(difference.significant for difference in comparison.differences)
    assert comparison.verdicts[0].startswith("B and A have the same plan and differ only in their seeds")
    assert compare(first, replace(second, plan=replace(second.plan, limit=100))).differences[2].significant


def test_one_seed_is_allowed_and_said(two_runs):
    assert any(
        "one seed per side: the comparison is about these particular models" in note
        for note in compare(*two_runs).notes
    )


def test_seeds_that_disagree_make_a_difference_uncertain_that_one_seed_seems_sure_of(tmp_path):
    runs = [make_run(tmp_path / name) for name in "ab"]
    shares = {0: (0.60, 0.50, 0.70), 1: (0.70, 0.76, 0.61)}
    for number, run in enumerate(runs):
        for seed, share in enumerate(shares[number], 1):
            score(run, "de", labels(right(share, 1000)), seed=seed)
    several = compare(*runs).differences[0]
    assert several.value == pytest.approx(9, abs=2)
    assert several.test == "inverting the interval"
    assert not several.significant
    alone = [make_run(tmp_path / name) for name in "cd"]
    for run, share in zip(alone, (0.60, 0.69), strict=True):
        score(run, "de", labels(right(share, 1000)))
    assert compare(*alone).differences[0].significant


def test_a_run_of_one_seed_is_compared_with_one_of_several(two_runs):
    first, second = two_runs
    for seed in (2, 3):
        for language, share in {"en": 0.79, "de": 0.72, "sw": 0.66}.items():
            score(second, language, labels(right(share)), seed=seed)
    comparison = compare(first, second)
    assert [side.seeds for side in comparison.sides] == [(1,), (1, 2, 3)]
    assert "A has one seed: the variance between seeds is taken from the others" in comparison.notes


@pytest.fixture
def averaged(tmp_path):
    """Return a run of three models of different quality, and one whose weights are their mean."""
    members, mean = make_run(tmp_path / "members"), make_run(tmp_path / "mean")
    averaged = []
    for seed, share in enumerate((0.5, 0.6, 0.7), 1):
        score(members, "de", labels(right(share, 1000)), seed=seed)
        members.delta(seed).parent.mkdir(parents=True, exist_ok=True)
        members.delta(seed).write_bytes(bytes([seed]))
        averaged.append(AverageMember("a folder that moved", seed, sha256_of(members.delta(seed))))
    score(mean, "de", labels(right(0.65, 1000)))
    return members, replace(mean, plan=replace(mean.plan, average=AveragedModels(tuple(averaged), head_seed=1)))


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_an_average_is_compared_with_its_members_as_these_models(averaged, order):
    comparison = compare(*(averaged[number] for number in order))
    (difference,) = comparison.differences
    of_rows = right(0.65, 1000) - np.mean([right(share, 1000) for share in (0.5, 0.6, 0.7)], axis=0)
    sign = 1 if order == (0, 1) else -1
    assert difference.value == pytest.approx(100 * sign * of_rows.mean())
    half = 1.96 * 100 * of_rows.std() / np.sqrt(1000)
    assert difference.ci == pytest.approx((difference.value - half, difference.value + half), abs=0.2)
    assert "without the variance between trainings" in comparison.notes[0]
    assert not any("seeds" in note for note in comparison.notes)
    assert "Student" not in comparison.ci_method


def test_an_average_of_other_models_is_compared_as_a_way_to_train(averaged):
    members, mean = averaged
    members.delta(2).write_bytes(b"trained again")
    comparison = compare(members, mean)
    assert comparison.differences[0].ci[0] < -10
    assert "B has one seed: the variance between seeds is taken from the others" in comparison.notes
    assert "Student" in comparison.ci_method


def test_a_third_run_beside_an_average_and_its_members_is_compared_as_a_way_to_train(averaged, tmp_path):
    other = make_run(tmp_path / "other")
    score(other, "de", labels(right(0.65, 1000)))
    mean_difference, other_difference = compare(*averaged, other).differences
    assert mean_difference.value == other_difference.value
    assert mean_difference.ci[0] > other_difference.ci[0] + 10


def test_two_seeds_are_said_to_be_few(two_runs):
    assert not any("two seeds" in note for note in compare(*two_runs).notes)
    for language, share in {"en": 0.79, "de": 0.72, "sw": 0.66}.items():
        score(two_runs[1], language, labels(right(share)), seed=2)
    assert any("two seeds say little about the variation" in note for note in compare(*two_runs).notes)


def test_entities_and_answers_are_compared_by_inverting_the_interval(tmp_path):
    task = Task(
        name="ner", title="NER", kind="token-classification", columns={"tokens": "t", "tags": "n"},
        labels=("O", "B-PER", "I-PER"), languages={"de": None, "en": None}, recipe="nli",
    )  # fmt: skip
    runs = [make_run(tmp_path / name, task) for name in "ab"]
    gold = ["B-PER", "I-PER", "O"]
    for run, share in zip(runs, (0.5, 0.8), strict=True):
        for language in ("en", "de"):
            judged = [(gold, gold if good else ["O", "B-PER", "O"]) for good in right(share, 200)]
            score(run, language, judged)
    comparison = compare(*runs)
    assert {d.test for d in comparison.differences} == {"inverting the interval"}
    assert comparison.differences[0].values == pytest.approx((80, 50), abs=8)
    assert "separately in each language, because the task is not parallel" in comparison.ci_method


def test_languages_are_drawn_together_only_where_the_task_is_parallel_and_ids_agree(tmp_path):
    from xmodctl.catalog import catalog as library

    apart = library.task("xnli").model_copy(update={"parallel": False})
    methods = {}
    for name, task, ids in (
        ("together", None, None),
        ("apart", apart, None),
        ("ids", None, [f"x{n}" for n in range(400)]),
    ):
        runs = [make_run(tmp_path / f"{name}{number}", task) for number in (1, 2)]
        for run, share in zip(runs, (0.6, 0.7), strict=True):
            score(run, "en", labels(right(share)))
            score(run, "de", labels(right(share)), ids=ids)
        methods[name] = compare(*runs)
    assert "by id, the same in every language" in methods["together"].ci_method
    assert "because the task is not parallel" in methods["apart"].ci_method
    assert "in 2 groups of languages, because their ids differ" in methods["ids"].ci_method
    widths = {name: method.differences[-1].ci[1] - method.differences[-1].ci[0] for name, method in methods.items()}
    # Both languages find the same examples hard here: their mean is as uncertain as either where that is known.
    assert widths["together"] > 1.25 * max(widths["apart"], widths["ids"])


# What is refused


def test_other_tasks_metrics_and_labels_are_refused(two_runs, tmp_path):
    first, _ = two_runs
    other = make_run(tmp_path / "other", name="paws")
    assert "has the task xnli" in refused(first, other)
    assert "has the metric accuracy" in refused(first, make_run(tmp_path / "macro", metric="macro_f1"))
    assert "has the labels" in refused(first, make_run(tmp_path / "two", labels=("yes", "no")))
    assert "is given twice" in refused(first, first)
    assert "give 2 to 26 runs" in refused(first)


def test_a_split_that_a_run_was_not_scored_on_is_told_with_those_it_has(two_runs):
    message = refused(*two_runs, split="validation")
    assert "first has no scores of the validation split (it has test)" in message
    assert "xmodctl eval-transfer --run" in message


@pytest.mark.parametrize(
    ("change", "how"),
    [
        ({"count": 390}, "400 rows in A, 390 in B"),
        ({"ids": [f"q{number}" for number in range(400)]}, "the ids differ"),
        ({"shift": 1}, "the gold answers differ"),
    ],
)
def test_rows_that_are_not_the_same_examples_are_refused(two_runs, change, how):
    first, second = two_runs
    changed = labels(right(0.7)[: change.get("count", 400)], shift=change.get("shift", 0))
    score(second, "de", changed, ids=change.get("ids"))
    message = refused(first, second)
    assert message.startswith(f"de: A and B were not scored on the same examples ({how})")
    assert [d.language for d in compare(first, second, languages="all,-de").differences] == ["en", "sw", None]


def test_seeds_scored_on_other_examples_are_refused(two_runs):
    first, second = two_runs
    score(second, "de", labels(right(0.7), shift=1), seed=2)
    assert "de was scored on different examples with seed 2 than with seed 1" in refused(first, second)


def test_missing_and_edited_predictions_are_refused(two_runs):
    first, second = two_runs
    row = next(row for row in read_rows(second.results) if row.language == "sw")
    path = second.folder / row.predictions
    path.write_text(path.read_text() + "\n")
    assert "was changed after it was scored" in refused(first, second)
    assert "or compare the other languages with --langs all,-" in refused(first, second)
    path.unlink()
    assert "is missing" in refused(first, second)


def test_a_language_with_no_rows_is_refused(two_runs):
    first, second = two_runs
    lines = [json.loads(line) for line in second.results.read_text().splitlines()]
    lines[1]["n"] = 0
    second.results.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert "de was scored on 0 rows in" in refused(first, second)


def test_limited_scores_are_compared_with_scores_of_the_same_limit_alone(two_runs, tmp_path):
    first, second = two_runs
    third = make_run(tmp_path / "third")
    score(third, "de", labels(right(0.7, 50)), limited=50)
    assert "scored with different --limit" in refused(first, third)
    score(first, "de", labels(right(0.6, 50)), limited=50)
    comparison = compare(first, third)
    assert comparison.limited == 50
    assert [d.language for d in comparison.differences] == ["de"]
    assert compare(first, second).limited is None


# Which languages


def test_languages_that_only_some_runs_have_are_left_out_and_named(two_runs):
    first, second = two_runs
    score(first, "fr", labels(right(0.7)))
    comparison = compare(first, second)
    assert "skipped: B has no score for fr" in comparison.notes
    assert "fr" not in [d.language for d in comparison.differences]
    assert "--langs fr: B has no score for this language" in refused(first, second, languages="fr,de")


def test_a_language_is_chosen_as_users_spell_it_and_near_misses_are_offered(two_runs):
    assert [d.language for d in compare(*two_runs, languages="German").differences] == ["de"]
    assert "choose from en, de, sw" in refused(*two_runs, languages="xx")
    assert "selects no language" in refused(*two_runs, languages="de,-de")


def test_a_language_stands_for_its_own_adapter_and_another_is_chosen_by_name(two_runs):
    for run, share in zip(two_runs, (0.3, 0.4), strict=True):
        score(run, "sw", labels(right(share)), adapter="de_DE")
    assert compare(*two_runs, languages="sw").differences[0].values == pytest.approx((65, 50), abs=5)
    assert compare(*two_runs, languages="sw=de_DE").differences[0].values == pytest.approx((40, 30), abs=5)
    assert "it has" in refused(*two_runs, languages="sw=fr_XX")


def test_a_comparison_becomes_json(two_runs):
    output = json.loads(json.dumps(compare(*two_runs).to_json()))
    assert output["differences"][2]["significant"] is True
    assert output["differences"][2]["value"] == pytest.approx(15, abs=4)
    assert output["verdicts"]


# Did the adapter matter?


@pytest.fixture
def controlled(tmp_path):
    run = make_run(tmp_path / "run")
    for language, shares in {"en": (0.8, 0.8, 0.6), "de": (0.7, 0.7, 0.5), "sw": (0.6, 0.4, 0.45)}.items():
        for control, share in zip(("own", "source", "none"), shares, strict=True):
            score(run, language, labels(right(share)), control=control)
    return run


def test_controls_tell_for_each_language_whether_its_adapter_mattered(controlled):
    message = compare_controls(controlled, rows_of(controlled, "test"), resamples=RESAMPLES)
    assert [(d.against, d.language, d.significant) for d in message.differences] == [
        ("source", "de", False), ("source", "sw", True), ("source", None, True),
        ("none", "en", True), ("none", "de", True), ("none", "sw", True), ("none", None, True),
    ]  # fmt: skip
    assert message.verdicts[0].startswith(
        "The language's own adapter scores significantly higher than the source's adapter (en_XX) in 1 of 2 languages"
    )


def test_controls_of_several_seeds_are_compared_model_by_model(controlled):
    """Models that differ much from each other still agree on what an adapter does."""
    for seed, shift in ((2, 0.12), (3, -0.12), (4, 0.06), (5, -0.06)):
        for control, share in (("own", 0.60), ("source", 0.55)):
            score(controlled, "sw", labels(right(share + shift)), control=control, seed=seed)
    rows = [row for row in rows_of(controlled, "test") if row.language == "sw" and row.seed > 1]
    message = compare_controls(controlled, rows, resamples=RESAMPLES)
    assert message.differences[0].value == pytest.approx(5, abs=1.5)
    assert message.differences[0].ci[0] > 0


def test_controls_of_a_language_with_several_adapters_say_which_is_compared_and_how_to_compare_the_others(controlled):
    for adapter, share in (("de_DE", 0.7), ("fr_XX", 0.3)):
        score(controlled, "sw", labels(right(share)), adapter=adapter)
    rows = rows_of(controlled, "test")
    notes = compare_controls(controlled, rows, resamples=RESAMPLES).notes
    (note,) = [note for note in notes if "alone" in note]
    assert "sw is compared through sw" in note
    words = shlex.split(note.partition(": ")[2])
    assert words[:3] == ["xmodctl", "compare", str(controlled.folder)]
    others = compare_controls(controlled, rows, languages=words[-1], resamples=RESAMPLES)
    assert not [note for note in others.notes if "alone" in note]
    values = {(each.language, each.against): each.values[0] for each in others.differences if each.language}
    assert values["sw=de_DE", "none"] == pytest.approx(70, abs=8)
    assert values["sw=fr_XX", "none"] == pytest.approx(30, abs=8)


def test_a_run_without_controls_is_told_how_to_make_them(two_runs):
    first, _ = two_runs
    with pytest.raises(UserError, match="--controls source,none"):
        compare_controls(first, rows_of(first, "test"))
