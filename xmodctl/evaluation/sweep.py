"""The sweep: a run's model scored in many languages. The shared weights are loaded once; adapters are swapped in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

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
from xmodctl.core.file_names import fitting_name
from xmodctl.core.memory import NotEnoughMemoryError
from xmodctl.core.versions import versions
from xmodctl.data import Rows
from xmodctl.evaluation.agreement import disagreement
from xmodctl.evaluation.example_statistics import ExampleStatistics, cache_example_statistics
from xmodctl.evaluation.measurements import Statistics
from xmodctl.evaluation.outputs import pair_adapter
from xmodctl.evaluation.results import Failure, Row, write_predictions
from xmodctl.evaluation.row_order import count_rows, put_in_order
from xmodctl.evaluation.sharing import Processes
from xmodctl.evaluation.stored_rows import StoredRows
from xmodctl.evaluation.sweep_data import SweepData
from xmodctl.evaluation.sweep_model import SweepModel
from xmodctl.evaluation.thresholds import stamped_threshold
from xmodctl.kinds import KINDS
from xmodctl.kinds.scoring import Predicted, headline_interval, score_predictions
from xmodctl.languages import Target, same
from xmodctl.run.folder import refuse_read_only
from xmodctl.run.jobs import Jobs, Piece
from xmodctl.run.run import SCORE_KEY, Run, score_key
from xmodctl.run.shards import EVERYTHING, Shard
from xmodctl.run.shots import refuse_shots, shots_of
from xmodctl.run.trained import Trained
from xmodctl.run.written import ROWS_BEFORE

if TYPE_CHECKING:
    from xmodctl.adapters.mixtures import Attached
    from xmodctl.model import Source

Control = str
"""Which adapter a text goes through: its `own`, the `source` language's, or `none`."""


