import json
import shutil
from dataclasses import replace

import pytest
from scored_runs import scored_run

from xmodctl.core.errors import UserError
from xmodctl.evaluation.rescoring import score
from xmodctl.evaluation.results import append_row, read_rows, write_predictions
from xmodctl.kinds.scoring import Predicted
from xmodctl.reports.gathering import gather
from xmodctl.reports.records import records


def texts_of(study, language="de"):
    return [mistake.texts for mistake in study.runs[0].error_analyses[language].mistakes]


def noted(study, words):
    """Return the one note that has these words."""
    notes = [note for note in study.notes if words in note]
    assert len(notes) == 1, study.notes
    return notes[0]


def test_averages_are_those_of_the_run_and_the_third_leaves_out_languages_that_went_through_a_donor(tmp_path):
    run = scored_run(tmp_path, qualities={"en": 0.9, "de": 0.8, "jv": 0.5})
    study = gather([run.folder])
    means = {score.language: score.mean for score in study.runs[0].report.scores}
    assert [(average.name, average.values[0]) for average in study.averages] == [
        ("all languages", pytest.approx(sum(means.values()) / 3)),
        ("without the source", pytest.approx((means["de"] + means["jv"]) / 2)),
        ("with an adapter of their own", pytest.approx((means["en"] + means["de"]) / 2)),
    ]
    assert study.averages[0].values[0] == pytest.approx(study.runs[0].report.averages["all languages"])


def test_languages_stand_with_their_relatives_and_have_means_by_family_and_script(tmp_path):
    study = gather([scored_run(tmp_path, qualities={"zh": 0.5, "de": 0.8, "ar": 0.6, "en": 0.9}).folder])
    assert [family.code for family in study.languages] == ["ar", "en", "de", "zh"]
    assert [(family.name, family.languages) for family in study.families] == [
        ("Afro-Asiatic", ("ar",)), ("Indo-European", ("en", "de")), ("Sino-Tibetan", ("zh",)),
    ]  # fmt: skip
    assert {family.name for family in study.scripts} == {"Arabic", "Latin", "Simplified Chinese"}
    assert [family.tag for family in study.languages] == ["ar", "en", "de", "zh"]


def test_a_language_stands_for_itself_through_its_own_adapter_wherever_its_donors_come(tmp_path):
    run = scored_run(tmp_path, seeds=(1,), donors={"de": ("sw_KE",)})
    rows = read_rows(run.results)
    run.results.write_text("".join(json.dumps(row.to_json()) + "\n" for row in reversed(rows)))
    shown = gather([run.folder]).runs[0]
    assert shown.score("de").adapter == "de_DE"
    assert [score.adapter for score in shown.scores("de")] == ["sw_KE", "de_DE"]


def test_several_runs_are_columns_and_averages_are_over_what_all_of_them_have(tmp_path):
    first = scored_run(tmp_path, "one", seeds=(1,))
    two = scored_run(tmp_path, "two", qualities={"en": 0.7, "de": 0.6}, seeds=(1,))
    study = gather([first.folder, two.folder, first.folder])
    assert [run.name for run in study.runs] == ["one", "two"]
    assert study.averages[0].languages == ("en", "de")
    assert "excluded from every average" in noted(study, "not scored by two")


def test_runs_of_the_same_name_are_told_apart_by_their_folders(tmp_path):
    first = scored_run(tmp_path, "a/run", seeds=(1,))
    two = scored_run(tmp_path, "b/run", seeds=(1,))
    assert [run.name for run in gather([first.folder, two.folder]).runs] == ["a/run", "b/run"]


def test_worst_errors_are_those_the_model_was_surest_of_and_have_their_text(tmp_path):
    study = gather([scored_run(tmp_path, seeds=(1, 2, 3)).folder], mistakes=5)
    for language in ("en", "de", "ar"):
        mistakes = study.runs[0].error_analyses[language].mistakes
        assert 0 < len(mistakes) <= 5
        assert [mistake.wrongness for mistake in mistakes] == sorted(
            (mistake.wrongness for mistake in mistakes), reverse=True
        )
        assert all(
            mistake.gold != mistake.predicted and 1 <= mistake.wrong_seeds <= mistake.seeds == 3 for mistake in mistakes
        )
    first = study.runs[0].error_analyses["de"].mistakes[0]
    assert first.texts[0] == ("premise", f"die Katze schläft nie {first.id}")


