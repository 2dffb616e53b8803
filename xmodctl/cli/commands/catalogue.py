"""`xmodctl tasks` and `xmodctl recipes`: list, show, copy."""

from pathlib import Path
from typing import Annotated

import typer

from xmodctl.cli import options

tasks = typer.Typer(help="The benchmarks: list them, show a file, copy it to change it.", no_args_is_help=True)
recipes = typer.Typer(help="The ways of training: list them, show a file, copy it to change it.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A shipped name, or a YAML file of yours.")]
Copy = Annotated[Path, typer.Argument(metavar="FILE", help="Where the copy goes.")]


@tasks.command("list")
def list_tasks(json: options.Json = False) -> None:
    """List the shipped tasks."""
    from xmodctl.catalog import catalog as library
    from xmodctl.cli import display

    found = library.tasks().values()
    if json:
        display.show_json([one.model_dump(mode="json") for one in found])
        return
    rows = [
        (one.name, ", ".join(one.aliases), one.kind, one.headline, str(len(one.languages)), one.recipe_for(""))
        for one in found
    ]
    columns = ("task", "also", "kind", "metric", "languages", "recipe")
    display.show(display.sheet(columns, rows, right=("languages",)))


@recipes.command("list")
def list_recipes(json: options.Json = False) -> None:
    """List the shipped recipes."""
    from xmodctl.catalog import catalog as library
    from xmodctl.cli import display

    found = library.recipes().values()
    if json:
        display.show_json([one.model_dump(mode="json") for one in found])
        return
    rows = [
        (one.name, one.title, f"{one.epochs:g}", str(one.batch_size), f"{one.learning_rate:g}", str(one.max_length))
        for one in found
    ]
    columns = ("recipe", "for", "epochs", "batch", "learning rate", "length")
    display.show(display.sheet(columns, rows, right=columns[2:]))


@recipes.command("keys")
def list_keys() -> None:
    """List the keys of a recipe, their defaults and meaning."""
    from xmodctl.catalog.recipe import Recipe
    from xmodctl.cli import display

    rows = [
        (key, "" if field.default in (None, ()) else f"{field.default}", field.description or "")
        for key, field in Recipe.model_fields.items()
        if key != "name"
    ]
    display.show(display.sheet(("key", "default", "meaning"), rows))


@tasks.command("show")
def show_task(name: Name) -> None:
    """Print a task's file."""
    _show("tasks", name)


@recipes.command("show")
def show_recipe(name: Name) -> None:
    """Print a recipe's file."""
    _show("recipes", name)


@tasks.command("copy")
def copy_task(name: Name, file: Copy) -> None:
    """Copy a task's file to change it; use it with `--task FILE`."""
    _copy("tasks", name, file)


@recipes.command("copy")
def copy_recipe(name: Name, file: Copy) -> None:
    """Copy a recipe's file to change it; use it with `--recipe FILE`."""
    _copy("recipes", name, file)


def _show(folder: str, name: str) -> None:
    from xmodctl.catalog import catalog as library
    from xmodctl.cli import display

    display.show_text(library.shipped_file(folder, name).read_text(encoding="utf-8").rstrip())


def _copy(folder: str, name: str, file: Path) -> None:
    from xmodctl.catalog import catalog as library
    from xmodctl.cli import display
    from xmodctl.core.errors import UserError
    from xmodctl.core.files import write_text

    if file.suffix not in (".yaml", ".yml"):
        raise UserError(f"{file}: name the copy with .yaml, as in `xmodctl {folder} copy {name} ./mine.yaml`")
    if file.exists():
        raise UserError(f"{file} exists; choose another name")
    write_text(file, library.shipped_file(folder, name).read_text(encoding="utf-8"))
    display.show_text(str(file))
