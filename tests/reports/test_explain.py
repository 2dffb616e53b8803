"""`explain`: one language of a run, its possible causes, and recommendations that rest on figures."""

import json
import random
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from command_line import refused, run
from rich.cells import cell_len

import xmodctl
from xmodctl.catalog import catalog as library
from xmodctl.core.errors import UserError
from xmodctl.evaluation.example_statistics import ExampleStatistics
from xmodctl.evaluation.results import read_rows
from xmodctl.kinds import KINDS
from xmodctl.kinds.breakdown import SeedPredictions
from xmodctl.kinds.scoring import Predicted
from xmodctl.model.source import Source
from xmodctl.reports.explained_causes import LanguageRows, data_section, tokenizer_section
from xmodctl.reports.explained_errors import error_section
from xmodctl.reports.explained_remedies import Remedies
from xmodctl.reports.explained_shots import GAIN, ShotTrial
from xmodctl.reports.explaining import standing_among
from xmodctl.reports.explanation import (
    EXPECTED,
    POSSIBLE,
    Figure,
    Section,
    Wider,
    difference,
    ranked,
    ratio,
    share,
)
from xmodctl.reports.parallel_errors import Overlap
from xmodctl.reports.recommending import recommendations
from xmodctl.run.run import Run

EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def scored(finished_run, tmp_path_factory) -> Path:
    """Return a run that was scored in three languages; in German, most contradictions are lost."""
    folder, data = finished_run
    place = tmp_path_factory.mktemp("explained")
    shutil.copytree(folder, place / "run")
    for language in ("en", "de", "sw"):
        lines = [json.loads(line) for line in (data / language / "test.jsonl").read_text().splitlines()]
        if language == "de":
            words = {line["label"]: line["hypothesis"] for line in lines}
            for line in [line for line in lines if line["label"] == "contradiction"][:7]:
                line |= {"hypothesis": words["entailment"], "premise": f"{line['premise']} {EVIL}"}
        path = place / "data" / language / "test.jsonl"
        path.parent.mkdir(parents=True)
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    words = ("--langs", "en,de,sw", "--data", place / "data", "--controls", "none")
    assert run("eval-transfer", "--run", place / "run", *words).exit_code == 0
    return place / "run"


def test_a_page_holds_the_scores_the_causes_and_at_most_three_recommendations(scored, tmp_path):
    explanation = xmodctl.explain(scored, "de", out=tmp_path / "de.html")
    row = next(row for row in read_rows(scored / "results.jsonl") if (row.language, row.control) == ("de", "own"))
    score = explanation.standing.figures[0]
    assert score.value == row.value
    assert score.ci == pytest.approx((row.ci_low, row.ci_high))
    assert [section.title for section in explanation.sections] == ["Tokenizer", "Adapter", "Data", "Errors"]
    figures = {figure.name: figure for section in explanation.sections for figure in section.figures}
    assert {"pieces per word", "points above no adapter", "accuracy, long rows"} <= set(figures)
    lost = figures["right, gold contradiction"]
    assert lost.value < lost.source
    assert explanation.overlap.n == 24
    assert figures["wrong here, right in en, of all rows"].value == pytest.approx(
        100 * len(explanation.overlap.right_in_source) / 24
    )
    assert len(explanation.recommendations) <= 3
    assert all(any(map(str.isdigit, each.evidence)) for each in explanation.recommendations)
    assert any("--text FILE" in text for text in explanation.undetermined)
    page = (tmp_path / "de.html").read_text()
    assert page == explanation.to_html()
    assert "What could not be determined" in page
    assert EVIL not in page
    assert json.loads(json.dumps(explanation.to_json()))["language"] == "de"


def test_the_terminal_shows_the_page_in_80_columns(scored):
    result = run("explain", scored, "--lang", "de")
    assert result.exit_code == 0, result.output
    commands = ("xmodctl", "--")  # which are not broken
    lines = [line for line in result.stdout.splitlines() if not any(word in line for word in commands)]
    assert max(map(cell_len, lines)) <= 80
    for part in ("Score", "Tokenizer", "Adapter", "Data", "Errors", "Examples", "What to try"):
        assert part in result.stdout
    assert json.loads(run("explain", scored, "--lang", "de", "--json").stdout)["source"] == "en"


