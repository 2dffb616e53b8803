"""The sweep: a run's model scored in many languages. The shared weights are loaded once; adapters are swapped in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from xmodctl.adapters.attaching import load_tokenizers
from xmodctl.adapters.mixtures import record_of
from xmodctl.adapters.packages import Package
from xmodctl.catalog.locations import Split
from xmodctl.catalog.task import Task
from xmodctl.core.encoded import Encoded
from xmodctl.core.errors import UserError
from xmodctl.core.events import (
    BatchScored,
    LanguageFailed,
    LanguageScored,
    LanguageStarted,
    Listener,
    ModelLoading,
    Notice,
)
from xmodctl.core.memory import NotEnoughMemoryError
from xmodctl.core.versions import versions
from xmodctl.data import Rows, load_rows
from xmodctl.data.rows import load_examples
from xmodctl.evaluation.agreement import disagreement
from xmodctl.evaluation.example_statistics import ExampleStatistics, cache_example_statistics
from xmodctl.evaluation.measurements import Statistics
from xmodctl.evaluation.outputs import encodings_of, outputs_of, pair_adapter
from xmodctl.evaluation.results import Failure, Row, append_row, write_predictions
from xmodctl.evaluation.stored_rows import StoredRows
from xmodctl.evaluation.thresholds import stamped_threshold
from xmodctl.kinds import KINDS
from xmodctl.kinds.scoring import Predicted, headline_interval, score_predictions
from xmodctl.languages import Target, same
from xmodctl.model.precision import Precision, resolve_precision
from xmodctl.run.folder import refuse_read_only
from xmodctl.run.run import Run
from xmodctl.run.shots import refuse_shots, shots_of
from xmodctl.run.trained import Trained

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from xmodctl.adapters.mixtures import Attached
    from xmodctl.model import Source

Control = str
"""Which adapter a text goes through: its `own`, the `source` language's, or `none`."""


