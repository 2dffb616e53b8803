import json
import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest

from xmodctl.catalog import catalog as library
from xmodctl.core.errors import UserError
from xmodctl.core.schema import validator
from xmodctl.run.jobs import locked
from xmodctl.run.plan import Plan
from xmodctl.run.run import Run, newest_run

PLAN = Plan(
    task=library.task("xnli"), recipe=library.recipe("nli"), model="facebook/xmod-base", revision="abc",
    config_sha256="0", source_languages=("en_XX",), data=None, limit=None, precision="fp32",
)  # fmt: skip


def opened(folder: Path, plan: Plan = PLAN, *, data: str = "1", on_exists: str = "resume", seeds=(1,)) -> Run:
    folder.mkdir(exist_ok=True)
    return Run.open(folder, plan, seeds, {"train": data}, on_exists)


def test_a_plan_comes_back_from_json_as_it_was():
    assert validator(Plan).validate_python(PLAN.to_json()) == PLAN


def test_different_plans_have_different_folders_and_equal_ones_the_same():
    other = replace(PLAN, recipe=PLAN.recipe.with_values({"epochs": 1}, origin="test"))
    assert PLAN.folder_name.startswith("xnli-en_XX-xmod-base-")
    assert PLAN.folder_name != other.folder_name
    assert replace(PLAN).folder_name == PLAN.folder_name


def test_a_plan_without_a_source_language_is_no_plan(tmp_path):
    run = opened(tmp_path / "a")
    stored = json.loads((run.folder / "run.json").read_text())
    stored["plan"]["source_languages"] = []
    (run.folder / "run.json").write_text(json.dumps(stored))
    with pytest.raises(UserError, match=r"does not describe a run of this version: `plan\.source_languages`"):
        Run.read(run.folder)


def test_a_run_goes_on_and_takes_more_seeds(tmp_path):
    opened(tmp_path / "r")
    assert opened(tmp_path / "r", seeds=(2, 1)).seeds == (1, 2)
    assert Run.read(tmp_path / "r").seeds == (1, 2)


def test_a_run_with_another_plan_is_refused_and_the_difference_named(tmp_path):
    opened(tmp_path / "r")
    other = replace(PLAN, recipe=PLAN.recipe.with_values({"epochs": 1}, origin="test"))
    with pytest.raises(UserError, match=r"recipe\.epochs: 5\.0 there, 1\.0 requested"):
        opened(tmp_path / "r", other)


def edited(**values: object) -> Plan:
    return replace(PLAN, task=PLAN.task.with_values(values, origin="test"))


@pytest.mark.parametrize(
    "plan",
    [
        edited(description="Another text.", title="X", citation="", homepage="", license="none", aliases=["x"]),
        edited(notes=["Beware."], rows={"test": 5}),
        edited(**{"recipe.mini": "nli"}),
        edited(**{"evaluation.locations": [{"repository": "a/b", "files": "{split}.csv"}]}),
        replace(PLAN, recipe=PLAN.recipe.model_copy(update={"name": "mine", "title": "Mine", "source": "me"})),
    ],
    ids=["texts", "notes", "default recipe", "locations", "names of the recipe"],
)
def test_what_changes_no_number_does_not_keep_a_run_from_continuing(plan, tmp_path):
    opened(tmp_path / "r")
    assert opened(tmp_path / "r", plan, seeds=(2,)).seeds == (1, 2)


@pytest.mark.parametrize(
    "values",
    [{"labels": ["a", "b", "c"]}, {"columns.text": "title"}, {"metric": "macro_f1"}, {"language_column": "title"}],
)
def test_what_changes_numbers_still_does(values, tmp_path):
    opened(tmp_path / "r")
    with pytest.raises(UserError, match=rf"task\.{next(iter(values))}"):
        opened(tmp_path / "r", edited(**values))


