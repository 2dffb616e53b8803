"""What predictions tell beyond a score, kind by kind: where the model errs, how badly, and on what."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from xmodctl.catalog.task import Task
from xmodctl.evaluation.results import Row
from xmodctl.kinds import KINDS
from xmodctl.kinds.scoring import Predicted
from xmodctl.kinds.spans import Span, spans
from xmodctl.reports.study import Confusion, Part

Texts = tuple[tuple[str, str], ...]
EXCERPT = 160  # characters of a context on each side of the answer
QUARTERS = ("shortest", "short", "long", "longest")


@dataclass(frozen=True)
class Scored:
    """A seed's predictions for one language, and the row that they scored."""

    task: Task
    row: Row
    predictions: Sequence[Predicted]

    @cached_property
    def statistics(self) -> np.ndarray:
        """The kind's counts a row, shape (examples, counts)."""
        gold, said = [one.gold for one in self.predictions], [one.prediction for one in self.predictions]
        return KINDS[self.task.kind].statistics(gold, said, self.task, self.row.language)


@dataclass(frozen=True)
class Breakdown(ABC):
    """The surface every kind has."""

    task: Task

    parts_are: ClassVar[str]
    """What the parts of a language's examples are, as the caption of their table."""

    def confusion(self, seeds: Sequence[Scored]) -> Confusion | None:
        """Return how often each gold label was given each label, where answers are labels."""
        return None

    @abstractmethod
    def parts(self, seeds: Sequence[Scored]) -> tuple[Part, ...]:
        """Return the headline metric on parts of the examples."""

    @abstractmethod
    def wrongness(self, seed: Scored) -> np.ndarray:
        """Return how wrong each prediction is and how sure the model was of it; 0 where it is right."""

    @abstractmethod
    def told(self, gold: Any, said: Any, example: Mapping[str, Any] | None) -> tuple[str, str, Texts]:
        """Return what was right, what the model said, and the example's texts where it is at hand."""


class Labels(Breakdown):
    """Sequence classification."""

    parts_are = "Share of each label's examples that were labelled right, in percent"

    def confusion(self, seeds: Sequence[Scored]) -> Confusion | None:
        """Count labels against labels."""
        return _counted(((one.gold, one.prediction) for one in _all(seeds)), self.task.labels)

    def parts(self, seeds: Sequence[Scored]) -> tuple[Part, ...]:
        """Return recall for each label."""
        return _recalls(self.confusion(seeds), len(seeds))

    def wrongness(self, seed: Scored) -> np.ndarray:
        """Return the probability that the right label did not get."""
        order = {label: number for number, label in enumerate(self.task.labels)}
        return np.array(
            [0.0 if one.gold == one.prediction else 1 - one.scores[order[one.gold]] for one in seed.predictions]
        )

    def told(self, gold: Any, said: Any, example: Mapping[str, Any] | None) -> tuple[str, str, Texts]:
        """Name the texts as the data does."""
        columns = [column for column in ("text", "text_pair") if example and column in example]
        return gold, said, tuple((str(self.task.columns[column]), example[column]) for column in columns if example)


class Choices(Breakdown):
    """Multiple choice."""

    parts_are = "Accuracy by the place of the right choice, in percent"

    def confusion(self, seeds: Sequence[Scored]) -> Confusion | None:
        """Count places against places: a model that prefers one shows here."""
        most = max((len(one.scores) for one in _all(seeds)), default=0)
        pairs = ((_choice(one.gold), _choice(one.prediction)) for one in _all(seeds))
        return _counted(pairs, [_choice(number) for number in range(most)])

    def parts(self, seeds: Sequence[Scored]) -> tuple[Part, ...]:
        """Return accuracy for each place."""
        return _recalls(self.confusion(seeds), len(seeds))

    def wrongness(self, seed: Scored) -> np.ndarray:
        """Return the probability that the right choice did not get."""
        return np.array([0.0 if one.gold == one.prediction else 1 - one.scores[one.gold] for one in seed.predictions])

    def told(self, gold: Any, said: Any, example: Mapping[str, Any] | None) -> tuple[str, str, Texts]:
        """Show context, question and choices."""
        if not example:
            return _choice(gold), _choice(said), ()
        asked = [(column, example[column]) for column in ("context", "question") if example.get(column)]
        offered = [(_choice(number), text) for number, text in enumerate(example["choices"])]
        return _choice(gold), _choice(said), (*asked, *offered)