def test_mistakes_agree_with_the_predictions(tmp_path):
    run = scored_run(tmp_path, seeds=(1,))
    row = next(row for row in read_rows(run.results) if row.language == "ar")
    lines = [json.loads(line) for line in (run.folder / row.predictions).read_text().splitlines()]
    wrong = {line["id"]: line["prediction"] for line in lines if line["gold"] != line["prediction"]}
    analysis = gather([run.folder], mistakes=1000).runs[0].error_analyses["ar"]
    assert {mistake.id: mistake.predicted for mistake in analysis.mistakes} == wrong
    assert sum(map(sum, analysis.confusion.counts)) == row.n


@pytest.mark.parametrize("kind", ["token-classification", "question-answering", "multiple-choice"])
def test_every_kind_has_parts_and_mistakes_with_text(kind, tmp_path):
    study = gather([scored_run(tmp_path, kind=kind, seeds=(1, 2)).folder])
    analysis = study.runs[0].error_analyses["ar"]
    assert len(analysis.parts) > 1
    assert analysis.mistakes
    assert all(mistake.texts for mistake in analysis.mistakes)


def test_changed_data_is_not_shown_as_what_was_scored(tmp_path):
    run = scored_run(tmp_path)
    path = tmp_path / "data" / run.plan.task.kind / "de" / "test.jsonl"
    path.write_text(path.read_text().replace("Katze", "Kuh"))
    study = gather([run.folder])
    assert set(texts_of(study)) == {()}
    assert noted(study, "has changed since").startswith("de: ")


def test_data_that_is_gone_is_said_and_found_again_with_a_folder(tmp_path):
    run = scored_run(tmp_path)
    (tmp_path / "data").rename(tmp_path / "moved")
    study = gather([run.folder])
    assert noted(study, "give its location with --data").startswith("en, de, ar: ")
    assert set(texts_of(study)) == {()}
    assert () not in texts_of(gather([run.folder], data=tmp_path / "moved" / run.plan.task.kind))


def test_intervals_that_cannot_have_their_coverage_are_noted(tmp_path):
    run = scored_run(tmp_path, qualities={"en": 0.9, "de": 1.0}, seeds=(1, 2))
    study = gather([run.folder])
    assert noted(study, "two seeds say little").startswith(f"{run.folder.name}: ")
    assert noted(study, "within 2 examples of 0 or 100%")


def test_a_note_that_holds_for_several_runs_is_given_once(tmp_path):
    runs = [scored_run(tmp_path / name, qualities={"en": 0.9, "de": 1.0}, seeds=(1,)) for name in ("a", "b")]
    study = gather([run.folder for run in runs])
    (note,) = [note for note in study.notes if "within 2 examples of 0 or 100%" in note]
    names = ", ".join(each.name for each in study.runs)
    assert note == (
        f"{names}: some scores are within 2 examples of 0 or 100%: their intervals are only approximate; score more "
        "examples"
    )


def test_edited_or_missing_predictions_are_said_and_cost_only_their_language(tmp_path):
    run = scored_run(tmp_path, seeds=(1,))
    paths = {row.language: run.folder / row.predictions for row in read_rows(run.results)}
    paths["de"].write_text(paths["de"].read_text().replace("entailment", "neutral"))
    paths["ar"].unlink()
    study = gather([run.folder])
    assert noted(study, "changed after they were scored").startswith("de (seed 1): ")
    assert noted(study, "has no interval").startswith("de, ar: ")
    assert noted(study, "the predictions are missing;").startswith("ar (seed 1): ")
    examples = study.runs[0].error_analyses
    assert not examples["de"].parts
    assert examples["en"].parts
    assert study.runs[0].score("de").mean > 0


def test_a_missing_seed_leaves_the_others_to_tell(tmp_path):
    run = scored_run(tmp_path, seeds=(1, 2))
    row = next(row for row in read_rows(run.results) if (row.language, row.seed) == ("de", 2))
    (run.folder / row.predictions).unlink()
    assert all(mistake.seeds == 1 for mistake in gather([run.folder]).runs[0].error_analyses["de"].mistakes)


def test_a_run_without_scores_is_refused_with_the_split_that_has_some(tmp_path):
    run = scored_run(tmp_path)
    with pytest.raises(UserError, match="no scores of the split validation; it has test: --split test"):
        gather([run.folder], split="validation")
    run.results.unlink()
    with pytest.raises(UserError, match=r"create some with: xmodctl eval-transfer --run .* --langs all --split test"):
        gather([run.folder])


