"""The demonstration data that comes with the package."""

from pathlib import Path

TASKS = ("nli", "ner", "qa", "mc")
"""Tasks with demonstration data: sentence pairs, named entities, question answering, multiple choice."""


def demonstration_folder(name: str) -> Path:
    """Return the folder of the data for one of `TASKS`, laid out as `--data` expects."""
    return Path(__file__).parent / "demonstration" / name
