"""Scores of other data: another file, other columns, another data set. None replaces a score of something else."""

import csv
import json
import shutil
from pathlib import Path

import pytest
from command_line import run as command

import xmodctl
from xmodctl import evaluate, finetune
from xmodctl.core.events import LanguageScored, Notice
from xmodctl.evaluation.data_sets import by_data_set
from xmodctl.evaluation.example_statistics import load_example_statistics
from xmodctl.evaluation.results import Row, append_row, read_rows
from xmodctl.run.run import Run

QUICK = {"epochs": 1, "batch_size": 8, "max_length": 32}
LABELS = ("entailment", "neutral", "contradiction")


def write_table(path: Path, rows: int) -> None:
    """Write a table with columns of two languages, as a publisher of parallel data does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sentence_A_En", "sentence_B_En", "sentence_A_De", "sentence_B_De", "label"])
        for number in range(rows):
            label = LABELS[number % 3]
            writer.writerow([f"the cat {number}", "red", f"die Katze {number}", "rot", label])


@pytest.fixture(scope="module")
def trained(tiny_model, tmp_path_factory):
    """Return a folder with a run trained on pairs, and one trained on a table with columns of two languages."""
    folder = tmp_path_factory.mktemp("trained")
    write_table(folder / "table" / "en" / "train.csv", 24)
    english = {"columns.text": "sentence_A_En", "columns.text_pair": "sentence_B_En"}
    data = {"model": str(tiny_model), "data": folder / "table"}
    finetune("xnli", "en", **data, overrides={**QUICK, **english}, out=folder / "table-run")
    train = folder / "table" / "en" / "train.csv"
    pairs = folder / "pairs" / "en" / "train.csv"
    pairs.parent.mkdir(parents=True)
    text = train.read_text().replace("sentence_A_En", "premise").replace("sentence_B_En", "hypothesis")
    pairs.write_text(text)
    finetune("xnli", "en", model=str(tiny_model), data=folder / "pairs", overrides=QUICK, out=folder / "pairs-run")
    return folder


def copy_run(trained: Path, name: str, under: Path) -> Run:
    """Copy a run, so that its own data is under another folder."""
    shutil.copytree(trained / f"{name}-run", under / "run")
    file = under / "run" / "run.json"
    file.write_text(file.read_text().replace(str(trained / name), str(under / name)))
    return Run.read(under / "run")


@pytest.fixture
def run(trained, pairs, tmp_path):
    return copy_run(trained, "pairs", tmp_path)


@pytest.fixture
def table_run(trained, tmp_path):
    for language in ("en", "de"):
        write_table(tmp_path / "table" / language / "test.csv", 24)
    return copy_run(trained, "table", tmp_path)


def cautions(events):
    return [event.text for event in events if isinstance(event, Notice) and event.caution]


def scored(events):
    return {event.language: event.known for event in events if isinstance(event, LanguageScored)}


GERMAN = {"columns.text": "sentence_A_De", "columns.text_pair": "sentence_B_De"}


def test_columns_of_one_language_never_score_the_source_again(table_run):
    run = table_run
    evaluate(run, "en")
    (english,) = read_rows(run.results)
    content = (run.folder / english.predictions).read_bytes()
    events = []
    report = evaluate(run, "de", overrides=GERMAN, listen=events.append)
    assert scored(events) == {"en": True, "de": False}
    first, second = read_rows(run.results)
    assert first == english
    assert (run.folder / english.predictions).read_bytes() == content
    assert second.fingerprint != english.fingerprint
    assert second.read_as == 'columns.text="sentence_A_De" columns.text_pair="sentence_B_De"'
    assert report.gap == pytest.approx(first.value - second.value)


def test_a_source_without_a_score_is_scored_with_the_settings_of_the_run(table_run):
    run = table_run
    evaluate(run, "de", overrides=GERMAN)
    english = next(row for row in read_rows(run.results) if row.language == "en")
    assert english.read_as == ""
    evaluate(run, "en")
    assert [row.language for row in read_rows(run.results)] == ["en", "de"]


@pytest.mark.parametrize("on_exists", ["missing", "redo"])
def test_a_source_that_was_read_with_settings_of_its_own_keeps_that_score(run, tmp_path, on_exists):
    for language in ("en", "de"):
        write_table(tmp_path / "table" / language / "test.csv", 24)
    english = {"columns.text": "sentence_A_En", "columns.text_pair": "sentence_B_En"}
    evaluate(run, "en", data=tmp_path / "table", overrides=english)
    before = read_rows(run.results)
    events = []
    evaluate(run, "de", data=tmp_path / "table", overrides=GERMAN, on_exists=on_exists, listen=events.append)
    assert scored(events) == {"en": True, "de": False}
    assert read_rows(run.results)[:1] == before


def test_a_source_that_cannot_be_read_with_the_settings_of_the_run_is_noted_and_nothing_fails(run, tmp_path):
    for language in ("en", "de"):
        write_table(tmp_path / "table" / language / "test.csv", 24)
    events = []
    report = evaluate(run, "de", data=tmp_path / "table", overrides=GERMAN, listen=events.append)
    assert not report.failures
    assert report.gap is None
    (note,) = [text for text in cautions(events) if text.startswith("en is not scored")]
    assert "no gaps to the source language" in note
    assert "no column `premise`" in note


def test_two_languages_with_the_same_rows_are_reported(table_run):
    run = table_run
    events = []
    evaluate(run, "de", listen=events.append)
    assert any("en and de have the same rows" in text for text in cautions(events))
    events = []
    evaluate(run, "de", overrides=GERMAN, listen=events.append)
    assert not any("the same rows" in text for text in cautions(events))


@pytest.mark.parametrize("langs", ["de", "en,de", "all"])
def test_a_source_with_training_data_alone_is_noted_and_nothing_fails(run, pairs, langs):
    (pairs / "en" / "test.jsonl").unlink()
    events = []
    report = evaluate(run, langs, listen=events.append)
    assert not report.failures
    assert "en" not in scored(events)
    assert sum(text.startswith("en is not scored") for text in cautions(events)) == 1


def test_a_language_without_the_split_is_skipped_where_all_are_asked_for_and_fails_where_it_is_named(run, pairs):
    (pairs / "de" / "test.jsonl").unlink()
    events = []
    assert not evaluate(run, "all", listen=events.append).failures
    assert any("no test data in them: de" in text for text in cautions(events))
    assert [failure.language for failure in evaluate(run, "de,fr").failures] == ["de"]


def test_a_second_data_set_of_a_language_is_kept_beside_the_first(run, write_pairs, tmp_path):
    other = tmp_path / "other"
    write_pairs(other, "de", "test", 18, seed=5)
    evaluate(run, "de,fr")
    first = read_rows(run.results)
    events = []
    report = evaluate(run, "de", data=other, listen=events.append)
    rows = read_rows(run.results)
    assert rows[:3] == first
    assert [(row.language, row.n) for row in rows] == [("en", 24), ("de", 24), ("fr", 24), ("de", 18)]
    for row in rows:
        assert len(load_example_statistics(run.folder, row, run.plan.task).counts) == row.n
    assert report.data_set == "other"
    assert report.gap is None
    assert any("kept separate: pairs" in event.text for event in events if isinstance(event, Notice))
    assert [(each.name, each.languages) for each in by_data_set(rows)] == [
        ("pairs", ["en", "de", "fr"]),
        ("other", ["de"]),
    ]


def test_both_data_sets_are_known_afterwards(run, write_pairs, tmp_path):
    other = tmp_path / "other"
    for language in ("en", "de"):
        write_pairs(other, language, "test", 18, seed=5)
    evaluate(run, "de")
    evaluate(run, "de", data=other)
    for data in (None, other):
        events = []
        evaluate(run, "de", data=data, listen=events.append)
        assert scored(events) == {"en": True, "de": True}
    redone = evaluate(run, "de", data=other, on_exists="redo")
    assert redone.gap is not None
    assert len(read_rows(run.results)) == 4


def test_data_that_moved_is_the_same_data_set(run, pairs):
    evaluate(run, "de")
    moved = pairs.rename(pairs.with_name("moved"))
    events = []
    report = evaluate(run, "de,fr", data=moved, listen=events.append)
    assert scored(events) == {"en": True, "de": True, "fr": False}
    assert report.gap is not None


def test_rows_of_the_previous_version_are_read_as_that_version_read_them(run, pairs):
    """It overwrote the predictions of a language whose data changed, so only its last score counts."""
    evaluate(run, "de")
    lines = [json.loads(line) for line in run.results.read_text().splitlines()]
    old = []
    for line in lines:
        line["schema"] = 1
        del line["read_as"]
        old.append(line)
    replaced = {**old[1], "data": old[1]["data"].replace("#", "#0"), "value": 1.0}
    run.results.write_text("".join(json.dumps(line) + "\n" for line in [old[0], replaced, old[1]]))
    assert [(row.language, row.value) for row in read_rows(run.results)] == [
        (line["language"], line["value"]) for line in old
    ]
    assert run.to_frame().language.tolist() == ["en", "de"]
    events = []
    evaluate(run, "de", listen=events.append)
    assert scored(events) == {"en": True, "de": True}


def test_a_score_that_contradicts_its_predictions_is_made_again(run):
    evaluate(run, "de")
    rows = read_rows(run.results)
    german = rows[1].to_json()
    german["value"] = german["metrics"]["accuracy"] = 99.0
    append_row(run.results, Row.from_json(german))
    events = []
    evaluate(run, "de", listen=events.append)
    assert scored(events) == {"en": True, "de": False}
    assert any("contradicts its predictions" in text for text in cautions(events))
    assert read_rows(run.results)[1].value == rows[1].value


@pytest.fixture
def on_two(run, write_pairs, tmp_path):
    """Return a run that was scored on German of two data sets, `pairs` and `other`."""
    write_pairs(tmp_path / "other", "de", "test", 18, seed=5)
    evaluate(run, "de")
    evaluate(run, "de", data=tmp_path / "other", listen=lambda _: None)
    return run


def test_listings_and_stored_scores_name_the_data_sets(on_two):
    (summary,) = xmodctl.runs(on_two.folder)
    assert (summary.scored_languages, summary.data_sets) == (2, ("pairs", "other"))
    shown = command("score", "--run", on_two.folder)
    assert shown.exit_code == 0, shown.output
    german = [line for line in shown.stdout.splitlines() if line.startswith("de")]
    assert [("pairs (" in line, "other (" in line) for line in german] == [(True, False), (False, True)]
    assert "3 of 3 scores match" in shown.output


def test_the_model_card_has_a_table_for_each_data_set(on_two, tmp_path):
    exported = xmodctl.export(tmp_path / "model", run=on_two.folder, langs=["de"])
    card = (exported.folder / "README.md").read_text()
    assert [card.count(f"### XNLI, test, data set {name}") for name in ("pairs", "other")] == [1, 1]
    assert [card.count(f"data set {name})") for name in ("pairs", "other")] == [1, 1]


def test_a_comparison_is_of_the_data_that_both_runs_have_and_says_what_it_excludes(on_two, trained, pairs, tmp_path):
    second = tmp_path / "second"
    second.mkdir()
    other_run = copy_run(trained, "pairs", second)
    evaluate(other_run, "de", data=pairs)
    comparison = xmodctl.compare([on_two.folder, other_run.folder])
    assert [difference.n for difference in comparison.differences if difference.language == "de"] == [24]
    shown = command("compare", on_two.folder, other_run.folder)
    assert shown.exit_code == 0, shown.output
    assert f"not compared on other, on which {other_run.folder} was not scored" in shown.output


def test_a_language_is_scored_once_however_it_is_spelled(run, pairs):
    evaluate(run, "de")
    (pairs / "de").rename(pairs / "de_DE")
    events = []
    report = evaluate(run, "all", listen=events.append)
    assert scored(events) == {"en": True, "de": True, "fr": False, "sw": False}
    assert [score.language for score in report.scores] == ["en", "de", "fr", "sw"]
    assert len(read_rows(run.results)) == 4


def test_rows_of_one_language_in_two_spellings_are_one_measurement(run, pairs):
    evaluate(run, "de,fr")
    german = next(row for row in read_rows(run.results) if row.language == "de").to_json()
    append_row(run.results, Row.from_json({**german, "language": "German"}))  # as earlier versions did
    rows = read_rows(run.results)
    assert [row.language for row in rows] == ["en", "fr", "German"]
    assert len(run.to_frame()) == 3
    assert xmodctl.report(run.folder).runs[0].report.averages["all languages"] == pytest.approx(
        sum(row.value for row in rows) / 3
    )


def test_new_content_of_a_language_in_another_spelling_is_not_averaged_with_the_old_one(run, pairs, write_pairs):
    evaluate(run, "de")
    shutil.rmtree(pairs / "de")
    write_pairs(pairs, "de_DE", "test", 18, seed=7)
    evaluate(run, "all,-fr,-sw")
    rows = read_rows(run.results)
    assert [(row.language, row.n) for row in rows] == [("en", 24), ("de", 24), ("de_DE", 18)]
    assert [[row.n for row in each.rows[0]] for each in by_data_set(rows)] == [[24, 18], [24]]


def test_data_sets_that_share_a_file_are_shown_apart_and_each_has_the_score_of_the_file(
    run, pairs, write_pairs, tmp_path
):
    other = tmp_path / "other"
    shutil.copytree(pairs / "en", other / "en")
    write_pairs(other, "de", "test", 18, seed=5)
    evaluate(run, "de,sw")
    events = []
    report = evaluate(run, "de", data=other, listen=events.append)
    assert scored(events) == {"en": True, "de": False}
    assert (report.data_set, len(read_rows(run.results))) == ("other", 4)
    sets = by_data_set(read_rows(run.results))
    assert [(each.name, {row.language: row.n for row in each.rows[0]}) for each in sets] == [
        ("pairs", {"en": 24, "de": 24, "sw": 24}),
        ("other", {"en": 24, "de": 18}),
    ]
    (german,) = [score for score in xmodctl.report(run.folder).others[0].runs[0].report.scores if score.gap is not None]
    assert german.gap == pytest.approx(report.gap)
    before = run.results.read_bytes()
    evaluate(run, "de", data=other)
    assert run.results.read_bytes() == before


def test_runs_on_data_sets_that_share_a_file_are_compared_on_that_file_alone(
    run, trained, pairs, write_pairs, tmp_path
):
    second = tmp_path / "second"
    second.mkdir()
    shutil.copytree(pairs / "en", second / "pairs" / "en")
    write_pairs(second / "pairs", "de", "test", 24, seed=5)
    other_run = copy_run(trained, "pairs", second)
    evaluate(run, "de")
    evaluate(other_run, "de", data=second / "pairs")
    comparison = xmodctl.compare([run.folder, other_run.folder])
    assert [difference.language for difference in comparison.differences if difference.language] == ["en"]
    assert not comparison.others
    studies = xmodctl.report([run.folder, other_run.folder], write=False).by_data_set
    for study in studies:
        assert not any("not all scores are on the same examples" in note for note in study.notes)
        assert [language.code for language in study.shared] == ["en"]


def test_a_listing_shows_the_score_through_the_adapter_of_the_language(run, pairs):
    evaluate(run, "de")
    evaluate(run, "de=sw_KE")
    german, _ = (row.value for row in read_rows(run.results) if row.language == "de")
    rows = [json.loads(line) for line in run.results.read_text().splitlines()]
    rows[-1]["value"] = german - 10
    run.results.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (summary,) = xmodctl.runs(run.folder)
    assert summary.transfer_score == german
