"""Fine-tune X-MOD in one language, measure what it carries over to every other, add languages it never saw.

The functions mean what the commands of the same names do (docs/python.md). They are looked up when they are first used,
so that importing the package loads nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xmodctl.api import evaluate, finetune, load
    from xmodctl.errors import UserError
    from xmodctl.extension.command import add_language
    from xmodctl.results import Report
    from xmodctl.run import Run

__all__ = ["Report", "Run", "UserError", "add_language", "evaluate", "finetune", "load"]

_HOMES = {
    "add_language": "extension.command",
    "evaluate": "api",
    "finetune": "api",
    "load": "api",
    "UserError": "errors",
    "Report": "results",
    "Run": "run",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
