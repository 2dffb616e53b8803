"""Reference pages, from the declarations: commands, Python, keys, recipes, environment variables, exit codes."""

import inspect
import re
from collections.abc import Iterator
from typing import Any

import typer

import xmodctl
from docs.generator.markdown import code, page, plain, section, table
from xmodctl.catalog.catalog import recipes
from xmodctl.catalog.recipe import Recipe
from xmodctl.catalog.task import Task
from xmodctl.cli.app import app
from xmodctl.cli.defaults import KEYS
from xmodctl.cli.loader import PANELS
from xmodctl.core.environment import VARIABLES, ExitCode
from xmodctl.core.schema import Described

_SECTIONS = re.compile(r"^(Args|Returns|Raises|Yields):$")


def pages() -> dict[str, str]:
    """Return the pages by their paths."""
    commands = dict(_commands())
    return {
        "reference/index.md": _command_index(commands),
        **{f"reference/{name}.md": _command_page(name, command) for name, command in commands.items()},
        "reference/python.md": _python(),
        "reference/recipe-keys.md": _keys(
            "Keys of a recipe", Recipe, "A recipe file lists only what differs from these defaults."
        ),
        "reference/task-keys.md": _keys(
            "Keys of a task", Task, "[Data and tasks](../tasks.md#keys) explains them with an example."
        ),
        "reference/recipes.md": _recipes(),
        "reference/environment.md": _environment(),
    }


# Commands.


def _commands() -> Iterator[tuple[str, Any]]:
    root: Any = typer.main.get_command(app)
    context = typer.Context(root, info_name="xmodctl")
    for name in root.list_commands(context):
        yield name, root.get_command(context, name)


def _command_index(commands: dict[str, Any]) -> str:
    parts = []
    for panel in PANELS:
        rows = [
            (f"[`{name}`]({name}.md)", _first_sentence(command.help or ""))
            for name, command in commands.items()
            if command.rich_help_panel == panel
        ]
        parts.append(section(panel, table(("command", "what it does"), rows)))
    others = (
        "[Python](python.md) · [keys of a recipe](recipe-keys.md) · [shipped recipes](recipes.md) · "
        "[keys of a task](task-keys.md) · [environment variables and exit codes](environment.md) · "
        "[files](../guide.md#files)"
    )
    return page(
        "Commands", "`xmodctl COMMAND --help` prints the same as these pages.", *parts, section("See also", others)
    )


def _command_page(name: str, command: Any) -> str:
    inner = getattr(command, "commands", {})
    parts = [_command(f"{name} {word}", part, level=2) for word, part in inner.items()]
    return page(f"xmodctl {name}", *([_help(command)] if inner else [_body(name, command)]), *parts)


def _command(name: str, command: Any, *, level: int) -> str:
    return section(f"xmodctl {name}", _body(name, command), level=level)


def _body(name: str, command: Any) -> str:
    context = typer.Context(command, info_name=name)
    usage = f"xmodctl {name} {' '.join(command.collect_usage_pieces(context))}"
    arguments = [part for part in command.params if part.param_type_name == "argument"]
    options: dict[str, list[Any]] = {}
    for option in command.params:
        if option.param_type_name == "option" and not option.hidden:
            options.setdefault(getattr(option, "rich_help_panel", None) or "Options", []).append(option)
    named = [(f"`{part.metavar or part.human_readable_name}`", plain(part.help or "")) for part in arguments]
    panels = [
        f"**{panel}**\n\n" + table(("option", "what it does", "default"), [_option(it, context) for it in members])
        for panel, members in options.items()
    ]
    return "\n\n".join([code(usage), _help(command), table(("argument", "what it is"), named), *panels])


def _option(option: Any, context: Any) -> tuple[str, str, str]:
    names = ", ".join([*option.opts, *option.secondary_opts])
    value = "" if option.is_flag else f" `{option.metavar or option.type.name.upper()}`"
    default = "required" if option.required else _default(option, context)
    return f"`{names}`{value}", _marked(option.help or ""), default


def _default(option: Any, context: Any) -> str:
    value = option.get_default(context)
    return "" if value in (None, False, (), [], "") else f"`{value}`"


def _help(command: Any) -> str:
    """Return the help, whose examples are lists of code already."""
    return "\n".join(line.rstrip() for line in inspect.cleandoc(command.help or "").splitlines())


