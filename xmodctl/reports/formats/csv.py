"""CSV: one line per result row, every metric, numbers in full."""

import csv
import io
from typing import TYPE_CHECKING, Any

from xmodctl.reports.records import records

if TYPE_CHECKING:
    from xmodctl.reports.study import Study

EXTENSIONS = (".csv",)
PAGE = False

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def without_formula(value: Any) -> Any:
    """Return the value of a cell: text that a spreadsheet would run as a formula has an apostrophe before it.

    Source: OWASP, CSV Injection (owasp.org/www-community/attacks/CSV_Injection). Numbers stay numbers.
    """
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def render(study: "Study") -> str:
    """Return the result rows as CSV (RFC 4180); no cell is a formula."""
    lines = [{without_formula(key): without_formula(value) for key, value in row.items()} for row in records(study)]
    file = io.StringIO()
    writer = csv.DictWriter(file, list(lines[0]), lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(lines)
    return file.getvalue()
