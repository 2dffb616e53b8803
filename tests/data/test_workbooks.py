"""Excel workbooks as data: the values of one sheet, by an extra."""

import datetime
import os
import shlex
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from xmodctl.catalog import catalog as library
from xmodctl.core.errors import UserError
from xmodctl.data import load_rows
from xmodctl.data.own_data import fit

HEADER = ("text", "label", "language", "sent")


def write_workbook(path: Path, *sheets: list[tuple[Any, ...]]) -> Path:
    workbook = pytest.importorskip("openpyxl").Workbook()
    workbook.remove(workbook.active)
    for number, rows in enumerate(sheets, start=1):
        sheet = workbook.create_sheet(f"Sheet {number}")
        for row in rows:
            sheet.append(row)
    workbook.save(path)
    return path


def tickets(labels: tuple[Any, Any] = ("a", "b")) -> list[tuple[Any, ...]]:
    day = datetime.datetime(2026, 1, 2)
    return [(f"text {n}", labels[n % 2], ("en", "de")[n // 2 % 2], day) for n in range(40)]


def refusal(path: Path, task: str = "classification") -> str:
    with pytest.raises(UserError) as caught:
        fit(library.task(task), path, ["en"])
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_workbook_needs_an_extra_which_the_message_names(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    (tmp_path / "d.xlsx").write_bytes(b"PK\x03\x04")
    assert "pip install 'xmodctl[excel]'" in refusal(tmp_path / "d.xlsx")


def test_the_rows_of_a_workbook_are_read_below_empty_ones(tmp_path):
    path = write_workbook(tmp_path / "d.xlsx", [(), HEADER, *tickets()], [])
    task = fit(library.task("classification"), path, ["en"]).task
    assert task.labels == ("a", "b")
    assert sum(len(load_rows(task, "en", split, folder=path)) for split in ("train", "validation", "test")) == 20


def test_cells_keep_their_types(tmp_path):
    path = write_workbook(tmp_path / "d.xlsx", [HEADER, *tickets((1, 2.5))])
    task = fit(library.task("regression"), path, ["en"]).task
    assert set(load_rows(task, "en", "train", folder=path).table["label"]) == {1.0, 2.5}
    path = write_workbook(tmp_path / "numbers.xlsx", [HEADER, *tickets((3, 10))])
    assert fit(library.task("classification"), path, ["en"]).task.labels == ("3", "10")


def test_a_sheet_is_read_by_its_name_which_messages_give(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write_workbook(Path("d.xlsx"), [HEADER, *tickets()], [("notes",)], [], [HEADER, *tickets(("c", "d"))])
    message = refusal(path)
    assert message.startswith("d.xlsx has several sheets with cells: Sheet 1, Sheet 2, Sheet 4; give one after a colon")
    (named,) = shlex.split(message.rpartition(": ")[2])
    assert fit(library.task("classification"), Path(named), ["en"]).task.labels == ("a", "b")
    fourth = Path("d.xlsx:Sheet 4")
    task = fit(library.task("classification"), fourth, ["en"]).task
    assert task.labels == ("c", "d")
    assert len(load_rows(task, "en", "train", folder=fourth)) == 16
    assert 'the sheet "Sheet 3" is empty; give one of Sheet 1' in refusal(Path("d.xlsx:Sheet 3"))
    assert (
        "the sheet \"Tickets\" does not exist; give one of Sheet 1, Sheet 2, Sheet 4, such as 'd.xlsx:Sheet 1'"
        in refusal(Path("d.xlsx:Tickets"))
    )


def test_formulas_count_by_their_value_and_are_refused_without_one(tmp_path):
    path = write_workbook(tmp_path / "d.xlsx", [HEADER, *tickets(), ("text", '="a"', "en", None)])
    assert 'd.xlsx row 42 has a formula without a stored value, "=\\"a\\""' in refusal(path)
    stored = tmp_path / "stored.xlsx"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(stored, "w") as new:
        for name in old.namelist():
            content = old.read(name).replace(b"<v />", b"<v>a</v>").replace(b"<v></v>", b"<v>a</v>")
            new.writestr(name, content.replace(b'<c r="B42">', b'<c r="B42" t="str">'))
    assert fit(library.task("classification"), stored, ["en"]).task.labels == ("a", "b")


def test_cells_with_errors_and_empty_cells_are_reported_by_row(tmp_path):
    path = write_workbook(tmp_path / "d.xlsx", [HEADER, *tickets(), ("text", "#N/A", "en", None)])
    assert 'd.xlsx row 42: `label` is "#N/A", which is a formula error; correct it' in refusal(path)
    path = write_workbook(tmp_path / "e.xlsx", [HEADER, *tickets(), ("text", "a", None, None)])
    assert '`language` is ""; write the row' in refusal(path)


@pytest.mark.parametrize("content", [b"PK\x03\x04 cut off", b"text,label\n", b""])
def test_a_damaged_workbook_is_one_sentence(tmp_path, content):
    pytest.importorskip("openpyxl")
    (tmp_path / "d.xlsx").write_bytes(content)
    assert "d.xlsx is damaged or is not an Excel workbook" in refusal(tmp_path / "d.xlsx")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system does not list open files there")
def test_a_refused_workbook_is_closed_while_its_error_is_kept(tmp_path):
    path = write_workbook(tmp_path / "d.xlsx", [HEADER, *tickets(), ("text", '="a"', "en", None)])
    with pytest.raises(UserError, match="has a formula") as caught:
        fit(library.task("classification"), path, ["en"])
    assert caught.value.__traceback__
    assert str(path) not in {os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()}
