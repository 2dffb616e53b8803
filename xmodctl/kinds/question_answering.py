"""Extractive question answering: the piece of a context that answers a question, or none."""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import median
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from xmodctl.catalog.task import KindName, Task
from xmodctl.kinds.answers import Rules
from xmodctl.kinds.windows import Frame, windows

if TYPE_CHECKING:
    from datasets import Dataset

    from xmodctl.core.encoded import Encoded

Ints = NDArray[np.int32]

QUESTION_TOKENS = 64
"""A longer question is cut, as BERT's run_squad.py does."""

ANSWER_TOKENS = 64
"""The longest answer looked for, in tokens."""

SHOWN = 20
"""Answers in an n-best list."""


@dataclass(frozen=True)
class Answer:
    """One candidate: `context[start:end]`, or an empty text for none."""

    text: str
    start: int
    end: int
    probability: float  # among the candidates of its list


class QuestionAnswering:
    """Find the answer in a context; scored by exact match and F1 as the benchmark's own script does."""

    name: KindName = "question-answering"

    def outputs(self, task: Task) -> tuple[str, ...]:
        """Return what the head says of each token."""
        return ("start", "end")

    def encode(self, rows: "Dataset", tokenizer: Any, *, max_length: int, stride: int) -> "Encoded":
        """Turn each row into windows: the question, and parts of the context of which two share `stride` tokens.

        The targets are where the first answer begins and ends; in a window that does not hold all of it, both are the
        first token. Counted are questions cut short, answers that no window holds or that are too long to be looked
        for, and answers that begin or end within a token.
        """
        from xmodctl.core.encoded import Encoded, Ragged

        frame = Frame.of(tokenizer, texts=2)
        start, middle, end_marks = frame.gaps
        after = np.array(end_marks, dtype=np.int32)
        asked = min(QUESTION_TOKENS, (max_length - frame.size) // 2)
        answered = "answers" in rows.column_names
        tokens: dict[str, list[Ints]] = {"ids": [], "start": [], "end": []}
        owners: list[int] = []
        targets: list[tuple[int, int]] = []
        counts = {"truncated": 0, "unreachable_answers": 0, "answers_within_tokens": 0}
        for row, (question, context, answers) in enumerate(_tokenized(rows, tokenizer)):
            counts["truncated"] += len(question) > asked
            before = np.array([*start, *question[:asked], *middle], dtype=np.int32)
            nowhere = np.full(len(before), -1, dtype=np.int32), np.full(len(after), -1, dtype=np.int32)
            room = max_length - len(before) - len(after)
            parts = list(windows(len(context.ids), room, overlap=stride))
            span = None
            if answers and answers["text"]:
                text, begin = answers["text"][0], answers["answer_start"][0]
                span = context.tokens(begin, begin + len(text))
                reachable = span and any(begin <= span[0] and span[1] < end for begin, end in parts)
                counts["unreachable_answers"] += not (span and reachable and context.count(*span) <= ANSWER_TOKENS)
                counts["answers_within_tokens"] += span is not None and context.text(*span) != text.strip()
            for begin, end in parts:
                held = span and begin <= span[0] and span[1] < end
                shift = len(before) - begin
                targets.append((span[0] + shift, span[1] + shift) if span and held else (0, 0))
                owners.append(row)
                tokens["ids"].append(np.concatenate([before, context.ids[begin:end], after]))
                tokens["start"].append(np.concatenate([nowhere[0], context.starts[begin:end], nowhere[1]]))
                tokens["end"].append(np.concatenate([nowhere[0], context.ends[begin:end], nowhere[1]]))
        positions = np.array(targets, dtype=np.int64).reshape(-1, 2)
        return Encoded(
            input_ids=Ragged.of(tokens["ids"]),
            rows=np.array(owners, dtype=np.int64),
            scalars={"start_positions": positions[:, 0], "end_positions": positions[:, 1]} if answered else {},
            places={name: Ragged.of(tokens[name]) for name in ("start", "end")},
            counts=counts,
        )

    def weights(self, encoded: "Encoded") -> np.ndarray:
        """Return one term of the loss a window."""
        return np.ones(len(encoded))

    def decode(
        self, logits: Sequence[np.ndarray], encoded: "Encoded", rows: "Dataset", task: Task
    ) -> list[tuple[list[str] | None, str, tuple[float, ...]]]:
        """Return (gold answers, answer, its probability among the best) for each row."""
        gold = [one["text"] for one in rows["answers"]] if "answers" in rows.column_names else [None] * len(rows)
        candidates = self.candidates(logits, encoded, rows, task)
        return [(texts, found[0].text, (found[0].probability,)) for texts, found in zip(gold, candidates, strict=True)]

    def candidates(
        self, logits: Sequence[np.ndarray], encoded: "Encoded", rows: "Dataset", task: Task
    ) -> Iterator[list[Answer]]:
        """Yield the best answers of each row, best first: those with the highest start plus end over all windows.

        Where questions may have no answer, none is a candidate: it scores what the first token does in the window that
        believes in it least (Devlin et al. 2019, section 4.3, with a threshold of 0).
        """
        may_be_none = task.metric_rules == "squad2"
        first = np.searchsorted(encoded.rows, np.arange(len(rows) + 1))
        for row, context in enumerate(rows["context"]):
            scores: dict[tuple[int, int], float] = {}
            none = np.inf
            for feature in range(first[row], first[row + 1]):
                starts, ends = (encoded.places[name][feature] for name in ("start", "end"))
                values = logits[feature][: len(starts)].astype(np.float64)
                none = min(none, float(values[0].sum()))
                tokens = np.flatnonzero(starts >= 0)
                for begin, end, score in best_spans(values[tokens], SHOWN):
                    place = int(starts[tokens[begin]]), int(ends[tokens[end]])
                    scores[place] = max(score, scores.get(place, -np.inf))
            if may_be_none or not scores:
                scores[0, 0] = none
            # Sorting is stable, so an answer that scores as high as none comes before it.
            ranked = sorted(scores.items(), key=lambda one: -one[1])[:SHOWN]
            shares = np.exp([score - ranked[0][1] for _, score in ranked])
            yield [
                Answer(context[start:end], start, end, round(float(share), 6))
                for ((start, end), _), share in zip(ranked, shares / shares.sum(), strict=True)
            ]

    def statistics(self, gold: Sequence[Any], predicted: Sequence[Any], task: Task, language: str) -> np.ndarray:
        """Return per row (exact match, F1, 1), and the same again where the question has an answer, else zeros.

        Raises:
            UserError: The task's rules do not know the language, or questions without an answer.
        """
        rules = Rules(task.metric_rules, language)
        counts = np.zeros((len(gold), 6))
        for row, (texts, text) in enumerate(zip(gold, predicted, strict=True)):
            score = rules.score(texts, text)
            counts[row, :3] = score.exact_match, score.f1, 1
            counts[row, 3:] = counts[row, :3] * bool(texts)
        return counts

    def metrics(self, totals: np.ndarray, task: Task) -> Mapping[str, np.ndarray]:
        """Return F1 and exact match; by the rules of SQuAD 2.0 also over questions with and without an answer."""
        every, answerable = np.moveaxis(totals[..., :3], -1, 0), np.moveaxis(totals[..., 3:], -1, 0)
        values = {"f1": every[1], "exact_match": every[0]}
        rows = dict.fromkeys(values, every[2])
        if task.metric_rules == "squad2":
            values |= {"has_answer_f1": answerable[1], "has_answer_exact_match": answerable[0]}
            values |= {"no_answer_accuracy": every[0] - answerable[0]}
            rows |= {"has_answer_f1": answerable[2], "has_answer_exact_match": answerable[2]}
            rows |= {"no_answer_accuracy": every[2] - answerable[2]}
        return {
            name: 100 * np.divide(value, rows[name], out=np.zeros_like(value), where=rows[name] > 0)
            for name, value in values.items()
        }

    def baseline(self, gold: Sequence[Any], rows: "Dataset", task: Task, language: str) -> float:
        """Return the score of answering with the context's beginning, as long as answers are, or with nothing."""
        length = round(median([len(texts[0]) for texts in gold if texts] or [0]))
        beginnings = [context[:length] for context in rows["context"]]
        totals = (self.statistics(gold, said, task, language).sum(axis=0) for said in (beginnings, [""] * len(gold)))
        return max(float(self.metrics(total, task)[task.headline]) for total in totals)


@dataclass(frozen=True)
class Context:
    """A tokenized context: its ids, and the characters at which an answer made of these tokens begins and ends.

    `starts` and `ends` are -1 for tokens that no answer begins or ends with: those of blanks, and those of which the
    next token holds every character (the lone word mark in front of a word, a character that became several pieces).
    """

    source: str
    ids: Ints
    starts: Ints
    ends: Ints

    @classmethod
    def read(cls, texts: Sequence[str], tokenizer: Any) -> dict[str, Self]:
        """Tokenize each different text once."""
        different = list(dict.fromkeys(texts))
        encodings = tokenizer(different, add_special_tokens=False, verbose=False).encodings
        return {text: cls.of(text, encoding) for text, encoding in zip(different, encodings, strict=True)}

    @classmethod
    def of(cls, text: str, encoding: Any) -> Self:
        """Read where tokens begin and end off the tokenizer's offsets, and mend what these leave to be desired."""
        offsets = np.array(encoding.offsets, dtype=np.int32).reshape(-1, 2)
        starts, ends = offsets[:, 0], offsets[:, 1]
        classes = np.array([_class_of(character) for character in text], dtype=np.int8)
        following = np.append(starts[1:], len(text))
        # A mark that was composed with its letter belongs to it; the tokenizer's offset may leave it out.
        ends = np.maximum(ends, np.minimum(_ahead(classes == MARK)[ends], following))
        # A word begins after its blank.
        starts, ends = _ahead(classes == BLANK)[starts], _back(classes == BLANK)[ends]
        held_by_next = (following <= starts) & (ends <= np.append(ends[1:], 0))
        # A token such as `）。` ends an answer before the punctuation that ends the clause; not so `▁Inc.`.
        after_letter = np.append(False, classes[:-1] == LETTER)[: len(classes)]
        closed = _back((classes == CLAUSE_END) | ((classes == PERIOD) & ~after_letter))[ends]
        ends = np.where(closed > starts, closed, ends)
        nowhere = (starts >= ends) | held_by_next
        starts, ends = (np.where(nowhere, -1, places).astype(np.int32) for places in (starts, ends))
        return cls(text, np.array(encoding.ids, dtype=np.int32), starts, ends)

    def tokens(self, start: int, end: int) -> tuple[int, int] | None:
        """Return the first and the last token that hold characters from `start` to `end`, or None if none do."""
        holding = np.flatnonzero((self.starts >= 0) & (self.starts < end) & (self.ends > start))
        return (int(holding[0]), int(holding[-1])) if len(holding) else None

    def count(self, first: int, last: int) -> int:
        """Return how many tokens an answer has, as `best_spans` counts them."""
        return int(np.count_nonzero(self.starts[first : last + 1] >= 0))

    def text(self, first: int, last: int) -> str:
        """Return what two tokens and those between them say."""
        return self.source[self.starts[first] : self.ends[last]]


def _tokenized(rows: "Dataset", tokenizer: Any) -> Iterator[tuple[list[int], Context, Mapping[str, Any] | None]]:
    """Yield each row's question and context as tokens, and its answers where rows have any."""
    for batch in rows.iter(batch_size=200):
        contexts = Context.read(batch["context"], tokenizer)
        questions = tokenizer(batch["question"], add_special_tokens=False, verbose=False)["input_ids"]
        answers = batch.get("answers") or [None] * len(questions)
        for question, text, gold in zip(questions, batch["context"], answers, strict=True):
            yield question, contexts[text], gold


def best_spans(values: np.ndarray, count: int) -> list[tuple[int, int, float]]:
    """Return the `count` best (first token, last token, score), for start and end scores of shape (tokens, 2)."""
    tokens = len(values)
    width = min(ANSWER_TOKENS, tokens)
    if not tokens:
        return []
    ends = np.append(values[:, 1], np.full(width - 1, -np.inf))
    table = values[:, :1] + np.lib.stride_tricks.sliding_window_view(ends, width)  # (first token, tokens after it)
    flat = table.reshape(-1)
    best = np.argpartition(-flat, min(count, len(flat)) - 1)[:count]
    best = best[np.argsort(-flat[best], kind="stable")]
    first, more = np.divmod(best, width)
    return [
        (int(begin), int(begin + extra), float(score))
        for begin, extra, score in zip(first, more, flat[best], strict=True)
        if np.isfinite(score)
    ]


OTHER, LETTER, BLANK, MARK, PERIOD, CLAUSE_END = range(6)


@lru_cache(maxsize=2**16)
def _class_of(character: str) -> int:
    """Return what a character is to the borders of an answer."""
    if character in ",;:!?…。，、；：！？．،؛؟۔।॥":
        return CLAUSE_END
    if character == ".":
        return PERIOD
    category = unicodedata.category(character)
    if category.startswith("L"):
        return LETTER
    if category.startswith("M"):
        return MARK
    # Joiners are part of words in Persian and in Indic scripts; other invisible characters are of no word.
    if character.isspace() or (category == "Cf" and character not in "\u200c\u200d"):
        return BLANK
    return OTHER


def _ahead(skipped: NDArray[np.bool_]) -> Ints:
    """Return for each border between characters where one stands after skipping forward."""
    size = len(skipped)
    targets = np.append(np.where(skipped, size, np.arange(size)), size).astype(np.int32)
    return np.minimum.accumulate(targets[::-1])[::-1]


def _back(skipped: NDArray[np.bool_]) -> Ints:
    """Return for each border between characters where one stands after skipping backward."""
    size = len(skipped)
    return np.append(0, np.maximum.accumulate(np.where(skipped, 0, np.arange(1, size + 1)))).astype(np.int32)