def test_text_adds_the_loss_through_each_adapter(scored, tmp_path):
    draw = random.Random(0)
    lines = (" ".join(draw.choices(("the", "cat", "red", "a", "dog"), k=20)) for _ in range(450))
    (tmp_path / "de.txt").write_text("\n".join(lines))
    explanation = xmodctl.explain(scored, "de", text=tmp_path / "de.txt", errors=0, listen=lambda _: None)
    assert explanation.mistakes == ()
    section = next(section for section in explanation.sections if section.title == "Text")
    losses = {figure.name: figure for figure in section.figures}
    assert {"through no adapter", "through de_DE", "through en_XX", "saved by de_DE, same masks"} <= set(losses)
    saved = losses["saved by de_DE, same masks"]
    assert saved.value == pytest.approx(losses["through no adapter"].value - losses["through de_DE"].value)
    assert saved.ci[0] <= saved.value <= saved.ci[1]


def test_a_text_that_the_vocabulary_cannot_see_is_refused_before_a_head_is_trained(scored, tmp_path, monkeypatch):
    monkeypatch.setattr("xmodctl.training.masked_lm.mixing._train_head", lambda *_, **__: pytest.fail("trains a head"))
    draw = random.Random(0)
    lines = ("".join(chr(0x12000 + draw.randrange(870)) for _ in range(50)) for _ in range(450))
    (tmp_path / "de.txt").write_text("\n".join(lines))
    refusal = refused(run("explain", scored, "--lang", "de", "--text", tmp_path / "de.txt"))
    assert "de.txt: 100.0% of the characters are unknown to the model's vocabulary" in refusal
    assert "--vocabulary" not in refusal  # explain has no such option


@pytest.mark.slow
def test_shots_are_trained_with_kept_and_compared(scored, tmp_path):
    shutil.copytree(scored, tmp_path / "run")
    explanation = xmodctl.explain(tmp_path / "run", "de", shots=3, data=scored.parent / "data", errors=0)
    section = next(section for section in explanation.sections if section.title == "Shots")
    score, gain = section.figures
    assert (score.name, gain.name) == ("accuracy with 3 rows", "points above training without rows in the language")
    assert gain.value == pytest.approx(score.value - explanation.standing.figures[0].value)
    assert gain.ci[0] <= gain.value <= gain.ci[1]
    (folder,) = (each for each in tmp_path.iterdir() if each.name != "run")
    trained = Run.read(folder)
    assert (trained.plan.shots.count, trained.plan.shots.languages) == (3, (("de", "de_DE"),))
    assert not any("--shots" in text for text in explanation.undetermined)
    (delta,) = folder.rglob("delta.safetensors")
    written = [(path, path.stat().st_mtime_ns) for path in (delta, trained.results)]
    again = xmodctl.explain(tmp_path / "run", "de", shots=3, data=scored.parent / "data", errors=0)
    assert again.sections == explanation.sections
    assert written == [(path, path.stat().st_mtime_ns) for path, _ in written]
    with pytest.raises(UserError, match="was trained with examples of target languages already; remove --shots"):
        ShotTrial(trained, read_rows(trained.results), 3, None).check()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--lang", "fr"), "has no scores of fr on the split test; it has en, de, sw"),
        (("--lang", "en"), "en is the source language"),
        (("--lang", "de", "--split", "tset"), "--split tset"),
        (("--lang", "de", "--data", "nowhere"), "--data nowhere"),
        (("--lang", "de", "--out", "."), "--out ."),
        (("--lang", "de", "--shots", "0"), "--shots 0: give a whole number, at least 1"),
    ],
)
def test_what_cannot_be_explained_is_refused(words, message, scored):
    assert message in refused(run("explain", scored, *words))


def test_without_a_score_of_the_source_language_the_command_that_makes_one_is_named(finished_run, tmp_path):
    folder, data = finished_run
    shutil.copytree(folder, tmp_path / "run")
    only = tmp_path / "data" / "de"
    only.mkdir(parents=True)
    shutil.copy(data / "de" / "test.jsonl", only)
    assert run("eval-transfer", "--run", tmp_path / "run", "--langs", "de", "--data", tmp_path / "data").exit_code == 0
    assert "--langs en_XX --split test" in refused(run("explain", tmp_path / "run", "--lang", "de"))


