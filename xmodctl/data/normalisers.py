"""One normaliser a kind: a raw row, as the data has it -> the kind's own columns, checked.

A normaliser is made for one source and called row by row; it raises `RowError` for a row it cannot use. A new kind of
rows is one more class in `NORMALISERS`.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from xmodctl.catalog.task import Task
from xmodctl.core.errors import UserError, did_you_mean
from xmodctl.core.mistakes import NoGoldError, RowError
from xmodctl.data.opening import Raw
from xmodctl.data.readers import listed, said
from xmodctl.data.sources import Source
from xmodctl.data.tags import Tagset

if TYPE_CHECKING:
    import pyarrow as pa


class Normaliser(Protocol):
    """What turns the raw rows of one source into rows of a kind."""

    gold: str  # what messages call what is predicted

    def schema(self) -> "pa.Schema":
        """Return the types of the kind's columns, without `id`."""

    def row(self, raw: Raw) -> dict[str, Any]:
        """Return one row in the kind's columns, without `id`.

        Raises:
            NoGoldError: The row has no gold label.
            RowError: The row cannot be used.
        """

    def answers(self, row: Mapping[str, Any]) -> Iterable[Hashable]:
        """Return what is to be predicted; where that never varies, over all rows, the labels are hidden."""


class SequenceClassification:
    """Rows of `text`, perhaps `text_pair`, and `label`."""

    gold = "label"

    def __init__(self, task: Task, source: Source) -> None:
        self._texts = {column: one(source, column) for column in ("text", "text_pair") if column in source.columns}
        self._label = one(source, "label")
        self._labels = Labels(source.labels or task.labels, _ids_of_mapped(task))
        self._empty_is_fine = source.published

    def schema(self) -> "pa.Schema":
        """Texts as strings, labels as ids."""
        import pyarrow as pa

        return pa.schema([(column, pa.string()) for column in self._texts] + [("label", pa.int64())])

    def row(self, raw: Raw) -> dict[str, Any]:
        """Check and rename."""
        row: dict[str, Any] = {}
        for column, name in self._texts.items():
            row[column] = text(raw, name, empty_is_fine=self._empty_is_fine)
        row["label"] = self._labels.id_of(cell(raw, self._label), self._label)
        return row

    def answers(self, row: Mapping[str, Any]) -> Iterable[Hashable]:
        """Return the label's id."""
        return (row["label"],)


class TokenClassification:
    """Rows of `tokens` and `tags`, as ids of IOB2 tags whatever scheme the data has."""

    gold = "tag"

    def __init__(self, task: Task, source: Source) -> None:
        self._tokens, self._tags = one(source, "tokens"), one(source, "tags")
        self._tagset = Tagset(task.labels, task.labels_mapped)
        self._empty_is_fine = source.published

    def schema(self) -> "pa.Schema":
        """Words as strings, tags as ids."""
        import pyarrow as pa

        return pa.schema([("tokens", pa.list_(pa.string())), ("tags", pa.list_(pa.int64()))])

    def row(self, raw: Raw) -> dict[str, Any]:
        """Check, align and convert."""
        tokens = texts(raw, self._tokens, empty_is_fine=self._empty_is_fine)
        tags = cell(raw, self._tags)
        if not isinstance(tags, list):
            raise RowError(f"`{self._tags}` is {said(tags)}; it should be a list of tags, one a word")
        if tags and all(tag in (-1, "-1", "-") for tag in tags):
            raise NoGoldError(f"`{self._tags}` is {said(tags)}, which stands for no gold tags")
        if len(tokens) != len(tags):
            raise RowError(
                f"{len(tokens)} words in `{self._tokens}`, but {len(tags)} tags in `{self._tags}`; each word has one"
            )
        return {"tokens": tokens, "tags": self._tagset.iob2(tags, self._tags)}

    def answers(self, row: Mapping[str, Any]) -> Iterable[Hashable]:
        """Return the ids of the tags: a hidden test set has nothing but O."""
        return row["tags"]  # type: ignore[no-any-return]


