import json
import re
from pathlib import Path

import pytest

from xmodctl.catalog import catalog as library
from xmodctl.catalog.locations import HubData, Location
from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError
from xmodctl.core.schema import keys_of
from xmodctl.data import coverage, load_rows
from xmodctl.kinds import KINDS


def test_every_shipped_task_and_recipe_is_valid_and_every_task_can_be_run():
    assert "xnli" in library.tasks()
    for task in library.tasks().values():
        assert task.kind in KINDS
        for name in [task.recipe_for("another"), task.recipe_for("mini")]:
            assert library.recipe(name).source, f"{name} does not say where its settings come from"


def test_no_alias_names_two_tasks():
    names = [name for task in library.tasks().values() for name in (task.name, *task.aliases)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", ["xnli", "XNLI", "nli", "x-nli", "X_NLI"])
def test_a_task_is_found_as_users_type_it(name):
    assert library.task(name).name == "xnli"


def test_a_misspelt_name_gets_suggestions_and_the_command_that_lists_names():
    with pytest.raises(UserError, match=r"no task `xnly` \(did you mean xnli.*xmodctl tasks list"):
        library.task("xnly")
    with pytest.raises(UserError, match=r"no recipe `nli-mimi` \(did you mean nli-mini"):
        library.recipe("nli-mimi")


def test_a_users_file_is_given_by_its_path(tmp_path):
    path = tmp_path / "slow.yaml"
    path.write_text("learning_rate: 1e-6\n")
    recipe = library.recipe(str(path))
    assert (recipe.name, recipe.learning_rate) == ("slow", 1e-6)


def test_a_missing_file_is_reported_with_its_path(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*none\.yaml"):
        library.recipe(str(tmp_path / "none.yaml"))


# --- docs/tasks.md ----------------------------------------------------------------------------------------------------

GUIDE = Path(__file__).parents[2] / "docs" / "tasks.md"


def test_the_guides_example_is_a_task_that_loads_data(tmp_path):
    path = tmp_path / "reviews.yaml"
    path.write_text(GUIDE.read_text(encoding="utf-8").split("<!-- example -->\n```yaml\n")[1].split("```")[0])
    (tmp_path / "data" / "zh").mkdir(parents=True)
    rows = [{"review": "好", "verdict": verdict, "key": verdict} for verdict in ("awful", "good", "bad")]
    (tmp_path / "data" / "zh" / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = library.task(str(path))
    loaded = load_rows(task, "zh_CN", "test", folder=tmp_path / "data")
    assert loaded.table["label"][:] == [0, 1, 0]
    assert coverage(task, None)["cn"] == ("validation", "test")
    assert coverage(task, None)["en"] == ("train", "validation", "test")


@pytest.mark.parametrize("described", [Task, HubData, Location])
def test_the_guide_explains_every_key(described):
    explained = {key for line in GUIDE.read_text().splitlines() for key in re.findall(r"`(\w+)`", line.split(" | ")[0])}
    assert set(keys_of(described)) - {"name"} <= explained


def test_the_guide_lists_every_task_with_its_recipe():
    rows = GUIDE.read_text().splitlines()
    for task in library.tasks().values():
        recipe = f"`{task.recipe_for('another')}`" if KINDS[task.kind].trains else "| none |"
        assert any(row.startswith(f"| `{task.name}`") and recipe in row for row in rows), task.name


def test_only_inference_is_trained_with_code_switching():
    tasks = [task for task in library.tasks().values() if KINDS[task.kind].trains]
    switched = {task.name for task in tasks if library.recipe(task.recipe_for("mini")).code_switching}
    assert switched == {"xnli", "afrixnli"}  # not, for example, lid200, whose labels are the languages of the words
    assert not any(library.recipe(task.recipe_for("another")).code_switching for task in tasks)


def test_a_license_is_read_in_both_spellings_and_stays_as_it_was_in_plans(tmp_path):
    shipped = library.shipped_file("tasks", "xnli").read_text(encoding="utf-8")
    for name, key in (("new", "license"), ("old", "licence")):
        (tmp_path / f"{name}.yaml").write_text(shipped.replace("\nlicense:", f"\n{key}:"), encoding="utf-8")
        task = library.task(str(tmp_path / f"{name}.yaml"))
        assert task.license.startswith("CC BY-NC 4.0")
        assert task.with_values({"license": "CC0"}, origin="--set").license == "CC0"
        assert {"licence", "license"} & task.model_dump(by_alias=True).keys() == {"licence"}
        assert "license" in task.model_dump()
