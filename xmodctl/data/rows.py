"""Rows of one language and split in the columns of their kind, checked before anything is computed."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Hashable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmodctl.catalog.task import Split, Task
from xmodctl.core.errors import UserError, near_misses
from xmodctl.core.messages import NAMES_SHOWN, listed, quoted
from xmodctl.core.mistakes import Mistakes, NoGoldError, RowError
from xmodctl.data import hub, local
from xmodctl.data.opening import File, Numbered, Raw
from xmodctl.data.readers import ROWS_AT_A_TIME, read
from xmodctl.data.sources import Source, language_in, names_of
from xmodctl.kinds import KINDS
from xmodctl.kinds.rows import RowReader, single_column
from xmodctl.languages import same

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa


@dataclass(frozen=True)
class Rows:
    """One language and split in the kind's own columns (`Kind.required` and `Kind.optional`), labels as ids."""

    split: Split
    language: str  # as the data spells it; as asked for where one file holds several
    arrow: "pa.Table"  # `id` (str, unique) and the kind's columns
    fingerprint: str  # sha256 of the rows' content in their order, after `limit`
    origin: str  # a file's path, or repository@commit:files
    notes: tuple[str, ...] = ()  # what a user should be told: rows without a gold label that were left out

    @cached_property
    def table(self) -> "datasets.Dataset":
        """The rows as a data set; the library behind it takes a second to import, so it is made when asked for."""
        import datasets

        # The fingerprint is given because `datasets` would otherwise pickle the whole table to make one.
        return datasets.Dataset(self.arrow, fingerprint=self.fingerprint[:16])

    def __len__(self) -> int:
        return int(self.arrow.num_rows)


def load_rows(
    task: Task,
    language: str,
    split: Split,
    *,
    folder: Path | None = None,
    limit: int | None = None,
    evaluation: bool = True,
    sole: bool = False,
) -> Rows:
    """Load one language and split of a task from `folder`, or else from the Hub; the first `limit` rows if given.

    `language` may be spelt in any way the resolver knows. `evaluation=False` reads what is trained on: the task's
    training data where that is another data set, and rows without a gold label are left out, counted in `notes`.
    With `sole`, no other language is asked for: files in `folder` itself that do not tell their language are taken to
    be in this one, which `notes` tells.

    Raises:
        UserError: The data is not there, cannot be read, or has mistakes; the first of them are told with their place.
    """
    if folder is not None:
        source = local.find(task, folder, language, split, sole=sole)
    else:
        source = hub.find(task, language, split, evaluation=evaluation)
    reader = KINDS[task.kind].row_reader(task, source)
    table = _Table(reader)
    notes = _read_rows(source, reader, table, limit=limit, training=split == "train" or not evaluation)
    return Rows(source.split, source.language, table.finish(), table.fingerprint, source.origin, tuple(notes))


def load_examples(
    task: Task,
    language: str,
    split: Split,
    ids: Collection[str],
    *,
    folder: Path | None = None,
    limit: int | None = None,
) -> tuple[dict[str, dict[str, Any]], str]:
    """Load a few rows by their ids, without the libraries that hold a whole table.

    Returns:
        The rows by id, in the kind's columns, and the fingerprint of the whole split, as `load_rows` computes it.

    Raises:
        UserError: The data is not there, cannot be read, or has mistakes.
    """
    if folder is not None:
        source = local.find(task, folder, language, split)
    else:
        source = hub.find(task, language, split, evaluation=True)
    reader = KINDS[task.kind].row_reader(task, source)
    chosen = _Chosen(ids)
    _read_rows(source, reader, chosen, limit=limit, training=split == "train")
    return chosen.by_id, chosen.fingerprint


