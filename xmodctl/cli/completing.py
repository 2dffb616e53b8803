"""What a shell offers for the values of options and arguments: tasks, recipes, languages, models, runs, and choices.

A shell completes files where nothing is offered.
"""

import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xmodctl.core.errors import UserError

MODELS = ("mini", "facebook/xmod-base", "facebook/xmod-large-prenorm", "ZurichNLP/swissbert")
"""Models that are offered."""

_CHOICES = re.compile(r"[a-z][\w-]*(\|[a-z][\w-]*)+")


@dataclass(frozen=True)
class Completion:
    """A value as the completion of Typer takes it."""

    value: str
    help: str | None = None
    type: str = "plain"


def completions(command: str, parameter: Any, context: Any, incomplete: str) -> list[Completion]:
    """Return the values of a command's option or argument that begin as the word does.

    The name of a value in the help says what it is: `LANGS` are languages, and `a|b` is a choice.
    """
    kind = parameter.metavar or ""
    if _CHOICES.fullmatch(kind):
        return _matching(kind.split("|"), incomplete)
    if "--run" in parameter.opts or kind == "RUN" or (kind == "DIR" and command in ("resume", "doctor")):
        return _matching(_runs(), incomplete)
    if kind == "NAME" and parameter.param_type_name == "argument":
        kind = {"tasks": "TASK", "recipes": "RECIPE"}.get(command, kind)
    values = _VALUES.get(kind)
    if values is None:
        return []
    with suppress(UserError):
        return _matching(values(context), incomplete, in_list=kind in _LISTS)
    return []


def _matching(values: Iterable[str], incomplete: str, *, in_list: bool = False) -> list[Completion]:
    """Return the values that begin as the word does; of a list between commas, as its last part does."""
    before, comma, last = incomplete.rpartition(",") if in_list else ("", "", incomplete)
    return [Completion(f"{before}{comma}{value}") for value in values if value.startswith(last)]


def _runs() -> list[str]:
    """Return the folders of runs, the newest first."""
    from xmodctl.cli.defaults import defaults

    with suppress(UserError, OSError):
        default = defaults().get("runs")
        folder = Path(default.value if default else "runs")
        files = [path for name in ("run.json", "extension.json") for path in folder.glob(f"*/{name}")]
        return [str(path.parent) for path in sorted(files, key=os.path.getmtime, reverse=True)]
    return []


def _languages(context: Any) -> list[str]:
    """Return the languages of the model that the command names, or of the default."""
    from xmodctl.cli.defaults import defaults
    from xmodctl.core.arguments import DEFAULT_MODEL
    from xmodctl.model import look_up

    default = defaults().get("model")
    model = context.params.get("model") or (default.value if default else DEFAULT_MODEL)
    return ["all", "@task", *(look_up(str(model)).languages or look_up(DEFAULT_MODEL).languages or ())]


def _language(context: Any) -> list[str]:
    return _languages(context)[2:]


def _tasks(context: Any) -> list[str]:  # noqa: ARG001
    from xmodctl.catalog import catalog

    return list(catalog.task_names())


def _recipes(context: Any) -> list[str]:  # noqa: ARG001
    from xmodctl.catalog import catalog

    return list(catalog.recipes())


def _models(context: Any) -> list[str]:  # noqa: ARG001
    return list(MODELS)


def _settings(context: Any) -> list[str]:  # noqa: ARG001
    from xmodctl.catalog.recipe import DESCRIBING, Recipe
    from xmodctl.core.schema import keys_of

    return [f"{key}=" for key in keys_of(Recipe) if key not in DESCRIBING]


_VALUES: dict[str, Callable[[Any], list[str]]] = {
    "TASK": _tasks, "TASKS": _tasks, "RECIPE": _recipes, "MODEL": _models, "LANG": _language, "LANGS": _languages,
    "CODE": _language, "KEY=VALUE": _settings,
}  # fmt: skip
_LISTS = frozenset({"TASKS", "LANG", "LANGS"})
