"""Notebooks: pages of the site, and their execution."""

import base64
import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from docs.generator.markdown import code

FOLDER = Path(__file__).parents[1] / "notebooks"

TIMEOUT = 1800
"""Seconds that the start of Python or a cell may take, on a busy machine, too."""

_KEPT = ("text/html", "text/plain", "image/png")
"""Forms of a result that a page shows; the first that a result has."""

_SETTINGS = {"HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore:IProgress", "OMP_NUM_THREADS": "1"}
"""Of the process that runs a notebook; progress bars of other libraries look for widgets, which pages cannot show."""


def notebooks() -> list[Path]:
    """Return the notebooks of the documentation."""
    return sorted(FOLDER.glob("*.ipynb"))


def pages() -> dict[str, str]:
    """Return the pages by their paths. Links between notebooks lead to their pages."""
    return {f"notebooks/{path.stem}.md": _page(path) for path in notebooks()}


def images() -> dict[str, bytes]:
    """Return the images of the pages by their paths."""
    return {
        _image_name(path, number): base64.b64decode(data)
        for path in notebooks()
        for number, cell in enumerate(_cells(path))
        for kind, data in map(_shown, cell.get("outputs", ()))
        if kind == "image/png"
    }


def execute(path: Path) -> dict[str, Any]:
    """Run a notebook in an empty folder and return it with its outputs, without times and the names of folders.

    Raises:
        CellExecutionError: A cell raises an error.
    """
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    root = str(FOLDER.parents[1])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])}
    with TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook, timeout=TIMEOUT, startup_timeout=TIMEOUT, kernel_name="python3",
            resources={"metadata": {"path": folder}},
        )  # fmt: skip
        client.execute(env=environment | _SETTINGS | {"XMODCTL_CACHE": f"{folder}/cache", "IPYTHONDIR": folder})
        whole = json.dumps(notebook)
        for name, place in ((f"{folder}/", ""), (f"{root}/", ""), (f"{sys.prefix}/", "")):
            whole = whole.replace(name, place)
    # As it is stored: texts are lists of lines.
    normal: dict[str, Any] = json.loads(nbformat.writes(nbformat.from_dict(json.loads(whole))))
    for cell in normal["cells"]:
        cell["metadata"] = {}
        for output in cell.get("outputs", ()):
            output.pop("metadata", None)
            if output["output_type"] in ("display_data", "execute_result"):
                output["metadata"] = {}
    normal["metadata"] = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "xmodctl": {"outputs_of": sources_sha256(normal)},
    }
    return normal


def sources_sha256(notebook: dict[str, Any]) -> str:
    """Return the sha256 of the code of a notebook, by which outputs of other code are noticed."""
    code_cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return hashlib.sha256(json.dumps(code_cells).encode()).hexdigest()


def update() -> list[str]:
    """Run every notebook, write it with its outputs, and return their names."""
    for path in notebooks():
        path.write_text(json.dumps(execute(path), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return [path.name for path in notebooks()]


def copy(folder: Path) -> None:
    """Write the files that the pages need beside them: images, and the notebooks themselves."""
    for name, content in images().items():
        (folder / name).write_bytes(content)
    for path in notebooks():
        shutil.copy(path, folder / "notebooks")


def _cells(path: Path) -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return cells


def _page(path: Path) -> str:
    parts = []
    for number, cell in enumerate(_cells(path)):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(re.sub(r"(?<=\]\()([\w-]+)\.ipynb(?=\))", r"\1.md", source))
            if not number:
                parts.append(f"[Download the notebook]({path.name}) and run it: no data and no network are needed.")
            continue
        parts.append(code(source, "python"))
        parts += [_output(path, number, source, output) for output in cell["outputs"]]
    return "\n\n".join(parts) + "\n"


def _output(path: Path, number: int, source: str, output: dict[str, Any]) -> str:
    kind, content = _shown(output)
    if kind == "image/png":
        width = int.from_bytes(base64.b64decode(content)[16:20]) // 2  # for screens of two pixels per point
        return f'![The figure of {_caption(source)}]({Path(_image_name(path, number)).name}){{ width="{width}" }}'
    if kind == "text/html":
        # A line without text would end the block of HTML.
        lines = re.sub(r"\n\s*\n", "\n", content.strip())
        return f'<div class="output" tabindex="0">\n{lines}\n</div>'
    return code(content, "text")


def _shown(output: dict[str, Any]) -> tuple[str, str]:
    """Return the form of an output that is shown, and its content."""
    if output["output_type"] == "stream":
        return "text/plain", "".join(output["text"])
    data = output["data"]
    kind = "image/png" if "image/png" in data else next(kind for kind in _KEPT if kind in data)
    return kind, "".join(data[kind])


def _caption(source: str) -> str:
    """Return the call in a cell that draws."""
    calls: Iterator[str] = (match[0] for match in re.finditer(r"xmodctl\.plot_\w+", source))
    return next(calls, "this cell")


def _image_name(path: Path, number: int) -> str:
    return f"notebooks/{path.stem}-{number}.png"