def _read_rows(
    source: Source, reader: RowReader, table: "_Table | _Chosen", *, limit: int | None, training: bool
) -> list[str]:
    """Read a source into the kind's columns, and return what a user should know of it.

    With `limit`, reading stops after that many rows, or as soon after as two different labels have been seen.
    """
    mistakes = Mistakes(source.origin)
    ids: set[str] = set()
    answers: set[Hashable] = set()
    total = without_gold = 0
    notes: list[str] = []
    for file, number, raw in _raw_rows(source, mistakes, notes):
        full = limit is not None and table.rows >= limit
        if full and len(answers) > 1:
            break
        total += 1
        try:
            row = {"id": _id_of(raw, source, total - 1, ids), **reader.row(raw)}
        except NoGoldError as error:
            without_gold += 1
            if not training:
                mistakes.add(file.at(number), str(error))
        except RowError as error:
            mistakes.add(file.at(number), str(error))
        else:
            answers.update(reader.answers(row))
            if not full:
                table.add(row)

    if without_gold == total > 0:
        raise UserError(_hidden(source, f"no row has a {reader.gold_name}", training))
    mistakes.raise_any()
    if not total:
        raise UserError(f"{source.origin} holds no rows; it should hold {', '.join(names_of(source.columns))}")
    if len(answers) == 1 and total > 1:
        raise UserError(_hidden(source, f"every row has the same {reader.gold_name}", training))
    if without_gold:
        notes.append(f"{source.origin}: {without_gold:,} of {total:,} rows have no gold {reader.gold_name}: left out")
    table.close()
    return notes


class _Collector(ABC):
    """Rows as they are read: counted, hashed, and handed on a part at a time."""

    def __init__(self) -> None:
        self.rows = 0
        self._open: list[dict[str, Any]] = []
        self._begun = False
        self._digest = hashlib.sha256()

    def add(self, row: dict[str, Any]) -> None:
        self.rows += 1
        self._open.append(row)
        if len(self._open) == ROWS_AT_A_TIME:
            self.close()

    def close(self) -> None:
        """Hand on the rows that are held."""
        if not self._open:
            return
        # The text of a JSON list without its brackets: the digest does not depend on where parts end.
        written = json.dumps(self._open, ensure_ascii=False, separators=(",", ":"))[1:-1]
        self._digest.update((f",{written}" if self._begun else written).encode())
        self._begun = True
        self._keep(self._open)
        self._open.clear()

    @property
    def fingerprint(self) -> str:
        """The sha256 of the rows' content."""
        return self._digest.hexdigest()

    @abstractmethod
    def _keep(self, rows: list[dict[str, Any]]) -> None: ...


class _Table(_Collector):
    """Rows on their way into an Arrow table: held as Python objects for a part of it only."""

    def __init__(self, reader: RowReader) -> None:
        import pyarrow as pa

        super().__init__()
        self._schema = pa.schema([("id", pa.string()), *reader.schema()])
        self._parts: list[pa.RecordBatch] = []

    def finish(self) -> "pa.Table":
        """Return the table."""
        import pyarrow as pa

        return pa.Table.from_batches(self._parts, schema=self._schema)

    def _keep(self, rows: list[dict[str, Any]]) -> None:
        import pyarrow as pa

        self._parts.append(pa.RecordBatch.from_pylist(rows, schema=self._schema))


class _Chosen(_Collector):
    """The few rows that are asked for."""

    def __init__(self, ids: Collection[str]) -> None:
        super().__init__()
        self._ids = frozenset(ids)
        self.by_id: dict[str, dict[str, Any]] = {}

    def _keep(self, rows: list[dict[str, Any]]) -> None:
        self.by_id |= {row["id"]: row for row in rows if row["id"] in self._ids}


def coverage(task: Task, folder: Path | None) -> dict[str, tuple[Split, ...]]:
    """Return the languages of the data with their splits: what `folder` holds, or what the task says the Hub has."""
    return local.coverage(task, folder) if folder is not None else hub.coverage(task)