def test_a_plan_finds_its_folder_although_descriptions_were_edited_since(tmp_path):
    (tmp_path / "runs").mkdir()
    folder = opened(tmp_path / "runs" / PLAN.folder_name).folder
    described = edited(description="Another text.")
    assert described.folder_name != PLAN.folder_name
    assert Run.folder_of(described, tmp_path / "runs") == folder
    elsewhere = edited(**{"evaluation.locations": [{"repository": "a/b", "files": "{split}.csv"}]})
    for other in (elsewhere, replace(PLAN, limit=5)):
        assert Run.folder_of(other, tmp_path / "runs") == tmp_path / "runs" / other.folder_name


def test_a_plan_that_is_made_before_a_download_names_the_same_folder(tmp_path):
    assert replace(PLAN, revision=None, config_sha256=None).folder_name == PLAN.folder_name
    folder = replace(PLAN, model=str(tmp_path))
    assert replace(folder, config_sha256="1").folder_name != folder.folder_name


def test_notes_on_a_task_leave_the_folder_as_older_versions_name_it():
    assert edited(notes=["Beware."], rows={"test": 5}).folder_name == edited(notes=[], rows={}).folder_name


def test_a_run_whose_data_has_changed_is_refused(tmp_path):
    opened(tmp_path / "r")
    with pytest.raises(UserError, match="the train data has changed"):
        opened(tmp_path / "r", data="2")


def test_redo_begins_anew_and_error_refuses(tmp_path):
    run = opened(tmp_path / "r")
    (run.folder / "seed-1").mkdir()
    run.delta(1).write_text("")
    with pytest.raises(UserError, match="already contains a run"):
        opened(tmp_path / "r", on_exists="error")
    assert opened(tmp_path / "r", data="2", on_exists="redo").finished_seeds == ()


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "thesis.tex").write_text("dear")
    for on_exists in ("resume", "redo"):
        with pytest.raises(UserError, match=r"contains other files \(thesis\.tex\)"):
            opened(tmp_path / "r", on_exists=on_exists)
    assert (tmp_path / "r" / "thesis.tex").exists()


def test_what_is_no_run_is_told(tmp_path):
    with pytest.raises(UserError, match="is not a run"):
        Run.read(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        Run.read(tmp_path)
    (tmp_path / "run.json").write_text('{"schema": 99}')
    with pytest.raises(UserError, match="newer than"):
        Run.read(tmp_path)


def test_the_newest_run_is_found_and_none_is_told(tmp_path):
    with pytest.raises(UserError, match="there is no run under"):
        newest_run(tmp_path)
    opened(tmp_path / "r")
    assert newest_run(tmp_path).folder == tmp_path / "r"
    assert len(Run.all(tmp_path)) == 1


def _hold(folder: Path, held, done) -> None:
    with locked(folder):
        held.set()
        done.wait(30)


def test_a_folder_in_use_by_another_process_is_refused_at_once_and_free_when_that_process_is_killed(tmp_path):
    context = multiprocessing.get_context("spawn")
    held, done = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path, held, done))
    other.start()
    assert held.wait(60)
    with pytest.raises(UserError, match="in use by another xmodctl process"), locked(tmp_path):
        pass
    other.kill()
    other.join()
    with locked(tmp_path):
        pass