@dataclass(frozen=True)
class SweepScore:
    """One score of a sweep."""

    seed: int
    target: Target
    control: Control
    controls: Sequence[Control]  # all of the sweep


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
    processes: Processes = field(default_factory=Processes)  # that compute its outputs
    rows: list[Row] = field(default_factory=list)  # all scores, in the order of scoring
    failures: list[Failure] = field(default_factory=list)
    statistics: Statistics = field(default_factory=dict)  # of the scores computed here, by `Row.key`

    def __post_init__(self) -> None:
        self.task = self.run.plan.task
        self.kind = KINDS[self.task.kind]
        self._stored = StoredRows(self.run)
        self._packages: dict[str | None, Attached] = {package.language: package for package in self.packages}
        self._model = SweepModel(self.run, self.source, self.packages, self.precision, self.processes)
        self._data = SweepData(self.task, self.own_task, self.split, self.folder, self.limit)
        self._failed: set[tuple[int, Target]] = set()
        self._absent: set[str] = set()  # reasons that were reported

    def score(
        self,
        targets: Sequence[Target],
        controls: Sequence[Control] = (),
        *,
        jobs: Jobs,
        shard: Shard = EVERYTHING,
        wait: bool = False,
    ) -> list[Piece[SweepScore]]:
        """Score targets with every finished seed, through their own adapter and the controls `source` and `none`.

        Args:
            targets: The languages.
            controls: The controls.
            jobs: Those on the run's folder; scores that another one computes are passed over.
            shard: Score only this share of the seeds and targets.
            wait: Whether to wait for scores that other jobs compute.

        Returns:
            The scores that other jobs are computing.
        """
        self._jobs, start = jobs, len(self.rows)
        self._data.start(targets, self.unasked)
        since = 0 if shard.count > 1 else jobs.note_first(ROWS_BEFORE, count_rows(self.run.results))
        parts = [(seed, target) for seed in self.run.finished_seeds for target in targets]
        names = ("own", *controls)
        order = {self._key(*part, name): n for n, (part, name) in enumerate(product(parts, names))}
        pieces = [
            Piece(self._title(*part, name), (part[0], part[1].data), SweepScore(*part, name, names))
            for part in shard.of(parts)
            for name in names
        ]
        held = jobs.share(pieces, self._score, wait=wait)
        held = [piece for piece in held if not self._report_stored(piece.work)]
        self.rows[start:] = sorted(self.rows[start:], key=lambda row: order[row.key[:-1]])
        if jobs.is_shared:
            with jobs.writing():
                put_in_order(self.run.results, order, since)
                if not held:
                    jobs.forget(ROWS_BEFORE)
        return held

    def _score(self, score: "SweepScore") -> None:
        """Compute a score that does not exist; a failure is reported once for all scores of the seed and language."""
        seed, target = score.seed, score.target
        if (seed, target) in self._failed:
            return
        try:
            if not self._report_stored(score):
                self._compute(score)
        except NotEnoughMemoryError:
            raise
        except UserError as error:
            self._failed.add((seed, target))
            if target in self.unasked:
                self._report_absent_source(target, str(error))
                return
            failure = Failure(target.data, target.adapter, seed, str(error))
            self.failures.append(failure)
            self.listen(LanguageFailed(failure.language, failure.adapter, seed, failure.reason))

    def stored_rows(self, targets: Sequence[Target], controls: Sequence[Control], shard: Shard) -> list[Row]:
        """Return the scores of a share of the seeds and targets that exist."""
        parts = [(seed, target) for seed in self.run.finished_seeds for target in targets]
        return [
            row
            for seed, target in shard.of(parts)
            for control in ("own", *controls)
            for row in self._stored.of_any_data(self._key(seed, target, control))
        ]

    def _report_stored(self, score: "SweepScore") -> bool:
        """Report a score that exists, and return whether it does.

        Raises:
            UserError: Its data cannot be read, or was trained on.
        """
        self._stored.reload()
        seed, target, controls = score.seed, score.target, score.controls
        if target in self.unasked and (known := self._source_rows(seed, target, controls)):
            for row in known:
                if row.control == score.control:
                    self._report(row, known=True)
            return True
        stored = self._stored_row(seed, target, score.control, self._checked_fingerprint(seed, target, controls))
        if stored:
            self._report(self._stored.also_in(stored, self.folder, self._jobs), known=True)
        return stored is not None

    def _compute(self, score: "SweepScore") -> None:
        """Compute a score and store it."""
        refuse_read_only(self.run.folder)
        seed, target, control = score.seed, score.target, score.control
        if not self._model.is_loaded(seed):
            self.listen(ModelLoading(self.run.plan.model))  # before the imports that this takes
        rows = self._data.load(target)
        adapter = self._adapter(target, control)
        pair = pair_adapter(self.run.plan, target.data, self.source, self.packages)
        encodings = self._data.encode(
            self.kind, rows, self.run.plan, self._model.tokenizers, {adapter, *([pair] if pair else [])}
        )
        trained = self._model.load(seed, target)
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
        pair = pair_adapter(self.run.plan, target.data, self.source, self.packages)
        logits = self._model.outputs(
            encodings, (adapter, pair or adapter), lambda units: self.listen(BatchScored(units))
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
        with self._jobs.writing():
            self._stored.append(row)
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
            precision=self._model.precision,
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
            code_switching=plan.recipe.code_switching,
            members=len(plan.average.members) if plan.average else 0,
            mixture=record_of(package),
            translated=plan.task.translated_among(plan.source_languages) if self.kind.trains else (),
        )

    def _report(self, row: Row, *, known: bool = False) -> None:
        """Add a row to the results of this sweep."""
        self.rows.append(row)
        self.listen(
            LanguageScored(
                row.language, row.adapter, row.control, row.seed, row.metric, row.value, row.ci_low, row.ci_high,
                rows=row.n, seconds=row.seconds, known=known,
            )
        )  # fmt: skip

    def _checked_fingerprint(self, seed: int, target: Target, controls: Sequence[Control]) -> str:
        """Return the fingerprint of a language's data, after checking that it can be scored.

        The rows are loaded at once if they are needed; else only the fingerprint is computed.

        Raises:
            UserError: The data cannot be read, or was trained on.
        """
        shots = self.run.shots(seed)
        if shots.exists() or not any(self._stored.of_any_data(self._key(seed, target, name)) for name in controls):
            rows = self._data.load(target)
            if shots.exists():
                refuse_shots(shots, rows.language, rows.split, rows.table)
            fingerprint = rows.fingerprint
        else:
            fingerprint = self._data.fingerprint(target)
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
        return row if row and self._agrees(row) else None

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
        package = self._packages.get(adapter := self._adapter(target, control))
        values = (seed, target.data, adapter, self.split, control, self.limit, package.sha256 if package else None)
        return score_key(dict(zip(SCORE_KEY, values, strict=True)))

    def _title(self, seed: int, target: Target, control: Control) -> str:
        """Return the name of a score; with equal names, scores have equal names of predictions."""
        through = "" if same(target.adapter, target.data) else f" through {target.adapter}"
        limited = f", limit {self.limit}" if self.limit else ""
        adapter = "" if control == "own" else f" ({control})"
        return f"{target.data}{through}{adapter}, {self.split}{limited}, seed {seed}"

    def _predictions_name(self, row: Row, target: Target) -> str:
        """Return the path of the predictions of a score, relative to the run's folder.

        Where a score of other data, or of another package of the adapter, has this path, a hash is added.
        """
        through = "" if same(target.adapter, target.data) else f".{fitting_name(target.adapter.replace('*', 'x'))}"
        limited = f".limit-{self.limit}" if self.limit else ""
        marked = "" if row.control == "own" else f".{row.control}"
        stem = f"predictions/{self.split}/{target.data}{through}{marked}{limited}"
        data, package = f".data-{row.fingerprint[:12]}", f".package-{row.package[:12]}" if row.package else ""
        names = [f"{stem}{mark}.seed-{row.seed}.jsonl" for mark in ("", package, data, data + package)]
        return next(name for name in names if not self._stored.is_taken(name, row))
