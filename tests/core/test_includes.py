"""`include` in task files: what several share, from beside the file or from the shipped folder, and nowhere else."""

from pathlib import Path

import pytest

from xmodctl.catalog import catalog as library
from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError
from xmodctl.core.schema import read

SHARED = "kind: sequence-classification\ncolumns: {text: t, label: l}\nlabels: [a, b]\nlanguages: [en, de]\n"


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Return a user's folder and the shipped one."""
    mine, shipped = tmp_path / "mine", tmp_path / "shipped"
    mine.mkdir()
    shipped.mkdir()
    return mine, shipped


def load(folders: tuple[Path, Path], text: str) -> Task:
    mine, shipped = folders
    (mine / "task.yaml").write_text(text, encoding="utf-8")
    return read(Task, mine / "task.yaml", shared=shipped, name="task")


def test_own_keys_replace_included_ones_whole(folders):
    (folders[1] / "_shared.yaml").write_text(SHARED)
    task = load(folders, "include: _shared\ntitle: T\ncolumns: {text: body, label: l}\nlanguages: [fr]\n")
    assert (task.title, task.labels, [*task.languages]) == ("T", ("a", "b"), ["fr"])
    assert task.columns == {"text": "body", "label": "l"}


def test_of_several_files_the_later_counts_and_the_one_beside_comes_first(folders):
    mine, shipped = folders
    (mine / "one.yaml").write_text(SHARED)
    (shipped / "one.yaml").write_text("kind: nonsense\n")
    (shipped / "two.yaml").write_text("include: three\nlabels: [x, y]\n")
    (shipped / "three.yaml").write_text("labels: [p, q]\nmetric: macro_f1\n")
    task = load(folders, "include: [one, two.yaml]\ntitle: T\n")
    assert (task.kind, task.labels, task.metric) == ("sequence-classification", ("x", "y"), "macro_f1")


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/b", "..\\\\secret", ".hidden", "a\\u0000b"])
def test_a_path_is_never_followed(name, folders):
    mine, _ = folders
    (mine.parent / "secret.yaml").write_text(SHARED)
    with pytest.raises(UserError, match=r"task\.yaml: `include` is .*without a folder"):
        load(folders, f'include: "{name}"\ntitle: T\n')


def test_a_link_that_leads_out_of_both_folders_is_not_followed(folders):
    mine, _ = folders
    (mine.parent / "secret.yaml").write_text(SHARED)
    (mine / "link.yaml").symlink_to(mine.parent / "secret.yaml")
    with pytest.raises(UserError, match=r"there is no link\.yaml next to it"):
        load(folders, "include: link\ntitle: T\n")


def test_a_circle_is_refused_with_its_files(folders):
    mine, _ = folders
    (mine / "a.yaml").write_text("include: b\n")
    (mine / "b.yaml").write_text("include: task\n")
    with pytest.raises(
        UserError, match=r"task\.yaml includes .*a\.yaml, which includes .*b\.yaml, which includes .*task"
    ):
        load(folders, "include: a\ntitle: T\n")


def test_files_that_multiply_are_read_once(folders):
    mine, _ = folders
    for number in range(40):
        (mine / f"f{number}.yaml").write_text(f"include: [f{number + 1}, g{number + 1}]\n")
        (mine / f"g{number}.yaml").write_text(f"include: [g{number + 1}, f{number + 1}]\n")
    (mine / "f40.yaml").write_text(SHARED)
    (mine / "g40.yaml").write_text("metric: accuracy\n")
    assert load(folders, "include: [f0, g0]\ntitle: T\n").metric == "accuracy"


@pytest.mark.parametrize(
    ("included", "message"),
    [
        (SHARED + "metrik: accuracy\n", r"line 5 of .*_shared\.yaml: there is no key `metrik` \(did you mean metric"),
        (SHARED + "metric: f7\n", r"`metric` is 'f7'"),
        ("labels: [a\n", r"task\.yaml includes .*_shared\.yaml: .*_shared\.yaml:2: this is not YAML"),
        (SHARED + "labels: [c, d]\n", r"_shared\.yaml, which is included: line 5: `labels` is given twice"),
        ("- a\n", r"task\.yaml includes .*_shared\.yaml: .*expected `key: value` lines"),
    ],
)
def test_mistakes_in_an_included_file_name_both_files(included, message, folders):
    (folders[1] / "_shared.yaml").write_text(included)
    with pytest.raises(UserError, match=message) as caught:
        load(folders, "include: _shared\ntitle: T\n")
    assert "task.yaml" in str(caught.value)


@pytest.mark.parametrize("value", ["3", "[]", "{a: b}", "[a, [b]]", ""])
def test_what_is_no_name_is_refused(value, folders):
    with pytest.raises(UserError, match="`include`"):
        load(folders, f"include: {value}\ntitle: T\n")


def test_a_name_that_is_nowhere_gets_a_near_miss(folders):
    (folders[1] / "_shared.yaml").write_text(SHARED)
    with pytest.raises(UserError, match=r"no _share\.yaml next to it or in .*did you mean _shared"):
        load(folders, "include: _share\ntitle: T\n")


def test_a_copied_task_still_finds_what_it_includes(tmp_path):
    copy = library.copy_file("tasks", "masakhaner2", tmp_path / "mine.yaml")
    assert "include:" in copy.read_text()
    assert library.task(str(copy)).languages == library.task("masakhaner2").languages


def test_shared_files_are_no_tasks_and_none_is_unused():
    shipped = library.shipped_folder("tasks")
    shared = {path.stem for path in shipped.glob("_*.yaml")}
    texts = [path.read_text(encoding="utf-8") for path in shipped.glob("[!_]*.yaml")]
    assert shared
    assert not shared & set(library.tasks())
    for name in shared:
        assert sum(f"include: {name}\n" in text for text in texts) > 1, name
