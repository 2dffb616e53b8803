"""Adapter packages: one language's adapter in a folder. In Python, the commands `xmodctl adapters ...` are functions.

`list`, `import_`, `export`, `merge` and `verify` mean what the commands of these names do. They are looked up when they
are first used, so that importing the package loads nothing.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xmodctl.adapters.commands import export, import_, merge, verify
    from xmodctl.adapters.commands import list_packages as list  # noqa: A004  (the command's name)
    from xmodctl.adapters.packages import Package

__all__ = ["Package", "export", "import_", "list", "merge", "verify"]

_HOMES = {
    "Package": ("xmodctl.adapters.packages", "Package"),
    "export": ("xmodctl.adapters.commands", "export"),
    "import_": ("xmodctl.adapters.commands", "import_"),
    "list": ("xmodctl.adapters.commands", "list_packages"),
    "merge": ("xmodctl.adapters.commands", "merge"),
    "verify": ("xmodctl.adapters.commands", "verify"),
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        module, attribute = _HOMES[name]
        return getattr(import_module(module), attribute)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> Sequence[str]:
    return __all__
