"""CSV: one line per result row, every metric, numbers in full."""

import csv
import io
from typing import TYPE_CHECKING

from xmodctl.core.visible import without_formula
from xmodctl.reports.records import records

if TYPE_CHECKING:
    from xmodctl.reports.study import Study

EXTENSIONS = (".csv",)
PAGE = False


def render(study: "Study") -> str:
    """Return the result rows as CSV (RFC 4180); no cell is a formula."""
    lines = [{without_formula(key): without_formula(value) for key, value in row.items()} for row in records(study)]
    file = io.StringIO()
    writer = csv.DictWriter(file, list(lines[0]), lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(lines)
    return file.getvalue()
