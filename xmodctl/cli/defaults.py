"""Defaults of options: what the command line does not say, the environment says, and then the project file.

The project file is `xmodctl.toml`, or the table `tool.xmodctl` of `pyproject.toml`: the nearest one, from the current
folder upward to the first folder with a `.git`. Its paths are relative to its own folder. Python functions use neither.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xmodctl.core.environment import DATA, MODEL, RUNS
from xmodctl.core.errors import UserError, did_you_mean
from xmodctl.core.reading import file_and_sheet, read_text
from xmodctl.run.home import runs_in

FILE = "xmodctl.toml"
SHARED = "pyproject.toml"
TABLE = "tool.xmodctl"

KEYS = {"model": MODEL, "data": DATA, "runs": RUNS}
"""Keys of a project file, and the environment variables that come before them."""

LARGEST_FILE = 2**20
"""Bytes."""

CHOSEN = "xmodctl.defaults"
"""Where a context keeps the defaults."""


@dataclass(frozen=True)
class Default:
    """A default, and where it comes from."""

    value: str
    origin: str  # a variable, or the line of a file


def defaults() -> dict[str, Default]:
    """Return the defaults that the environment and the project file give.

    An empty variable turns off the key of the project file.

    Raises:
        UserError: The project file has mistakes.
    """
    chosen = _of_project_file()
    for key, variable in KEYS.items():
        if variable.name in os.environ:
            chosen.pop(key, None)
            if variable.value:
                value = variable.value if key == "model" else os.path.expanduser(variable.value)
                chosen[key] = Default(value, variable.name)
    return chosen


def give_defaults(context: Any, command: Any, words: Sequence[str]) -> None:
    """Give a command its defaults.

    Args:
        context: The context of the group.
        command: The command.
        words: What follows its name.

    Raises:
        UserError: The project file has mistakes, or the command would use data that does not exist.
    """
    from xmodctl.cli.display import detail

    chosen = context.meta[CHOSEN] = defaults()
    values = _default_map(command, chosen)
    is_given = any(word.partition("=")[0] in ("--data", "--run", "--from-run") for word in words)
    if "data" in values and not is_given and not file_and_sheet(values["data"])[0].exists():
        raise UserError(
            f"{chosen['data'].origin} names the data {values['data']}, which does not exist; "
            "correct it, or give --data FILE or --data DIR"
        )
    context.default_map = {command.name: values}
    for key, default in chosen.items():
        detail(f"default of {key}: {default.value} ({default.origin})")
    if "runs" in chosen:
        context.with_resource(runs_in(Path(chosen["runs"].value)))


def _default_map(command: Any, chosen: Mapping[str, Default]) -> dict[str, Any]:
    """Return the defaults of a command's options, and of those of its own commands, by name."""
    keys = {variable.name: key for key, variable in KEYS.items()}
    values: dict[str, Any] = {
        parameter.name: chosen[key].value
        for parameter in command.params
        if (key := keys.get(str(getattr(parameter, "envvar", "")), "")) in chosen
    }
    return values | {name: _default_map(inner, chosen) for name, inner in getattr(command, "commands", {}).items()}


def from_command_line(context: Any, name: str, default: Any) -> Any:
    """Return the value of an option if the command line gives it, and else a default."""
    source = context.get_parameter_source(name)
    return context.params[name] if source is not None and source.name == "COMMANDLINE" else default


def origin(context: Any, name: str) -> str:
    """Return where the value of a command's option comes from: the option, a variable, a file, or a run."""
    source = context.get_parameter_source(name)
    is_repeated = context.params.get("from_run") is not None
    if is_repeated and (source is None or source.name != "COMMANDLINE"):
        return "--from-run"
    match source.name if source else "":
        case "COMMANDLINE":
            return f"--{name}"
        case "ENVIRONMENT" | "DEFAULT_MAP":
            return str(context.meta[CHOSEN][name].origin)
        case _:
            return "default"


def origins(context: Any) -> dict[str, str]:
    """Return the origins of a command's model, data, seeds, and folder."""
    placed = next((key for key in ("out", "name") if context.params.get(key) is not None), None)
    runs = context.meta.get(CHOSEN, {}).get("runs")
    return {
        **{name: origin(context, name) for name in ("model", "data", "seeds") if name in context.params},
        "run": f"--{placed}" if placed else runs.origin if runs else "default",
    }


