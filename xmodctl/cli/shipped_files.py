"""The subcommands `show` and `copy` of `tasks` and `recipes`."""

from typing import Literal

import typer

from xmodctl.cli.options import CopyFile, ShippedName


def shipped_files(kind: Literal["tasks", "recipes"], noun: str) -> typer.Typer:
    """Return a command group with `show` and `copy`.

    Args:
        kind: The folder of the shipped files.
        noun: What one of them is, which is also the option that takes a copy.
    """
    group = typer.Typer(
        help=f"List the shipped {kind}, show a {noun}'s file, or copy it as a starting point.", no_args_is_help=True
    )

    @group.command("show", help=f"Print a {noun}'s file.")
    def show(name: ShippedName) -> None:
        from xmodctl.catalog.catalog import shipped_file
        from xmodctl.cli import display

        display.show_text(shipped_file(kind, name).read_text(encoding="utf-8").rstrip())

    @group.command("copy", help=f"Copy a {noun}'s file so that you can edit it; use the copy with `--{noun} FILE`.")
    def copy(name: ShippedName, file: CopyFile) -> None:
        from xmodctl.catalog.catalog import copy_file
        from xmodctl.cli import display

        display.show_text(str(copy_file(kind, name, file)))

    return group
