"""The rows that `predict` labels: from a file, from standard input, or from Python."""

import json
import math
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError
from xmodctl.core.events import Listener, Notice
from xmodctl.core.jsonl import parse_object
from xmodctl.core.messages import listed, quoted
from xmodctl.core.mistakes import Mistakes, RowError
from xmodctl.data.files import INNER_KEYS
from xmodctl.data.labeling_tools import Unpacking
from xmodctl.data.readers import read
from xmodctl.data.sources import language_in, names_of
from xmodctl.data.usual_names import LANGUAGE_COLUMNS, usual_columns, usual_language_columns
from xmodctl.data.utf16 import NOTE, is_recoded
from xmodctl.evaluation.input_languages import refuse_languages
from xmodctl.evaluation.input_tables import line_format, refuse_document, refuse_table, table_extension
from xmodctl.evaluation.input_text import decoded, is_object, opened
from xmodctl.kinds import KINDS
from xmodctl.kinds.inputs import InputRow
from xmodctl.kinds.rows import Raw
from xmodctl.kinds.words_in_files import WordsInFiles, words_of

CONNECTIVES_REMEDY = "send the text through another language's adapter, as with --lang en"


def _ignore(_: Notice) -> None:
    """Ignore a notice."""


@dataclass
class RowMaker:
    """Makes the rows of a kind from raw ones, and knows which adapter each goes through."""

    task: Task
    language: str | None  # the adapter of all rows; None: the language column decides
    adapter_of: Callable[[str], str] = str  # the adapter of a language as the data spells it
    language_column: str = ""  # empty: the one with a usual name
    keep: bool = False  # write the columns of the input, too
    listen: Listener = _ignore  # type: ignore[assignment]
    file_language: str = ""  # the language that the name of the file states
    _connectives: dict[str, Mapping[str, str]] = field(default_factory=dict)
    _file_words: WordsInFiles = field(default_factory=WordsInFiles)
    _contradicts: bool = False
    _is_assumed: bool = False

    @property
    def needed(self) -> tuple[str, ...]:
        """Names that must not stand for two values of a row, besides those of the task's data."""
        return (*self.task.columns, "id", *filter(None, (self.language_column, self.task.language_column)))

    def begin(self, raw: Mapping[str, Any]) -> None:
        """Find the columns of a file whose first row has neither the kind's names nor those of the task's data."""
        kind = KINDS[self.task.kind]
        for column in kind.input_columns(self.task):
            name = self.task.columns[column]
            if not isinstance(name, str) or column in raw or name in raw:
                continue
            candidates = usual_columns(column, list(raw), self.task.columns)
            if len(candidates) == 1:
                self.task = self.task.with_values({f"columns.{column}": candidates[0]}, origin="the input")
                self.listen(Notice(f"{column} is read from `{candidates[0]}`", caution=True))

    def find_prefixes(self, again: Callable[[], Iterable[Raw]]) -> None:
        """Find out whether every word of a file has a language as a prefix, as for training data."""
        if "tokens" in self.task.columns:
            first = next((self._words(raw) for raw in again()), [])
            self._file_words.begin(first, lambda: map(self._words, again()))
            for note in self._file_words.notes():
                self.listen(Notice(note, caution=True))

    def _words(self, raw: Raw) -> list[str]:
        name = self._column_of_words(raw)
        return words_of(raw[name]) if name else []

    def _column_of_words(self, raw: Raw) -> str:
        names = ("tokens", str(self.task.columns["tokens"]))
        return next((name for name in names if isinstance(raw.get(name), list)), "")

    def from_object(self, raw: Mapping[str, Any], number: int) -> InputRow:
        """Return the row of an object.

        Raises:
            RowError: It cannot be used.
            UserError: Its language cannot be used.
        """
        kind = KINDS[self.task.kind]
        raw = self._unpacked(raw)
        adapter, spelling = self._adapter(raw)
        words = self._words(raw) if "tokens" in self.task.columns else []
        read = {**raw, self._column_of_words(raw): self._file_words.read(words)} if words else raw
        row = kind.json_row(read, self._id(raw, number), self.task, self.connectives(adapter))
        written = {str(key): _plain(value) for key, value in raw.items()} if self.keep else {}
        if self.language is None and not self.keep:
            written["language"] = spelling
        return replace(row, adapter=adapter, written=written)

    def spelling_of(self, raw: Mapping[str, Any]) -> str | None:
        """Return the language of an object as it spells it: empty if it says none, None if no column gives it.

        Raises:
            RowError: Several columns may.
        """
        raw = self._unpacked(raw)
        names = self._language_columns(raw)
        if not names or names[0] not in raw:
            return None
        return language_in(raw[names[0]], self.task.language_ends_at) or ""

    def _unpacked(self, raw: Mapping[str, Any]) -> Mapping[str, Any]:
        unpacking = Unpacking(self.task.columns, KINDS[self.task.kind].plain_tags, all_rows=True)
        return next(iter(unpacking.rows(raw)), raw)

    def from_text(self, line: str, number: int) -> InputRow:
        """Return the row of a line of text.

        Raises:
            RowError: It cannot be used, or its language is not known.
        """
        adapter, _ = self._adapter({})
        row = KINDS[self.task.kind].plain_text_row(line, number, self.task)
        return replace(row, adapter=adapter, written={"text": line} if self.keep else {})

    def connectives(self, adapter: str) -> Mapping[str, str]:
        """Return the wording of questions in the language of an adapter.

        Raises:
            UserError: The task has none in this language.
        """
        if adapter not in self._connectives:
            self._connectives[adapter] = self.task.connectives_in(adapter, remedy=CONNECTIVES_REMEDY)
        return self._connectives[adapter]

    def _adapter(self, raw: Mapping[str, Any]) -> tuple[str, str]:
        """Return the adapter of a row, and its language as the row spells it."""
        names = self._language_columns(raw)
        spelling = language_in(raw.get(names[0]), self.task.language_ends_at) if names else None
        if self.language is not None:
            self._compare(spelling, names)
            return self.language, spelling or self.language
        if spelling is None:
            if names and names[0] in raw:
                raise RowError(
                    f"`{names[0]}` is {quoted(raw[names[0]])}; write the row's language, or give --lang LANG"
                )
            if only := self._language_of_name() or self._only_language():
                return self.adapter_of(only), only
            have = f" (it has {listed(map(str, raw))})" if raw else ""
            raise RowError(
                f"the row does not give its language{have}; give it with --lang LANG, or name its column "
                "with --lang-column NAME"
            )
        return self.adapter_of(spelling), spelling

    def _language_of_name(self) -> str:
        """Return the language that the name of the file states, if it has an adapter, and say once that it is used."""
        if self.file_language and not self._is_assumed:
            try:
                adapter = self.adapter_of(self.file_language)
            except UserError:
                self.file_language = ""
                return ""
            self._is_assumed = True
            reason = f"because the name of the file says {self.file_language}; for another language: --lang LANG"
            self.listen(Notice(f"rows go through {adapter}, {reason}", caution=True))
        return self.file_language

    def _only_language(self) -> str:
        """Return the language of the data that the run was trained on, if that has one, and say once that it is used.

        That of a benchmark says nothing about other rows, unless its rows are in several languages.
        """
        is_found = "languages" in self.task.from_data or self.task.is_mixed
        if not is_found or len(self.task.languages) != 1 or self.task.language_column:
            return ""
        only = self.task.language_of(*self.task.languages)
        if not self._is_assumed:
            self._is_assumed = True
            reason = "as in training" if self.task.is_mixed else "the only language of the training data"
            self.listen(Notice(f"rows go through {only}, {reason}; for another language: --lang LANG", caution=True))
        return only

    def _language_columns(self, raw: Mapping[str, Any]) -> list[str]:
        """Return the column that gives a row's language, if there is one.

        Raises:
            RowError: Several may, and the rows' languages are needed.
        """
        if self.language_column:
            return [self.language_column]
        if self.task.language_column and self.task.language_column in raw:  # pandas calls the column of its index ""
            return [self.task.language_column]
        used = raw if self.task.is_mixed else names_of(self.task.columns)  # a gold label chooses no adapter
        names = usual_language_columns([name for name in raw if name not in used])
        if len(names) > 1 and self.language is None:
            raise RowError(
                f"several columns may give the language: {listed(names)}; name it with --lang-column {names[0]}"
            )
        return names

    def _compare(self, spelling: str | None, names: list[str]) -> None:
        """Say once if the rows say that they are in a different language from the one in which all of them are read."""
        if spelling is None or self._contradicts or self.language is None:
            return
        try:
            self._contradicts = self.adapter_of(spelling) != self.language
        except UserError:
            self._contradicts = True
        if self._contradicts:
            remedy = "without --lang, each row goes through its own adapter"
            self.listen(
                Notice(f"`{names[0]}` says {spelling}, but all rows go through {self.language}; {remedy}", caution=True)
            )

    def _id(self, raw: Mapping[str, Any], number: int) -> Any:
        column = self.task.columns.get("id", "id")
        id_ = raw.get(column) if isinstance(column, str) and column in raw else raw.get("id")
        return number if id_ is None else _plain(id_)


