"""Report formats: one file per format, found by listing this folder.

A format is a file that declares `EXTENSIONS`, `PAGE`, and `render`, as `Format` describes them; the file's name is the
name of the format. Nothing else registers it. A figure also declares `FIGURE = True`; `Study.plot` chooses it.
"""

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, Protocol

from xmodctl.core.arguments import check_choice
from xmodctl.core.errors import UserError

if TYPE_CHECKING:
    from xmodctl.reports.study import Study

DEFAULT = "html"


class ReportFormat(Protocol):
    """What the file of a format declares."""

    EXTENSIONS: tuple[str, ...]
    """The file extensions that mean this format, such as `.md`."""

    PAGE: bool
    """True: a page with all details, written to a file. False: the table of scores, printed unless a file is named."""

    def render(self, study: "Study") -> str | bytes:
        """Return the study in this format."""


def format_names() -> tuple[str, ...]:
    """Return the names of all formats, the default first. No format is imported."""
    names = sorted(module.name for module in iter_modules(__path__))
    return (DEFAULT, *(name for name in names if name != DEFAULT))


def load_format(name: str) -> ReportFormat:
    """Return a format by its name.

    Raises:
        UserError: There is no such format.
    """
    check_choice("--format", name, format_names())
    module: Any = import_module(f"{__name__}.{name}")
    loaded: ReportFormat = module
    return loaded


def is_figure(name: str) -> bool:
    """Return whether a format is a figure.

    Raises:
        UserError: There is no such format.
    """
    return bool(getattr(load_format(name), "FIGURE", False))


def format_of(path: Path) -> str:
    """Return the name of the format that a file's extension means.

    Raises:
        UserError: The extension does not mean any.
    """
    extensions = {extension: name for name in format_names() for extension in load_format(name).EXTENSIONS}
    if name := extensions.get(path.suffix.lower()):
        return name
    raise UserError(
        f"--out {path}: cannot infer the format from the extension ({', '.join(extensions)}); name it with --format"
    )
