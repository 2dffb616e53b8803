"""Rows collected while they are read: hashed, and kept as an Arrow table or as the few that were asked for."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from xmodctl.data.readers import ROWS_AT_A_TIME
from xmodctl.kinds.rows import RowReader

if TYPE_CHECKING:
    import pyarrow as pa


class RowCollector(ABC):
    """Counts and hashes rows, and hands them on in parts."""

    def __init__(self) -> None:
        self.count = 0
        self._part: list[dict[str, Any]] = []
        self._started = False
        self._digest = hashlib.sha256()

    def add(self, row: dict[str, Any]) -> None:
        """Add a row of `id` and the kind's columns."""
        self.count += 1
        self._part.append(row)
        if len(self._part) == ROWS_AT_A_TIME:
            self.close()

    def close(self) -> None:
        """Hand on the last part."""
        if not self._part:
            return
        # The text of a JSON list without its brackets: the digest does not depend on where parts end.
        text = json.dumps(self._part, ensure_ascii=False, separators=(",", ":"))[1:-1]
        self._digest.update((f",{text}" if self._started else text).encode())
        self._started = True
        self._keep(self._part)
        self._part.clear()

    @property
    def fingerprint(self) -> str:
        """The sha256 of the rows' content."""
        return self._digest.hexdigest()

    @abstractmethod
    def _keep(self, rows: list[dict[str, Any]]) -> None: ...


class TableCollector(RowCollector):
    """Collects rows in an Arrow table; only one part at a time is held as Python objects."""

    def __init__(self, reader: RowReader) -> None:
        import pyarrow as pa

        super().__init__()
        self._schema = pa.schema([("id", pa.string()), *reader.schema()])
        self._batches: list[pa.RecordBatch] = []

    def table(self) -> "pa.Table":
        """Return the table."""
        import pyarrow as pa

        return pa.Table.from_batches(self._batches, schema=self._schema)

    def _keep(self, rows: list[dict[str, Any]]) -> None:
        import pyarrow as pa

        self._batches.append(pa.RecordBatch.from_pylist(rows, schema=self._schema))


class ExampleCollector(RowCollector):
    """Keeps the rows with certain ids."""

    def __init__(self, ids: Collection[str]) -> None:
        super().__init__()
        self._ids = frozenset(ids)
        self.by_id: dict[str, dict[str, Any]] = {}

    def _keep(self, rows: list[dict[str, Any]]) -> None:
        self.by_id |= {row["id"]: row for row in rows if row["id"] in self._ids}
