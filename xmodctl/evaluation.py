"""The language sweep: one load of the shared weights, one adapter swapped in for each language, one row a score."""

from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from xmodctl.checkpoints import load_delta
from xmodctl.data import Encoded, Rows, cached, collate, evaluation_batches, load_rows
from xmodctl.errors import UserError
from xmodctl.folders import versions
from xmodctl.kinds import KINDS, Kind, unsayable
from xmodctl.languages import Target, same
from xmodctl.material import refuse_shots, shots_of
from xmodctl.metrics import metric
from xmodctl.outcomes import Outcomes, keep_outcomes
from xmodctl.recipe import Recipe
from xmodctl.results import Failure, Predicted, Row, append_row, read_rows, write_predictions
from xmodctl.run import Precision, Run
from xmodctl.statistics import bootstrap
from xmodctl.task import Split, Task

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from xmodctl.adapters import Package
    from xmodctl.model import Source, Xmod

Control = str  # own, source or none
TOKENS_PER_STEP = 8192
"""Padded tokens of one forward pass in a sweep: enough to fill a device, little memory without gradients."""


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
class Advanced:
    """Some rows of the language being scored are done."""

    rows: int


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
        from xmodctl.adapters import tokenizers

        self.run, self.source, self.targets, self.split, self.folder, self.limit, self.precision = (
            run, source, targets, split, folder, limit, precision,
        )  # fmt: skip
        self.task = run.plan.task
        self.kind = KINDS[self.task.kind]
        self.controls = ("own", *controls)
        self.known = {} if redo else _known(run)
        self.packages = {package.language: package for package in packages}
        self.tokenizers = tokenizers(source, packages)
        self.pad_id = self.tokenizers[None].pad_token_id
        # A folder that does not say which language its files are in can hold one language only.
        self.sole = len({target.data for target in targets}) == 1

    def __iter__(self) -> Iterator[Event]:
        """Score every target with every finished seed; the base model is loaded once a seed, and only if needed."""
        for seed in self.run.finished_seeds:
            trained: Trained | None = None
            for target in self.targets:
                ways = {control: self.adapter(target, control) for control in self.controls}
                try:
                    rows = load_rows(
                        self.task, target.data, self.split, folder=self.folder, limit=self.limit, sole=self.sole
                    )
                    refuse_shots(self.run.shots(seed), rows)
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
                            notes = (*rows.notes, *unsayable(encoded, len(rows)))
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
        predictions, statistics, metrics = judge(kind, task, rows, encoded, logits)
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
            in_source=any(task.speaks(target.data, one) for one in plan.source_languages),
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


@dataclass(frozen=True)
class Trained:
    """A run's model of one seed, in memory."""

    model: "Xmod"
    seed: int
    step: int
    selected_on: str

    @classmethod
    def load(
        cls,
        run: Run,
        source: "Source",
        seed: int,
        language: str,
        *,
        device: str | None = None,
        packages: "Sequence[Package]" = (),
    ) -> Self:
        """Load the base with one language, the head of the run's task, the delta of one seed, and packages."""
        from xmodctl.adapters import attach
        from xmodctl.model import apply_delta, load

        tensors, facts = load_delta(run.delta(seed), source)
        names = KINDS[run.plan.task.kind].outputs(run.plan.task)
        model = load(
            source,
            run.plan.task.kind,
            [run.plan.source_languages[0] if any(language == one.language for one in packages) else language],
            num_labels=len(names),
            id2label=dict(enumerate(names)),
            device=device or best_device(),
        )
        apply_delta(model, tensors)
        for package in packages:
            attach(model, package)
        if language not in model.languages:
            model.swap([language])
        return cls(model, seed, facts["step"], facts["selected_on"])


def best_device() -> str:
    """Return the device a sweep runs on: an accelerator where there is one."""
    import torch

    return str(torch.accelerator.current_accelerator()) if torch.accelerator.is_available() else "cpu"


def encode(kind: Kind, rows: Rows, tokenizer: "PreTrainedTokenizerBase", recipe: Recipe) -> Encoded:
    """Encode rows as the recipe says, or read the encoding from the cache."""
    key = {
        "tool": versions()["xmodctl"],  # another release may encode otherwise
        "rows": rows.fingerprint,
        "kind": kind.name,
        "tokenizer": tokenizer_identity(tokenizer),
        "max_length": str(recipe.max_length),
        "stride": str(recipe.overlap),
    }
    return cached(key, lambda: kind.encode(rows.table, tokenizer, max_length=recipe.max_length, stride=recipe.overlap))


def tokenizer_identity(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Return a sha256 of the tokenizer's whole definition."""
    import hashlib

    return hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()


@contextmanager
def predicting(device: "torch.device", precision: Precision) -> Iterator[None]:
    """Compute without gradients, matrix products in this precision."""
    import torch

    dtype = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    with torch.inference_mode(), torch.autocast(device.type, dtype, enabled=dtype is not None):
        yield


def predict(
    model: "Xmod", encoded: Encoded, *, precision: Precision, pad_id: int, tokens: int = TOKENS_PER_STEP
) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """Yield (unit numbers, their logits) batch by batch, longest first."""
    import torch

    device = model.module.device
    model.leave_padding_out()
    model.module.eval()
    for part in evaluation_batches(encoded.lengths, choices=encoded.sizes, tokens_per_step=tokens):
        batch = collate(encoded, part, pad_id=pad_id)
        inputs = {name: batch[name].to(device) for name in ("input_ids", "attention_mask")}
        with predicting(device, precision):
            outputs = model.module(**inputs)
            # Question answering names its two logits of a token apart.
            both = (outputs.start_logits, outputs.end_logits) if "start_logits" in outputs else None
            logits = torch.stack(both, dim=-1) if both else outputs.logits
        yield part, list(logits.float().cpu().numpy())


def gathered(
    model: "Xmod", encoded: Encoded, *, precision: Precision, pad_id: int
) -> Generator[Advanced, None, list[np.ndarray]]:
    """Tell each batch that is done, and return the logits of every unit, in order."""
    logits: list[Any] = [None] * len(encoded)
    for part, values in predict(model, encoded, precision=precision, pad_id=pad_id):
        for unit, value in zip(part, values, strict=True):
            logits[int(unit)] = value
        yield Advanced(len(part))
    return logits


def logits_of(model: "Xmod", encoded: Encoded, *, precision: Precision, pad_id: int) -> list[np.ndarray]:
    """Return the logits of every unit, in order."""
    batches = gathered(model, encoded, precision=precision, pad_id=pad_id)
    while True:
        try:
            next(batches)
        except StopIteration as done:
            logits: list[np.ndarray] = done.value
            return logits


def judge(
    kind: Kind, task: Task, rows: Rows, encoded: Encoded, logits: Sequence[np.ndarray]
) -> tuple[list[Predicted], np.ndarray, Mapping[str, float]]:
    """Return predictions, their statistics a row, and every metric in percent."""
    decoded = kind.decode(logits, encoded, rows.table, task)
    predictions = [Predicted(id_, *one) for id_, one in zip(rows.table["id"], decoded, strict=True)]
    gold, said = [one.gold for one in predictions], [one.prediction for one in predictions]
    statistics = kind.statistics(gold, said, task, rows.language)
    metrics = metric(task, rows.language).compute(predictions=said, references=gold)
    return predictions, statistics, metrics


def _known(run: Run) -> dict[tuple[Any, ...], Row]:
    """Return the rows already measured whose predictions are still there."""
    return {row.key: row for row in read_rows(run.results) if (run.folder / row.predictions).exists()}
