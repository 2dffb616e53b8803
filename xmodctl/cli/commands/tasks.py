"""`xmodctl tasks`: list, show, copy."""

from typing import Annotated

import typer

from xmodctl.cli import options
from xmodctl.cli.shipped_files import add_copy, file_group

PANEL = "Explore"
ORDER = 2

tasks = file_group("tasks", "task")


@tasks.command("list")
def list_tasks(json: options.Json = False) -> None:
    """List the shipped tasks by kind."""
    from xmodctl.catalog.catalog import tasks as shipped_tasks
    from xmodctl.cli import display

    shipped = shipped_tasks().values()
    if json:
        display.show_json([task.model_dump(mode="json") for task in shipped])
        return
    from xmodctl.cli.task_tables import list_of_tasks

    display.show(list_of_tasks(shipped))


@tasks.command("show")
def show_task(
    name: options.ShippedName,
    model: options.Model = options.DEFAULT_MODEL,
    json: options.Json = False,
    yaml: Annotated[bool, typer.Option("--yaml", help="Print the task's file as it is.")] = False,
) -> None:
    """Show what a task is: its kind, languages, metric, data, license, and notes. Downloads nothing.

    `--json` prints the task together with what its file includes; `--yaml` prints the file itself.
    """
    from xmodctl.catalog.catalog import shipped_file
    from xmodctl.cli import display

    if yaml:
        display.show_text(shipped_file("tasks", name).read_text(encoding="utf-8").rstrip())
        return
    from xmodctl.data.task_description import describe_task

    description = describe_task(name, model)
    if json:
        display.show_json(description.to_json())
        return
    from xmodctl.cli.task_tables import described

    display.show_text(described(description))


add_copy(tasks, "tasks", "task")
