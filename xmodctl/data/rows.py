"""Rows of one language and split in the columns of their kind of task, checked before anything is computed."""

from collections.abc import Collection, Hashable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmodctl.catalog.locations import Split
from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError
from xmodctl.core.messages import NAMES_SHOWN, FileNote, listed, quoted, shell_setting
from xmodctl.core.mistakes import Mistakes, NoGoldError, RowError, SameAnswerError
from xmodctl.data import hub, local, published
from xmodctl.data.columns import check_columns
from xmodctl.data.files import DataFile, Numbered
from xmodctl.data.headers import all_columns
from xmodctl.data.readers import read
from xmodctl.data.sources import DataSource, language_in, names_of
from xmodctl.data.tables import ExampleCollector, RowCollector, TableCollector
from xmodctl.data.tagged_text import Tagging, read_rows
from xmodctl.kinds import KINDS
from xmodctl.kinds.labels import written_form
from xmodctl.kinds.rows import Raw, RowReader, cell, checked_text, single_column
from xmodctl.languages import same
from xmodctl.languages.tags import meaning

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa


@dataclass(frozen=True)
class Rows:
    """One language and split in the kind's own columns (`Kind.required` and `Kind.optional`), labels as ids."""

    split: Split
    language: str  # as the data spells it; as requested if a file holds several
    arrow: "pa.Table"  # `id` (str; unique in data to evaluate on) and the kind's columns
    fingerprint: str  # sha256 of the rows' content in their order, after `limit`
    origin: str  # a file's path, or repository@commit:files
    notes: tuple[str, ...] = ()  # what you should know: excluded rows without a gold label

    @cached_property
    def table(self) -> "datasets.Dataset":
        """The rows as a data set, created on first use: its library takes a second to import."""
        import datasets

        # With its own fingerprint, because `datasets` would otherwise pickle the whole table to compute one.
        return datasets.Dataset(self.arrow, fingerprint=self.fingerprint[:16])

    def __len__(self) -> int:
        return int(self.arrow.num_rows)


def load_rows(
    task: Task,
    language: str,
    split: Split,
    *,
    folder: str | Path | None = None,
    limit: int | None = None,
    evaluation: bool = True,
    single_language: bool = False,
) -> Rows:
    """Load one language and split of a task.

    Args:
        task: The task.
        language: The language, in any spelling.
        split: The split.
        folder: Local data; by default, the data comes from the Hub.
        limit: Load only the first rows, at most this many.
        evaluation: Load data to evaluate on. Otherwise, load data to train on: the task's training data if that is
            another data set, without the rows that have no gold label, which `notes` counts.
        single_language: No other language is wanted: files in `folder` itself that do not give their language are
            assumed to be in this one, which `notes` mentions.

    Raises:
        UserError: The data does not exist, cannot be read, or has mistakes; the message lists the first ones.
    """
    if folder is not None:
        source = local.find(task, Path(folder), language, split, single_language=single_language)
    else:
        source = hub.find(task, language, split, evaluation=evaluation)
    reader = KINDS[task.kind].row_reader(task, source)
    collector = TableCollector(reader)
    notes = _read_rows(source, reader, collector, limit=limit, training=split == "train" or not evaluation)
    table, fingerprint = collector.table(), collector.fingerprint
    return Rows(source.split, source.language, table, fingerprint, source.origin, tuple(notes))


def texts_at_hand(task: Task, language: str, *, folder: str | Path | None, limit: int) -> list[str]:
    """Return texts of a language that are on this disk: those of the first rows of a split, as the model reads them.

    Without data at hand, or with data that cannot be read, there are none; nothing is downloaded.
    """
    kind = KINDS[task.kind]
    for split in ("test", "validation", "train"):
        name: Split = split
        try:
            source = local.find(task, Path(folder), language, name) if folder else hub.at_hand(task, language, name)
            if source is None:
                continue
            reader = kind.row_reader(task, source)
            collector = TableCollector(reader)
            _read_rows(source, reader, collector, limit=limit, training=True)
        except UserError:
            continue
        return [text for row in collector.table().to_pylist() for text in kind.gold_and_texts(row, task)[1]]
    return []