def test_runs_of_different_tasks_are_refused_with_what_can_be_shown(tmp_path):
    first, two = scored_run(tmp_path, "one"), scored_run(tmp_path, "two", "multiple-choice")
    with pytest.raises(UserError, match=r"has the task pairs, .* has choices; .* report each run by itself"):
        gather([first.folder, two.folder])


def test_a_run_that_cannot_be_read_is_left_out_and_the_others_are_shown(tmp_path):
    first, two = scored_run(tmp_path, "one"), scored_run(tmp_path, "two")
    newer = {**json.loads((two.folder / "run.json").read_text()), "schema": 99}
    (two.folder / "run.json").write_text(json.dumps(newer))
    study = gather([first.folder, two.folder, tmp_path / "nowhere"])
    assert len(study.runs) == 1
    assert "newer than 1" in study.skipped[0]
    assert "is not a run" in study.skipped[1]
    with pytest.raises(UserError, match="newer than 1"):
        gather([two.folder])


def test_whole_test_sets_come_before_limited_ones_and_a_limited_report_says_so(tmp_path):
    run = scored_run(tmp_path, "whole", seeds=(1,))
    for row in read_rows(run.results):
        append_row(run.results, replace(row, limited=9, n=9))
    study = gather([run.folder])
    assert study.limited is None
    assert "--limit 9" in noted(study, "not shown")
    limited = gather([scored_run(tmp_path, "limited", seeds=(1,), limited=6).folder])
    assert limited.limited == 6
    assert "LIMITED" in noted(limited, "first 6 rows")
    assert {score.n for score in limited.runs[0].report.scores} == {6}
    assert all(mistake.texts for mistake in limited.runs[0].error_analyses["ar"].mistakes)


def test_a_language_scored_on_no_rows_is_left_out_with_a_note(tmp_path):
    run = scored_run(tmp_path, seeds=(1,))
    row = next(row for row in read_rows(run.results) if row.language == "ar")
    append_row(run.results, replace(row, n=0, value=float("nan")))
    study = gather([run.folder])
    assert [language.code for language in study.languages] == ["en", "de"]
    assert noted(study, "scored on 0 rows").startswith("ar: ")


def test_one_seed_and_hopeless_languages_and_missing_seeds_are_noted(tmp_path):
    study = gather([scored_run(tmp_path, "one", seeds=(1,), qualities={"en": 0.9, "de": 0.3}).folder])
    assert "do not include the variance between training runs" in noted(study, "one seed")
    assert noted(study, "no better than the majority baseline").startswith("de: ")
    run = scored_run(tmp_path, "two", seeds=(1, 2))
    kept = [row for row in read_rows(run.results) if (row.language, row.seed) != ("ar", 2)]
    run.results.write_text("".join(json.dumps(row.to_json()) + "\n" for row in kept))
    run.delta(2).unlink()
    two = gather([run.folder])
    assert noted(two, "not scored it with every seed").startswith("ar: ")
    assert noted(two, "has not finished training seed 2")


def test_runs_that_were_scored_on_other_examples_are_told_apart(tmp_path):
    first = scored_run(tmp_path, "one", seeds=(1,))
    shutil.rmtree(tmp_path / "data")
    two = scored_run(tmp_path, "two", seeds=(1,), texts=["anders"])
    assert noted(gather([first.folder, two.folder]), "not all scores are on the same examples").startswith("de, ar: ")


def test_without_predictions_there_are_scores_without_paired_intervals(tmp_path):
    run = scored_run(tmp_path)
    shutil.rmtree(run.folder / "predictions")
    study = gather([run.folder], details=False)
    assert study.runs[0].error_analyses == {}
    assert study.runs[0].score("de").ci_low > 0
    assert noted(study, "has no interval").startswith("de, ar: ")


def test_gaps_and_averages_have_intervals_and_for_several_runs_those_of_the_languages_they_share(tmp_path):
    first = scored_run(tmp_path, "one")
    two = scored_run(tmp_path, "two", qualities={"en": 0.9, "de": 0.6})
    alone, both = gather([first.folder], details=False), gather([first.folder, two.folder], details=False)
    low, high = alone.runs[0].score("de").gap_ci
    assert low < alone.runs[0].score("de").gap < high
    for study, count in ((alone, 3), (both, 2)):
        everything = study.averages[0]
        assert len(everything.languages) == count
        for value, (low, high) in zip(everything.values, everything.intervals, strict=True):
            assert low < value < high


