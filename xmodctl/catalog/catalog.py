"""The shipped tasks and recipes, and users' own: found by name, alias, or path."""

from functools import cache
from pathlib import Path
from typing import TypeVar

from xmodctl.catalog.recipe import Recipe
from xmodctl.catalog.table import PublishedTable
from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError, did_you_mean
from xmodctl.core.files import write_text
from xmodctl.core.schema import Described, read

D = TypeVar("D", bound=Described)

SHARED = "_"
"""The beginning of the names of files in `tasks/` that only other files include."""


def shipped_folder(name: str) -> Path:
    """Return the folder `tasks` or `recipes`: inside the package when installed, beside it in a checkout."""
    package = Path(__file__).parents[1]
    return package / name if (package / name).is_dir() else package.parent / name


@cache
def tasks() -> dict[str, Task]:
    """Return the shipped tasks by name."""
    return {name: _shipped_task(name) for name in task_names()}


@cache
def task_names() -> tuple[str, ...]:
    """Return the names of the shipped tasks; no file is read."""
    files = sorted(shipped_folder("tasks").glob("*.yaml"))
    return tuple(path.stem for path in files if not path.name.startswith(SHARED))


@cache
def _shipped_task(name: str) -> Task:
    folder = shipped_folder("tasks")
    return read(Task, folder / f"{name}.yaml", shared=folder, name=name)


@cache
def recipes() -> dict[str, Recipe]:
    """Return the shipped recipes by name."""
    return {path.stem: read(Recipe, path, name=path.stem) for path in sorted(shipped_folder("recipes").glob("*.yaml"))}


def task(name: str) -> Task:
    """Return the task called `name`: a shipped one by name or alias, or a YAML file by path.

    Raises:
        UserError: There is no such task, or the file has mistakes.
    """
    if _is_path(name):
        return read(Task, Path(name).expanduser(), shared=shipped_folder("tasks"), name=Path(name).stem)
    key = _folded(name)
    if key in task_names():
        return _shipped_task(key)  # to read the others for their aliases takes a quarter of a second
    names = {alias: shipped for shipped in tasks().values() for alias in (shipped.name, *shipped.aliases)}
    by_key = {_folded(alias): shipped for alias, shipped in names.items()}
    if key in by_key:
        return by_key[key]
    raise UserError(_unknown("task", name, list(names)))


def recipe(name: str) -> Recipe:
    """Return the recipe called `name`: a shipped one by name, or a YAML file by path.

    Raises:
        UserError: There is no such recipe, or the file has mistakes.
    """
    if _is_path(name):
        return read(Recipe, Path(name).expanduser(), name=Path(name).stem)
    by_key = {_folded(known): shipped for known, shipped in recipes().items()}
    if _folded(name) in by_key:
        return by_key[_folded(name)]
    raise UserError(_unknown("recipe", name, list(recipes())))


@cache
def published_tables() -> dict[str, PublishedTable]:
    """Return the shipped tables of published scores by name."""
    paths = sorted((shipped_folder("tasks") / "tables").glob("*.yaml"))
    return {path.stem: read(PublishedTable, path, name=path.stem) for path in paths}


def published_table(name: str) -> PublishedTable:
    """Return the table called `name`: a shipped one by name, or a YAML file by path.

    Raises:
        UserError: There is no such table, or the file has mistakes.
    """
    if _is_path(name):
        table = read(PublishedTable, Path(name).expanduser(), name=Path(name).stem)
        if table.recipe is not None and table.recipe not in recipes():
            guess = did_you_mean(table.recipe, list(recipes()))
            raise UserError(f"{name}: `recipe` is {table.recipe}, which is not shipped{guess}; correct or remove it")
        return table
    if name in published_tables():
        return published_tables()[name]
    guess = did_you_mean(name, list(published_tables()))
    raise UserError(
        f"there is no table `{name}`{guess}; `xmodctl reproduce` lists the tables; to use a file of your own, give its "
        "path (./table.yaml)"
    )


def table_of(task_name: str, model: str) -> str:
    """Return the name of the shipped table with the scores of a model on a task.

    Raises:
        UserError: There is none.
    """
    names = {table.task: name for name, table in published_tables().items() if table.model == model}
    if task_name in names:
        return names[task_name]
    tasks = ", ".join(names)
    raise UserError(
        f"--task {task_name}: there is no table of {model} for it, only for {tasks}; `xmodctl reproduce` lists the "
        "tables; to use a file of your own, give its path (./table.yaml) in place of --task"
    )


def shipped_file(folder: str, name: str) -> Path:
    """Return the path of a shipped YAML file, for `show` and `copy`."""
    described = task(name) if folder == "tasks" else recipe(name)
    return Path(name).expanduser() if _is_path(name) else shipped_folder(folder) / f"{described.name}.yaml"


def copy_file(folder: str, name: str, file: str | Path) -> Path:
    """Copy the YAML file of a task or a recipe to `file`, to be edited; return the copy's path.

    Args:
        folder: `tasks` or `recipes`.
        name: A shipped name or alias, or a path.
        file: The copy; it must end in .yaml or .yml and not exist yet.

    Raises:
        UserError: There is no such task or recipe, or the copy cannot be written under that name.
    """
    target = Path(file).expanduser()
    if target.suffix not in (".yaml", ".yml"):
        raise UserError(f"{file}: the copy's name must end in .yaml, as in `xmodctl {folder} copy {name} ./my.yaml`")
    if target.exists():
        raise UserError(f"{file} already exists; choose another name for the copy")
    write_text(target, shipped_file(folder, name).read_text(encoding="utf-8"))
    return target


def _is_path(name: str) -> bool:
    return name.endswith((".yaml", ".yml")) or "/" in name or "\\" in name


def _folded(name: str) -> str:
    return name.casefold().replace("_", "-").replace(" ", "-")


def _unknown(noun: str, name: str, known: list[str]) -> str:
    guess = did_you_mean(name, known)
    return (
        f"there is no {noun} `{name}`{guess}; `xmodctl {noun}s list` lists the {noun}s; "
        f"to use a file of your own, give its path (./{noun}.yaml)"
    )