def offers(task: Task, language: str, split: Split, *, folder: Path | None, evaluation: bool = True) -> bool:
    """Say whether there is data in one language and split, without reading or downloading it.

    `evaluation=False` asks for what is trained on, as in `load_rows`; a folder makes no difference between the two.
    """
    if folder is None:
        return hub.offers(task, language, split, evaluation=evaluation)
    return any(
        split in splits for code, splits in local.coverage(task, folder).items() if task.is_in_language(code, language)
    )


def _raw_rows(source: Source, mistakes: Mistakes, notes: list[str]) -> Iterator[tuple[File, int, Raw]]:
    """Yield every raw row of the source's language; the first row of a file tells whether the columns are there.

    `notes` is told of a file that does not say which language it is in.
    """
    for path, name in source.files.items():
        file, rows = read(path, name, source.columns, mistakes, all_columns=bool(source.language_columns))
        first = next(rows, None)
        if first is None:
            continue
        _check_columns(file, *first, source)
        rows = chain([first], rows)
        if source.sole and not any(column in first[1] for column in source.language_columns):
            notes.append(f"{file.name} does not tell its language: all of it is taken as {source.language}")
        elif source.language_columns:
            rows = _of_language(file, rows, _language_column(file, *first, source), source)
        for number, raw in rows:
            yield file, number, raw


def _language_column(file: File, number: int, raw: Raw, source: Source) -> str:
    for column in source.language_columns:
        if column in raw:
            return column
    raise UserError(
        f"{file.at(number)}: no column tells the row's language (found {listed(raw)}); name it with "
        f"--lang-column, put the file into a folder of its language, {file.path.parent / source.language}, "
        "or ask for this language alone"
    )


def _of_language(file: File, rows: Numbered, column: str, source: Source) -> Numbered:
    """Yield the rows of the source's language; if there are none, tell which languages there are."""
    wanted: dict[str, bool] = {}
    for number, raw in rows:
        spelt = language_in(raw.get(column), source.language_ends_at)
        if spelt is None:
            file.mistakes.add(
                file.at(number), f"`{column}` is {quoted(raw.get(column))}; it should be the row's language"
            )
            continue
        if spelt not in wanted:
            wanted[spelt] = spelt == source.language or same(spelt, source.language)
        if wanted[spelt]:
            yield number, raw
    if not any(wanted.values()):
        file.mistakes.raise_any()
        there = sorted(wanted)
        raise UserError(
            f"no {source.language} rows in {file.name} (column '{column}' has {listed(there)}); "
            f"try --langs {','.join(there[:NAMES_SHOWN])} or --lang-column"
        )


def _check_columns(file: File, number: int, raw: Raw, source: Source) -> None:
    seen = list(raw)
    for column, names in source.columns.items():
        missing = [name for name in ([names] if isinstance(names, str) else names) if name not in raw]
        if missing and column != "id":  # without ids of their own, rows are numbered
            guess = (near_misses(missing[0], seen) or near_misses(column, seen) or ["NAME"])[0]
            remedy = f"--set columns.{column}={guess}" if isinstance(names, str) else f"--set columns.{column}='[A, B]'"
            raise UserError(
                f"{file.at(number)}: no column `{missing[0]}` for the {column} (found {listed(seen) or 'none'}); "
                f"say which column it is with {remedy}"
            )


def _id_of(raw: Raw, source: Source, position: int, ids: set[str]) -> str:
    """Return the row's own id, or its position: so the rows of a parallel task pair across languages."""
    name = single_column(source, "id") if "id" in source.columns else ""
    if name not in raw:
        return str(position)
    value = raw[name]
    if not isinstance(value, str | int) or value == "":
        raise RowError(f"`{name}` is {quoted(value)}; an id is text or a whole number")
    if (found := str(value)) in ids:
        raise RowError(f"`{name}` {quoted(value)} is the id of an earlier row too; ids must differ")
    ids.add(found)
    return found


def _hidden(source: Source, seen: str, training: bool) -> str:
    if training:
        return f"{source.origin}: {seen}, so there is nothing to learn; use a file with labels"
    return f"{source.origin}: {seen}: this looks like a hidden test set, which nobody can score; use a copy with labels"
