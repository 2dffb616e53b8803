"""The demonstration data that comes with the package."""

from pathlib import Path


def demonstration_folder(name: str) -> Path:
    """Return the folder of the data for a task (`nli`, `ner`, `qa`, `mc`), laid out as `--data` expects."""
    return Path(__file__).parent / "demonstration" / name
