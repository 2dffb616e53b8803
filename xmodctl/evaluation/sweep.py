"""The language sweep: one load of the shared weights, one adapter swapped in for each language, one row a score."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from xmodctl.catalog.task import Split
from xmodctl.core.encoded import Encoded
from xmodctl.core.errors import UserError
from xmodctl.core.versions import versions
from xmodctl.data import Rows, load_rows
from xmodctl.evaluation.example_statistics import Outcomes, keep_outcomes
from xmodctl.evaluation.results import Failure, Row, append_row, read_rows, write_predictions
from xmodctl.kinds import KINDS
from xmodctl.languages import Target, same
from xmodctl.model.precision import Precision
from xmodctl.run.run import Run
from xmodctl.run.shots import refuse_shots, shots_of
from xmodctl.statistics.resampling import bootstrap

if TYPE_CHECKING:
    from xmodctl.adapters.packages import Package
    from xmodctl.model import Source
from xmodctl.data.encoding import encode
from xmodctl.kinds.scoring import score_predictions
from xmodctl.model.inference import Advanced, gathered
from xmodctl.run.trained import Trained

Control = str  # own, source or none


@dataclass(frozen=True)
class Started:
    """A language's scoring begins."""

    language: str
    adapter: str | None
    control: Control
    seed: int
    rows: int  # what the model reads: rows, or the windows of long ones
    notes: tuple[str, ...]  # what the user should know of the rows


@dataclass(frozen=True)
class Scored:
    """A language is done; its row is on disk."""

    row: Row
    known: bool = False  # from an earlier sweep


Event = Started | Advanced | Scored | Failure