def test_a_language_that_was_scored_on_other_rows_is_not_called_unscored(scored, tmp_path):
    shutil.copytree(scored, tmp_path / "run")
    lines = (scored / "results.jsonl").read_text().splitlines(keepends=True)
    kept = "".join(line for line in lines if json.loads(line)["language"] != "sw")
    (tmp_path / "run" / "results.jsonl").write_text(kept)
    missing = refused(run("explain", tmp_path / "run", "--lang", "sw"))
    assert "has no scores of sw on the split test; it has en, de; score it" in missing
    words = ("--run", tmp_path / "run", "--data", scored.parent / "data", "--limit", "6")
    assert run("eval-transfer", *words, "--langs", "sw,-en_XX").exit_code == 0
    message = refused(run("explain", tmp_path / "run", "--lang", "sw"))
    assert "has scores of sw with --limit 6, but en, de on all rows of the split test" in message
    command = message.partition("score sw on all rows: xmodctl ")[2]
    assert run(*shlex.split(command)).exit_code == 0, command
    assert xmodctl.explain(tmp_path / "run", "sw").limited is None


def test_a_language_is_explained_on_the_rows_that_the_source_language_was_scored_on_too(scored, tmp_path):
    shutil.copytree(scored, tmp_path / "run")
    lines = (scored / "results.jsonl").read_text().splitlines(keepends=True)
    kept = "".join(line for line in lines if json.loads(line)["language"] != "sw")
    (tmp_path / "run" / "results.jsonl").write_text(kept)
    words = ("--run", tmp_path / "run", "--data", scored.parent / "data", "--limit", "6")
    assert run("eval-transfer", *words, "--langs", "sw").exit_code == 0
    explanation = xmodctl.explain(tmp_path / "run", "sw")
    assert explanation.limited == 6
    assert "run also has scores of all rows, which are not shown" in explanation.undetermined
    assert xmodctl.explain(tmp_path / "run", "de").limited is None
    listed = run("inspect", "--run", tmp_path / "run", "--lang", "sw", "--errors", "wrong-everywhere")
    assert listed.exit_code == 0, listed.output


def test_scores_on_several_data_sets_are_not_mixed(scored, tmp_path):
    shutil.copytree(scored, tmp_path / "run")
    other = tmp_path / "other"
    for language in ("en", "de"):
        lines = (scored.parent / "data" / language / "test.jsonl").read_text().splitlines(keepends=True)
        (other / language).mkdir(parents=True)
        (other / language / "test.jsonl").write_text("".join(lines[:18]).replace("the cat", "a dog"))
    assert run("eval-transfer", "--run", tmp_path / "run", "--langs", "en,de", "--data", other).exit_code == 0
    first = xmodctl.explain(tmp_path / "run", "de")
    alone = xmodctl.explain(scored, "de")
    assert first.sections == alone.sections
    assert first.overlap == alone.overlap
    assert "run also has scores on other (en, de), which are not shown" in first.undetermined
    there = xmodctl.explain(tmp_path / "run", "de", data=other)
    assert (first.overlap.n, there.overlap.n) == (24, 18)
    for words, count in (((), 24), (("--data", other), 18)):
        result = run("inspect", "--run", tmp_path / "run", "--lang", "de", *words)
        assert f"of {count} examples" in result.output, result.output


def test_a_file_in_another_order_is_not_paired_by_row(scored, tmp_path):
    shutil.copytree(scored, tmp_path / "run")
    for language in ("en", "de"):
        lines = (scored.parent / "data" / language / "test.jsonl").read_text().splitlines(keepends=True)
        (tmp_path / "other" / language).mkdir(parents=True)
        (tmp_path / "other" / language / "test.jsonl").write_text("".join(lines[:: -1 if language == "de" else 1]))
    words = ("--run", tmp_path / "run", "--langs", "en,de", "--data", tmp_path / "other")
    assert run("eval-transfer", *words).exit_code == 0
    explanation = xmodctl.explain(tmp_path / "run", "de", data=tmp_path / "other")
    assert explanation.overlap is None
    assert any("the files are not of the same examples" in text for text in explanation.undetermined)
    assert not any("not parallel" in text for text in explanation.undetermined)
    figures = {figure.name for section in explanation.sections for figure in section.figures}
    assert "pieces per piece of the same row in en" not in figures
    assert "pieces per piece of the same row in en" in {
        figure.name for section in xmodctl.explain(scored, "de").sections for figure in section.figures
    }


def commands_of(text: str) -> list[list[str]]:
    """Return the commands of xmodctl in a text, as words."""
    return [shlex.split(match[1]) for match in re.finditer(r"xmodctl ([^;()\n]+)", text)]


