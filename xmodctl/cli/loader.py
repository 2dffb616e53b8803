"""Finds the commands: each file in `commands/` is one, imported when it runs or when its help is shown.

A file `my_command.py` defines the command `my-command`. It holds a function, or a Typer group, with the file's name, a
`PANEL`, under whose title the help lists the command, and optionally an `ORDER`, its place in the panel.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

import typer
from typer.core import TyperCommand
from typer.main import get_command

from xmodctl.cli import commands
from xmodctl.core.errors import UserError

HELP_OPTIONS = ["-h", "--help"]

PANELS = ("Train", "Evaluate", "Models and adapters", "Explore")
"""Titles in the order in which the help shows them; others follow."""

MAY_BE_EMPTY = frozenset(("controls", "shot_langs"))
"""Options whose empty value means none; a text may be empty, too."""


class Commands(MutableMapping[str, Any]):
    """The commands by name, in the order of the help. Looking one up imports its file alone."""

    def __init__(self) -> None:
        self.files = {info.name.replace("_", "-"): info.name for info in iter_modules(commands.__path__)}
        self.built: dict[str, Any] = {}
        self.are_brief = False

    @contextmanager
    def brief(self) -> Iterator[None]:
        """Give commands without their options, which take longer to build than the list of all commands to print."""
        self.are_brief = True
        try:
            yield
        finally:
            self.are_brief = False

    def __getitem__(self, name: str) -> Any:
        """Return a command."""
        if name not in self.built:
            if self.are_brief and inspect.isfunction(target := getattr(self._module(name), self.files[name])):
                return TyperCommand(name, help=inspect.getdoc(target), rich_help_panel=self._module(name).PANEL)
            self.built[name] = _build(name, self.files[name], self._module(name))
        return self.built[name]

    def __setitem__(self, name: str, command: Any) -> None:
        """Add a command that has no file, as Typer does for completion."""
        self.built[name] = command

    def __delitem__(self, name: str) -> None:
        """Remove a command."""
        self.files.pop(name, None)
        self.built.pop(name, None)

    def __contains__(self, name: object) -> bool:
        """Return whether there is such a command, without importing it."""
        return name in self.files or name in self.built

    def __iter__(self) -> Iterator[str]:
        """Return the names in the order of the help, which imports every file but nothing that it needs to run."""
        return iter((*sorted(self.files, key=self._position), *(name for name in self.built if name not in self.files)))

    def __len__(self) -> int:
        """Return the number of commands."""
        return len({*self.files, *self.built})

    def _position(self, name: str) -> tuple[int, str, float, str]:
        module = self._module(name)
        rank = PANELS.index(module.PANEL) if module.PANEL in PANELS else len(PANELS)
        return rank, module.PANEL, getattr(module, "ORDER", float("inf")), name

    def _module(self, name: str) -> ModuleType:
        return import_module(f"{commands.__name__}.{self.files[name]}")


def _build(name: str, file: str, module: ModuleType) -> Any:
    target: Callable[..., Any] | typer.Typer = getattr(module, file)
    holder = typer.Typer(add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False)
    holder.callback()(lambda: None)
    if isinstance(target, typer.Typer):
        holder.add_typer(target, name=name, rich_help_panel=module.PANEL)
    else:
        holder.command(name, rich_help_panel=module.PANEL)(target)
    command = get_command(holder).commands[name]  # type: ignore[attr-defined]
    for part in (command, *getattr(command, "commands", {}).values()):
        hide_types(part.get_params(typer.Context(part, help_option_names=HELP_OPTIONS)))
        for parameter in part.params:
            parameter.shell_complete = partial(_complete, name, parameter)
            parameter.handle_parse_result = partial(_refuse_empty, parameter, parameter.handle_parse_result)
    return command


def _refuse_empty(parameter: Any, handle: Callable[..., Any], ctx: Any, opts: Mapping[str, Any], args: Any) -> Any:
    """Parse an option or an argument; an empty value, as an unset variable of a shell leaves it, names nothing.

    A path would read it as the current folder, and other options as if they were not given.

    Raises:
        UserError: It is empty.
    """
    value = opts.get(parameter.name)
    may_be_empty = parameter.name in MAY_BE_EMPTY or parameter.metavar == "TEXT"
    if not may_be_empty and "" in (value if isinstance(value, list | tuple) else [value]):
        is_argument = parameter.param_type_name == "argument"
        name = parameter.metavar or parameter.name.upper() if is_argument else parameter.opts[0]
        raise UserError(f"{name} is empty; give a value, or omit it (is a variable of your shell not set?)")
    return handle(ctx, opts, args)


def _complete(command: str, parameter: Any, context: Any, incomplete: str) -> list[Any]:
    """Return values of an option or an argument, for the completion of a shell."""
    from xmodctl.cli.completing import completions

    return completions(command, parameter, context, incomplete)


def hide_types(parameters: Iterable[Any]) -> None:
    """Make the help show no Python types: a flag takes no value, and the name of an argument says what it is."""
    for parameter in parameters:
        if parameter.param_type_name == "argument":
            parameter.display_type_rich = lambda ctx: None  # noqa: ARG005
            parameter.get_usage_pieces = partial(_usage, parameter)
        elif parameter.is_flag:
            parameter.metavar = ""


def _usage(parameter: Any, context: Any) -> list[str]:  # noqa: ARG001
    """Return an argument as the line of usage shows it: `RUN`, `RUN...`, `[RUN]`, or `[RUN...]`."""
    name = f"{parameter.metavar or parameter.name.upper()}{'' if parameter.nargs == 1 else '...'}"
    return [name if parameter.required else f"[{name}]"]
