"""The data of a sweep: each language's rows and their fingerprint, loaded when they are first needed."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from xmodctl.catalog.locations import Split
from xmodctl.catalog.task import Task
from xmodctl.core.encoded import Encoded
from xmodctl.data import Rows, load_rows
from xmodctl.data.rows import load_examples
from xmodctl.evaluation.outputs import encodings_of
from xmodctl.kinds import Kind
from xmodctl.languages import Target
from xmodctl.run.plan import Plan

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass
class SweepData:
    """The rows of a sweep's languages; those of the last language are in memory.

    Args:
        task: How rows are read.
        own_task: The task with the run's own settings; None is `task`.
        split: The split.
        folder: That of local data; None is the Hub.
        limit: Read only the first rows.
    """

    task: Task
    own_task: Task | None
    split: Split
    folder: Path | None
    limit: int | None
    unasked: Sequence[Target] = ()  # they are read with `own_task`
    single_language: bool = False
    fingerprints: dict[str, str] = field(default_factory=dict)
    rows: tuple[str, Rows] | None = None
    encodings: dict[str | None, Encoded] = field(default_factory=dict)  # of `rows`, by their tokenizer

    def start(self, targets: Sequence[Target], unasked: Sequence[Target]) -> None:
        """Say which targets are to be read, and which of them with the run's own settings."""
        # A folder that does not say which language its files are in can hold only one language.
        self.unasked, self.single_language = unasked, len({target.data for target in targets}) == 1

    def load(self, target: Target) -> Rows:
        """Return the rows of a language."""
        if self.rows is None or self.rows[0] != target.data:
            self.rows, self.encodings = None, {}  # so that two languages are never in memory together
            rows = load_rows(
                self._task_of(target),
                target.data,
                self.split,
                folder=self.folder,
                limit=self.limit,
                single_language=self.single_language,
            )
            self.rows = target.data, rows
            self.fingerprints[target.data] = rows.fingerprint
        return self.rows[1]

    def encode(
        self,
        kind: Kind,
        rows: Rows,
        plan: Plan,
        tokenizers: "Mapping[str | None, PreTrainedTokenizerBase]",
        adapters: Collection[str | None],
    ) -> dict[str | None, Encoded]:
        """Return the encoding of the rows in memory for each adapter: with its own tokenizer if it has one."""
        own = {adapter: adapter if adapter in tokenizers else None for adapter in adapters}
        if missing := set(own.values()) - self.encodings.keys():
            self.encodings |= encodings_of(kind, rows, plan, tokenizers, missing)
        return {adapter: self.encodings[key] for adapter, key in own.items()}

    def fingerprint(self, target: Target) -> str:
        """Return the fingerprint of a language's rows, which is cheaper than the rows."""
        if target.data not in self.fingerprints:
            _, self.fingerprints[target.data] = load_examples(
                self._task_of(target),
                target.data,
                self.split,
                (),
                folder=self.folder,
                limit=self.limit,
                single_language=self.single_language,
            )
        return self.fingerprints[target.data]

    def _task_of(self, target: Target) -> Task:
        """Return the task as the data of a target is read."""
        return self.own_task if self.own_task is not None and target in self.unasked else self.task