def test_every_command_that_a_page_names_does_what_it_says(scored, tmp_path):
    shutil.copytree(scored, tmp_path / "run")
    lines = (scored / "results.jsonl").read_text().splitlines(keepends=True)
    own = "".join(line for line in lines if json.loads(line)["control"] == "own")
    (tmp_path / "run" / "results.jsonl").write_text(own)
    explanation = xmodctl.explain(tmp_path / "run", "de", errors=0)
    texts = [*(each.action for each in explanation.recommendations), *explanation.undetermined]
    commands = [command for text in texts for command in commands_of(text)]
    assert {words[0] for words in commands} >= {"explain", "eval-transfer", "add-language"}
    (tmp_path / "FILE").write_text("\n".join(f"the cat {'runs ' * (number % 40)}{number}" for number in range(900)))
    for words in commands:
        tried = [str(tmp_path / "FILE") if word == "FILE" else word for word in words]
        if words[0] == "explain":  # trains: that it may is what its check says
            ShotTrial(Run.read(tmp_path / "run"), read_rows(scored / "results.jsonl")[:1], 10, None).check()
            continue
        if words[0] in ("add-language", "finetune"):
            tried.append("--dry-run")
        result = run(*tried)
        assert result.exit_code == 0, (tried, result.output)


def test_what_the_plan_does_not_allow_is_not_suggested(scored, tmp_path):
    shutil.copytree(scored, tmp_path / "run")
    words = ("--run", tmp_path / "run", "--data", scored.parent / "data", "--langs", "sw=sw+de")
    lines = (scored / "results.jsonl").read_text().splitlines(keepends=True)
    kept = "".join(line for line in lines if json.loads(line)["language"] != "sw")
    (tmp_path / "run" / "results.jsonl").write_text(kept)
    assert run("eval-transfer", *words).exit_code == 0
    explanation = xmodctl.explain(tmp_path / "run", "sw")
    assert not any("--shots" in text or "--text FILE" in text for text in explanation.undetermined)
    assert any("without an adapter of its model" in text for text in explanation.undetermined)
    assert any("how well a mixture or a package models the language" in text for text in explanation.undetermined)
    plan = replace(Run.read(scored).plan, data=str(tmp_path))
    moved = ShotTrial(replace(Run.read(scored), plan=plan), read_rows(scored / "results.jsonl")[:1], 10, None)
    with pytest.raises(UserError, match="neither training nor validation data in en"):
        moved.check()


COMMANDS = Remedies("xmodctl explain r", "xmodctl add-language ur_US", "xmodctl finetune", "xmodctl inspect")


def recommended(
    *figures: Figure,
    title: str = "Errors",
    overlap: Overlap | None = None,
    gap_points: float = 25.0,
    remedies: Remedies = COMMANDS,
):
    gap = Section("Score", (Figure("gap to en, points", gap_points, "points", (1.0, 29.0)),))
    sections = [gap, Section(title, figures), *([Section("Errors")] if title != "Errors" else [])]
    return ranked([*recommendations(sections, overlap, "ur", "en", remedies)])


def test_a_better_way_that_was_measured_comes_before_what_is_only_possible():
    better = Figure("points above no adapter", -4.0, "points", (-7.0, -1.0))
    fine = Figure("pieces per word", 3.0, "", (2.9, 3.1), 1.3, (1.2, 1.4))
    wider = Wider(25.0, (5.0, 45.0))
    weak = Figure("accuracy, long rows", 40.0, "%", (30.0, 50.0), 70.0, (60.0, 80.0), wider=wider)
    assert "25.0 points (5.0 to 45.0) wider than that of all rows" in recommended(weak)[0].evidence
    assert [each.action.split()[0] for each in recommended(fine, weak, better)] == ["use", "in", "try"]
    assert recommended(better)[0].action == "use no adapter (--lang none in predict)"
    (source,) = recommended(replace(better, name="points above the adapter of en"))
    assert source.action == "use the adapter of en (--lang en in predict)"
    assert "4.0 points more (1.0 to 7.0)" in recommended(better)[0].evidence


def test_parts_of_a_language_at_the_majority_baseline_are_not_recommended():
    gap = Figure("gap to en, points", 12.6, "points", (6.6, 18.4))
    wider = Wider(7.5, (0.1, 14.9))
    long = Figure("accuracy, long rows", 47.6, "%", (40.1, 55.2), 67.7, (60.2, 74.4), wider=wider)
    for low, count in ((46.0, 0), (52.0, 1)):
        every = Figure("accuracy", 55.0, "%", (low, 58.0), 63.0, (58.7, 67.1))
        score = Section("Score", (every, Figure("majority baseline", 50.0, "%", None, 50.0), gap))
        advice = [*recommendations([score, Section("Errors", (long,))], None, "qu", "en", COMMANDS)]
        assert len(advice) == count


