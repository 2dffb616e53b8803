"""What a plan trains on: validation data wherever it lies, stages, and shots that are never scored."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from xmodctl.catalog import catalog as library
from xmodctl.catalog.locations import HubData
from xmodctl.catalog.recipe import Recipe, Stage
from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError
from xmodctl.core.schema import validator
from xmodctl.data import load_rows
from xmodctl.run.folder import differences
from xmodctl.run.plan import Plan, Shots
from xmodctl.run.shots import DrawnShots, refuse_shots, row_digests, shots_of, write_shots
from xmodctl.training.training_data import draw_shots, load_training_data


def plan(task: str = "xnli", *languages: str, **changes) -> Plan:
    return replace(
        Plan(library.task(task), Recipe(), "mini", None, None, languages or ("en_XX",), None, None, "fp32"), **changes
    )


def write(folder: Path, language: str, split: str, rows: list[dict[str, object]]) -> None:
    path = folder / language / f"{split}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def choices(count: int, mark: str = "") -> list[dict[str, object]]:
    return [
        {
            "context": f"c{mark}{i}",
            "question": "why",
            "answerA": "a",
            "answerB": "b",
            "answerC": "c",
            "label": i % 3 + 1,
        }
        for i in range(count)
    ]


def copa(count: int, mark: str = "") -> list[dict[str, object]]:
    question = ("cause", "effect")
    return [
        {"premise": f"p{mark}{i}", "question": question[i % 2], "choice1": "a", "choice2": "b", "label": i // 2 % 2}
        for i in range(count)
    ]


# --- sources and their validation data --------------------------------------------------------------------------------


def test_several_sources_bring_rows_of_their_own_and_are_told_apart(pairs, write_pairs):
    write_pairs(pairs, "de", "train", 24)
    (own,) = load_training_data(plan("xnli", "en_XX", "de_DE"), folder=pairs)
    assert [(item.adapter, len(item.rows)) for item in own.training] == [("en_XX", 48), ("de_DE", 24)]
    assert [(item.adapter, len(item.rows)) for item in own.validation] == [("en_XX", 12), ("de_DE", 12)]
    assert own.rows == 72
    assert list(own.fingerprints) == ["train en_XX", "train de_DE", "validation en_XX", "validation de_DE"]
    (single,) = load_training_data(plan(), folder=pairs)
    assert list(single.fingerprints) == ["train", "validation"]


def test_without_validation_data_a_training_is_not_watched_but_cannot_select_on_it(pairs):
    (pairs / "en" / "validation.jsonl").unlink()
    assert load_training_data(plan(), folder=pairs)[0].validation == ()
    with pytest.raises(UserError, match="no split `validation`"):
        load_training_data(plan(recipe=Recipe(keep="source-dev")), folder=pairs)


def test_validation_data_is_looked_for_where_the_training_data_lies(monkeypatch):
    results = []

    def note(task, language, split, *, folder, limit, evaluation=True, single_language=False):
        results.append((split, evaluation))

    monkeypatch.setattr("xmodctl.training.training_data.load_rows", note)
    load_training_data(
        plan("xquad"), folder=None
    )  # XQuAD has a single split; SQuAD, which it trains on, has one to validate on
    assert results == [("train", False), ("validation", False)]
    results.clear()
    load_training_data(plan("xnli"), folder=None)  # XNLI has its own
    assert results == [("train", False), ("validation", True)]
    results.clear()
    load_training_data(plan("uner"), folder=None)  # en_ewt, by the language that the task says it has
    assert results == [("train", False), ("validation", True)]


def test_a_folder_named_as_a_treebank_is_found_by_its_language(tmp_path):
    rows = [{"tokens": ["Ada", "ran"], "ner_tags": ["B-PER", "O"]}] * 3
    for code in ("en_ewt", "en_pud"):
        write(tmp_path, code, "train", rows)
        write(tmp_path, code, "validation", rows)
    (own,) = load_training_data(plan("uner"), folder=tmp_path)
    assert own.training[0].rows.language == "en_ewt"
    assert own.validation[0].rows.language == "en_ewt"


# --- stages -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def staged(tmp_path) -> tuple[Plan, Path]:
    """Return a plan of Social IQa in English and then COPA in English and Italian, and the latter's data."""
    for split, count in (("train", 9), ("validation", 6)):
        write(tmp_path / "siqa", "en", split, choices(count))
        for language in ("en", "it"):
            write(tmp_path / "copa", language, split, copa(count, language))
    stage = Stage(task="social-iqa", epochs=2, data=str(tmp_path / "siqa"))
    recipe = Recipe(epochs=7, learning_rate=1e-3, stages=(stage,))
    resolved_plan = plan("xcopa", "en_XX", "it_IT", recipe=recipe, stage_tasks=(library.task("social-iqa"),))
    return resolved_plan, tmp_path / "copa"


def test_a_stage_trains_on_its_own_data_in_the_languages_that_it_has(staged):
    first, own = load_training_data(staged[0], folder=staged[1])
    assert (first.stage, first.task.name, [item.adapter for item in first.training]) == (
        "social-iqa", "social-iqa", ["en_XX"],
    )  # fmt: skip
    assert (first.recipe.epochs, first.recipe.learning_rate, first.recipe.stages) == (2, 1e-3, ())
    assert (own.stage, own.recipe.epochs, [item.adapter for item in own.training]) == ("", 7, ["en_XX", "it_IT"])
    assert list(first.fingerprints) == ["social-iqa train", "social-iqa validation"]


