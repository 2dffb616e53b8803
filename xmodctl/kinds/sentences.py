"""Reading sentences: words and tags of any IOB-like scheme -> words, IOB2 tags to learn, and gold tags as written."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from xmodctl.core.messages import quoted
from xmodctl.core.mistakes import NoGoldError, RowError
from xmodctl.kinds.annotations import is_spans, tagged_text
from xmodctl.kinds.kind import TaskView
from xmodctl.kinds.literals import structure_in, words_in
from xmodctl.kinds.rows import (
    FILL_IN,
    NONE_IS_A_LIST,
    Raw,
    RowReader,
    SourceView,
    cell,
    read_text,
    read_texts,
    single_column,
)
from xmodctl.kinds.tagset import Tagset
from xmodctl.kinds.words_in_files import WordsInFiles, words_of

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

FEW = 2
"""Spans inside words that may be there by chance, or on purpose."""
MOSTLY = 0.9
"""The share of them from which offsets rather count something else than characters."""
AS_WRITTEN = "tags_as_written"
"""The column of gold tags where they differ from the tags to learn; null elsewhere."""


def gold_tags(rows: "Dataset") -> Sequence[Sequence[int]]:
    """Return the tags of each row as the data has them; without O, B-, and I- alone, those that it was converted to."""
    tags: Sequence[Sequence[int]] = rows["tags"]
    if AS_WRITTEN not in rows.column_names:
        return tags
    return [written or read for written, read in zip(rows[AS_WRITTEN], tags, strict=True)]


class SentenceReader(RowReader):
    """Rows of `tokens` and `tags`, as ids of IOB2 tags whatever scheme the data has.

    In IOB2 data, an entity may begin with a stray I-, which strict scores do not count: such rows also have their tags
    as they are written. IOB1 has I- there by its rules, so a file is searched for a B- that only IOB2 has.
    """

    gold_name = "tag"

    def __init__(self, task: TaskView, source: SourceView) -> None:
        """Find the columns.

        Raises:
            UserError: The task's labels are not IOB2 tags.
        """
        self._tokens, self._tags = single_column(source, "tokens"), single_column(source, "tags")
        self._tagset = Tagset(task.labels, task.labels_mapped)
        self._allow_empty = source.published
        self._again: Callable[[], Iterable[Raw]] = tuple
        self._is_iob2: bool | None = None  # unknown until a row shows it
        self._file_words = WordsInFiles()
        self._stray: Counter[str] = Counter()
        self._spans: Counter[str] = Counter()
        self._units: Counter[str] = Counter()  # spans inside words that would not be if offsets counted these

    def schema(self) -> "pa.Schema":
        """Words as strings, tags as ids."""
        import pyarrow as pa

        ids = pa.list_(pa.int64())
        return pa.schema([("tokens", pa.list_(pa.string())), ("tags", ids), (AS_WRITTEN, ids)])

    def begin(self, first: Raw, again: Callable[[], Iterable[Raw]]) -> None:
        """Find out whether every word of the file has a language as a prefix."""
        self._again = again
        self._is_iob2 = None
        self._file_words.begin(self._words(first), lambda: map(self._words, again()))

    def row(self, raw: Raw) -> dict[str, Any]:
        """Check, align, and convert."""
        has_text = isinstance(raw.get(self._tokens), str)
        raw = _with_lists(raw, self._tokens, self._tags)
        if words := words_of(raw.get(self._tokens)):
            raw = {**raw, self._tokens: self._file_words.read(words)}
        value = raw.get(self._tags)
        if isinstance(raw.get(self._tokens), str) and (is_spans(value) or value in ("", [])):
            raw = self._with_words(raw)
        tokens = read_texts(raw, self._tokens, allow_empty=self._allow_empty)
        tags = cell(raw, self._tags, remedy=NONE_IS_A_LIST if has_text else FILL_IN)
        if not isinstance(tags, list):
            raise RowError(f"`{self._tags}` is {quoted(tags)}; expected a list of tags, one per word")
        if tags and all(tag in (-1, "-1", "-") for tag in tags):
            raise NoGoldError(f"`{self._tags}` is {quoted(tags)}, which means that there are no gold tags")
        if len(tokens) != len(tags):
            raise RowError(
                f"{len(tokens)} words in `{self._tokens}`, but {len(tags)} tags in `{self._tags}`; "
                "every word needs exactly one tag: correct or remove the row",
                f"not as many tags in `{self._tags}` as words in `{self._tokens}`; every word needs exactly one tag: "
                "correct or remove the row",
            )
        ids = self._tagset.iob2(tags, self._tags)
        row = {"tokens": tokens, "tags": ids}
        written = self._tagset.written(tags)
        if written and not self._is_iob2:
            self._is_iob2 = self._tagset.shows_iob2(tags) or self._is_iob2
        if written and written != ids and self._scheme_is_iob2():
            row[AS_WRITTEN] = written
            self._stray["sentences"] += 1
            self._stray["entities"] += sum(tag != repaired for tag, repaired in zip(written, ids, strict=True))
        return row

    def answers(self, row: Mapping[str, Any]) -> Iterable[Hashable]:
        """Return the ids of the tags: a hidden test set has nothing but O."""
        tags: list[int] = row["tags"]
        return tags

    def notes(self) -> tuple[str, ...]:
        """Name what was removed from words, what counts as no entity, and entities that begin with I-."""
        notes = []
        if count := self._spans["cut"]:
            problem = f"{count:,} of {self._spans['all']:,} spans begin or end inside a word, which is split there"
            units = [unit for unit, fitting in self._units.items() if fitting >= MOSTLY * count and count > FEW]
            meant = [f"; {self._units[unit]:,} would not if offsets count {unit}: convert these" for unit in units[:1]]
            notes.append(problem + "".join(meant))
        notes += self._file_words.notes()
        for type_, count in self._tagset.dropped.items():
            notes.append(f"{count:,} {type_} {'entity counts' if count == 1 else 'entities count'} as no entity")
        if count := self._stray["entities"]:
            notes.append(
                f"{count:,} {'entity begins' if count == 1 else 'entities begin'} with I- instead of B- "
                f"({self._stray['sentences']:,} sentences); strict scores do not count these as gold entities"
            )
        return tuple(notes)

    def remedy(self) -> str:
        """Say how types that the task does not have are learned, or count as no entity."""
        return self._tagset.remedy()

    def _with_words(self, raw: Raw) -> Raw:
        """Return a row of a text and spans as one of words and tags."""
        text = tagged_text(read_text(raw, self._tokens), cell(raw, self._tags), self._tags)
        self._spans["all"] += text.spans
        self._spans["cut"] += text.cut
        self._units.update(dict.fromkeys(text.units, text.cut))
        return {**raw, self._tokens: text.tokens, self._tags: text.tags}

    def _words(self, raw: Raw) -> list[str]:
        return words_of(_with_lists(raw, self._tokens, self._tags).get(self._tokens))

    def _scheme_is_iob2(self) -> bool:
        """Return whether the file has a B- that is no IOB1, which has B- only between entities of one type."""
        if self._is_iob2 is None:
            self._is_iob2 = any(self._tagset.shows_iob2(words_in(raw.get(self._tags))) for raw in self._again())
        return self._is_iob2


def _with_lists(raw: Raw, tokens: str, tags: str) -> Raw:
    """Return a row whose words and tags are lists where it has them as text; a text with spans stays a text."""
    words, value = raw.get(tokens), structure_in(raw.get(tags))
    if not isinstance(words, str) and not isinstance(value, str):
        return raw
    if isinstance(words, str) and (is_spans(value) or value in ("", [])):
        return {**raw, tags: value}
    return {**raw, tokens: words_in(words), tags: words_in(value)}