def test_rows_in_a_different_script_are_recommended_once_and_no_second_time_as_the_weakest_part():
    figures = (
        Figure("accuracy", 54.3, "%", (51.8, 56.8), 70.4, (68.0, 72.7)),
        Figure("rows with a text in a different script", 13.8, "%", (12.1, 15.6), 0.0, (0.0, 0.3)),
        Figure("accuracy, rows in a different script", 40.1, "%", (33.7, 46.9), 72.5, (66.0, 78.1),
               wider=Wider(16.3, (6.0, 26.6))),
        Figure("accuracy, long rows", 53.3, "%", (48.9, 57.7), 69.4, (65.0, 74.0), wider=Wider(5.0, (1.0, 9.0))),
    )  # fmt: skip
    read, weak = recommended(*figures)
    assert read.action.startswith("read these rows of ur")
    assert weak.action == "in ur, look first at long rows"


def test_shots_are_recommended_only_if_their_gain_is_not_chance():
    (shots,) = recommended(Figure(GAIN, 6.0, "points", (2.0, 10.0)))
    assert shots.evidence == "the rows gain 6.0 points (2.0 to 10.0)"
    assert recommended(Figure(GAIN, 6.0, "points", (-1.0, 13.0))) == ()


def test_differences_that_may_be_chance_are_not_recommended():
    assert recommended(
        Figure("points above no adapter", -4.0, "points", (-9.0, 1.0)),
        Figure("accuracy, long rows", 50.0, "%", (35.0, 65.0), 70.0, (60.0, 80.0), wider=Wider(15.0, (-1.0, 31.0))),
        Figure("accuracy, short rows", 64.0, "%", (63.0, 65.0), 70.0, (69.0, 71.0), wider=Wider(1.0, (0.5, 1.5))),
        Figure("accuracy, medium rows", 71.0, "%", (70.0, 72.0), 70.0, (69.0, 71.0), wider=Wider(9.0, (5.0, 13.0))),
        Figure("f1, LOC", 40.0, "%", None, 70.0),  # without an interval
        Figure("label LOC", 33.0, "%", (32.0, 34.0), 30.0, (29.0, 31.0)),
        share("rows that lose text to the length limit", (3, 300), (0, 300)),
    ) == ()  # fmt: skip


def test_errors_that_are_right_in_the_source_language_and_everywhere_else_have_a_remedy_each():
    ids = tuple(map(str, range(100)))
    even = Overlap("ur", "en", 200, 2, ids, ids[:50], (), 40)  # 10 of 90 rows more, which may be chance
    assert recommended(overlap=even) == ()
    transfer, task = recommended(overlap=Overlap("ur", "en", 200, 5, ids, ids[:60], ids[60:], 10))
    assert transfer.action == (
        "improve the transfer: train also on a few rows of ur (xmodctl explain r), or train an adapter on text in ur "
        "(xmodctl add-language ur_US)"
    )
    assert task.action.endswith("whose gold answers may be wrong (xmodctl inspect)")
    alone = recommended(overlap=Overlap("ur", "en", 200, 2, ids, ids[:60], (), 10), remedies=Remedies())
    assert alone[0].action == "improve the transfer: train also in a language near ur"
    assert "60 rows, against 10 the other way, so 25.0 points at most" in transfer.evidence
    assert "40 of 100 errors (20.0% of the rows) are wrong in all 5 languages" in task.evidence
    graded, _ = recommended(overlap=Overlap("ur", "en", 200, 5, ids, ids[:60], ids[60:], 10), gap_points=12.3)
    assert "against 10 the other way, so the gap of 12.3 points at most" in graded.evidence


def test_pieces_that_are_as_unknown_in_the_source_language_are_no_reason_for_a_vocabulary():
    def advice(source: float, ends: tuple[float, float], remedies: Remedies = COMMANDS):
        figure = Figure("unknown pieces", 10.0, "%", (8.0, 12.0), source, ends, 2)
        return [each.action for each in recommended(figure, title="Tokenizer", remedies=remedies)]

    assert advice(1.0, (0.0, 2.0)) == ["give ur its own vocabulary (xmodctl add-language ur_US --vocabulary new)"]
    assert advice(10.0, (8.0, 12.0)) == []
    assert advice(1.0, (0.0, 2.0), Remedies()) == [], "no adapter for it can be trained"


def test_a_longer_length_is_recommended_only_if_the_model_reads_more():
    cut = share("rows that lose text to the length limit", (90, 300), (0, 300))
    (only,) = recommended(cut, title="Tokenizer")
    assert only.action == "train and score with a larger max_length (xmodctl finetune)"
    assert recommended(cut, title="Tokenizer", remedies=Remedies()) == ()


