"""The command line's entry point. The commands themselves are the files in `commands/` (see `loader`)."""

from pathlib import Path
from typing import Annotated

import typer

from xmodctl.cli.group import Group
from xmodctl.cli.loader import HELP_OPTIONS

app = typer.Typer(
    name="xmodctl",
    cls=Group,
    help="Fine-tune X-MOD in one language, and measure how well it transfers to others.",
    epilog="New here? `xmodctl demo` trains and scores a small real model in minutes, without a network.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": HELP_OPTIONS},
)


def _print_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        typer.echo(f"xmodctl {version('xmodctl')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only results and errors.")] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose", "-v", help="Print details: defaults, versions, and training progress at each percent."
        ),
    ] = False,
    log_file: Annotated[
        Path | None,
        typer.Option(
            "--log-file",
            metavar="FILE",
            help="Append all messages to a file. You can put this, -q, and -v anywhere in a command.",
        ),
    ] = None,
) -> None: ...
