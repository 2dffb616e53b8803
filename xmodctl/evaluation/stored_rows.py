"""Stored rows: the scores that a run has, as a sweep looks them up."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from xmodctl.evaluation.results import Row, append_row, read_rows
from xmodctl.languages import same
from xmodctl.run.data_sets import HUB, hub_data_set, whole_data_set
from xmodctl.run.jobs import Jobs, is_read_only
from xmodctl.run.run import Run

Key = tuple[Any, ...]
State = tuple[int, int]


class StoredRows:
    """A run's rows by `Row.key`; a row whose predictions are missing does not count, so that it is scored again."""

    def __init__(self, run: Run) -> None:
        """Read the rows of a run."""
        self._run = run
        self._languages: dict[str, set[str]] = {}  # fingerprint -> languages
        self._reported: set[frozenset[str]] = set()  # pairs of languages with equal rows
        self._state: State = (-1, -1)
        self.reload()

    def reload(self) -> None:
        """Read the rows again if another job has stored some."""
        state = self._file_state()
        if state == self._state:
            return
        self._state = state
        self._rows: dict[Key, dict[str, Row]] = {}  # key without the fingerprint -> fingerprint -> row
        self._files: dict[str, Key] = {}  # file of predictions -> key
        for row in read_rows(self._run.results):
            self._files[row.predictions] = row.key  # a missing file keeps its name, because it may be restored
            if row.predictions_in(self._run.folder).exists():
                self._add(row)

    def append(self, row: Row) -> None:
        """Store a row; no other job appends now."""
        is_current = self._file_state() == self._state
        append_row(self._run.results, row)
        self._add(row)
        if is_current:
            self._state = self._file_state()

    def also_in(self, row: Row, folder: Path | None, jobs: Jobs) -> Row:
        """Return a stored row as one of the data set of a sweep in a folder, and store that if it is new.

        The folder of a run that cannot be written stays as it is.
        """
        data_set = hub_data_set(row.task) if folder is None else whole_data_set(folder, row.language)
        if _is_in(row, folder) or data_set in row.also_in:
            return row
        marked = replace(row, also_in=(*row.also_in, data_set))
        if not is_read_only(self._run.folder):
            with jobs.writing():
                self.append(marked)
        return marked

    def _file_state(self) -> State:
        """Return the size and the time of the file of rows."""
        try:
            status = self._run.results.stat()
        except OSError:
            return 0, 0
        return status.st_size, status.st_mtime_ns

    def _add(self, row: Row) -> None:
        rows = self._rows.setdefault(row.key[:-1], {})
        rows.pop(row.fingerprint, None)
        rows[row.fingerprint] = row
        self._languages.setdefault(row.fingerprint, set()).add(row.language)
        self._files[row.predictions] = row.key

    def get(self, measured: Key, fingerprint: str) -> Row | None:
        """Return the row of a measurement on the data with a fingerprint."""
        return self._rows.get(measured, {}).get(fingerprint)

    def of_any_data(self, measured: Key) -> Sequence[Row]:
        """Return the rows whose key is `measured` and any fingerprint, in the order of scoring."""
        return list(self._rows.get(measured, {}).values())

    def latest(self, measured: Key, folder: Path | None) -> Row | None:
        """Return the last of these rows that is of the data set in a folder, or for None on the Hub."""
        rows = [row for row in self.of_any_data(measured) if _is_in(row, folder)]
        return rows[-1] if rows else None

    def with_equal_rows(self, language: str, fingerprint: str) -> list[str]:
        """Return the other languages whose data has the fingerprint of a language's, each pair once."""
        languages = self._languages.setdefault(fingerprint, set())
        pairs = {other: frozenset((other, language)) for other in languages if not same(other, language)}
        languages.add(language)
        others = [other for other, pair in pairs.items() if pair not in self._reported]
        self._reported.update(pairs.values())
        return sorted(others)

    def is_taken(self, predictions: str, row: Row) -> bool:
        """Return whether a file of predictions belongs to a different measurement from a row's."""
        return self._files.get(predictions, row.key) != row.key


def _is_in(row: Row, folder: Path | None) -> bool:
    """Return whether a row is of the data set in a folder, or for None on the Hub."""
    if folder is None:
        return row.data_set.startswith(HUB)
    return row.data_set in (str(folder.resolve()), str(folder.resolve().parent))