def test_runs_are_tested_against_each_other_and_own_adapters_against_controls(tmp_path):
    first = scored_run(tmp_path, "one", controls=("source", "none"), count=120)
    worse = {"en": 0.5, "de": 0.3, "ar": 0.2}
    two = scored_run(tmp_path, "two", qualities=worse, count=120, learning_rate=1e-3)
    study = gather([first.folder, two.folder])
    assert "lower in 3 of 3 languages" in study.comparison.verdicts[0]
    assert {(test.language, test.against) for test in study.runs[0].control_comparison.differences} >= {
        ("de", "source"), ("de", "none"), ("en", "none"),
    }  # fmt: skip
    assert study.runs[1].control_comparison is None


def test_runs_that_cannot_be_tested_are_shown_with_the_reason(tmp_path):
    first = scored_run(tmp_path, "one", seeds=(1,))
    two = scored_run(tmp_path, "two", seeds=(1,))
    shutil.rmtree(two.folder / "predictions")
    study = gather([first.folder, two.folder])
    assert study.comparison is None
    assert "is missing" in noted(study, "not compared with each other")


def test_a_study_becomes_json(tmp_path):
    output = json.loads(json.dumps(gather([scored_run(tmp_path).folder]).to_json()))
    assert output["runs"][0]["report"]["scores"][0]["language"] == "en"
    assert output["averages"][0]["name"] == "all languages"


def test_rows_that_contradict_their_predictions_are_named_and_excluded(tmp_path):
    run = scored_run(tmp_path, seeds=(1, 2))
    german, arabic = (
        next(row for row in read_rows(run.results) if (row.language, row.seed) == (language, 2))
        for language in ("de", "ar")
    )
    append_row(run.results, replace(german, value=93.3, metrics={**german.metrics, german.metric: 93.3}))
    append_row(run.results, replace(arabic, value=float("nan")))
    study = gather([run.folder])
    first = next(row for row in read_rows(run.results) if (row.language, row.seed) == ("de", 1))
    assert study.runs[0].score("de").values == (first.value,)
    assert "its accuracy is 93.30, but the predictions score" in noted(study, "de, seed 2, of run is excluded")
    assert "is not a number" in noted(study, "ar, seed 2, of run is excluded")
    score(run, update=True)
    assert not [note for note in gather([run.folder]).notes if "excluded" in note]


def on_other_data(run, under):
    """Score German on a second data set."""
    row = next(row for row in read_rows(run.results) if (row.language, row.seed) == ("de", 1))
    lines = [json.loads(line) for line in (run.folder / row.predictions).read_text().splitlines()][:20]
    name = "predictions/test/de.other.seed-1.jsonl"
    digest = write_predictions(run.folder / name, [Predicted(**line) for line in lines])
    accuracy = sum(line["gold"] == line["prediction"] for line in lines) * 100 / len(lines)
    changes = {"data": f"{under}/uner/de/test.jsonl#other", "value": accuracy, "metrics": {"accuracy": accuracy}}
    append_row(run.results, replace(row, predictions=name, predictions_sha256=digest, n=20, **changes))


def test_data_sets_are_shown_apart_in_every_format_and_never_averaged_together(tmp_path):
    run = scored_run(tmp_path, seeds=(1,))
    before = gather([run.folder])
    on_other_data(run, tmp_path)
    study = gather([run.folder])
    (other,) = study.others
    assert (study.data_set, other.data_set) == ("sequence-classification", "uner")
    assert study.averages == before.averages
    assert study.runs[0].report.scores == before.runs[0].report.scores
    (german,) = other.runs[0].report.scores
    assert (german.language, german.n, german.gap) == ("de", 20, None)
    assert "shown separately: uner (de)" in noted(study, "other data")
    for name in ("html", "markdown", "latex"):
        assert "uner" in study.render(name)
    assert study.render("markdown").count("German") == 2
    assert [line["data_set"] for line in records(study)].count("uner") == 1
    assert study.to_json()["other_data"][0]["data_set"] == "uner"


def test_runs_on_different_data_have_a_table_each(tmp_path):
    single_seed = scored_run(tmp_path / "a", "one", seeds=(1,))
    two = scored_run(tmp_path / "b", "two", seeds=(1,), count=30)
    study = gather([single_seed.folder, two.folder])
    assert [[run.name for run in each.runs] for each in study.by_data_set] == [["one"], ["two"]]
    assert study.data_set != study.others[0].data_set