class Entities(Breakdown):
    """Token classification."""

    parts_are = "Entity F1 by type, in percent"

    def parts(self, seeds: Sequence[Scored]) -> tuple[Part, ...]:
        """Return F1 for each type, as the rows have it."""
        prefix = "entity_f1."
        names = [name for name in seeds[0].row.metrics if name.startswith(prefix)]
        return tuple(
            Part(name.removeprefix(prefix), None, sum(seed.row.metrics[name] for seed in seeds) / len(seeds))
            for name in names
        )

    def wrongness(self, seed: Scored) -> np.ndarray:
        """Return the sum, over words with a wrong tag, of the probability of that tag."""
        return np.array([0.0 if one.gold == one.prediction else _sure_of_wrong_tags(one) for one in seed.predictions])

    def told(self, gold: Any, said: Any, example: Mapping[str, Any] | None) -> tuple[str, str, Texts]:
        """Name the entities that only one side has; those both have are right."""
        tokens = example["tokens"] if example else None
        right, found = spans(gold, strict=False), spans(said, strict=False)
        return (
            _entities([one for one in right if one not in found], tokens),
            _entities([one for one in found if one not in right], tokens),
            (("sentence", " ".join(tokens)),) if tokens else (),
        )


class Answers(Breakdown):
    """Question answering."""

    parts_are = "F1 by the length of the right answer, in percent: each language's answers in four parts by characters"

    def parts(self, seeds: Sequence[Scored]) -> tuple[Part, ...]:
        """Return the metric on the shortest to longest quarters of the answers, and on questions without one."""
        kind = KINDS[self.task.kind]
        lengths = np.array([len(one.gold[0]) if one.gold else 0 for one in seeds[0].predictions])
        answered = lengths > 0
        borders = np.quantile(lengths[answered], [0.25, 0.5, 0.75]) if answered.any() else [0.0]
        quarter = np.where(answered, np.searchsorted(borders, lengths), len(QUARTERS))
        found = []
        for number, name in enumerate((*QUARTERS, "no answer")):
            inside = quarter == number
            if inside.any():
                totals = [seed.statistics[inside].sum(axis=0) for seed in seeds]
                values = [kind.metrics(total, self.task)[self.task.headline] for total in totals]
                found.append(Part(name, int(inside.sum()), float(np.mean(values))))
        return tuple(found)

    def wrongness(self, seed: Scored) -> np.ndarray:
        """Return the F1 that the answer missed, times the answer's probability."""
        _, f1, *_ = seed.statistics.T
        wrong: np.ndarray = (1 - f1) * np.array([one.scores[0] for one in seed.predictions])
        return wrong

    def told(self, gold: Any, said: Any, example: Mapping[str, Any] | None) -> tuple[str, str, Texts]:
        """Show the question and the context around the right answer."""
        right = " / ".join(dict.fromkeys(gold)) or "no answer"
        if not example:
            return right, said or "no answer", ()
        answers = example["answers"]
        start = answers["answer_start"][0] if answers["answer_start"] else 0
        end = start + len(answers["text"][0]) if answers["text"] else 0
        texts = (("question", example["question"]), ("context", _excerpt(example["context"], start, end)))
        return right, said or "no answer", texts


BREAKDOWNS: dict[str, type[Breakdown]] = {
    "sequence-classification": Labels,
    "token-classification": Entities,
    "question-answering": Answers,
    "multiple-choice": Choices,
}
"""Every kind that this version runs."""


def _all(seeds: Sequence[Scored]) -> Iterator[Predicted]:
    return (one for seed in seeds for one in seed.predictions)


def _counted(pairs: Iterable[tuple[str, str]], labels: Sequence[str]) -> Confusion:
    counts = Counter(pairs)
    return Confusion(tuple(labels), tuple(tuple(counts[gold, said] for said in labels) for gold in labels))


def _recalls(confusion: Confusion | None, seeds: int) -> tuple[Part, ...]:
    assert confusion is not None
    return tuple(
        Part(label, sum(row) // seeds, 100 * row[number] / sum(row))
        for number, (label, row) in enumerate(zip(confusion.labels, confusion.counts, strict=True))
        if sum(row)
    )


def _choice(number: int) -> str:
    return f"choice {number + 1}"


def _sure_of_wrong_tags(one: Predicted) -> float:
    return sum(score for gold, said, score in zip(one.gold, one.prediction, one.scores, strict=True) if gold != said)


def _entities(found: Sequence[Span], tokens: Sequence[str] | None) -> str:
    """Name entities by their words, or by their places where the words are not at hand."""
    told = []
    for type_, begin, end in found:
        place = f"word {begin + 1}" if end - begin == 1 else f"words {begin + 1} to {end}"
        told.append(f"{type_}: {' '.join(tokens[begin:end]) if tokens else place}")
    return "; ".join(told) or "nothing more"


def _excerpt(context: str, start: int, end: int) -> str:
    first, last = max(0, start - EXCERPT), min(len(context), end + EXCERPT)
    return ("… " if first else "") + context[first:last] + (" …" if last < len(context) else "")