# The project file.


def _of_project_file() -> dict[str, Default]:
    file = _nearest()
    if file is None:
        return {}
    path, text, values, table = file
    shown = os.path.relpath(path)
    mistakes = []
    chosen = {}
    for key, value in values.items():
        line = _line_of(text, str(key), table)
        place = f"{shown}:{line}" if line else shown
        if mistake := _mistake(key, value):
            mistakes.append(f"{place}: {mistake}")
        else:
            chosen[key] = Default(_resolved(key, value, path.parent), place)
    if mistakes:
        raise UserError("\n".join(mistakes))
    return chosen


def _nearest() -> tuple[Path, str, Mapping[str, Any], str] | None:
    """Return the project file, its text, its values, and the name of the table that holds them."""
    try:
        start = Path.cwd()
    except OSError:  # the current folder is deleted
        return None
    for folder in (start, *start.parents):
        if (path := folder / FILE).exists():
            text = _read(path)
            return path, text, _parsed(path, text), ""
        if (path := folder / SHARED).is_file() and (table := _table_of(path)) is not None:
            return path, *table, TABLE
        if (folder / ".git").exists():
            return None
    return None


def _table_of(path: Path) -> tuple[str, Mapping[str, Any]] | None:
    """Return the text of `pyproject.toml` and its table for xmodctl, if it has one; most are about other things."""
    try:
        text = _read(path)
    except UserError:
        return None
    if TABLE not in text:
        return None
    values = _parsed(path, text)
    tools = values.get("tool")
    table = tools.get("xmodctl") if isinstance(tools, dict) else None
    if table is None:
        return None
    if not isinstance(table, dict):
        raise UserError(f"{os.path.relpath(path)}: `{TABLE}` is not a table; write [{TABLE}], and one key per line")
    return text, table


def _read(path: Path) -> str:
    shown = os.path.relpath(path)
    try:
        return read_text(path, most=LARGEST_FILE, encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{shown} is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except OSError as error:
        raise UserError(f"cannot read {shown}: {error.strerror}; correct or remove it") from error


def _parsed(path: Path, text: str) -> Mapping[str, Any]:
    import tomllib

    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        match = re.search(r" \(at line (\d+), column \d+\)", str(error))
        line = match[1] if match else len(text.splitlines())
        reason = str(error).partition(" (at")[0]
        raise UserError(
            f'{os.path.relpath(path)}:{line}: this is not TOML ({reason}); write lines such as model = "mini"'
        ) from error


def _mistake(key: str, value: object) -> str:
    """Return what is wrong with a key or its value; nothing if it is right."""
    from xmodctl.core.messages import quoted

    if key not in KEYS:
        guess = did_you_mean(key, tuple(KEYS)) or f"; the keys are {', '.join(KEYS)}"
        return f"there is no key `{key}`{guess}"
    if not isinstance(value, str) or not value.strip():
        return f'`{key}` is {quoted(value)}; give text in quotes, such as {key} = "{_EXAMPLES[key]}"'
    return ""


_EXAMPLES = {"model": "mini", "data": "data/xnli", "runs": "results"}


def _resolved(key: str, value: str, folder: Path) -> str:
    """Return a value whose path, if it is one, is right from the current folder."""
    path = folder / Path(value).expanduser()
    if key == "model" and not (("/" in value or value.startswith("~")) and path.is_dir()):
        return value
    current = Path.cwd()
    return str(path.relative_to(current)) if path.is_relative_to(current) else str(path)


def _line_of(text: str, key: str, table: str) -> int | None:
    return next(_lines_of(text, key, table), None)


def _lines_of(text: str, key: str, table: str) -> Iterator[int]:
    current = ""
    inner = f"{table}.{key}" if table else key
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[+([^\[\]]+)\]", line):
            current = re.sub(r"[\s\"']", "", header[1])
            if current == inner or current.startswith(f"{inner}."):
                yield number
        elif current == table and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]", line):
            yield number
