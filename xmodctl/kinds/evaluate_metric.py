"""The kinds' metrics as `evaluate` metrics: offline, no script is fetched; `compute`, `add_batch`, `combine` work."""

from functools import cache
from typing import TYPE_CHECKING, Any

from xmodctl.catalog.task import KindName, Task
from xmodctl.kinds import KINDS

if TYPE_CHECKING:
    import evaluate
    from datasets import Features

DESCRIPTION = "Scores of {title}, in percent, by the rules of its kind ({kind})."


def metric(task: Task, language: str = "en") -> "evaluate.Metric":
    """Return the metric of a task; `language` is the one that answers to questions are compared in."""
    return _metric_class()(task, language)


@cache
def _metric_class() -> type[Any]:
    """Define the class late: `evaluate` takes seconds to import."""
    import evaluate

    class TaskMetric(evaluate.Metric):  # type: ignore[misc]
        """The metrics of one task."""

        def __init__(self, task: Task, language: str) -> None:
            self.task, self.language = task, language
            super().__init__(config_name=task.name, keep_in_memory=True)

        def _info(self) -> Any:
            return evaluate.MetricInfo(
                description=DESCRIPTION.format(title=self.task.title, kind=self.task.kind),
                citation=self.task.citation,
                features=_features(self.task.kind),
            )

        def _compute(self, predictions: list[Any], references: list[Any]) -> dict[str, float]:
            kind = KINDS[self.task.kind]
            totals = kind.statistics(references, predictions, self.task, self.language).sum(axis=0)
            return {name: float(value) for name, value in kind.metrics(totals, self.task).items()}

    return TaskMetric


def _features(kind: KindName) -> "Features":
    from datasets import Features, List, Value

    text, number = Value("string"), Value("int64")
    predicted, gold = {
        "sequence-classification": (text, text),  # label names
        "token-classification": (List(text), List(text)),  # one IOB2 tag a word
        "question-answering": (text, List(text)),  # an answer; the accepted ones
        "multiple-choice": (number, number),  # which choice, from 0
    }[kind]
    return Features({"predictions": predicted, "references": gold})