def test_a_folder_that_nothing_was_put_in_goes_again_unless_it_was_there_before(tmp_path):
    with pytest.raises(UserError, match="no"), locked(tmp_path / "made"):
        raise UserError("no")
    assert not (tmp_path / "made").exists()
    (tmp_path / "there").mkdir()
    with locked(tmp_path / "there"):
        pass
    with locked(tmp_path / "used"):
        (tmp_path / "used" / "file").touch()
    assert (tmp_path / "there").exists()
    assert (tmp_path / "used" / "file").exists()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("plan.recipe.epochs", -1, r"`plan\.recipe\.epochs` \(it should be greater than 0\)"),
        ("plan.recipe.optimizer", "sgd", r"`plan\.recipe\.optimizer` \(there is no such key\)"),
        ("plan.task.kind", "poetry", r"`plan\.task\.kind` \('poetry' is not a kind of task"),
        ("plan.source_languages", "en_XX", r"`plan\.source_languages` \(it should be a list, such as \[a, b\]\)"),
        ("plan.shots", {"count": 5}, r"`plan\.shots\.languages` \(it is missing\)"),
        ("plan.color", "red", r"`plan\.color` \(there is no such key\)"),
        ("plan", None, r"`plan` \("),
        ("seeds", ["one"], r"`seeds\.0` \(it should be a whole number"),
        ("state", "tired", r"`state` \(it should be 'training'"),
    ],
)
def test_an_edited_run_is_refused_with_the_key_that_is_wrong(tmp_path, key, value, message):
    opened(tmp_path / "r")
    path = tmp_path / "r" / "run.json"
    content = json.loads(path.read_text())
    *parents, last = key.split(".")
    place = content
    for part in parents:
        place = place[part]
    place[last] = value
    path.write_text(json.dumps(content))
    with pytest.raises(
        UserError, match=rf"run\.json does not describe a run of this version: {message}.*--on-exists redo"
    ):
        Run.read(tmp_path / "r")
    assert Run.all(tmp_path) == []


@pytest.mark.parametrize("content", ["[]", "{}", '{"schema": "1"}'])
def test_json_that_is_no_run_is_told(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(UserError, match="not the file of a run"):
        Run.read(tmp_path)


def test_a_run_is_read_by_the_name_of_its_folder_and_shows_itself_in_a_line_and_a_table(tmp_path):
    run = opened(tmp_path / "r")
    assert Run.read(str(tmp_path / "r")) == run
    assert repr(run) == (f"Run('{tmp_path / 'r'}': xnli in en_XX, facebook/xmod-base, training, 0 of 1 seeds)")
    assert "<th>model</th><td>facebook/xmod-base</td>" in run._repr_html_()


def test_the_scores_of_a_run_are_a_data_frame_with_the_last_of_equal_measurements(tmp_path):
    run = opened(tmp_path / "r")
    assert run.to_frame().empty
    score = {"seed": 1, "language": "de", "adapter": None, "split": "test", "control": "none", "limited": None}
    lines = [{**score, "value": 50.0}, {**score, "language": "sw", "value": 40.0}, {**score, "value": 60.0}]
    run.results.write_text("".join(json.dumps(line) + "\n" for line in lines))
    frame = run.to_frame()
    assert list(zip(frame["language"], frame["value"], strict=True)) == [("sw", 40.0), ("de", 60.0)]


def test_redo_deletes_only_what_a_run_wrote(tmp_path):
    run = opened(tmp_path / "r")
    written = [
        "results.jsonl", "report.html", "predictions/test/de.seed-1.jsonl", "seed-1/delta.safetensors",
        "seed-1/metrics.jsonl", "seed-1/checkpoints/step-5/trained.safetensors",
        "seed-1/stage-1-snli/delta.safetensors",
        "tensorboard/seed-1/events.out.tfevents.1",
    ]  # fmt: skip
    own = ["notes.md", "figures/plot.png", "predictions/test/mine.txt", "seed-1/thoughts.txt"]
    for name in (*written, *own):
        path = run.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    opened(run.folder, on_exists="redo")
    left = {str(path.relative_to(run.folder)) for path in run.folder.rglob("*") if path.is_file()}
    assert left == {*own, "run.json"}
    assert Run.kept(run.folder) == sorted(own)
    assert not (run.folder / "seed-1" / "checkpoints").exists()


def test_folders_made_for_a_lock_disappear_with_it_unless_something_is_in_them(tmp_path):
    with pytest.raises(UserError), locked(tmp_path / "deep" / "a" / "b"):
        raise UserError("refused")
    assert not list(tmp_path.iterdir())
    (tmp_path / "runs").mkdir()
    with locked(tmp_path / "runs" / "x"):
        (tmp_path / "runs" / "y").mkdir()
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["y"]
