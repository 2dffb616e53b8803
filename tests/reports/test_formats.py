"""A report format is one file in `reports/formats/`."""

from pathlib import Path

import pytest
from scored_runs import scored_run
from typer.testing import CliRunner

import xmodctl
from xmodctl.core.errors import UserError
from xmodctl.reports import formats
from xmodctl.reports.formats import format_names, format_of, load_format

TOY = '''"""Plain text: one line per language."""

EXTENSIONS = (".txt",)
PAGE = False


def render(study):
    return b"".join(f"{row.language.code} {row.cells[0].value:.1f}\\n".encode() for row in study.table.rows)
'''


@pytest.fixture
def toy(tmp_path, monkeypatch) -> None:
    """Put the file of a new format beside the others."""
    folder = tmp_path / "formats"
    folder.mkdir()
    (folder / "toy.py").write_text(TOY)
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(folder)])


@pytest.fixture
def folder(tmp_path) -> Path:
    return scored_run(tmp_path, seeds=(1,)).folder


def test_every_file_of_the_folder_is_a_format_and_the_default_comes_first():
    files = {path.stem for path in Path(formats.__file__).parent.glob("*.py")} - {"__init__"}
    assert set(format_names()) == files == {"html", "markdown", "latex", "csv", "svg", "pdf", "png"}
    assert format_names()[0] == "html"
    assert all(load_format(name).EXTENSIONS for name in format_names())


@pytest.mark.usefixtures("toy")
def test_one_new_file_is_a_format_in_python_and_on_the_command_line(folder, tmp_path):
    assert "toy" in format_names()
    study = xmodctl.report(folder, "toy")
    lines = [f"{row.language.code} {row.cells[0].value:.1f}\n" for row in study.table.rows]
    assert study.render("toy") == "".join(lines).encode()
    assert study.file is None
    out = tmp_path / "scores.txt"
    assert xmodctl.report(folder, out=out).file == out
    assert out.read_text() == "".join(lines)
    from xmodctl.cli.app import app

    printed = CliRunner().invoke(app, ["report", str(folder), "--format", "toy"])
    assert printed.stdout == "".join(lines)
    with pytest.raises(UserError, match=r"cannot infer the format .*\.txt"):
        format_of(Path("x.docx"))


def test_a_file_whose_extension_means_no_format_is_refused_with_those_that_do():
    with pytest.raises(UserError, match=r"--out x\.docx: cannot infer the format from the extension .*\.html, .*\.csv"):
        format_of(Path("x.docx"))
    assert format_of(Path("X.MD")) == "markdown"
