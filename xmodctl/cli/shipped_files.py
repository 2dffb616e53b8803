"""The subcommands `show` and `copy` of `tasks` and `recipes`."""

from typing import Literal

import typer

from xmodctl.cli.options import CopyFile, ShippedName

Folder = Literal["tasks", "recipes"]


def file_group(folder: Folder, noun: str) -> typer.Typer:
    """Return the command group of the shipped files in a folder; `noun` is one of them."""
    text = f"List the shipped {folder}, show a {noun}'s file, or copy it as a starting point."
    return typer.Typer(help=text, no_args_is_help=True)


def add_file_commands(group: typer.Typer, folder: Folder, noun: str) -> None:
    """Add `show` and `copy` to a command group; `noun` is also the option that takes the path of a copy."""

    @group.command("show", help=f"Print a {noun}'s file.")
    def show(name: ShippedName) -> None:
        from xmodctl.catalog.catalog import shipped_file
        from xmodctl.cli import display

        display.show_text(shipped_file(folder, name).read_text(encoding="utf-8").rstrip())

    add_copy(group, folder, noun)


def add_copy(group: typer.Typer, folder: Folder, noun: str) -> None:
    """Add `copy` to a command group; `noun` is also the option that takes the path of a copy."""

    @group.command("copy", help=f"Copy a {noun}'s file so that you can edit it; use the copy with `--{noun} FILE`.")
    def copy(name: ShippedName, file: CopyFile) -> None:
        from xmodctl.catalog.catalog import copy_file
        from xmodctl.cli import display

        display.show_text(str(copy_file(folder, name, file)))