def test_rows_in_another_script_that_score_higher_are_no_problem():
    rows = share("rows with a text in a different script", (30, 300), (0, 300))
    for value, count in ((60.0, 0), (40.0, 1)):
        every = Figure("accuracy", 50.0, "%", (45.0, 55.0))
        part = Figure("accuracy, rows in a different script", value, "%", (value - 15, value + 15))
        sections = [Section("Score", (every,)), Section("Data", (rows,)), Section("Errors", (part,))]
        assert len([*recommendations(sections, None, "ur", "en", COMMANDS)]) == count


def test_labels_that_do_not_occur_in_the_source_language_are_not_compared(monkeypatch):
    monkeypatch.setattr(LanguageRows, "lengths", np.array([3, 3]))
    side = LanguageRows("de", ("1", "2"), (("ein Satz",), ("noch einer",)), (("a",), ()), (None, None), 0, (), None)
    section = data_section(side, replace(side, language="en", labels=((), ())))
    assert "no row in en has a label, so shares of labels are not compared" in section.remarks
    assert not [figure for figure in section.figures if figure.name.startswith("label")]


def test_rows_in_another_script_are_counted_and_are_to_be_read():
    urdu = "یہ ایک جملہ ہے"
    texts = ((urdu, "yeh aik airbase se tha"), (urdu, "US"), (urdu,))
    side = LanguageRows(
        "ur", ("1", "2", "3"), texts, ((),) * 3, (None,) * 3, 0, (), None,
    )  # fmt: skip
    assert side.in_another_script == ["1"]
    words = replace(side, ids=("1",), texts=(("یہ", "ایک", "کیوبا", "ہندوستان", "airbase-base"),), is_words=True)
    assert words.in_another_script == []  # one word of many
    chinese = replace(
        side, language="zh", texts=(("Internet2是什么",), ("Internet2与谁达成合作",), ("What is Internet2 是",))
    )
    assert chinese.in_another_script == ["3"]  # a letter is a word, and a name is one
    assert replace(side, texts=(texts[0], texts[2], texts[0])).duplicates == ["3"]
    figure = share("rows with a text in a different script", (30, 300), (0, 300))
    assert recommended(figure, title="Data")[0].action == "read these rows of ur, and correct or exclude them"


def test_rows_in_another_script_fail_only_if_they_score_lower():
    odd = share("rows with a text in a different script", (60, 300), (0, 300))
    every = share("accuracy", (180, 300), (190, 300))
    for right, basis in ((20, EXPECTED), (34, POSSIBLE)):
        scored = share("accuracy, rows in a different script", (right, 60), (right, 60))
        (advice,) = recommended(every, odd, scored, title="Data")
        assert advice.basis == basis
        assert f"; their accuracy is {scored.written}, that of all rows {every.written}" in advice.evidence


def test_rows_in_another_script_are_scored_beside_the_same_rows_in_the_source_language():
    kind, task = KINDS["sequence-classification"], library.task("xnli")

    def side(language: str, right: int, odd: int) -> LanguageRows:
        names = [task.labels[0] if row < right else task.labels[1] for row in range(40)]
        rows = [Predicted(str(row), task.labels[0], name, (0.5, 0.3, 0.2)) for row, name in enumerate(names)]
        statistics = ExampleStatistics.computed(rows, task, language)
        seed = SeedPredictions(kind, task, language, rows, statistics.metrics(task))
        texts = tuple(("latin letters" if row >= 40 - odd else "یہ ایک جملہ ہے",) for row in range(40))
        made = LanguageRows(language, tuple(map(str, range(40))), texts, ((),) * 40, (), 0, (seed,), None)
        vars(made)["lengths"] = np.arange(40)
        return made

    def figures(odd: int) -> dict[str, Figure]:
        source = replace(side("en", 35, 0), language="en", texts=(("latin letters",),) * 40)
        vars(source)["lengths"] = np.arange(40)
        return {figure.name: figure for figure in error_section(side("ur", 30, odd), source, task).figures}

    figure = figures(20)["accuracy, rows in a different script"]
    assert (figure.value, figure.source) == (50.0, 75.0)
    assert figure.ci[0] < 50 < figure.ci[1]
    assert "accuracy, rows in a different script" not in figures(5)


