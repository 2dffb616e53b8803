"""Excel workbooks as rows: a sheet with a header, values of formulas; read with openpyxl, which is an extra."""

import datetime
import io
import shlex
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

from xmodctl.core.errors import UserError
from xmodctl.core.messages import listed, quoted
from xmodctl.core.reading import check_regular, file_and_sheet
from xmodctl.data.columns import checked_header
from xmodctl.data.files import LARGEST_DOCUMENT, DataFile, Numbered

ERRORS = ("#DIV/0!", "#N/A", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!")
"""What a cell holds whose formula failed."""
_DAMAGED = (zipfile.BadZipFile, ParseError, LookupError, ValueError, TypeError, AttributeError, OverflowError)
"""What openpyxl raises on a file that is no workbook, or a damaged one."""

Cells = Sequence[Any]


def workbook_rows(file: DataFile) -> Numbered:
    """Read the sheet that is named (`book.xlsx:Tickets`), or else the only one with cells.

    Empty cells are empty text, as in CSV.

    Raises:
        UserError: It cannot be read, several sheets have cells and none is named, the named one has none, or formulas
            have no stored values.
    """
    try:
        import openpyxl  # noqa: F401  (whether it is there)
    except ImportError:
        raise UserError(
            f"{file.name} is an Excel workbook, which needs an extra: pip install 'xmodctl[excel]'; or save it as CSV"
        ) from None
    path, sheet = file_and_sheet(file.path)
    check_regular(path)
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if max(size, path.stat().st_size) > LARGEST_DOCUMENT:
            raise UserError(
                f"{file.name} is a workbook of more than {LARGEST_DOCUMENT // 2**20} MiB; save it as CSV in UTF-8"
            )
        content = path.read_bytes()
        values, formulas = (_opened(content, only_values=only_values) for only_values in (True, False))
        try:
            name = _chosen_sheet(file, path, sheet, values)
            yield from _numbered(file, zip(_rows(values[name]), _rows(formulas[name]), strict=False))
        finally:
            values.close()
            formulas.close()
    except _DAMAGED as error:
        raise UserError(
            f"{file.name} is damaged or is not an Excel workbook ({type(error).__name__}); save it again as .xlsx"
        ) from error


def _opened(content: bytes, *, only_values: bool) -> Any:
    """Open a workbook, with the values of formulas or with the formulas themselves.

    It is read from memory: openpyxl leaves a file open where rows are not read to their end.
    """
    import openpyxl

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is not read, such as styles
        return openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=only_values)


def _chosen_sheet(file: DataFile, path: Path, sheet: str, workbook: Any) -> str:
    """Return the name of the sheet to read.

    Raises:
        UserError: There is no such sheet, it is empty, or none is named and several have cells.
    """
    filled = [each.title for each in workbook.worksheets if any(map(_is_filled, _rows(each)))]
    if not filled:
        raise UserError(f"{file.name} is empty; expected rows")
    if sheet in filled:
        return sheet
    choice = shlex.quote(f"{path}:{filled[0]}")
    if sheet:
        problem = "is empty" if sheet in workbook.sheetnames else "does not exist"
        raise UserError(f"{path}: the sheet {quoted(sheet)} {problem}; give one of {listed(filled)}, such as {choice}")
    if len(filled) > 1:
        raise UserError(f"{path} has several sheets with cells: {listed(filled)}; give one after a colon: {choice}")
    return str(filled[0])


def _rows(sheet: Any) -> Iterator[Cells]:
    sheet.reset_dimensions()  # what a file says of its size may be wrong
    rows = iter(sheet.iter_rows(values_only=True))
    while True:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is not read, such as rules for cells
            row = next(rows, None)
        if row is None:
            return
        yield row


def _is_filled(cells: Cells) -> bool:
    return any(cell is not None for cell in cells)


def _numbered(file: DataFile, rows: Iterator[tuple[Cells, Cells]]) -> Numbered:
    header: list[str | None] | None = None
    for number, (values, formulas) in enumerate(rows, start=1):
        if not _is_filled(formulas):
            continue
        for value, formula in zip(values, formulas, strict=False):
            if value is None and isinstance(formula, str) and formula.startswith("="):
                raise UserError(
                    f"{file.at(number)} has a formula without a stored value, {quoted(formula)}; open the workbook "
                    "in a spreadsheet program and save it"
                )
        if header is None:
            names = ["" if value is None else str(value) for value in values]
            while names and not names[-1]:
                names.pop()
            header = checked_header(file, names)
            continue
        cells = [*values[: len(header)], *[None] * (len(header) - len(values))]
        row = {name: _value(cell) for name, cell in zip(header, cells, strict=True) if name is not None}
        failed = [name for name, cell in row.items() if cell in ERRORS and name in file.needed_columns]
        if failed:
            reason = "is a formula error; correct it"
            file.mistakes.add(
                file.at(number), f"`{failed[0]}` is {quoted(row[failed[0]])}, which {reason}", f"`{failed[0]}` {reason}"
            )
        else:
            yield number, row


def _value(cell: Any) -> Any:
    if cell is None:
        return ""
    return cell.isoformat() if isinstance(cell, datetime.date | datetime.time) else cell
