"""Data: the Hub or local files -> rows -> batches; the only place that reads data sets."""

from xmodctl.data.rows import Rows, coverage, load_examples, load_rows, offers, what_there_is

__all__ = [
    "Rows",
    "coverage",
    "load_examples",
    "load_rows",
    "offers",
    "what_there_is",
]
