"""Readers of tables as text: comma-separated (or what a spreadsheet writes in place of commas) and tab-separated."""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from xmodctl.core.errors import UserError
from xmodctl.core.jsonl import LONGEST_LINE
from xmodctl.core.messages import ReadingNote, quoted
from xmodctl.core.mistakes import Mistakes
from xmodctl.data.columns import checked_header
from xmodctl.data.conll import conll_rows
from xmodctl.data.files import DataFile, Numbered, lines_of
from xmodctl.data.labeling_tools import is_label_studio, label_studio_value

OTHER_DELIMITERS = (";", "\t", "|")
"""What separates the columns of a CSV file if it is not the comma."""
_DECLARED = re.compile(r"\s*sep=(.)\s*", re.IGNORECASE)
"""The line above a header by which spreadsheets know what separates the columns."""

Lines = Iterator[tuple[int, str]]


def csv_rows(file: DataFile) -> Numbered:
    """Read comma-separated values with a header line, quoted as in RFC 4180."""
    csv.field_size_limit(LONGEST_LINE)  # the default refuses a field of 128 KiB
    mistakes = file.mistakes.count
    lines = _from_first(lines_of(file))
    first = next(lines, (1, ""))
    if file.mistakes.count > mistakes:  # the header cannot be read, and no row stands in for it
        for _ in lines:
            pass  # to count the mistakes
        return
    declared = _DECLARED.fullmatch(first[1])
    if declared:
        first = next(lines, (first[0] + 1, ""))
    second = next(lines, None)
    delimiter = declared[1] if declared else _delimiter(file, first[1], second[1] if second else None)
    above = first[0] - 1  # lines before the header
    rest = chain([first], [second] if second else [], lines)
    reader = csv.reader((line + "\n" for _, line in rest), strict=True, delimiter=delimiter)
    complete = 0  # lines of complete rows
    try:
        header = checked_header(file, next(reader, []))
        complete = reader.line_num
        of_label_studio = is_label_studio([name for name in header if name])
        for fields in reader:
            start, complete = complete + 1, reader.line_num
            for number, row in _cells(file, above + start, header, fields) if fields else ():
                yield number, _of_label_studio(row, file) if of_label_studio else row
    except csv.Error as error:
        reason = f"the row that starts here is not valid CSV ({error}); is a closing quote missing?"
        file.mistakes.add(file.at(above + complete + 1), reason)


def header_of(path: Path) -> list[str]:
    """Return the fields of the first line of a table, also those that have the same text.

    Raises:
        UserError: It cannot be read.
    """
    file = DataFile(path, str(path), {}, Mistakes(str(path)), all_columns=True, place="{name}:{number}")
    lines = [line for _, line in islice(_from_first(lines_of(file)), 2)]
    line = next((line for line in lines if not _DECLARED.fullmatch(line)), "")
    return next(csv.reader([line], delimiter=delimiter_of(path)), [])


def delimiter_of(path: Path) -> str:
    """Return what separates the columns of a file.

    Raises:
        UserError: It cannot be read.
    """
    if re.search(r"\.tsv\b", path.name, re.IGNORECASE):
        return "\t"
    file = DataFile(path, str(path), {}, Mistakes(str(path)), all_columns=True, place="{name}:{number}")
    first, second = [*islice(_from_first(lines_of(file)), 2), (0, ""), (0, "")][:2]
    declared = _DECLARED.fullmatch(first[1])
    return declared[1] if declared else _delimiter(file, first[1], second[1] or None)


def other_delimiter(header: str) -> str:
    """Return what to do if a mark that is not usual separates the columns, or an empty string without one."""
    marks = Counter(mark for mark in header.strip() if not (mark.isalnum() or mark in "_-'\"(),"))
    mark = max(marks, key=lambda each: (each != " ", marks[each]), default="")
    return f"if {quoted(mark)} separates its columns, add the line `sep={mark}` above it" if mark else ""


def _of_label_studio(row: Mapping[str, Any], file: DataFile) -> dict[str, Any]:
    """Return the values that Label Studio means; where it has no spans, its cell is empty."""
    cells = {name: label_studio_value(cell) for name, cell in row.items()}
    gold = file.columns.get("tags")
    return cells | {gold: []} if isinstance(gold, str) and cells.get(gold) == "" else cells


def tsv_rows(file: DataFile) -> Numbered:
    """Read tab-separated values with a header line; quotes have no meaning, as in the files of XNLI and GLUE.

    A file of tagged words has no header and is read as CoNLL columns.
    """
    if "tags" in file.columns:
        yield from conll_rows(file)
        return
    header: list[str | None] | None = None
    mistakes = file.mistakes.count
    for number, line in _from_first(lines_of(file)):
        fields = line.split("\t")
        if header is None:
            if file.mistakes.count > mistakes:  # the header cannot be read, and no row stands in for it
                continue  # to count the mistakes
            if len(fields) == 1 and _width(line, ",") > 1:
                raise UserError(
                    f"{file.name} has no tabs in its first line; if commas separate its columns, rename it to .csv"
                )
            header = checked_header(file, fields)
        elif line:
            hint = f"; if fields are in quotes, rename the file to {_renamed(file)}" if '"' in line else ""
            yield from _cells(file, number, header, fields, hint)


def _renamed(file: DataFile) -> str:
    """Return the name of a file of tab-separated values by which its quotes are read."""
    return re.sub(r"\.tsv\b", ".csv", file.path.name, flags=re.IGNORECASE)


def _from_first(lines: Lines) -> Lines:
    """Yield the lines from the first one that is not blank."""
    for number, line in lines:
        if line and not line.isspace():
            yield number, line
            break
    yield from lines


def _delimiter(file: DataFile, header: str, row: str | None) -> str:
    """Return what separates the columns: the comma, or what a spreadsheet may write in its place.

    It is another mark if that divides the header, and the comma does not, or divides the first row differently.
    """
    if _width(header, ",") > 1 and (row is None or _width(row, ",") == _width(header, ",")):
        return ","
    widths = {mark: width for mark in OTHER_DELIMITERS if (width := _width(header, mark)) > 1}
    if _width(header, ",") > 1:  # a comma within a name
        widths = {mark: width for mark, width in widths.items() if row is not None and _width(row, mark) == width}
    if not widths:
        return ","
    mark = max(widths, key=lambda each: widths[each])
    file.notes.append(ReadingNote(f"{file.name}: columns are separated by {quoted(mark)}, not by commas"))
    return mark


def _width(line: str, delimiter: str) -> int:
    """Return how many columns a mark makes of a line, or 0 if it divides what is in quotes."""
    try:
        fields = next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return 0
    return 0 if any(field.count('"') % 2 for field in fields) else len(fields)


def _cells(file: DataFile, number: int, header: Sequence[str | None], fields: list[str], hint: str = "") -> Numbered:
    width = len(header)
    if width == 1 and len(fields) > 1:
        other = other_delimiter(header[0] or "")
        raise UserError(
            f"{file.name}: the first line has one column, {quoted(header[0])}, and line {number} has {len(fields)}; "
            + (f"{other}; or " if other else "")
            + "begin with the header, without lines above it, and put text that contains the delimiter in double quotes"
        )
    if len(fields) > width and not any(map(str.strip, fields[width:])):  # a delimiter at the end of the line
        fields = fields[:width]
    if len(fields) == width:
        yield number, {name: field for name, field in zip(header, fields, strict=True) if name is not None}
    else:
        reason = f"the row has {len(fields)} fields, the header {width}"
        file.mistakes.add(
            file.at(number), f"{reason}; does a field without quotes contain a delimiter or a line break?{hint}"
        )