def answered(language: str, right: np.ndarray) -> LanguageRows:
    """Return rows of XNLI, with which gold label each is right."""
    task = library.task("xnli")
    golds = [task.labels[row % 3] for row in range(len(right))]
    names = [
        gold if is_right else task.labels[(row + 1) % 3]
        for row, (gold, is_right) in enumerate(zip(golds, right, strict=True))
    ]
    rows = [
        Predicted(str(row), gold, guess, (0.4, 0.3, 0.3))
        for row, (gold, guess) in enumerate(zip(golds, names, strict=True))
    ]
    statistics = ExampleStatistics.computed(rows, task, language)
    seed = SeedPredictions(KINDS[task.kind], task, language, rows, statistics.metrics(task))
    made = LanguageRows(
        language, tuple(row.id for row in rows), (("x",),) * len(rows), ((),) * len(rows), (), 0, (seed,), None
    )
    vars(made)["lengths"] = np.arange(len(rows))
    return made


def wider_parts(right: np.ndarray, right_in_source: np.ndarray) -> dict[str, Wider]:
    figures = error_section(answered("ur", right), answered("en", right_in_source), library.task("xnli")).figures
    return {figure.name: figure.wider for figure in figures}


def test_parts_that_fall_behind_like_all_rows_are_wider_by_chance_alone():
    draw, named = np.random.default_rng(0), 0
    for _ in range(40):
        parts = wider_parts(draw.random(240) < 0.5, draw.random(240) < 0.9)
        assert len(parts) == 6
        named += any(wider.ci[0] > 0 for wider in parts.values())
    assert named <= 4  # in at most 2.5% of the languages, for all parts together


def test_a_part_that_falls_further_behind_is_wider_by_what_it_falls():
    draw = np.random.default_rng(1)
    source = draw.random(240) < 0.9
    right = source & (draw.random(240) < 0.9)
    right[160:] &= draw.random(80) < 0.4  # long rows
    parts = wider_parts(right, source)
    long = parts["accuracy, long rows"]
    gaps = [100 * (source[rows].mean() - right[rows].mean()) for rows in (slice(160, None), slice(None))]
    assert long.points == pytest.approx(gaps[0] - gaps[1])
    assert 0 < long.ci[0] < long.points < long.ci[1]
    assert sum(wider.ci[0] > 0 for wider in parts.values()) == 1
    label = parts["right, gold neutral"]
    mine = np.arange(240) % 3 == library.task("xnli").labels.index("neutral")
    assert label.points == pytest.approx(100 * (source[mine].mean() - right[mine].mean()) - gaps[1])


def test_words_that_are_letters_are_not_compared_with_words():
    def side(language: str, text: str) -> LanguageRows:
        tokenizer = SimpleNamespace(unk_token_id=3)
        made = LanguageRows(language, ("1", "2"), ((text,),) * 2, ((),) * 2, (), 0, (), tokenizer)
        vars(made).update(pieces=[[5, 6]] * 2, letters=[0, 0])
        return made

    thai, english, chinese = side("th", "ฉันประคบน้ำแข็ง"), side("en", "I put ice"), side("zh", "我把冰放上 on")
    task = library.task("wikiann")
    for first, second, source, remark in (
        (thai, english, None, "a word is a letter in th, which has no spaces between words"),
        (english, chinese, None, "a word is a letter in zh, which has no spaces between words"),
        (thai, chinese, 2 / 6, "a word is a letter in th, zh, which has no spaces between words"),
    ):
        section = tokenizer_section(first, second, task)
        assert section.figures[0].source == (None if source is None else pytest.approx(source))
        assert section.remarks == (remark,)
    assert tokenizer_section(english, english, task).remarks == ()


@pytest.mark.parametrize(
    ("wrong", "right", "everywhere", "text"),
    [
        (3, 1, 1, "3 of 9 examples are wrong; 1 (33%, 6 to 79) of these is right in en, and 1 is wrong in all 4"),
        (1, 0, 0, "1 of 9 examples is wrong; 0 (0%, 0 to 79) of these are right in en, and 0 are wrong in all 4"),
    ],
)
def test_counts_of_errors_are_a_sentence(wrong, right, everywhere, text):
    ids = tuple("abc")
    assert text in Overlap("ur", "en", 9, 4, ids[:wrong], ids[:right], ids[:everywhere], 0).summary