def load_examples(
    task: Task,
    language: str,
    split: Split,
    ids: Collection[str],
    *,
    folder: str | Path | None = None,
    limit: int | None = None,
    single_language: bool = False,
) -> tuple[dict[str, dict[str, Any]], str]:
    """Load a few rows by their ids, without importing a library for tables.

    Returns:
        The rows by id, in the kind's columns, and the fingerprint of the whole split, as `load_rows` computes it.

    Raises:
        UserError: The data does not exist, cannot be read, or has mistakes.
    """
    if folder is not None:
        source = local.find(task, Path(folder), language, split, single_language=single_language)
    else:
        source = hub.find(task, language, split, evaluation=True)
    reader = KINDS[task.kind].row_reader(task, source)
    examples = ExampleCollector(ids)
    _read_rows(source, reader, examples, limit=limit, training=split == "train")
    return examples.by_id, examples.fingerprint


def unusable(
    task: Task, split: Split, folder: Path, *, limit: int | None = None, besides: Collection[str] = ()
) -> dict[str, UserError]:
    """Return why rows of a split cannot be scored: language and split -> the error. Each file is read once.

    All rows of a file with several languages are checked together, whatever `limit` says; the languages `besides` are
    not checked. Raises a UserError if the folder cannot be read at all.
    """
    failures: dict[str, UserError] = {}
    seen: set[str] = set()
    for language, splits in coverage(task, folder).items():
        if split not in splits or any(task.is_in_language(language, other) for other in besides):
            continue
        name, most = f"{language} {split}", limit
        try:
            source = local.find(task, folder, language, split, single_language=True)
            if source.language_columns:
                if source.origin in seen:
                    continue
                seen.add(source.origin)
                columns = {column: names for column, names in source.columns.items() if column != "id"}  # by language
                source, name, most = replace(source, language_columns=(), columns=columns), split, None
            reader = KINDS[task.kind].row_reader(task, source)
            _read_rows(source, reader, ExampleCollector(()), limit=most, training=False)
        except UserError as error:
            failures[name] = error
    return failures


def _read_rows(
    source: DataSource, reader: RowReader, collector: RowCollector, *, limit: int | None, training: bool
) -> list[str]:
    """Read a source into the kind's columns, and return what the user should know about it.

    With `limit`, reading stops after that many rows, but not before two different labels were seen.
    """
    mistakes = Mistakes(source.origin)
    ids: set[str] | None = None if training else set()  # nothing is looked up in training data by its id
    answers: set[Hashable] = set()
    total = without_gold = 0
    notes: list[str] = []
    for file, number, raw in _raw_rows(source, reader, mistakes, notes):
        full = limit is not None and collector.count >= limit
        if full and len(answers) > 1:
            break
        total += 1
        try:
            row = {"id": _id_of(raw, source, total - 1, ids), **reader.row(raw)}
        except NoGoldError as error:
            without_gold += 1
            if not training:
                mistakes.add(file.at(number), str(error), *error.causes)
        except RowError as error:
            mistakes.add(file.at(number), str(error), *error.causes)
        else:
            answers.update(reader.answers(row))
            if not full:
                collector.add(row)

    if without_gold == total > 0:
        raise _hidden(source, f"no row has a {reader.gold_name}", training)
    mistakes.raise_any(reader.remedy())
    if not total:
        raise UserError(f"{source.origin} contains no rows; expected rows with {', '.join(names_of(source.columns))}")
    if len(answers) == 1 and total > 1:
        notes.append(_same_answer(source, reader, next(iter(answers)), training))
    if without_gold:
        excluded = f"{without_gold:,} of {total:,} rows have no gold {reader.gold_name} and are excluded"
        notes.append(f"{source.origin}: {excluded}")
    collector.close()
    return [*notes, *(type(note)(f"{source.origin}: {note}") for note in reader.notes())]