@dataclass
class TextMaker(RowMaker):
    """Makes rows of a single text, which a column of any name may hold."""

    text_column: str = ""  # empty: `text`, or the only column with a usual name

    @property
    def needed(self) -> tuple[str, ...]:
        """Names that must not stand for two values of a row."""
        return (*super().needed, *filter(None, (self.text_column,)))

    def begin(self, raw: Mapping[str, Any]) -> None:
        """Find the text of a file whose first row has no `text`, unless its column is named."""
        if not self.text_column:
            super().begin(raw)

    def from_object(self, raw: Mapping[str, Any], number: int) -> InputRow:
        """Return the row of an object; the errors are those of `RowMaker.from_object`."""
        if not self.text_column:
            if self.task.columns["text"] not in self._unpacked(raw):
                have = listed(map(str, raw))
                raise RowError(f"no column is called text or similar ({have}); name it: --text-column NAME")
            return super().from_object(raw, number)
        if self.text_column not in raw:
            raise RowError(f"there is no column `{self.text_column}`; the row has {listed(map(str, raw))}")
        row = super().from_object({**raw, "text": raw[self.text_column]}, number)
        written = {key: value for key, value in row.written.items() if key != "text"}
        if "text" in row.written and "text" in raw:
            written["text"] = _plain(raw["text"])
        return replace(row, written=written)