class Sweep:
    """Score a run's model in many languages: iterate over it; what is already scored is kept.

    A language that fails costs the others nothing: it is yielded as a `Failure`. A language that `packages` bring goes
    through their adapter, and is read with their tokenizer where they have one of their own.
    """

    def __init__(
        self,
        run: Run,
        source: "Source",
        targets: Sequence[Target],
        *,
        split: Split = "test",
        controls: Sequence[Control] = (),
        folder: Path | None = None,
        limit: int | None = None,
        redo: bool = False,
        precision: Precision = "fp32",
        packages: "Sequence[Package]" = (),
    ) -> None:
        from xmodctl.adapters.attaching import load_tokenizers

        self.run, self.source, self.targets, self.split, self.folder, self.limit, self.precision = (
            run, source, targets, split, folder, limit, precision,
        )  # fmt: skip
        self.task = run.plan.task
        self.kind = KINDS[self.task.kind]
        self.controls = ("own", *controls)
        self.known = {} if redo else _known(run)
        self.packages = {package.language: package for package in packages}
        self.tokenizers = load_tokenizers(source, packages)
        self.pad_id = self.tokenizers[None].pad_token_id
        # A folder that does not say which language its files are in can hold one language only.
        self.single_language = len({target.data for target in targets}) == 1

    def __iter__(self) -> Iterator[Event]:
        """Score every target with every finished seed; the base model is loaded once a seed, and only if needed."""
        for seed in self.run.finished_seeds:
            trained: Trained | None = None
            for target in self.targets:
                ways = {control: self.adapter(target, control) for control in self.controls}
                try:
                    rows = load_rows(
                        self.task,
                        target.data,
                        self.split,
                        folder=self.folder,
                        limit=self.limit,
                        single_language=self.single_language,
                    )
                    refuse_shots(self.run.shots(seed), rows.language, rows.split, rows.table)
                    done = {control: self.find_known(seed, target, control, rows) for control in ways}
                    yield from (Scored(row, known=True) for row in done.values() if row)
                    if all(done.values()):
                        continue
                    encodings = self.encodings(rows, {ways[control] for control, row in done.items() if row is None})
                    trained = trained or Trained.load(
                        self.run, self.source, seed, target.adapter, packages=tuple(self.packages.values())
                    )
                    for control, row in done.items():
                        if row is None:
                            encoded = encodings[ways[control]]
                            notes = (*rows.notes, *self.kind.unreachable_answers(encoded, len(rows)))
                            yield Started(target.data, ways[control], control, seed, len(encoded), notes)
                            yield from self.score(trained, rows, encoded, target, control)
                except UserError as error:
                    yield Failure(target.data, target.adapter, seed, str(error))

    def encodings(self, rows: Rows, adapters: Collection[str | None]) -> dict[str | None, Encoded]:
        """Return the rows as each adapter's language reads them."""
        made: dict[str | None, Encoded] = {}
        found: dict[str | None, Encoded] = {}
        for adapter in adapters:
            own = adapter if adapter in self.tokenizers else None
            if own not in made:
                made[own] = encode(self.kind, rows, self.tokenizers[own], self.run.plan.recipe)
            found[adapter] = made[own]
        return found

    def score(
        self, trained: "Trained", rows: Rows, encoded: Encoded, target: Target, control: Control
    ) -> Iterator[Event]:
        """Score one language through one adapter; its row is written last, when its predictions are whole."""
        started = perf_counter()
        model, task, kind = trained.model, self.task, self.kind
        adapter = self.adapter(target, control)
        if adapter and adapter not in model.languages:
            model.swap([adapter])
        model.activate(adapter)
        logits = yield from gathered(model, encoded, precision=self.precision, pad_id=self.pad_id)
        predictions, statistics, metrics = score_predictions(kind, task, rows.table, rows.language, encoded, logits)
        interval = bootstrap(statistics, lambda totals: kind.metrics(totals, task)[task.headline])
        name = self.predictions_name(trained.seed, target, control)
        plan = self.run.plan
        row = Row(
            task=task.name,
            kind=kind.name,
            split=rows.split,
            language=target.data,
            adapter=model.active,
            control=control,
            source_languages=plan.source_languages,
            model=f"{plan.model}@{plan.revision}" if plan.revision else plan.model,
            data=f"{rows.origin}#{rows.fingerprint}",
            n=len(predictions),
            metric=task.headline,
            value=metrics[task.headline],
            metrics=dict(metrics),
            baseline=kind.baseline([one.gold for one in predictions], rows.table, task, rows.language),
            ci_low=interval.low,
            ci_high=interval.high,
            ci_method=interval.method,
            seed=trained.seed,
            step=trained.step,
            selected_on=trained.selected_on,
            limited=self.limit,
            precision=self.precision,
            device=str(model.module.device),
            seconds=perf_counter() - started,
            truncated=encoded.counts["truncated"],
            predictions=name,
            predictions_sha256=write_predictions(self.run.folder / name, predictions),
            tool=versions()["xmodctl"],
            shots=shots_of(plan, target.data),
            training_seed=plan.shots.training_seed if plan.shots else None,
            in_source=any(task.is_in_language(target.data, one) for one in plan.source_languages),
            package=model.package,
        )
        append_row(self.run.results, row)
        keep_outcomes(Outcomes.of(predictions, statistics), row, task)
        yield Scored(row)

    def find_known(self, seed: int, target: Target, control: Control, rows: Rows) -> Row | None:
        """Return the row of an earlier sweep, if it was measured on these very rows and with the same package."""
        row = self.known.get(self.key(seed, target, control))
        package = self.packages.get(self.adapter(target, control) or "")
        if row and row.data.endswith(f"#{rows.fingerprint}") and row.package == (package.sha256 if package else None):
            return row
        return None

    def measured(self) -> list[Row]:
        """Return the rows that are there already and will not be measured again."""
        keys = {
            self.key(seed, target, control)
            for seed in self.run.finished_seeds
            for target in self.targets
            for control in self.controls
        }
        return [row for key, row in self.known.items() if key in keys]

    def adapter(self, target: Target, control: Control) -> str | None:
        """Return the adapter that a control scores a target through."""
        ways = {"own": target.adapter, "source": self.run.plan.source_languages[0], "none": None}
        return ways[control]

    def key(self, seed: int, target: Target, control: Control) -> tuple[Any, ...]:
        """Return the key of the row that a measurement will write."""
        return (seed, target.data, self.adapter(target, control), self.split, control, self.limit)

    def predictions_name(self, seed: int, target: Target, control: Control) -> str:
        """Return where a measurement keeps its predictions, relative to the run."""
        through = "" if same(target.adapter, target.data) else f".{target.adapter}"
        limited = f".limit-{self.limit}" if self.limit else ""
        marked = "" if control == "own" else f".{control}"
        return f"predictions/{self.split}/{target.data}{through}{marked}{limited}.seed-{seed}.jsonl"


def _known(run: Run) -> dict[tuple[Any, ...], Row]:
    """Return the rows already measured whose predictions are still there."""
    return {row.key: row for row in read_rows(run.results) if (run.folder / row.predictions).exists()}
