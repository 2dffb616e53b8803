"""Folders for what a command needs only while it runs, among the temporary files of the system."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xmodctl.core.files import PART, part_prefix, remove_leftovers

_NAME = "xmodctl"


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield an empty folder that is gone when the block ends; what killed commands have left of theirs is removed."""
    home = Path(tempfile.gettempdir())
    remove_leftovers(home, f".{_NAME}.*{PART}")
    with tempfile.TemporaryDirectory(dir=home, prefix=part_prefix(_NAME), suffix=PART) as folder:
        yield Path(folder)
