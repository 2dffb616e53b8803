"""`xmodctl tasks`: list, show, copy."""

from xmodctl.cli import options
from xmodctl.cli.shipped_files import add_file_commands, file_group

PANEL = "Explore"
ORDER = 2

tasks = file_group("tasks", "task")


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
            str(len(task.languages)) if task.languages else "of your data",
            task.recipe_for(""),
        )
        for task in shipped
    ]
    columns = ("task", "aliases", "kind", "metric", "languages", "recipe")
    display.show(display.sheet(columns, rows, right=("languages",)))


add_file_commands(tasks, "tasks", "task")
