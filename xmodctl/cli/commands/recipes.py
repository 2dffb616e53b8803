"""`xmodctl recipes`: list, keys, show, copy."""

import typer

from xmodctl.cli import options
from xmodctl.cli.options import CopyFile, ShippedName

PANEL = "Explore"
ORDER = 3

recipes = typer.Typer(
    help="List the shipped recipes, show a recipe's file, or copy it as a starting point.", no_args_is_help=True
)


@recipes.command("list")
def list_recipes(json: options.Json = False) -> None:
    """List the shipped recipes."""
    from xmodctl.catalog.catalog import recipes as shipped_recipes
    from xmodctl.cli import display

    shipped = shipped_recipes().values()
    if json:
        display.show_json([recipe.model_dump(mode="json") for recipe in shipped])
        return
    rows = [
        (
            recipe.name,
            recipe.title,
            f"{recipe.epochs:g}",
            str(recipe.batch_size),
            f"{recipe.learning_rate:g}",
            str(recipe.max_length),
        )
        for recipe in shipped
    ]
    columns = ("recipe", "for", "epochs", "batch size", "learning rate", "max length")
    display.show(display.sheet(columns, rows, right=columns[2:]))


@recipes.command("keys")
def list_keys() -> None:
    """List the keys of a recipe with their defaults and meanings."""
    from xmodctl.catalog.recipe import Recipe
    from xmodctl.cli import display

    rows = [
        (key, "" if field.default in (None, ()) else f"{field.default}", field.description or "")
        for key, field in Recipe.model_fields.items()
        if key != "name"
    ]
    display.show(display.sheet(("key", "default", "meaning"), rows))


@recipes.command("show")
def show_recipe(name: ShippedName) -> None:
    """Print a recipe's file."""
    from xmodctl.catalog.catalog import shipped_file
    from xmodctl.cli import display

    display.show_text(shipped_file("recipes", name).read_text(encoding="utf-8").rstrip())


@recipes.command("copy")
def copy_recipe(name: ShippedName, file: CopyFile) -> None:
    """Copy a recipe's file so that you can edit it; use the copy with `--recipe FILE`."""
    from xmodctl.catalog.catalog import copy_file
    from xmodctl.cli import display

    display.show_text(str(copy_file("recipes", name, file)))