@dataclass
class Sweep:
    """Scores a run's model in many languages; scores that exist are kept.

    A language that fails does not stop the others: it becomes a `Failure`. A language whose adapter is in `packages`
    goes through that adapter, and is read with the package's own tokenizer if it has one.

    A score of other data (another file, other columns, other content) is another measurement: it is kept beside the
    earlier one. The languages in `unasked` are sources that are scored only so that gaps can be measured: they are read
    with the run's own settings, and where that fails, a notice says so.

    The model, the tokenizers, and the data of a language are loaded when they are first needed. If everything is
    scored already, only the fingerprint of the data is computed.
    """

    run: Run
    source: "Source"
    listen: Listener
    split: Split = "test"
    folder: Path | None = None  # of local data; None is the Hub
    limit: int | None = None
    redo: bool = False
    precision: str = "auto"
    packages: "Sequence[Attached]" = ()
    unasked: Sequence[Target] = ()
    own_task: Task | None = None  # the task with the run's own settings; None is the task of `run`
    read_as: str = ""  # what is set for reading the data, in place of the run's own settings
    rows: list[Row] = field(default_factory=list)  # all scores, in the order of scoring
    failures: list[Failure] = field(default_factory=list)
    statistics: Statistics = field(default_factory=dict)  # of the scores computed here, by `Row.key`

    def __post_init__(self) -> None:
        self.task = self.run.plan.task
        self.kind = KINDS[self.task.kind]
        # A device that lacks a precision is refused at once; the others are resolved when the model is loaded.
        explicit = self.precision not in ("auto", "fp32")
        self._resolved: Precision | None = resolve_precision(self.precision) if explicit else None
        self._stored = StoredRows(self.run)
        self._packages: dict[str | None, Attached] = {package.language: package for package in self.packages}
        self._tokenizers: Mapping[str | None, PreTrainedTokenizerBase] | None = None
        self._trained: Trained | None = None
        self._language_rows: tuple[str, Rows] | None = None
        self._fingerprints: dict[str, str] = {}
        self._absent: set[str] = set()  # reasons that were reported

    def score(self, targets: Sequence[Target], controls: Sequence[Control] = ()) -> None:
        """Score every target with every finished seed, through its own adapter and the controls `source` and `none`."""
        # A folder that does not say which language its files are in can hold only one language.
        single_language = len({target.data for target in targets}) == 1
        for seed in self.run.finished_seeds:
            for target in targets:
                try:
                    self._score_target(seed, target, ("own", *controls), single_language)
                except NotEnoughMemoryError:
                    raise
                except UserError as error:
                    if target in self.unasked:
                        self._report_absent_source(target, str(error))
                        continue
                    failure = Failure(target.data, target.adapter, seed, str(error))
                    self.failures.append(failure)
                    self.listen(LanguageFailed(failure.language, failure.adapter, seed, failure.reason))

    def stored_rows(self, targets: Sequence[Target], controls: Sequence[Control]) -> list[Row]:
        """Return the scores of targets that exist."""
        return [
            row
            for seed in self.run.finished_seeds
            for target in targets
            for control in ("own", *controls)
            for row in self._stored.of_any_data(self._key(seed, target, control))
        ]

    def _score_target(self, seed: int, target: Target, controls: Sequence[Control], single_language: bool) -> None:
        """Score one language with one seed through each control that has no score yet."""
        if target in self.unasked and (known := self._source_rows(seed, target, controls)):
            for stored in known:
                self._report(stored, known=True)
            return
        fingerprint = self._checked_fingerprint(seed, target, controls, single_language)
        missing = []
        for control in controls:
            row = self._stored_row(seed, target, control, fingerprint)
            if row is None:
                missing.append(control)
            else:
                self._report(row, known=True)
        if not missing:
            return
        refuse_read_only(self.run.folder)
        if self._trained is None or self._trained.seed != seed:
            self.listen(ModelLoading(self.run.plan.model))  # before the imports that this takes
        rows = self._load_rows(target, single_language)
        adapters = {control: self._adapter(target, control) for control in missing}
        pair = pair_adapter(self.run.plan, target.data, self.source, self.packages)
        used = {*adapters.values(), *([pair] if pair else [])}
        encodings = encodings_of(self.kind, rows, self.run.plan, self._load_tokenizers(), used)
        trained = self._load_model(seed, target)
        for control, adapter in adapters.items():
            encoded = encodings[adapter]
            notes = (*rows.notes, *self.kind.unreachable_answers(encoded, len(rows)))
            self.listen(LanguageStarted(target.data, adapter, control, seed, len(encoded), notes))
            self._score_rows(trained, rows, encodings, target, control)

    def _score_rows(
        self, trained: Trained, rows: Rows, encodings: Mapping[str | None, Encoded], target: Target, control: Control
    ) -> None:
        """Score rows through one adapter; the result row is written last, when its predictions are on disk."""
        started = perf_counter()
        adapter = self._adapter(target, control)
        encoded = encodings[adapter]
        logits = outputs_of(
            trained.model,
            encodings,
            (adapter, pair_adapter(self.run.plan, target.data, self.source, self.packages) or adapter),
            self.run.plan,
            precision=self._precision(),
            pad_id=int(self._load_tokenizers()[None].pad_token_id),
            on_batch=lambda units: self.listen(BatchScored(units)),
        )
        task = trained.settled(self.task)
        predictions, counts, metrics = score_predictions(self.kind, task, rows.table, rows.language, encoded, logits)
        row = self._result_row(trained, rows, target, control, predictions, counts, metrics)
        row = replace(row, predictions=self._predictions_name(row, target))
        path = row.predictions_in(self.run.folder)
        row = replace(
            row,
            truncated=encoded.counts["truncated"],
            threshold=stamped_threshold(task),
            seconds=perf_counter() - started,
            predictions_sha256=write_predictions(path, predictions),
        )
        append_row(self.run.results, row)
        self._stored.add(row)
        statistics = self.statistics[row.key] = ExampleStatistics.of(predictions, counts)
        cache_example_statistics(statistics, row, self.task)
        self._report(row)

    def _result_row(
        self,
        trained: Trained,
        rows: Rows,
        target: Target,
        control: Control,
        predictions: Sequence[Predicted],
        counts: np.ndarray,
        metrics: Mapping[str, float],
    ) -> Row:
        """Return the row of one score, but for what is known only when its predictions are written."""
        plan, headline = self.run.plan, self.task.headline
        package = self._packages.get(trained.model.active)
        gold = [prediction.gold for prediction in predictions]
        interval = headline_interval(self.kind, self.task, counts)
        return Row(
            task=self.task.name,
            kind=self.kind.name,
            split=rows.split,
            language=target.data,
            adapter=trained.model.active,
            control=control,
            source_languages=plan.source_languages if self.kind.trains else (),
            model=f"{plan.model}@{plan.revision}" if plan.revision else plan.model,
            data=f"{rows.origin}#{rows.fingerprint}",
            n=len(predictions),
            metric=headline,
            value=metrics[headline],
            metrics=dict(metrics),
            baseline=self.kind.baseline(gold, rows.table, self.task, rows.language),
            ci_low=interval.low,
            ci_high=interval.high,
            ci_method=interval.method,
            seed=trained.seed,
            step=trained.step,
            selected_on=trained.selected_on,
            limited=self.limit,
            precision=self._precision(),
            device=str(trained.model.module.device),
            seconds=0.0,
            truncated=0,
            predictions="",
            predictions_sha256="",
            tool=versions()["xmodctl"],
            shots=shots_of(plan, target.data),
            training_seed=plan.shots.training_seed if plan.shots else None,
            in_source=self.kind.trains
            and any(self.task.is_in_language(target.data, language) for language in plan.source_languages),
            package=trained.model.package,
            read_as="" if target in self.unasked else self.read_as,
            folder=str(self.folder.resolve()) if self.folder else None,
            package_folder=str(package.folder.resolve()) if isinstance(package, Package) else None,
            members=len(plan.average.members) if plan.average else 0,
            mixture=record_of(package),
            translated=plan.task.translated_among(plan.source_languages) if self.kind.trains else (),
        )

    def _report(self, row: Row, *, known: bool = False) -> None:
        """Add a row to the results of this sweep."""
        self.rows.append(row)
        self.listen(
            LanguageScored(
                language=row.language,
                adapter=row.adapter,
                control=row.control,
                seed=row.seed,
                metric=row.metric,
                value=row.value,
                ci_low=row.ci_low,
                ci_high=row.ci_high,
                rows=row.n,
                seconds=row.seconds,
                known=known,
            )
        )

    def _load_rows(self, target: Target, single_language: bool) -> Rows:
        """Return the rows of a language; those of the last language are in memory."""
        if self._language_rows is None or self._language_rows[0] != target.data:
            self._language_rows = None  # so that two languages are never in memory together
            rows = load_rows(
                self._task_of(target),
                target.data,
                self.split,
                folder=self.folder,
                limit=self.limit,
                single_language=single_language,
            )
            self._language_rows = target.data, rows
            self._fingerprints[target.data] = rows.fingerprint
        return self._language_rows[1]

    def _fingerprint(self, target: Target, single_language: bool) -> str:
        """Return the fingerprint of a language's rows, which is cheaper than the rows."""
        if target.data not in self._fingerprints:
            _, self._fingerprints[target.data] = load_examples(
                self._task_of(target),
                target.data,
                self.split,
                (),
                folder=self.folder,
                limit=self.limit,
                single_language=single_language,
            )
        return self._fingerprints[target.data]

    def _load_tokenizers(self) -> "Mapping[str | None, PreTrainedTokenizerBase]":
        """Return the base model's tokenizer under None, and those of packages under their language."""
        if self._tokenizers is None:
            self._tokenizers = load_tokenizers(self.source, self.packages)
        return self._tokenizers

    def _load_model(self, seed: int, target: Target) -> Trained:
        """Return the model of a seed; that of the last seed is in memory."""
        if self._trained is None or self._trained.seed != seed:
            self._trained = None
            self._trained = Trained.load(self.run, self.source, seed, target.adapter, packages=tuple(self.packages))
        return self._trained

    def _precision(self) -> Precision:
        if self._resolved is None:
            self._resolved = resolve_precision(self.precision)
        return self._resolved

    def _task_of(self, target: Target) -> Task:
        """Return the task as the data of a target is read."""
        return self.own_task if self.own_task is not None and target in self.unasked else self.task

    def _checked_fingerprint(
        self, seed: int, target: Target, controls: Sequence[Control], single_language: bool
    ) -> str:
        """Return the fingerprint of a language's data, after checking that it can be scored.

        The rows are loaded at once if they are needed; else only the fingerprint is computed.

        Raises:
            UserError: The data cannot be read, or was trained on.
        """
        shots = self.run.shots(seed)
        if shots.exists() or not any(self._stored.of_any_data(self._key(seed, target, name)) for name in controls):
            rows = self._load_rows(target, single_language)
            if shots.exists():
                refuse_shots(shots, rows.language, rows.split, rows.table)
            fingerprint = rows.fingerprint
        else:
            fingerprint = self._fingerprint(target, single_language)
        for other in self._stored.with_equal_rows(target.data, fingerprint):
            text = f"{other} and {target.data} have the same rows: is one of them read from the other's file, or from "
            self.listen(Notice(f"{text}the other's columns (--set columns.text=NAME)?", caution=True))
        return fingerprint

    def _source_rows(self, seed: int, target: Target, controls: Sequence[Control]) -> list[Row]:
        """Return the scores of a source that nobody asked for, if it was, or now would be, read with other settings.

        They stand whatever their content is, because the settings of this sweep are meant for another language.
        """
        rows = [self._stored.latest(self._key(seed, target, control), self.folder) for control in controls]
        known = [row for row in rows if row and self._agrees(row)]
        if self.read_as or any(row.read_as for row in known):
            return known
        return []

    def _report_absent_source(self, target: Target, reason: str) -> None:
        """Say once why a source that nobody asked for has no score."""
        text = f"{target.data} is not scored, so there are no gaps to the source language: {reason}"
        if text not in self._absent:
            self._absent.add(text)
            self.listen(Notice(text, caution=True))

    def _stored_row(self, seed: int, target: Target, control: Control, fingerprint: str) -> Row | None:
        """Return the row of an earlier sweep that was computed on the same data and with the same package."""
        row = None if self.redo else self._stored.get(self._key(seed, target, control), fingerprint)
        package = self._packages.get(self._adapter(target, control))
        is_same = row and row.package == (package.sha256 if package else None)
        return row if row and is_same and self._agrees(row) else None

    def _agrees(self, row: Row) -> bool:
        """Return whether a stored row says what its predictions score, and report one that does not."""
        problem = row.n and disagreement(self.run, row, self.statistics)
        if problem:
            text = f"{row.language}, seed {row.seed}: the stored score contradicts its predictions: {problem}"
            self.listen(Notice(f"{text}; it is scored again", caution=True))
        return not problem

    def _adapter(self, target: Target, control: Control) -> str | None:
        """Return the adapter that a control scores a target through."""
        adapters = {"own": target.adapter, "source": self.run.plan.source_languages[0], "none": None}
        return adapters[control]

    def _key(self, seed: int, target: Target, control: Control) -> tuple[Any, ...]:
        """Return the `Row.key` of a score, without the data."""
        return (seed, target.data, self._adapter(target, control), self.split, control, self.limit)

    def _predictions_name(self, row: Row, target: Target) -> str:
        """Return the path of the predictions of a score, relative to the run's folder.

        Where a score of other data has this path, the fingerprint is added.
        """
        through = "" if same(target.adapter, target.data) else f".{target.adapter.replace('*', 'x')}"
        limited = f".limit-{self.limit}" if self.limit else ""
        marked = "" if row.control == "own" else f".{row.control}"
        stem = f"predictions/{self.split}/{target.data}{through}{marked}{limited}"
        name = f"{stem}.seed-{row.seed}.jsonl"
        if self._stored.is_taken(name, row):
            name = f"{stem}.data-{row.fingerprint[:12]}.seed-{row.seed}.jsonl"
        return name
