"""Extractive question answering: the piece of a context that answers a question, or none."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xmodctl.kinds.answers import Rules
from xmodctl.kinds.breakdown import SeedPredictions, Subset, Texts
from xmodctl.kinds.contexts import Context, Ints
from xmodctl.kinds.ensembling import vote
from xmodctl.kinds.entropy import mean_entropies
from xmodctl.kinds.inputs import InputRow
from xmodctl.kinds.kind import Kind, Metric, TaskView, Usage
from xmodctl.kinds.questions import QuestionReader
from xmodctl.kinds.rows import RowReader, SourceView
from xmodctl.kinds.scoring import Predicted
from xmodctl.kinds.windows import Frame, windows

if TYPE_CHECKING:
    from datasets import Dataset

    from xmodctl.core.encoded import Encoded

QUESTION_TOKENS = 64
"""A longer question is truncated, as in BERT's run_squad.py."""

ANSWER_TOKENS = 64
"""The longest answer that is predicted, in tokens."""

SHOWN = 20
"""Answers in an n-best list."""

EXCERPT = 160
"""Characters of a context that a report shows on each side of an answer."""

QUARTERS = ("shortest answers", "short answers", "long answers", "longest answers")
"""The parts that answers fall into by their length."""


@dataclass(frozen=True)
class Answer:
    """One candidate: `context[start:end]`, or an empty text for no answer."""

    text: str
    start: int
    end: int
    probability: float  # among the candidates of its list


