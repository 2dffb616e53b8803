"""The kinds' metrics as metrics of `evaluate`, offline: no script is downloaded."""

from functools import cache
from typing import TYPE_CHECKING, Any

from xmodctl.kinds import KINDS, TaskView

if TYPE_CHECKING:
    import evaluate
    from datasets import Features

DESCRIPTION = "Scores of {title}, in percent, by the rules of its kind ({kind})."


def metric(task: TaskView, language: str = "en") -> "evaluate.Metric":
    """Return the metric of a task; `language` is the language in which answers to questions are compared."""
    return _metric_class()(task, language)


@cache
def _metric_class() -> type[Any]:
    """Define the class late, because `evaluate` takes seconds to import."""
    import evaluate

    class TaskMetric(evaluate.Metric):  # type: ignore[misc]
        """The metrics of one task."""

        def __init__(self, task: TaskView, language: str) -> None:
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


def _features(kind: str) -> "Features":
    from datasets import Features

    prediction, gold = KINDS[kind].metric_features()
    return Features({"predictions": prediction, "references": gold})
