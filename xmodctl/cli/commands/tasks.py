"""`xmodctl tasks`: list, show, copy."""

import typer

from xmodctl.cli import options
from xmodctl.cli.options import CopyFile, ShippedName

PANEL = "Explore"
ORDER = 2

tasks = typer.Typer(
    help="List the shipped tasks, show a task's file, or copy it as a starting point.", no_args_is_help=True
)


@tasks.command("list")
def list_tasks(json: options.Json = False) -> None:
    """List the shipped tasks."""
    from xmodctl.catalog.catalog import tasks as shipped_tasks
    from xmodctl.cli import display

    shipped = shipped_tasks().values()
    if json:
        display.show_json([task.model_dump(mode="json") for task in shipped])
        return
    rows = [
        (
            task.name,
            ", ".join(task.aliases),
            task.kind,
            task.headline,
            str(len(task.languages)),
            task.recipe_for(""),
        )
        for task in shipped
    ]
    columns = ("task", "aliases", "kind", "metric", "languages", "recipe")
    display.show(display.sheet(columns, rows, right=("languages",)))


@tasks.command("show")
def show_task(name: ShippedName) -> None:
    """Print a task's file."""
    from xmodctl.catalog.catalog import shipped_file
    from xmodctl.cli import display

    display.show_text(shipped_file("tasks", name).read_text(encoding="utf-8").rstrip())


@tasks.command("copy")
def copy_task(name: ShippedName, file: CopyFile) -> None:
    """Copy a task's file so that you can edit it; use the copy with `--task FILE`."""
    from xmodctl.catalog.catalog import copy_file
    from xmodctl.cli import display

    display.show_text(str(copy_file("tasks", name, file)))