def input_rows(
    inputs: str | Path | Iterable[str | Mapping[str, Any]], format_: str | None, maker: RowMaker
) -> Generator[InputRow, None, None]:
    """Yield the rows of a file, of standard input, or of a Python iterable.

    Raises:
        UserError: While iterating: they cannot be read, or a row cannot be used.
    """
    if isinstance(inputs, str | Path) and str(inputs) != "-":
        if maker.language is None:
            refuse_languages(str(inputs), _objects_in(inputs, format_, maker), maker.spelling_of, maker.adapter_of)
        maker.find_prefixes(lambda: (raw for _, raw in _objects_in(inputs, format_, maker)))
    if isinstance(inputs, str | Path) and (extension := table_extension(inputs, format_)):
        yield from read_table(Path(inputs), extension, maker)
    elif isinstance(inputs, str | Path):
        with opened(inputs) as (stream, name):
            if is_recoded(stream):
                maker.listen(Notice(f"{name}: {NOTE}", caution=True))
            yield from read_lines(stream, name, maker, line_format(inputs, format_))
    else:
        lines = (row if isinstance(row, str) else json.dumps(row) for row in inputs)
        yield from read_lines((line.encode() for line in lines), "inputs", maker)


def _objects_in(path: str | Path, format_: str | None, maker: RowMaker) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the objects of a file with their places, up to what cannot be read."""
    try:
        if extension := table_extension(path, format_):
            file, rows = read(
                Path(path), str(path), maker.task.columns, Mistakes(str(path)), all_columns=True, extension=extension,
                all_rows=True, numbered=maker.task.numbered_columns, plain_tags=KINDS[maker.task.kind].plain_tags,
            )  # fmt: skip
            yield from ((file.at(number), raw) for number, raw in rows)
            return
        with opened(path) as (stream, name):
            for number, line in decoded(stream, name):
                if not is_object(line):
                    return
                yield f"{name}:{number}", parse_object(line)
    except (UserError, RowError):
        return


def read_table(path: Path, extension: str, maker: RowMaker) -> Iterator[InputRow]:
    """Yield the rows of a file in a format of training data; columns are named as the kind or as the task names them.

    Raises:
        UserError: While iterating: the file is damaged or has no rows, or a row cannot be used; the message gives its
            place.
    """
    mistakes = Mistakes(str(path))
    if maker.language is not None:
        maker.connectives(maker.language)
    file, rows = read(
        path,
        str(path),
        maker.task.columns,
        mistakes,
        all_columns=True,
        extension=extension,
        all_rows=True,
        numbered=maker.task.numbered_columns,
        plain_tags=KINDS[maker.task.kind].plain_tags,
        needed=maker.needed,
    )
    reported = count = 0
    for count, (number, raw) in enumerate(rows, start=1):
        mistakes.raise_any()
        if count == 1:
            maker.begin(raw)
        reported = _report(file.notes, reported, maker.listen)
        try:
            yield maker.from_object(raw, number)
        except RowError as error:
            raise UserError(f"{file.at(number)}: {error}") from error
    mistakes.raise_any()
    _report(file.notes, reported, maker.listen)
    if not count:
        columns = ",".join(KINDS[maker.task.kind].input_columns(maker.task))
        raise UserError(f"{path} contains no rows; give rows with {columns}, after a header line if it is a table")


def _report(notes: list[str], reported: int, listen: Listener) -> int:
    for note in notes[reported:]:
        listen(Notice(note, caution=True))
    return len(notes)


def read_lines(stream: Iterable[bytes], name: str, maker: RowMaker, format_: str | None = None) -> Iterator[InputRow]:
    """Read rows: one JSON object per line, or plain text where a row is a single text. Blank lines are skipped.

    The first line decides which, unless `format_` says so. JSON has the kind's columns, named as the kind or as the
    task's data names them. Plain text is divided into words where words are labeled.

    Args:
        stream: The lines.
        name: The name of the input in messages.
        maker: Makes the rows.
        format_: `text` or `jsonl`, where that is known.

    Raises:
        UserError: While iterating: a line cannot be used, or the first one shows that the input is a table; the message
            gives its number.
    """
    task = maker.task
    if maker.language is not None:
        maker.connectives(maker.language)
    numbered = decoded(stream, name)
    first = next(numbered, None)
    if first is None:
        raise UserError(f"{name} contains no lines; give one row per line, such as {_example(task)}")
    if format_ != "text":
        refuse_document(first[1], name)
    is_json = is_object(first[1]) if format_ is None else format_ == "jsonl"
    if format_ is None and not is_json:
        refuse_table(first[1], f"{name}:{first[0]}", task)
    if not (is_json or KINDS[task.kind].takes_plain_text(task)):
        raise UserError(f"{name}:{first[0]}: {task.kind} takes one JSON object per line, such as {_example(task)}")
    needed = (*maker.needed, *names_of(task.columns), *LANGUAGE_COLUMNS, *INNER_KEYS)
    for number, line in chain([first], numbered):
        try:
            if is_json and number == first[0]:
                maker.begin(parse_object(line, needed))
            yield maker.from_object(parse_object(line, needed), number) if is_json else maker.from_text(line, number)
        except RowError as error:
            raise UserError(f"{name}:{number}: {error}") from error


def _example(task: Task) -> str:
    kind = KINDS[task.kind]
    return json.dumps({column: kind.example_value(column) for column in kind.input_columns(task)})


def _plain(value: Any) -> Any:
    """Return a value of a file as JSON has it; dates and the like become text."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, str | int | float | list | dict) else str(value)
