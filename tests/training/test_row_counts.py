"""How much a training takes: more epochs for few rows, a total budget of rows, and translated training data."""

from dataclasses import replace
from pathlib import Path

import pytest
from command_line import finetune
from command_line import run as command

from xmodctl.catalog import catalog as library
from xmodctl.core.errors import UserError
from xmodctl.evaluation.results import read_rows, report
from xmodctl.run.run import Run
from xmodctl.training.dry_run import DryRun, plan_finetune
from xmodctl.training.few_rows import extended
from xmodctl.training.row_budget import shares
from xmodctl.training.training_data import load_training_data


def plan_tickets(model: Path, folder: Path, count: int, **options: object) -> DryRun:
    lines = [f"text {n},{'ab'[n % 2]},en,{'test' if n >= count else 'train'}\n" for n in range(count + 2)]
    (folder / "tickets.csv").write_text("text,label,lang,split\n" + "".join(lines))
    options = {"task": "classification", "lang": "en", "model": model, "data": folder / "tickets.csv", **options}
    return plan_finetune(**options)


def test_few_rows_of_your_own_are_seen_more_often_which_the_dry_run_shows(tiny_model, tmp_path):
    planned = plan_tickets(tiny_model, tmp_path, 320)
    assert (planned.plan.recipe.epochs, planned.plan.recipe.save_steps, planned.cost.steps) == (20, 50, 200)
    assert planned.resolved.origins["epochs"] == "few rows"
    (remark,) = (note for note in planned.notes if "are few" in note)
    assert "320 training rows are few: training for 20 epochs instead of the recipe's 5, to take" in remark
    assert "--set epochs=5" in remark
    for options in ({"overrides": {"epochs": 5}}, {"recipe": "nli"}, {"overrides": {"batch_size": 4}}):
        assert plan_tickets(tiny_model, tmp_path, 320, **options).plan.recipe.epochs == 5
    assert plan_tickets(tiny_model, tmp_path, 6400).plan.recipe.epochs == 5
    assert plan_tickets(tiny_model, tmp_path, 6400, rows=320).plan.recipe.epochs == 20
    assert plan_tickets(tiny_model, tmp_path, 20).plan.recipe.epochs == 40
    assert extended(library.recipe("nli"), 0) is None


def test_benchmarks_keep_their_recipes(tiny_model, pairs):
    planned = plan_finetune(task="xnli", lang="en", model=tiny_model, data=pairs)
    assert planned.plan.recipe == library.recipe("nli")


@pytest.mark.parametrize(
    ("budget", "available", "expected"),
    [(10, [50], [10]), (10, [50, 50], [5, 5]), (10, [9, 9, 9], [4, 3, 3]), (10, [2, 9, 3], [2, 5, 3])],
)
def test_a_budget_is_shared_equally_as_far_as_there_are_rows(budget, available, expected):
    assert shares(budget, available) == expected


def test_a_budget_that_does_not_fit_is_refused():
    with pytest.raises(UserError, match="--rows 6: there are only 5 training rows; use at most that many"):
        shares(6, [2, 3])
    with pytest.raises(UserError, match="use at least one row of each"):
        shares(1, [2, 3])


def test_rows_are_a_budget_over_all_sources_in_plan_identity_and_data(tiny_model, pairs, write_pairs):
    write_pairs(pairs, "de", "train", 48)
    options = {"task": "xnli", "lang": "en,de", "model": tiny_model, "data": pairs}
    planned = plan_finetune(**options, rows=24)
    assert (planned.plan.rows, planned.cost.rows) == (24, 24)
    assert planned.plan.digest != plan_finetune(**options).plan.digest
    assert "-24rows-" in planned.plan.folder_name
    assert "rows" not in plan_finetune(**options).plan.to_json()
    (data,) = load_training_data(planned.plan, folder=pairs)
    assert [len(part.rows) for part in data.training] == [12, 12]
    assert "12 of 48 rows" in data.training[0].rows.notes[-1]
    (whole,) = load_training_data(replace(planned.plan, rows=None), folder=pairs)
    assert data.fingerprints["train en_XX"] != whole.fingerprints["train en_XX"]
    assert data.fingerprints["validation en_XX"] == whole.fingerprints["validation en_XX"]
    (larger,) = load_training_data(replace(planned.plan, rows=48), folder=pairs)
    assert set(data.training[1].rows.table["id"]) < set(larger.training[1].rows.table["id"])
    with pytest.raises(UserError, match="there are only 96 training rows"):
        plan_finetune(**options, rows=97)
    with pytest.raises(UserError, match="--rows 0"):
        plan_finetune(**options, rows=0)


@pytest.mark.parametrize(("lang", "translated"), [("en", ()), ("en,de", ("de_DE",)), ("de_DE", ("de_DE",))])
def test_translated_training_data_is_known_before_training(tiny_model, pairs, write_pairs, lang, translated):
    write_pairs(pairs, "de", "train", 6)
    planned = plan_finetune(task="xnli", lang=lang, model=tiny_model, data=pairs)
    assert planned.plan.task.translated_among(planned.plan.source_languages) == translated
    assert any("translate-train" in note for note in planned.notes) == bool(translated)
    older = planned.plan.task.model_copy(update={"translated": ()})
    assert replace(planned.plan, task=older).digest == planned.plan.digest


@pytest.mark.slow
def test_translated_training_data_is_in_rows_reports_and_cards(tiny_model, pairs, write_pairs, tmp_path):
    write_pairs(pairs, "de", "train", 6)
    run = tmp_path / "run"
    result = finetune(tiny_model, pairs, run, "--lang", "de", "--set", "epochs=1")
    assert result.exit_code == 0, result.output
    assert command("eval-transfer", "--run", run, "--langs", "de,en").exit_code == 0
    rows = read_rows(run / "results.jsonl")
    assert {row.translated for row in rows} == {("de_DE",)}
    assert any("translate-train: the training data in de_DE" in note for note in report("run", rows).notes)
    assert command("export", "--run", run, "--out", tmp_path / "exported").exit_code == 0
    card = (tmp_path / "exported/README.md").read_text()
    assert "translate-train: the data in German" in card
    assert Run.read(run).plan.task.translated


def test_rows_and_reports_say_that_training_texts_were_code_switched(tiny_model, pairs, tmp_path):
    run = tmp_path / "run"
    result = finetune(tiny_model, pairs, run, "--set", "epochs=1", "--set", "code_switching=0.25")
    assert result.exit_code == 0, result.output
    scored = command("eval-transfer", "--run", run, "--langs", "de", "--limit", "4")
    assert scored.exit_code == 0, scored.output
    assert "code-switching: words of the training texts were replaced with probability 0.25" in " ".join(
        scored.output.split()
    )
    rows = read_rows(run / "results.jsonl")
    assert {row.code_switching for row in rows} == {0.25}
    assert any("code-switching" in note for note in report("run", rows).notes)
