"""`xmodctl recipes`: list, keys, show, copy."""

from xmodctl.cli import options
from xmodctl.cli.shipped_files import add_file_commands, file_group

PANEL = "Explore"
ORDER = 3

recipes = file_group("recipes", "recipe")


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
def list_keys(json: options.Json = False) -> None:
    """List the keys of a recipe with their defaults and meanings."""
    from xmodctl.catalog.recipe import Recipe
    from xmodctl.cli import display

    fields = {key: field for key, field in Recipe.model_fields.items() if key != "name"}
    if json:
        display.show_json(
            [{"key": key, "default": field.default, "meaning": field.description} for key, field in fields.items()]
        )
        return
    rows = [
        (key, "" if field.default in (None, ()) else f"{field.default}", field.description or "")
        for key, field in fields.items()
    ]
    display.show(display.sheet(("key", "default", "meaning"), rows))


add_file_commands(recipes, "recipes", "recipe")