class QuestionAnswering:
    """Rows of `context`, `question` and `answers`: texts with their character offsets, as in SQuAD; perhaps none."""

    gold = "answer"

    def __init__(self, _: Task, source: Source) -> None:
        self._context, self._question = one(source, "context"), one(source, "question")
        self._answers = one(source, "answers")
        self._source = source

    def schema(self) -> "pa.Schema":
        """Answers as a pair of lists."""
        import pyarrow as pa

        answers = pa.struct([("text", pa.list_(pa.string())), ("answer_start", pa.list_(pa.int64()))])
        return pa.schema([("context", pa.string()), ("question", pa.string()), ("answers", answers)])

    def row(self, raw: Raw) -> dict[str, Any]:
        """Check that each answer stands at its offset."""
        context = text(raw, self._context)
        question = text(raw, self._question, empty_is_fine=self._source.published)
        answers = self._pairs(cell(raw, self._answers))
        for answer, start in answers:
            if not answer or context[start : start + len(answer)] != answer or start < 0:
                self._misplaced(context, answer, start)
        return {
            "context": context,
            "question": question,
            "answers": {"text": [answer for answer, _ in answers], "answer_start": [start for _, start in answers]},
        }

    def answers(self, row: Mapping[str, Any]) -> Iterable[Hashable]:
        """Return the texts, or an empty one for a question without an answer."""
        return row["answers"]["text"] or ("",)

    def _pairs(self, answers: Any) -> list[tuple[str, int]]:
        """Return (text, offset) of each answer, from either of the two forms in use."""
        match answers:
            case {"text": list(found), "answer_start": list(starts)} if len(found) == len(starts):
                pairs = list(zip(found, starts, strict=True))
            case list() if all(isinstance(one, dict) and {"text", "answer_start"} <= set(one) for one in answers):
                pairs = [(one["text"], one["answer_start"]) for one in answers]
            case _:
                raise RowError(
                    f"`{self._answers}` is {said(answers)}; expected a list of "
                    '{"text": ..., "answer_start": ...}, empty for a question without an answer'
                )
        for answer, start in pairs:
            if not isinstance(answer, str) or not isinstance(start, int) or isinstance(start, bool):
                raise RowError(f"`{self._answers}` has {said([answer, start])}; expected text and a whole number")
            checked(answer, self._answers)
        return pairs

    def _misplaced(self, context: str, answer: str, start: int) -> None:
        """Refuse an answer that is not where it should be; a published one still counts as text to compare with."""
        there = context[max(start, 0) : max(start, 0) + len(answer)]
        told = f"the answer {said(answer)} is not at character {start} of `{self._context}` (there: {said(there)}); "
        found = context.find(answer) if answer else -1
        told += f"it stands at character {found}" if found >= 0 else "it does not stand anywhere in it"
        if not self._source.published:
            raise RowError(told)
        if self._source.split == "train":
            raise NoGoldError(told)


class MultipleChoice:
    """Rows of `choices` (two or more, as many as the row has) and `label`, perhaps with `context` and `question`.

    A context or question in several columns is their texts with a space between. Where the task has `connectives`, the
    question (`cause`, `effect`) becomes the words for it in the language of the source.
    """

    gold = "label"

    def __init__(self, task: Task, source: Source) -> None:
        self._texts = {
            column: [names] if isinstance(names, str) else names
            for column in ("context", "question")
            if (names := source.columns.get(column))
        }
        self._choices = source.columns["choices"]
        self._label = one(source, "label")
        self._labels = Labels(source.labels or task.labels)
        copy = f"copy the task (`xmodctl tasks copy {task.name} mine.yaml`)"
        self._connectives = task.connectives_in(
            source.language, remedy=f"{copy} and add `{source.language}` to its `connectives`"
        )
        self._empty_is_fine = source.published

    def schema(self) -> "pa.Schema":
        """Choices as a list, the label as the position of the right one."""
        import pyarrow as pa

        return pa.schema(
            [(column, pa.string()) for column in self._texts]
            + [("choices", pa.list_(pa.string())), ("label", pa.int64())]
        )

    def row(self, raw: Raw) -> dict[str, Any]:
        """Check and collect the choices."""
        row: dict[str, Any] = {}
        for column, names in self._texts.items():
            row[column] = " ".join(text(raw, name, empty_is_fine=self._empty_is_fine) for name in names)
        if self._connectives:
            asked = row["question"].strip().casefold()
            if asked not in self._connectives:
                known = ", ".join(self._connectives)
                raise RowError(
                    f"`{self._texts['question'][0]}` is {said(row['question'])}; it should be one of {known}"
                )
            row["question"] = self._connectives[asked]
        labels = self._labels
        if isinstance(self._choices, str):
            match cell(raw, self._choices):
                case {"text": list(found), "label": list(names)}:  # ARC's form: the choices beside their letters
                    raw, labels = {**raw, self._choices: found}, Labels([str(name) for name in names])
            choices = texts(raw, self._choices, empty_is_fine=self._empty_is_fine)
        else:
            choices = [text(raw, name, empty_is_fine=self._empty_is_fine) for name in self._choices]
        if len(choices) < 2:
            raise RowError(f"the row has {len(choices)} choices; there must be two or more")
        label = labels.id_of(cell(raw, self._label), self._label)
        if label >= len(choices):
            first = labels.names[0] if labels.names else 0
            raise RowError(
                f"`{self._label}` is {said(raw[self._label])}, "
                f"but the row has {len(choices)} choices (the first is {first})"
            )
        return row | {"choices": choices, "label": label}

    def answers(self, row: Mapping[str, Any]) -> Iterable[Hashable]:
        """Return the position of the right choice."""
        return (row["label"],)


