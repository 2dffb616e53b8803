"""Errors beside the source language: counts, lists, and the same rows in reports and `inspect`."""

import json

import pytest
from command_line import run
from scored import labels as without_scores
from scored import make_run, score
from scored_runs import TASKS, scored_run

from xmodctl import UserError, inspect
from xmodctl.catalog.task import Task
from xmodctl.evaluation.results import own_rows, read_rows
from xmodctl.reports.error_analysis import ErrorAnalyzer
from xmodctl.reports.formats.html import render
from xmodctl.reports.gathering import gather
from xmodctl.reports.parallel_errors import ParallelErrors


def labels(right, *, shift=0):
    return [(*pair, (0.2, 0.3, 0.5)) for pair in without_scores(right, shift=shift)]


def parallel_errors(run, notes=None):
    analyzer = ErrorAnalyzer(run, None, 5, lambda *note: notes.append(note) if notes is not None else None)
    return ParallelErrors(analyzer, own_rows(read_rows(run.results)))


@pytest.fixture
def parallel(monkeypatch):
    """Make tasks of scored runs parallel."""
    for kind, task in TASKS.items():
        monkeypatch.setitem(TASKS, kind, task.model_copy(update={"parallel": True}))


def test_errors_fall_into_slices_by_what_the_run_predicts_in_the_source_language(tmp_path):
    scored = make_run(tmp_path)
    score(scored, "en", labels([True, True, True, False, False, False]))
    score(scored, "de", labels([True, False, False, True, False, False]))
    score(scored, "sw", labels([False, False, True, False, True, False]))
    overlap = parallel_errors(scored).overlap("de")
    assert (overlap.source, overlap.n, overlap.languages) == ("en", 6, 3)
    assert overlap.wrong == ("1", "2", "4", "5")
    assert overlap.right_in_source == ("1", "2")
    assert overlap.wrong_everywhere == ("5",)
    assert overlap.only_right_here == 1
    assert overlap.share == 50
    assert overlap.share_ci[0] < 50 < overlap.share_ci[1]
    assert "4 of 6 examples are wrong; 2 (50%, " in overlap.summary
    assert parallel_errors(scored).overlap("en") is None


def test_an_example_is_wrong_if_most_seeds_are(tmp_path):
    scored = make_run(tmp_path)
    for seed, right in enumerate(([True, False, False], [True, True, False], [False, True, False]), start=1):
        score(scored, "en", labels([True] * 3), seed=seed)
        score(scored, "de", labels(right), seed=seed)
    assert parallel_errors(scored).overlap("de").wrong == ("2",)


def test_rows_that_cannot_be_the_same_are_not_paired(tmp_path):
    notes = []
    scored = make_run(tmp_path / "gold")
    score(scored, "en", labels([True] * 30))
    score(scored, "de", [*labels([False] * 28), *labels([False] * 30, shift=1)[28:]])
    assert parallel_errors(scored, notes).overlap("de").wrong == tuple(map(str, range(28)))
    assert [(note[:7], language) for note, language in notes] == [("2 of 30", "de")]
    other = make_run(tmp_path / "other", parallel=False)
    alone = make_run(tmp_path / "alone")
    for each, languages in ((other, ("en", "de")), (alone, ("de", "sw"))):
        for language in languages:
            score(each, language, labels([False, True]))
    assert parallel_errors(other).overlap("de") is None
    notes.clear()
    assert parallel_errors(alone, notes).overlap("de") is None
    assert "the source language, which was not scored" in notes[0][0]


def test_a_file_in_another_order_is_left_out_of_every_count(tmp_path):
    notes = []
    scored = make_run(tmp_path)
    score(scored, "en", labels([False] * 30))
    score(scored, "de", labels([False] * 30))
    score(scored, "sw", [*labels([False] * 20), *labels([False] * 30, shift=1)[20:]])
    errors = parallel_errors(scored, notes)
    assert errors.overlap("sw") is None
    assert [(note[:8], language) for note, language in notes] == [("10 of 30", "sw")]
    assert "the files are not of the same examples" in notes[0][0]
    overlap = errors.overlap("de")
    assert (overlap.languages, len(overlap.wrong_everywhere)) == (2, 30)


def test_sets_of_labels_are_the_same_in_every_language(tmp_path):
    task = Task(
        name="topics", title="Topics", kind="multi-label-classification", languages=["en", "de", "sw"],
        labels=("art", "sport", "war"), columns={"text": "text", "label": "labels"}, recipe="nli", parallel=True,
    )  # fmt: skip
    golds = [["art"], ["sport", "war"], []] * 10
    notes = []
    scored = make_run(tmp_path, task)
    even = (0.5, 0.5, 0.5)
    score(scored, "en", [(gold, gold, even) for gold in golds])
    score(scored, "de", [(gold, ["art", "war"], even) for gold in golds])
    score(scored, "sw", [(gold, gold, even) for gold in [*golds[1:], golds[0]]])
    errors = parallel_errors(scored, notes)
    assert len(errors.overlap("de").right_in_source) == 30
    assert errors.overlap("sw") is None
    assert [(note[:8], language) for note, language in notes] == [("30 of 30", "sw")]


