"""Data: the Hub or local files -> rows -> batches; the only place that reads data sets."""

from xmodctl.data.batches import collate, evaluation_batches, sampled, training_batches
from xmodctl.data.encodings import Encoded, Ragged, cached
from xmodctl.data.rows import Rows, coverage, load_rows, offers

__all__ = [
    "Encoded",
    "Ragged",
    "Rows",
    "cached",
    "collate",
    "coverage",
    "evaluation_batches",
    "load_rows",
    "offers",
    "sampled",
    "training_batches",
]