class QuestionAnswering(Kind):
    """Find the answer in a context; scored by exact match and F1 as in the benchmark's own script."""

    name = "question-answering"
    required = ("context", "question", "answers")
    optional = ("id",)
    headlines: ClassVar = {"f1": Metric("F1", "f1"), "exact_match": Metric("Exact match", "exact_match", is_share=True)}
    task_keys = frozenset({"metric_rules"})

    recipes: ClassVar = {"default": "qa", "mini": "qa-mini"}
    head = "span"
    auto_class = "AutoModelForQuestionAnswering"
    pipeline = "question-answering"

    gold_column = "answers"
    balanced = False
    unreachable: ClassVar = {
        "unreachable_answers": "have an answer that is longer than the model can predict or that fits in no window",
        "answers_within_tokens": "have an answer that begins or ends inside a token, so that predictions are longer",
    }
    has_entropy = True
    ensemble_rule = "the answer with the highest sum of probabilities among those that the models give"
    parts_caption = "F1 by the length of the gold answer, in percent: quarters of each language's answers by characters"
    wrong_means = "an answer with an F1 below 1 counts as wrong"
    answers_are_text = True

    def outputs(self, task: TaskView) -> tuple[str, ...]:
        """Return the head's two outputs for each token."""
        return ("start", "end")

    def row_reader(self, task: TaskView, source: SourceView) -> RowReader:
        """Read contexts, questions, and answers."""
        return QuestionReader(source)

    def encode(self, rows: "Dataset", tokenizer: Any, *, max_length: int, stride: int) -> "Encoded":
        """Turn each row into windows: the question, and a part of the context; neighbors share `stride` tokens.

        The targets are where the first answer begins and ends; in a window that does not hold all of it, both are the
        first token. `counts` has the numbers of truncated questions, of answers that no window holds or that are too
        long to be predicted, and of answers that begin or end inside a token.
        """
        from xmodctl.core.encoded import Encoded, Ragged

        frame = Frame.of(tokenizer, texts=2)
        start, middle, end_marks = frame.gaps
        after = np.array(end_marks, dtype=np.int32)
        question_size = min(QUESTION_TOKENS, (max_length - frame.size) // 2)
        answered = "answers" in rows.column_names
        tokens: dict[str, list[Ints]] = {"ids": [], "start": [], "end": []}
        owners: list[int] = []
        targets: list[tuple[int, int]] = []
        counts = {"truncated": 0, "unreachable_answers": 0, "answers_within_tokens": 0}
        for row, (question, context, answers) in enumerate(_tokenized(rows, tokenizer)):
            counts["truncated"] += len(question) > question_size
            before = np.array([*start, *question[:question_size], *middle], dtype=np.int32)
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
            offsets={name: Ragged.of(tokens[name]) for name in ("start", "end")},
            counts=counts,
        )

    def decode(
        self, logits: Sequence[np.ndarray], encoded: "Encoded", rows: "Dataset", task: TaskView
    ) -> list[tuple[list[str] | None, str, tuple[float, ...]]]:
        """Return (gold answers, answer, its probability among the best) for each row."""
        has_gold = "answers" in rows.column_names
        gold = [answers["text"] for answers in rows["answers"]] if has_gold else [None] * len(rows)
        candidates = self.candidates(logits, encoded, rows, task)
        return [(texts, best.text, (best.probability,)) for texts, (best, *_) in zip(gold, candidates, strict=True)]

    def entropy(self, logits: Sequence[np.ndarray], encoded: "Encoded", units: np.ndarray) -> np.ndarray:
        """Return the mean entropy of where answers begin and end among the tokens of each unit's context."""
        starts = (encoded.offsets["start"][unit] for unit in units)
        return mean_entropies(
            values[: len(places)][places >= 0].T for places, values in zip(starts, logits, strict=True)
        )

    def combined(self, members: Sequence[Predicted], task: TaskView) -> tuple[str, tuple[float, ...]]:
        """Return the answer with the highest sum of probabilities, and its mean probability."""
        shares = [share for member in members for share in member.scores]
        answer, share = vote([member.prediction for member in members], shares)
        return answer, (share,)

    def candidates(
        self, logits: Sequence[np.ndarray], encoded: "Encoded", rows: "Dataset", task: TaskView
    ) -> Iterator[list[Answer]]:
        """Yield the best answers of each row, best first: those with the highest start plus end over all windows.

        Where questions may have no answer, no answer is a candidate too: its score is that of the first token in the
        window where it is lowest (Devlin et al. 2019, section 4.3, with a threshold of 0).
        """
        may_be_none = task.metric_rules == "squad2"
        first = np.searchsorted(encoded.rows, np.arange(len(rows) + 1))
        for row, context in enumerate(rows["context"]):
            scores: dict[tuple[int, int], float] = {}
            none = np.inf
            for feature in range(first[row], first[row + 1]):
                starts, ends = (encoded.offsets[name][feature] for name in ("start", "end"))
                values = logits[feature][: len(starts)].astype(np.float64)
                none = min(none, float(values[0].sum()))
                tokens = np.flatnonzero(starts >= 0)
                for begin, end, score in best_spans(values[tokens], SHOWN):
                    place = int(starts[tokens[begin]]), int(ends[tokens[end]])
                    scores[place] = max(score, scores.get(place, -np.inf))
            if may_be_none or not scores:
                scores[0, 0] = none
            # Sorting is stable, so an answer whose score equals that of no answer comes before it.
            ranked = sorted(scores.items(), key=lambda item: -item[1])[:SHOWN]
            shares = np.exp([score - ranked[0][1] for _, score in ranked])
            yield [
                Answer(context[start:end], start, end, round(float(share), 6))
                for ((start, end), _), share in zip(ranked, shares / shares.sum(), strict=True)
            ]

    def statistics(self, gold: Sequence[Any], predicted: Sequence[Any], task: TaskView, language: str) -> np.ndarray:
        """Return for each row (exact match, F1, 1), and the same again if the question has an answer, else zeros.

        Raises:
            UserError: The task's rules do not cover the language, or do not provide for questions without an answer.
        """
        rules = Rules(task.metric_rules, task.base_language(language))
        counts = np.zeros((len(gold), 6))
        for row, (texts, text) in enumerate(zip(gold, predicted, strict=True)):
            score = rules.score(texts, text)
            counts[row, :3] = score.exact_match, score.f1, 1
            counts[row, 3:] = counts[row, :3] * bool(texts)
        return counts

    def metrics(self, totals: np.ndarray, task: TaskView) -> Mapping[str, np.ndarray]:
        """Return F1 and exact match; by the rules of SQuAD 2.0, also over questions with and without an answer."""
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

    def baseline(self, gold: Sequence[Any], rows: "Dataset", task: TaskView, language: str) -> float:
        """Return the higher score of answering nothing, and as many first characters as a median answer has."""
        from statistics import median  # whose import takes as long as that of all kinds together

        length = round(median([len(texts[0]) for texts in gold if texts] or [0]))
        beginnings = [context[:length] for context in rows["context"]]
        return max(self.headline_of(gold, guess, task, language) for guess in (beginnings, [""] * len(gold)))

    def metric_features(self) -> tuple[Any, Any]:
        """Return a text, and the list of accepted answers."""
        from datasets import List, Value

        return Value("string"), List(Value("string"))

    def parts(self, task: TaskView, seeds: Sequence[SeedPredictions]) -> tuple[Subset, ...]:
        """Return the metric on the shortest to longest quarters of the answers, and on questions without an answer."""
        lengths = np.array([len(row.gold[0]) if row.gold else 0 for row in seeds[0].predictions])
        answered = lengths > 0
        borders = np.quantile(lengths[answered], [0.25, 0.5, 0.75]) if answered.any() else [0.0]
        quarter = np.where(answered, np.searchsorted(borders, lengths), len(QUARTERS))
        parts = []
        for number, name in enumerate((*QUARTERS, "no answer")):
            inside = quarter == number
            if inside.any():
                totals = [seed.statistics[inside].sum(axis=0) for seed in seeds]
                values = [self.metrics(total, task)[task.headline] for total in totals]
                rows = tuple(np.flatnonzero(inside).tolist())
                parts.append(Subset(name, len(rows), float(np.mean(values)), rows))
        return tuple(parts)

    def wrongness(self, task: TaskView, seed: SeedPredictions) -> np.ndarray:
        """Return the F1 that the answer missed, times the answer's probability."""
        _, f1, *_ = seed.statistics.T
        wrong: np.ndarray = (1 - f1) * np.array([row.scores[0] for row in seed.predictions])
        return wrong

    def describe_mistake(
        self, task: TaskView, gold: Any, predicted: Any, example: Mapping[str, Any] | None
    ) -> tuple[str, str, Texts]:
        """Show the question and the context around the gold answer."""
        right = " / ".join(dict.fromkeys(gold)) or "no answer"
        if not example:
            return right, predicted or "no answer", ()
        answers = example["answers"]
        start = answers["answer_start"][0] if answers["answer_start"] else 0
        end = start + len(answers["text"][0]) if answers["text"] else 0
        texts = (("question", example["question"]), ("context", _excerpt(example["context"], start, end)))
        return right, predicted or "no answer", texts

    def inspect_labels(
        self, encoded: "Encoded", feature: int, task: TaskView, row: Mapping[str, Any]
    ) -> tuple[Mapping[int, str], str | None]:
        """Return the tokens of the answer, and their text, with a note where it differs from the answer."""
        start, end = (int(encoded.scalars[f"{name}_positions"][feature]) for name in ("start", "end"))
        if not start:
            return {0: "no answer here"}, None
        begins, ends = int(encoded.offsets["start"][feature][start]), int(encoded.offsets["end"][feature][end])
        text, answer = row["context"][begins:ends], row["answers"]["text"][0].strip()
        note = "" if text == answer else f" (the answer, {answer}, begins or ends inside a token)"
        return dict.fromkeys(range(start, end + 1), "answer"), text + note

    def gold_and_texts(self, row: Mapping[str, Any], task: TaskView) -> tuple[Any, list[str]]:
        """Return the answers; question and context."""
        return row["answers"]["text"], [row["question"], row["context"]]

    def counted_labels(self, gold: Any, task: TaskView) -> list[str]:
        """Return whether there is an answer."""
        return ["an answer" if gold else "no answer"]

    def write_predictions(
        self,
        logits: Sequence[np.ndarray],
        encoded: "Encoded",
        rows: "Dataset",
        task: TaskView,
        inputs: Sequence[InputRow],
    ) -> Iterator[dict[str, Any]]:
        """Yield the answer, its place in the context, and its probability; the place is null without an answer."""
        for row, (best, *_) in zip(inputs, self.candidates(logits, encoded, rows, task), strict=True):
            start, end = (best.start, best.end) if best.text else (None, None)
            yield {"id": row.id, "prediction": best.text, "start": start, "end": end, "score": best.probability}

    def usage(self, task: TaskView) -> Usage:
        """Return a call with a question and a context."""
        output = [
            "scores = (outputs.start_logits[0][:, None] + outputs.end_logits[0]).tolist()  # of first and last token",
            "inside = [token for token, number in enumerate(inputs.sequence_ids()) if number == 1]  # the context's",
            "spans = [(first, last) for first in inside for last in inside "
            f"if first <= last < first + {ANSWER_TOKENS}]",
            "first, last = max(spans, key=lambda span: scores[span[0]][span[1]])",
            "answer = context[inputs.token_to_chars(first).start : inputs.token_to_chars(last).end].strip()",
        ]
        if task.metric_rules == "squad2":
            output.append('answer = "" if scores[0][0] > scores[first][last] else answer')
        return Usage(
            inputs='tokenizer(question := "A question?", context := "A context.", return_tensors="pt")',
            output="\n".join([*output, "print(answer)"]),
            note="These lines read one window. `xmodctl predict` reads a longer context in several, and its limit of "
            f"{ANSWER_TOKENS} tokens for an answer does not count tokens without letters.",
        )


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


def _excerpt(context: str, start: int, end: int) -> str:
    first, last = max(0, start - EXCERPT), min(len(context), end + EXCERPT)
    return ("… " if first else "") + context[first:last] + (" …" if last < len(context) else "")