def coverage(task: Task, folder: str | Path | None) -> dict[str, tuple[Split, ...]]:
    """Return the languages of the data with their splits: those in `folder`, else those that the task names."""
    return local.coverage(task, Path(folder)) if folder is not None else published.coverage(task)


def what_there_is(task: Task, language: str, split: Split, folder: str | Path | None) -> str:
    """Return what to do with files in `folder` in place of a split that is missing, or an empty string."""
    return local.what_there_is(task, Path(folder), language, split) if folder is not None else ""


def offers(task: Task, language: str, split: Split, *, folder: str | Path | None, evaluation: bool = True) -> bool:
    """Return whether there is data in one language and split; it is neither read nor downloaded.

    `evaluation` is as in `load_rows`; for a folder it makes no difference.
    """
    if folder is None:
        return hub.offers(task, language, split, evaluation=evaluation)
    covered = local.coverage(task, Path(folder))
    return any(split in covered[code] for code in local.codes_of(task, covered, language))


def _raw_rows(
    source: DataSource, reader: RowReader, mistakes: Mistakes, notes: list[str]
) -> Iterator[tuple[DataFile, int, Raw]]:
    """Yield every raw row of the source's language, after the reader has seen the first one of each file.

    Raises:
        UserError: No file has a row in this language; the message lists the languages that there are.
    """
    spellings: dict[str, bool] = {}
    for path, name in source.files.items():
        rows = _rows_of_file(path, name, source, mistakes, notes, spellings)
        first = next(rows, None)
        if first is None:
            continue

        def again(path: Path = path, name: str = name) -> Iterator[Raw]:
            return (raw for _, _, raw in _rows_of_file(path, name, source, Mistakes(name), [], {}))

        reader.begin(first[2], again)
        yield from chain([first], rows)
    if spellings and not any(spellings.values()):
        mistakes.raise_any()
        languages = sorted(spellings)
        raise UserError(
            f"no {source.language} rows in {source.origin} (its language column has {listed(languages)}); "
            f"try --langs {','.join(languages[:NAMES_SHOWN])} or --lang-column"
        )


def _rows_of_file(
    path: Path, name: str, source: DataSource, mistakes: Mistakes, notes: list[str], spellings: dict[str, bool]
) -> Iterator[tuple[DataFile, int, Raw]]:
    """Yield the rows of a file in the source's language; the first row of all shows whether it has the columns.

    A file that does not give its language is mentioned in `notes`. `spellings` gets the languages that it has, and
    whether each is the source's.
    """
    file, rows = read_rows(
        path,
        name,
        source.columns,
        mistakes,
        all_columns=bool(source.language_columns), numbered=source.numbered, plain_tags=source.plain_tags,
        tagging=Tagging.of(source.tagged_text, source.columns, source.language),
    )  # fmt: skip
    first = next(rows, None)
    if first is None:
        return
    early = len(file.notes)
    notes += map(_of_file, file.notes)
    header = _header(path, name, source, first[1])
    check_columns(file, first[0], header, source)
    rows = chain([first], rows)
    if source.single_language and not any(column in header for column in source.language_columns):
        notes.append(f"{file.name} does not give its language; all of it is assumed to be {source.language}")
        rows = _without_language(file, rows, source)
    elif source.language_columns:
        rows = _of_language(file, rows, _language_column(file, first[0], header, source), source, spellings)
    for number, raw in rows:
        if source.row_splits is None or source.row_splits.get(number) == source.split:
            yield file, number, raw
    notes += map(_of_file, file.notes[early:])


def _of_file(note: str) -> FileNote:
    return note if isinstance(note, FileNote) else FileNote(note)


