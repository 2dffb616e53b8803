"""Reading questions: contexts, questions, and answers with their offsets, in any of the forms that data has them."""

from collections.abc import Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from xmodctl.core.errors import UserError
from xmodctl.core.messages import quoted
from xmodctl.core.mistakes import NoGoldError, RowError
from xmodctl.kinds.labels import written_form
from xmodctl.kinds.literals import structure_in
from xmodctl.kinds.rows import Raw, RowReader, SourceView, cell, checked_text, read_text, single_column

if TYPE_CHECKING:
    import pyarrow as pa

_PARTS = ("text", "answer_start")
_NO_ANSWER = ("-1", "-1.0", "nan")
"""The offset of a question without an answer."""


class QuestionReader(RowReader):
    """Rows of `context`, `question`, and `answers`: texts with their character offsets, as in SQuAD; possibly none."""

    gold_name = "answer"

    def __init__(self, source: SourceView) -> None:
        """Find the columns."""
        self._context, self._question = single_column(source, "context"), single_column(source, "question")
        columns = source.columns["answers"]
        if not isinstance(columns, str) and len(columns) != len(_PARTS):
            raise UserError(
                f"`columns.answers` names {len(columns)} columns ({', '.join(columns)}); give the column of answers, "
                "or two: that of the texts, and that of the characters at which they begin"
            )
        self._columns = [columns] if isinstance(columns, str) else columns
        self._answers = " and ".join(self._columns)
        self._source = source
        self._impossible = 0  # rows with answers that say so

    def schema(self) -> "pa.Schema":
        """Answers as a pair of lists."""
        import pyarrow as pa

        answers = pa.struct([("text", pa.list_(pa.string())), ("answer_start", pa.list_(pa.int64()))])
        return pa.schema([("context", pa.string()), ("question", pa.string()), ("answers", answers)])

    def row(self, raw: Raw) -> dict[str, Any]:
        """Check that each answer is at its offset."""
        context = read_text(raw, self._context)
        question = read_text(raw, self._question, allow_empty=self._source.published)
        answers = self._pairs(self._cell(raw), context)
        self._impossible += bool(answers) and _is_true(raw.get("is_impossible"))
        for answer, start in answers:
            if not answer or context[start : start + len(answer)] != answer or start < 0:
                self._refuse_misplaced(context, answer, start)
        return {
            "context": context,
            "question": question,
            "answers": {"text": [answer for answer, _ in answers], "answer_start": [start for _, start in answers]},
        }

    def answers(self, row: Mapping[str, Any]) -> Iterable[Hashable]:
        """Return the texts, or an empty one for a question without an answer."""
        return row["answers"]["text"] or ("",)

    def is_certainly_hidden(self, answer: Hashable) -> bool:
        """Without any answers, the true ones are hidden; a small set may have one answer."""
        return answer == ""

    def notes(self) -> tuple[str, ...]:
        """Return how many questions are said to be impossible, but have answers."""
        contradiction = f"`is_impossible` is true in {self._impossible:,} rows with answers, which are used as answers"
        return (contradiction,) if self._impossible else ()

    def _cell(self, raw: Raw) -> Any:
        """Return the answers of a row as they are written: in one column, or texts and offsets in two."""
        if len(self._columns) == 1:
            return structure_in(cell(raw, self._columns[0]))
        texts, starts = (structure_in(raw.get(column)) for column in self._columns)
        if isinstance(texts, list):
            return dict(zip(_PARTS, (texts, starts), strict=True))
        empty = (None, "")
        if texts in empty and (starts in empty or written_form(starts) in _NO_ANSWER):
            return []
        return [dict(zip(_PARTS, (texts, _whole(starts)), strict=True))]

    def _pairs(self, answers: Any, context: str) -> list[tuple[str, int]]:
        """Return (text, offset) of each answer, from any of the forms in use."""
        if isinstance(answers, str):
            answers = [{"text": answers, "answer_start": self._only_place(answers, context)}] if answers else []
        match answers:
            case {"text": list(texts), "answer_start": list(starts)} if len(texts) == len(starts):
                pairs = list(zip(texts, starts, strict=True))
            case list() if all(isinstance(item, dict) and {"text", "answer_start"} <= set(item) for item in answers):
                pairs = [(item["text"], item["answer_start"]) for item in answers]
            case _:
                raise RowError(
                    f"`{self._answers}` is {quoted(answers)}; expected a list of "
                    '{"text": ..., "answer_start": ...}, empty for a question without an answer',
                    f"`{self._answers}` has no answers with their offsets",
                )
        for answer, start in pairs:
            if not isinstance(answer, str) or not isinstance(start, int) or isinstance(start, bool):
                raise RowError(f"`{self._answers}` has {quoted([answer, start])}; expected text and a whole number")
            checked_text(answer, self._answers)
        return pairs

    def _only_place(self, answer: str, context: str) -> int:
        """Return where an answer without an offset is in its context.

        Raises:
            RowError: It does not occur, or occurs more than once.
        """
        if (count := context.count(answer)) == 1:
            return context.index(answer)
        problem = f"occurs {count} times in `{self._context}`" if count else f"does not occur in `{self._context}`"
        remedy = "add a column `answer_start` with the character at which it begins" if count else "correct the row"
        raise RowError(f"the answer {quoted(answer)} {problem}; {remedy}", f"an answer {problem}; {remedy}")

    def _refuse_misplaced(self, context: str, answer: str, start: int) -> None:
        """Refuse an answer that is not at its offset; a published one still counts as text to compare with."""
        seen = context[max(start, 0) : max(start, 0) + len(answer)]
        offset = context.find(answer) if answer else -1
        message = (
            f"the answer {quoted(answer)} is not at character {start} of `{self._context}`, which has {quoted(seen)} "
            f"there; {f'it is at character {offset}' if offset >= 0 else 'it does not occur in the text'}"
        )
        if not self._source.published:
            cause = f"an answer is not at the character of `{self._context}` that its offset gives"
            raise RowError(message, f"{cause}; correct the offsets, which count from 0, or remove the rows")
        if self._source.split == "train":
            raise NoGoldError(message)


def _is_true(value: Any) -> bool:
    """Return whether a value is true, as JSON, Python, or a table writes it."""
    return (written_form(value) or "").casefold() in ("true", "1", "1.0")


def _whole(value: Any) -> Any:
    """Return the whole number that text or a number with a fraction of zero is; return anything else as it is."""
    written = (written_form(value) or "").removesuffix(".0")
    return int(written) if written.isdecimal() and len(written) < len(str(2**63)) else value
