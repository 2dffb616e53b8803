"""Reports: runs gathered into values, and those values as a page, a table for a paper, or records."""

from xmodctl.reports.formats.csv import records, to_csv, to_frame
from xmodctl.reports.formats.html import to_html
from xmodctl.reports.formats.latex import to_latex
from xmodctl.reports.formats.markdown import to_markdown
from xmodctl.reports.gathering import gather
from xmodctl.reports.study import Study

__all__ = ["Study", "gather", "records", "to_csv", "to_frame", "to_html", "to_latex", "to_markdown"]