def _marked(text: str) -> str:
    """Return help as Markdown: what is between backticks is code, the rest is text."""
    parts = text.split("`")
    return "".join(f"`{part}`" if number % 2 else plain(part) for number, part in enumerate(parts))


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=\.)\s", _marked(" ".join(inspect.cleandoc(text).split("\n\n")[0].split())))[0]


# Python.


def _python() -> str:
    functions, types = [], []
    for name in xmodctl.__all__:
        value = getattr(xmodctl, name)
        if inspect.isclass(value):
            types.append(_type(name, value))
        elif inspect.ismodule(value):
            functions += [
                _function(f"{name}.{inner}", getattr(value, inner))
                for inner in getattr(value, "__all__", ())
                if inspect.isfunction(getattr(value, inner))
            ]
        elif callable(value):
            functions.append(_function(name, value))
    intro = "The public names of `xmodctl`, with their docstrings. [Python](../python.md) shows how they work together."
    return page("Python reference", intro, section("Functions", *functions), section("Types", *types))


def _function(name: str, value: Any) -> str:
    return section(f"xmodctl.{name}", code(_signature(name, value), "python"), _docstring(value), level=3)


def _type(name: str, value: Any) -> str:
    members = [
        (f"`{member}`", _first_sentence(inspect.getdoc(getattr(value, member)) or ""))
        for member, declared in vars(value).items()
        if not member.startswith("_") and (inspect.isfunction(declared) or hasattr(declared, "__get__"))
    ]
    return section(f"xmodctl.{name}", _docstring(value), table(("member", "what it is"), members), level=3)


def _signature(name: str, value: Any) -> str:
    parts = []
    for parameter in inspect.signature(value).parameters.values():
        default = parameter.default
        if inspect.isfunction(default):  # whose `repr` has an address
            default = type(default.__name__, (), {"__repr__": lambda self: type(self).__name__})()
        text = str(parameter.replace(annotation=inspect.Parameter.empty, default=default))
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in parts:
            parts.append("*")
        parts.append(text)
    lines = ",\n    ".join(parts)
    return f"xmodctl.{name}(\n    {lines},\n)" if parts else f"xmodctl.{name}()"


def _docstring(value: Any) -> str:
    lines: list[str] = []
    for line in (inspect.getdoc(value) or "").splitlines():
        heading = _SECTIONS.match(line)
        entry = re.match(r"^ {4}(\*{0,2}\w+): (.*)$", line)
        if heading:
            lines += ["", f"**{heading[1]}**", ""]
        elif entry:
            lines.append(f"- `{entry[1]}`: {_marked(entry[2])}")
        elif line.startswith("    ") and lines and lines[-1].startswith(("- ", "  ")):
            lines.append(f"  {_marked(line.strip())}")
        else:
            lines.append(_marked(line.strip()))
    return "\n".join(lines)


# Keys and recipes.


def _keys(title: str, described: type[Described], intro: str) -> str:
    rows = []
    for name, declared in described.model_fields.items():
        default = "required" if declared.is_required() else declared.get_default(call_default_factory=True)
        shown = "" if default in (None, (), {}, "") else f"`{default}`" if default != "required" else "required"
        rows.append((f"`{declared.alias or name}`", _marked(declared.description or ""), shown))
    return page(title, intro, table(("key", "meaning", "default"), rows))


def _recipes() -> str:
    rows = [
        (
            f"`{recipe.name}`", plain(recipe.title), f"{recipe.epochs:g}", str(recipe.batch_size),
            f"{recipe.learning_rate:g}", str(recipe.max_length), plain(recipe.source),
        )
        for recipe in recipes().values()
    ]  # fmt: skip
    columns = ("recipe", "for", "epochs", "batch size", "learning rate", "length", "source of the settings")
    return page(
        "Shipped recipes", "`xmodctl recipes copy NAME FILE` makes a file of your own from one.", table(columns, rows)
    )


# The environment.


def _environment() -> str:
    variables = [(f"`{it.name}`", _marked(it.meaning), _marked(it.default)) for it in VARIABLES]
    keys = [(f"`{key}`", _marked(variable.meaning), f"`{variable.name}`") for key, variable in KEYS.items()]
    codes = [(str(code.value), plain(code.meaning)) for code in ExitCode]
    return page(
        "Environment variables and exit codes",
        section("Environment variables", table(("variable", "meaning", "if it is not set"), variables)),
        section(
            "Keys of a project file",
            "[Defaults](../guide.md#defaults) explains which file that is, and what comes before what.",
            table(("key", "meaning", "variable that comes before it"), keys),
        ),
        section("Exit codes", table(("code", "meaning"), codes)),
    )