NORMALISERS: dict[str, Callable[[Task, Source], Normaliser]] = {
    "sequence-classification": SequenceClassification,
    "token-classification": TokenClassification,
    "question-answering": QuestionAnswering,
    "multiple-choice": MultipleChoice,
}
"""What each kind's rows are made by."""


class Labels:
    """A task's label names, the ids that data may write for them, and other names with the id they stand for."""

    def __init__(self, names: Sequence[str], others: Mapping[str, int] | None = None) -> None:
        self.names = names
        self._ids = {name.casefold(): index for index, name in enumerate(names)} | {
            name: index for index, name in enumerate(names)
        }
        # Names that are digits themselves (Social IQa's 1, 2, 3) are never also read as ids.
        if not any(name.isdigit() for name in names):
            self._ids |= {str(index): index for index in range(len(names))}
        self._ids |= {name.casefold(): index for name, index in (others or {}).items()}

    def id_of(self, value: Any, column: str) -> int:
        """Return the id of a label: its name in any letter case, or the id as an int or in digits."""
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        written = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else None
        if written is not None:
            found = self._ids.get(written, self._ids.get(written.casefold()))
            if found is not None:
                return found
            if written in ("-", "-1"):
                raise NoGoldError(f"`{column}` is {said(value)}, which stands for no gold label")
        if isinstance(value, float):
            raise RowError(f"`{column}` is {said(value)}; labels are classes, and numbers to regress are not supported")
        if not self.names:
            if written is not None and written.isdigit():
                return int(written)
            raise RowError(
                f"`{column}` is {said(value)}; it should be the number of the right choice, from 0 "
                "(choices that are told by letters or other names: --set labels='[A, B, C, D]')"
            )
        guess = did_you_mean(written or "", list(self.names))
        raise RowError(
            f"`{column}` is {said(value)}; the labels are {', '.join(self.names)}{guess} "
            "(other labels are named with --set labels='[A, B]')"
        )


def _ids_of_mapped(task: Task) -> dict[str, int]:
    return {name: task.labels.index(label) for name, label in task.labels_mapped.items()}


def one(source: Source, column: str) -> str:
    """Return the data's name of a column that must be a single one."""
    name = source.columns[column]
    if isinstance(name, str):
        return name
    raise UserError(f"`columns.{column}` names several columns ({', '.join(name)}); it takes one")


def cell(raw: Raw, name: str) -> Any:
    """Return the value of a column that the row must have."""
    try:
        value = raw[name]
    except KeyError:
        raise RowError(f"the row has no `{name}`; it has {listed(raw) or 'nothing'}") from None
    if value is None:
        raise RowError(f"`{name}` is empty (null)")
    return value


def text(raw: Raw, name: str, *, empty_is_fine: bool = False) -> str:
    """Return the text of a column; a text that is empty or not text is a mistake."""
    value = cell(raw, name)
    if not isinstance(value, str):
        raise RowError(f"`{name}` is {said(value)}; it should be text")
    if not empty_is_fine and (not value or value.isspace()):
        raise RowError(f"`{name}` is empty; fill it in or remove the row")
    return checked(value, name)


def texts(raw: Raw, name: str, *, empty_is_fine: bool = False) -> list[str]:
    """Return the list of texts of a column."""
    value = cell(raw, name)
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        raise RowError(f"`{name}` is {said(value)}; it should be a list of texts")
    if not empty_is_fine:
        if not value:
            raise RowError(f"`{name}` is an empty list; fill it in or remove the row")
        for position, part in enumerate(value, start=1):
            if not part or part.isspace():
                raise RowError(f"`{name}` number {position} is empty; fill it in or remove it")
    return [checked(part, name) for part in value]


def checked(value: str, name: str) -> str:
    """Return a text that can be written as UTF-8."""
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise RowError(f"`{name}` holds half a character (\\u{ord(value[error.start]):04x})") from None
    return value
