"""Fine-tune X-MOD in one language, measure what it carries over to every other, add languages it never saw.

The functions mean what the commands of the same names do (docs/python.md). They are looked up when they are first used,
so that importing the package loads nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xmodctl.core.errors import UserError
    from xmodctl.evaluation.evaluate import evaluate
    from xmodctl.evaluation.results import Report
    from xmodctl.new_language.command import add_language
    from xmodctl.run.loading import load
    from xmodctl.run.run import Run
    from xmodctl.training.finetune import finetune

__all__ = ["Report", "Run", "UserError", "add_language", "evaluate", "finetune", "load"]

_HOMES = {
    "add_language": "new_language.command",
    "evaluate": "evaluation.evaluate",
    "finetune": "training.finetune",
    "load": "run.loading",
    "UserError": "core.errors",
    "Report": "evaluation.results",
    "Run": "run.run",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
