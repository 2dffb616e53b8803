"""What a kind sees of a task."""

from collections.abc import Mapping
from typing import Literal, Protocol

from xmodctl.kinds.answers import MetricRules
from xmodctl.kinds.rows import Columns


class TaskView(Protocol):
    """What a kind reads of a task."""

    @property
    def name(self) -> str:
        """The name of the task's file, without .yaml."""

    @property
    def title(self) -> str:
        """The benchmark's name as papers print it."""

    @property
    def kind(self) -> str:
        """The name of the task's kind."""

    @property
    def columns(self) -> Columns:
        """The kind's columns -> the columns of the data."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names in the order of their ids."""

    @property
    def labels_are_found(self) -> bool:
        """Whether the labels are those of the training data, sorted: then no number is an id."""

    @property
    def labels_mapped(self) -> Mapping[str, str]:
        """Labels of some data that the task does not have -> the label each becomes."""

    @property
    def connectives(self) -> Mapping[str, Mapping[str, str]]:
        """Language -> what `question` may hold (cause, effect) -> its wording in that language."""

    @property
    def metric_rules(self) -> MetricRules:
        """The benchmark whose script compares answers."""

    def base_language(self, language: str) -> str:
        """Return the code of a language without script, region, or corpus: `de` for `de_DE`."""

    @property
    def threshold(self) -> float | Literal["source-dev"]:
        """The probability from which a label is predicted, where a text may have several; or how it is chosen."""

    @property
    def word_rule(self) -> str:
        """How a text is divided into words: at `spaces`, or as texts with `spans` are."""

    @property
    def headline(self) -> str:
        """The metric that a table shows."""

    @property
    def citation(self) -> str:
        """The paper to cite."""

    def connectives_in(self, language: str, *, remedy: str) -> Mapping[str, str]:
        """Return what `question` may hold, in lowercase -> the wording of it in a language."""