def test_the_quarters_of_answers_have_intervals_beside_the_same_rows_of_the_source_language():
    kind, task = KINDS["question-answering"], library.task("xquad")

    def side(language: str, right: range) -> LanguageRows:
        rows = [
            Predicted(str(row), ["x" * (1 + row // 10)], "x" * (1 + row // 10) if row in right else "no", (0.9,))
            for row in range(80)
        ]
        statistics = ExampleStatistics.computed(rows, task, language)
        seed = SeedPredictions(kind, task, language, rows, statistics.metrics(task))
        ids = tuple(row.id for row in rows)
        made = LanguageRows(language, ids, (("x",),) * 80, ((),) * 80, (), 0, (seed,), None)
        vars(made)["lengths"] = np.arange(80)[::-1]
        return made

    source = side("en", range(70))
    section = error_section(side("ru", range(40)), source, task)
    longest = next(figure for figure in section.figures if figure.name == "f1, longest answers")
    assert (longest.value, longest.source) == (0.0, 50.0)
    assert longest.ci[0] < 30 < longest.source_ci[1]
    assert longest.wider.points == pytest.approx(50.0 - 100 * 30 / 80)
    shortest = next(figure for figure in section.figures if figure.name == "f1, shortest answers")
    assert shortest.wider.points == pytest.approx(-100 * 30 / 80)


def test_an_entity_type_has_an_interval_over_the_rows(monkeypatch):
    kind, task = KINDS["token-classification"], library.task("wikiann")

    def side(language: str, right: int) -> LanguageRows:
        rows = [Predicted(str(row), ["B-PER"], ["B-PER" if row < right else "B-LOC"], (0.9,)) for row in range(60)]
        statistics = ExampleStatistics.computed(rows, task, language)
        seed = SeedPredictions(kind, task, language, rows, statistics.metrics(task))
        ids = tuple(row.id for row in rows)
        made = LanguageRows(language, ids, (("x",),) * 60, ((),) * 60, (), 0, (seed,), None)
        vars(made)["lengths"] = np.arange(60)
        return made

    figures = {figure.name: figure for figure in error_section(side("ur", 20), side("en", 50), task).figures}
    person = figures["entity_f1, PER"]
    assert (person.value, person.source) == pytest.approx((50.0, 100 * 100 / 110))
    assert person.ci[0] < person.value < person.ci[1] < person.source_ci[0]
    every = {
        "entity_f1": replace(kind.headlines["entity_f1"], is_correlation=True)
    }  # what the headline is, a part is not
    monkeypatch.setattr(type(kind), "headlines", every)
    again = {figure.name: figure for figure in error_section(side("ur", 20), side("en", 50), task).figures}
    assert again["entity_f1, PER"] == person


def test_the_place_among_the_languages_is_a_sentence():
    texts = [
        standing_among(*counts) for counts in ((0, 1), (1, 1), (0, 3), (1, 3), (2, 3))
    ]  # fmt: skip
    assert texts == [
        "the other language scored is not lower",
        "the other language scored is lower",
        "none of the 3 other languages scored is lower",
        "1 of the 3 other languages scored is lower",
        "2 of the 3 other languages scored are lower",
    ]


def test_between_identities_nothing_is_compared_and_a_trained_adapter_is_suggested(scored, tmp_path, monkeypatch):
    uncontrolled = tmp_path / "run"
    shutil.copytree(scored, uncontrolled)
    lines = (scored / "results.jsonl").read_text().splitlines(keepends=True)
    own = "".join(line for line in lines if json.loads(line)["control"] == "own")
    (uncontrolled / "results.jsonl").write_text(own)
    assert any("controls source,none" in each for each in xmodctl.explain(uncontrolled, "sw").undetermined)
    monkeypatch.setattr(Run, "trained_adapters", lambda run: ())
    monkeypatch.setattr(Source, "placeholders", property(lambda source: frozenset(source.languages)))
    explained = xmodctl.explain(uncontrolled, "sw")
    adapter = next(section for section in explained.sections if section.title == "Adapter")
    assert adapter.remarks == ("its own: sw_KE, an identity, not trained",)
    (text,) = [each for each in explained.undetermined if "a trained adapter" in each]
    assert "those of sw and en add nothing" in text
    assert "xmodctl add-language sw_KE --text FILE" in text


def test_figures_have_the_intervals_of_their_kind():
    figure = share("x", (20, 100), (50, 100))
    assert (figure.value, figure.source) == (20, 50)
    assert figure.ci == pytest.approx((13.3, 28.9), abs=0.1)  # Wilson
    low, high = difference((20, 100), (50, 100))
    assert low < -30 < high < 0
    value, (low, high) = ratio([2, 4, 6] * 50, [1, 2, 3] * 50)
    assert value == pytest.approx(low) == pytest.approx(high) == pytest.approx(2)
    assert figure.written == "20.0% (13.3 to 28.9)"