def _header(path: Path, name: str, source: DataSource, first: Raw) -> Raw:
    """Return the first row of a file; if it lacks a column that is read, with those that only later rows have."""
    named = names_of({column: names for column, names in source.columns.items() if column != "id"})
    own = source.language_columns if len(source.language_columns) == 1 else ()
    if all(column in first for column in (*named, *own)):
        return first
    rows = read(
        path, name, source.columns, Mistakes(name), all_columns=True, numbered=source.numbered,
        plain_tags=source.plain_tags,
    )[1]  # fmt: skip
    return {**(all_columns(path, (raw for _, raw in rows)) or {}), **first}


def _without_language(file: DataFile, rows: Numbered, source: DataSource) -> Numbered:
    """Yield rows that do not give their language.

    Raises:
        UserError: One does, unlike the first one.
    """
    for number, raw in rows:
        for column in source.language_columns:
            if column in raw:
                reason = f"the row has `{column}`, and the first one has not; write the language of all rows or of none"
                raise UserError(f"{file.at(number)}: {reason}")
        yield number, raw


def _language_column(file: DataFile, number: int, raw: Raw, source: DataSource) -> str:
    for column in source.language_columns:
        if column in raw:
            return column
    raise UserError(
        f"{file.at(number)}: no column gives the row's language (found {listed(raw)}); name it with "
        f"--lang-column, move the file to a folder for its language, {file.path.parent / source.language}, "
        "or select this language alone"
    )


def _of_language(
    file: DataFile, rows: Numbered, column: str, source: DataSource, spellings: dict[str, bool]
) -> Numbered:
    """Yield the rows of the source's language."""
    own = {meaning(code) for code in source.language_codes}
    for number, raw in rows:
        spelling = language_in(raw.get(column), source.language_ends_at)
        if spelling is None:
            file.mistakes.add(file.at(number), f"`{column}` is {quoted(raw.get(column))}; expected the row's language")
            continue
        if spelling not in spellings:
            agrees = meaning(spelling) in own if own else same(spelling, source.language)
            spellings[spelling] = spelling == source.language or agrees
        if spellings[spelling]:
            yield number, raw


def _id_of(raw: Raw, source: DataSource, position: int, ids: set[str] | None) -> str:
    """Return the row's own id as it is written, or its position.

    Positions pair up the rows of a parallel task across languages. Without `ids`, rows may share an id.
    """
    name = single_column(source, "id") if "id" in source.columns else ""
    if not name or name not in raw:
        return str(position)
    remedy = f"number the rows instead with {shell_setting('columns.id', None)}"
    id_ = written_form(cell(raw, name))
    if not id_:
        raise RowError(f"`{name}` is {quoted(raw[name])}; expected text or a number, or {remedy}")
    checked_text(id_, name)
    if ids is not None:
        if id_ in ids:
            problem = f"is also the id of an earlier row; ids must be unique: correct them, or {remedy}"
            raise RowError(f"`{name}` {quoted(raw[name])} {problem}", f"`{name}` {problem}")
        ids.add(id_)
    return id_


def _same_answer(source: DataSource, reader: RowReader, answer: Hashable, training: bool) -> str:
    """Return the note on rows that all have the same gold answer.

    Raises:
        UserError: Nothing can be learned from them, or the answer is none.
    """
    problem = f"every row has the same {reader.gold_name}"
    if training or reader.is_certainly_hidden(answer):
        raise _hidden(source, problem, training)
    return f"{source.origin}: {problem}; if the true ones are hidden, as in a competition, scores are meaningless"


def _hidden(source: DataSource, problem: str, training: bool) -> SameAnswerError:
    """Return the error for rows without answers, or with the same answer in all of them."""
    cause = f"{source.origin}: {problem}"
    if training:
        remedy = "use data that has them" if problem.startswith("no") else "use data in which they differ"
        return SameAnswerError(f"{cause}, so there is nothing to learn; {remedy}", cause)
    hidden = "this looks like a hidden test set, which cannot be scored; use a copy with labels"
    return SameAnswerError(f"{cause}: {hidden}", cause)
