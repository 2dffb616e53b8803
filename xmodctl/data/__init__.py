"""Data: the Hub or local files -> rows -> batches; the only place that reads data sets.

Names are looked up when they are first used, so that listing languages loads no reader.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xmodctl.data.rows import Rows, coverage, load_examples, load_rows, offers, unusable, what_there_is

__all__ = [
    "Rows",
    "coverage",
    "load_examples",
    "load_rows",
    "offers",
    "unusable",
    "what_there_is",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(f"{__name__}.rows"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
