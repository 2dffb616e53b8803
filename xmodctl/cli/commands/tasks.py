"""`xmodctl tasks`: list, show, copy."""

from typing import TYPE_CHECKING

from xmodctl.cli import options
from xmodctl.cli.shipped_files import add_file_commands, file_group

if TYPE_CHECKING:
    from xmodctl.catalog.task import Task

PANEL = "Explore"
ORDER = 2

tasks = file_group("tasks", "task")


@tasks.command("list")
def list_tasks(json: options.Json = False) -> None:
    """List the shipped tasks."""
    from xmodctl.catalog.catalog import tasks as shipped_tasks
    from xmodctl.cli import display
    from xmodctl.kinds import KINDS

    shipped = shipped_tasks().values()
    if json:
        display.show_json([task.model_dump(mode="json") for task in shipped])
        return
    order = list(KINDS)
    by_kind = sorted(shipped, key=lambda task: (order.index(task.kind), task.evaluation is not None, task.name))
    rows = [
        (
            task.kind,
            task.name,
            str(len(task.languages)) if task.languages else "of your data",
            task.headline,
            task.recipe_for(""),
            _license(task),
            ", ".join(task.aliases),
        )
        for task in by_kind
    ]
    columns = ("kind", "task", "languages", "metric", "recipe", "license", "aliases")
    display.show(display.sheet(columns, rows, right=("languages",)))


def _license(task: "Task") -> str:
    """Return a task's license up to the first remark on it."""
    return task.license.partition(";")[0].partition(" (")[0] if task.evaluation else "of your data"


add_file_commands(tasks, "tasks", "task")