def test_the_summary_says_with_how_many_seeds_an_example_is_wrong(tmp_path):
    scored = make_run(tmp_path)
    for seed in (1, 2):
        score(scored, "en", labels([True] * 4), seed=seed)
        score(scored, "de", labels([False, seed == 1, True, True]), seed=seed)
    assert "1 of 4 examples is wrong with both seeds; 1 (100%" in parallel_errors(scored).overlap("de").summary


@pytest.mark.parametrize("kind", ["sequence-classification", "multiple-choice", "question-answering"])
def test_every_error_has_the_row_of_the_source_language_with_its_prediction(kind, parallel, tmp_path):
    scored = scored_run(tmp_path, kind=kind, qualities={"en": 0.5, "de": 0.3, "ar": 0.2})
    analyses = gather([scored.folder], mistakes=100).runs[0].error_analyses
    analysis = analyses["ar"]
    assert analysis.mistakes
    assert all(mistake.source.texts and mistake.source.language == "en" for mistake in analysis.mistakes)
    assert "the cat never sleeps 3" in str([mistake.source.texts for mistake in analysis.mistakes])
    assert {mistake.id for mistake in analysis.lost} == set(analysis.overlap.right_in_source)
    assert all(mistake.source.is_right for mistake in analysis.lost)
    everywhere = {mistake.id for mistake in analysis.mistakes if mistake.is_wrong_everywhere}
    assert everywhere == set(analysis.overlap.wrong_everywhere) == {each.id for each in analyses["en"].everywhere}
    assert everywhere


def test_a_page_shows_counts_and_both_rows_and_without_texts_only_counts(parallel, tmp_path):
    scored = scored_run(tmp_path, qualities={"en": 0.9, "de": 0.5, "ar": 0.4}, texts=["<b>" * 3] * 30)
    page = render(gather([scored.folder], mistakes=40))
    assert ", wrong here</th>" in page
    assert "worst errors that are right in " in page
    assert '<dd lang="en" dir="auto">the cat never sleeps ' in page
    assert "<b>" not in page
    assert "&lt;b&gt;" in page
    counts = render(gather([scored.folder], mistakes=0))
    assert ", wrong here</th>" in counts
    assert "the cat never" not in counts


def test_inspect_shows_the_errors_of_a_run_with_their_rows_in_the_source_language(trained, tmp_path):
    folder, data = trained
    for language in ("en", "de"):
        lines = [json.loads(line) for line in (data / language / "test.jsonl").read_text().splitlines()]
        if language == "de":  # words that mean other labels
            lines[:6] = [{**line, "hypothesis": lines[(n + 1) % 3]["hypothesis"]} for n, line in enumerate(lines[:6])]
        path = tmp_path / "data" / language / "test.jsonl"
        path.parent.mkdir(parents=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert run("eval-transfer", "--run", folder, "--langs", "en,de", "--data", tmp_path / "data").exit_code == 0
    shown = run("inspect", "--run", folder, "--lang", "de", "--rows", "2")
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.count("gold is") == shown.stdout.count("the same row in en: ") == 2
    assert "of 24 examples are wrong; " in shown.stdout
    command = ("inspect", "--run", folder, "--lang", "de", "--rows", "24", "--json", "--errors")
    values = [json.loads(run(*command, each).stdout) for each in ("all", "right-in-source", "wrong-everywhere")]
    for value, ids in zip(values, ("wrong", "right_in_source", "wrong_everywhere"), strict=True):
        assert {each["error"]["id"] for each in value["errors"]} == set(value["overlap"][ids])
        assert all(each["error"]["source"]["texts"] for each in value["errors"])
        assert all(len(each["sequences"][0]["tokens"]) > 5 for each in value["errors"])
    assert values[0]["errors"]
    assert len(values[0]["errors"]) == len(values[1]["errors"]) + len(values[2]["errors"])  # of two languages


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"errors": "right-in-source", "run": None}, "name it with --run DIR"),
        ({"errors": "wrong"}, "--errors wrong: choose from all, right-in-source, wrong-everywhere"),
        ({"model": "mini"}, "--model cannot be given with --run"),
        ({"lang": "zh"}, "has no scores of zh on the split test; it has en, de, ar"),
        ({"task": "xnli"}, "is of the task pairs; give that, or omit it"),
        ({"errors": "right-in-source"}, "needs a parallel task"),
        ({"split": "validation"}, "it has test: --split test"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message, tmp_path):
    folder = scored_run(tmp_path, count=6, seeds=(1,)).folder
    with pytest.raises(UserError, match=message):
        inspect(**{"task": "pairs", "lang": "de", "run": folder, **options})