def test_a_stage_without_data_says_how_to_give_it_or_leave_it_out(staged):
    with pytest.raises(UserError, match=r"the stage social-iqa: .*data: DIR.*--set 'stages=\[\]'"):
        load_training_data(replace(staged[0], source_languages=("it_IT",)), folder=staged[1])


def test_a_plan_with_stages_and_shots_comes_back_from_its_json(staged):
    resolved_plan = replace(staged[0], shots=Shots(4, (("it", "it_IT"),), 7))
    again = validator(Plan).validate_python(json.loads(json.dumps(resolved_plan.to_json())))
    assert again == resolved_plan
    assert again.digest == resolved_plan.digest
    assert differences(resolved_plan, replace(resolved_plan, shots=None))


# --- shots ------------------------------------------------------------------------------------------------------------


def pool(folder: Path, task: Task | None = None):
    return load_rows(task or library.task("xnli"), "de", "validation", folder=folder)


def test_a_draw_is_balanced_over_labels_and_decided_by_its_seed(pairs):
    rows = pool(pairs)
    item = draw_shots(rows, 7, 1)
    assert sorted(Counter(item.table["label"]).values()) == [2, 2, 3]
    assert item.table["id"][:] == draw_shots(rows, 7, 1).table["id"][:]
    assert item.fingerprint == draw_shots(rows, 7, 1).fingerprint != rows.fingerprint
    draws = {tuple(draw_shots(rows, 7, seed).table["id"]) for seed in range(8)}
    assert len(draws) > 4
    assert len(draw_shots(rows, 12, 1)) == 12


def test_labels_of_which_there_are_few_are_drawn_whole(pairs):
    rows = pool(pairs)
    few = replace(rows, arrow=rows.arrow.take([0, 3, 6, 9, 1]))  # four of the first label, one of the second
    assert sorted(Counter(draw_shots(few, 4, 2).table["label"]).values()) == [1, 3]


def test_shots_come_from_training_data_where_there_is_some_and_never_from_the_test_data(pairs, write_pairs):
    with_shots = plan(shots=Shots(2, (("de", "de_DE"), ("fr", "fr_XX")), 1))
    write_pairs(pairs, "fr", "train", 9)
    (own,) = load_training_data(with_shots, folder=pairs)
    assert [(item.adapter, item.rows.split) for item in own.pools] == [("de_DE", "validation"), ("fr_XX", "train")]
    assert list(own.fingerprints)[-2:] == ["shots de_DE", "shots fr_XX"]
    (pairs / "de" / "validation.jsonl").unlink()
    with pytest.raises(UserError, match=r"neither training nor validation data in de .*test data is never trained on"):
        load_training_data(with_shots, folder=pairs)


def refuse(path, rows):
    refuse_shots(path, rows.language, rows.split, rows.table)


def test_rows_that_were_trained_on_are_refused_whatever_their_ids_and_others_are_not(pairs, tmp_path):
    rows = pool(pairs)
    drawn = draw_shots(rows, 3, 1)
    digests = row_digests(drawn.table)
    shots = DrawnShots("de", "de_DE", drawn.split, drawn.origin, tuple(drawn.table["id"]), digests)
    write_shots(tmp_path / "shots.json", [shots])
    (kept,) = json.loads((tmp_path / "shots.json").read_text())
    assert (kept["ids"], kept["split"]) == (drawn.table["id"][:], "validation")
    renamed = rows.arrow.set_column(0, "id", [[f"x{name}" for name in rows.table["id"]]])
    with pytest.raises(UserError, match="3 of the 12 rows of de validation were trained on"):
        refuse(tmp_path / "shots.json", replace(rows, arrow=renamed))
    others = [number for number, id_ in enumerate(rows.table["id"]) if id_ not in kept["ids"]]
    refuse(tmp_path / "shots.json", replace(rows, arrow=rows.arrow.take(others)))
    refuse(tmp_path / "shots.json", replace(rows, language="fr"))
    refuse(tmp_path / "shots.json", replace(rows, split="test"))
    refuse(tmp_path / "none.json", rows)


def test_a_language_is_few_shot_however_it_is_spelt():
    resolved_plan = plan(shots=Shots(3, (("de", "de_DE"),), 1))
    assert [shots_of(resolved_plan, language) for language in ("de", "de_DE", "fr", "en")] == [3, 3, 0, 0]
    assert shots_of(plan(), "de") == 0


def test_a_benchmark_without_a_place_for_training_data_of_a_language_offers_no_shots(monkeypatch):
    task = library.task("xquad")
    assert isinstance(task.evaluation, HubData)
    monkeypatch.setattr("xmodctl.training.training_data.load_rows", lambda *_, **__: None)
    with pytest.raises(UserError, match="XQuAD has neither training nor validation data in de"):
        load_training_data(plan("xquad", shots=Shots(2, (("de", "de_DE"),), 1)), folder=None)
