"""One run from its plan to its deltas: encodings, model, training, checkpoints. Yields what happens."""

import shutil
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from xmodctl.core.encoded import Encoded
from xmodctl.core.events import DataEncoded, Event, SeedFinished, SeedStarted, Validated
from xmodctl.data import Rows
from xmodctl.data.encoding import encode
from xmodctl.kinds import KINDS
from xmodctl.kinds.scoring import score_predictions
from xmodctl.model.inference import logits_of
from xmodctl.run.checkpoints import latest_checkpoint, save_checkpoint
from xmodctl.run.deltas import load_delta, save_delta
from xmodctl.run.run import DELTA, Run
from xmodctl.run.shots import DrawnShots, row_digests, write_shots
from xmodctl.training.loop import Training, total_steps
from xmodctl.training.training_data import Corpus, Material, draw

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from xmodctl.model import Source, Xmod
from xmodctl.core.signals import StopSignals, stop_signals
from xmodctl.training.metrics_log import MetricsLog

_KEPT = "kept"
"""Folder of earlier epochs' weights: the best on validation data, or those to be averaged."""


class Interrupted(Exception):  # noqa: N818 - not an error: the run is saved
    """The user stopped the training; what was done is saved."""

    def __init__(self, run: Run, seed: int, step: int, total_steps: int, stage: str) -> None:
        where = f" of {stage}" if stage else ""
        super().__init__(
            f"stopped at step {step:,} of {total_steps:,}{where} (seed {seed}); the same command goes on from there"
        )
        self.run = run


@dataclass(frozen=True)
class EncodedMaterial:
    """What one training takes in, as the model reads it."""

    material: Material
    tokenizer: "PreTrainedTokenizerBase"
    training: tuple[Encoded, ...]
    validation: tuple[Encoded, ...]

    @classmethod
    def of(cls, material: Material, tokenizer: "PreTrainedTokenizerBase") -> Self:
        """Encode what every seed trains on."""
        kind, recipe = KINDS[material.task.kind], material.recipe
        training = tuple(encode(kind, one.rows, tokenizer, recipe) for one in material.training)
        validation = tuple(encode(kind, one.rows, tokenizer, recipe) for one in material.validation)
        return cls(material, tokenizer, training, validation)

    @property
    def prepared(self) -> DataEncoded:
        """What is told of it."""
        corpora = (*self.material.training, *self.material.validation, *self.material.pools)
        return DataEncoded(
            self.material.rows,
            sum(int(one.input_ids.lengths.sum()) for one in self.training),
            sum(one.counts["truncated"] for one in self.training),
            sum(len(one.rows) for one in self.material.validation),
            (
                *(note for one in corpora for note in one.rows.notes),
                *self._unreachable(),
                *(f"shots of {one.adapter} are drawn from {one.rows.origin}" for one in self.material.pools),
            ),
            self.material.stage,
        )

    def _unreachable(self) -> Iterator[str]:
        kind = KINDS[self.material.task.kind]
        for corpus, encoded in zip(self.material.training, self.training, strict=True):
            yield from (f"{corpus.rows.origin}: {note}" for note in kind.unreachable_answers(encoded, len(corpus.rows)))

    @property
    def total_steps(self) -> int:
        """Optimiser steps of a training without shots."""
        weights = KINDS[self.material.task.kind].weights
        return total_steps(sum(int((weights(one) > 0).sum()) for one in self.training), self.material.recipe)

    def with_shots(self, drawn: Sequence[Rows]) -> "EncodedMaterial":
        """Return it with the examples that a seed drew from the pools."""
        kind, recipe = KINDS[self.material.task.kind], self.material.recipe
        shots = [Corpus(pool.adapter, rows) for pool, rows in zip(self.material.pools, drawn, strict=True)]
        return replace(
            self,
            material=replace(self.material, training=(*self.material.training, *shots), pools=()),
            training=(*self.training, *(encode(kind, one.rows, self.tokenizer, recipe) for one in shots)),
        )


def fine_tune(run: Run, source: "Source", materials: Sequence[Material]) -> Iterator[Event]:
    """Train every seed of a run that is not finished, one after the other over the same encoded rows.

    `materials` are what `gather` returns for the run's plan.

    Raises:
        Interrupted: The user stopped it; the present step was saved first.
    """
    from xmodctl.model import load_tokenizer

    tokenizer = load_tokenizer(source)
    trainings = []
    for material in materials:
        trainings.append(EncodedMaterial.of(material, tokenizer))
        yield trainings[-1].prepared
    with stop_signals() as stop:
        for seed in run.seeds:
            if run.delta(seed).exists():
                yield SeedFinished(seed, step=0, known=True)
            else:
                yield from _train_seed(run, source, seed, trainings, stop)
            for number in range(1, len(trainings)):
                (run.stage_folder(seed, number) / DELTA).unlink(missing_ok=True)  # it is in the seed's now
    replace(run, state="finished").write()


def _train_seed(
    run: Run, source: "Source", seed: int, trainings: Sequence[EncodedMaterial], stop: "StopSignals"
) -> Iterator[Event]:
    """Train the stages that are not finished, each from the delta of the one before, then the task itself."""
    *stages, own = trainings
    begin, before = None, 0
    for number, stage in enumerate(stages, 1):
        folder = run.stage_folder(seed, number)
        if not (folder / DELTA).exists():
            yield from _train(run, source, seed, stage, folder, stop, begin=begin, steps_before=before)
        begin, before = folder / DELTA, before + stage.total_steps
    if shots := run.plan.shots:
        drawn = [draw(pool.rows, shots.count, seed) for pool in own.material.pools]
        write_shots(
            run.shots(seed), [_recorded(*pair, rows) for pair, rows in zip(shots.languages, drawn, strict=True)]
        )
        own = own.with_shots(drawn)
    kept = yield from _train(run, source, seed, own, run.seed_folder(seed), stop, begin=begin, steps_before=before)
    yield SeedFinished(seed, kept)


def _recorded(language: str, adapter: str, rows: Rows) -> DrawnShots:
    ids = tuple(rows.table["id"])
    return DrawnShots(language, adapter, rows.split, rows.origin, ids, row_digests(rows.table))


def _train(
    run: Run,
    source: "Source",
    seed: int,
    encoded: EncodedMaterial,
    folder: Path,
    stop: "StopSignals",
    *,
    begin: Path | None,
    steps_before: int,
) -> Generator[Event, None, int]:
    """Train on one material and write its delta into `folder`; return the step whose weights were kept."""
    from xmodctl.model import apply_delta, freeze, load

    plan, material = run.plan, encoded.material
    task, recipe, kind = material.task, material.recipe, KINDS[material.task.kind]
    names = kind.outputs(task)
    training_seed = plan.shots.training_seed if plan.shots else seed

    # Only the languages in use are loaded, and the recipe says what trains.
    adapters = [one.adapter for one in material.training]
    model = load(
        source, kind.head, adapters, num_labels=len(names), id2label=dict(enumerate(names)), seed=training_seed
    )
    if begin:
        apply_delta(model, load_delta(begin, source)[0])
    rows, languages = _joined(model, adapters, encoded.training)
    model.set_dropout(hidden=recipe.dropout, attention=recipe.attention_dropout)
    parameters = freeze(model, recipe.freeze)
    training = Training(
        model,
        rows,
        kind.weights(rows),
        recipe,
        seed=training_seed,
        precision=plan.precision,
        pad_id=encoded.tokenizer.pad_token_id,
        languages=languages,
    )

    # Go on where an earlier command stopped.
    if checkpoint := latest_checkpoint(folder / "checkpoints"):
        training.restore(checkpoint)
    log = MetricsLog(folder / "metrics.jsonl", keep_until=training.step)
    shares = tuple(zip(adapters, training.shares, strict=True)) if len(adapters) > 1 else ()
    yield SeedStarted(
        seed, training.step, training.total_steps, training.epoch, parameters.trainable, parameters.total,
        material.stage, steps_before, shares,
    )  # fmt: skip

    averaged = training.epoch_ends[-recipe.averaged :] if recipe.averaged else ()

    def end_epoch() -> Iterator[Validated]:
        if training.step in averaged:
            save_delta(folder / _KEPT / f"{training.step}.safetensors", training.trained(), source, {})
        if material.validation and not log.validated(training.step):
            validated = _validate(training, seed, encoded)
            if recipe.keep == "source-dev" and validated.value > max(log.validations.values(), default=-1.0):
                save_delta(folder / _KEPT / "best.safetensors", training.trained(), source, {"step": training.step})
            log.add(asdict(validated))
            yield validated

    if training.step and training.ends_epoch:
        yield from end_epoch()  # an earlier command may have died between saving and scoring
    for step in training:
        log.add(asdict(step))
        yield step
        due = step.step % recipe.save_steps == 0 if recipe.save_steps else step.ends_epoch
        if due or stop.requested:
            save_checkpoint(folder / "checkpoints", training.progress(), training.trained(), training.optimizer_state())
        if step.ends_epoch:
            yield from end_epoch()
        if stop.requested and step.step < training.total_steps:
            replace(run, state="interrupted").write()
            raise Interrupted(run, seed, step.step, step.total_steps, material.stage)

    kept, tensors = training.step, training.trained()
    if averaged:
        tensors = _mean([folder / _KEPT / f"{step}.safetensors" for step in averaged], source)
    elif recipe.keep == "source-dev":
        tensors, facts = load_delta(folder / _KEPT / "best.safetensors", source)
        kept = facts["step"]
    facts = {"seed": seed, "step": kept, "selected_on": _selected_on(run), "freeze": recipe.freeze}
    save_delta(folder / DELTA, tensors, source, facts)
    for spent in ("checkpoints", _KEPT):
        shutil.rmtree(folder / spent, ignore_errors=True)
    return kept


def _joined(model: "Xmod", adapters: Sequence[str], parts: Sequence[Encoded]) -> tuple[Encoded, np.ndarray | None]:
    """Return the rows of all languages, and the number of each unit's language; one language needs no numbers.

    Rows of several languages carry `lang_ids`: a micro-batch mixes languages, and the engine sorts them.
    """
    if len(parts) == 1:
        model.activate(adapters[0])
        return parts[0], None
    rows = Encoded.joined(parts)
    ids = np.repeat(model.ids(adapters).numpy(), [len(one.input_ids) for one in parts])
    languages = np.repeat(np.arange(len(parts)), [len(one) for one in parts])
    return replace(rows, scalars={**rows.scalars, "lang_ids": ids}), languages


def _validate(training: Training, seed: int, encoded: EncodedMaterial) -> Validated:
    """Score each source language's validation data through its own adapter."""
    task, kind, model = encoded.material.task, KINDS[encoded.material.task.kind], training.model
    values, baselines = {}, []
    for corpus, rows in zip(encoded.material.validation, encoded.validation, strict=True):
        model.activate(corpus.adapter)
        logits = logits_of(model, rows, precision=training.precision, pad_id=training.pad_id)
        predictions, _, metrics = score_predictions(kind, task, corpus.rows.table, corpus.rows.language, rows, logits)
        values[corpus.adapter] = metrics[task.headline]
        gold = [one.gold for one in predictions]
        baselines.append(kind.baseline(gold, corpus.rows.table, task, corpus.rows.language))
    mean, blind = (sum(found) / len(found) for found in (values.values(), baselines))
    told = values if len(values) > 1 else {}
    return Validated(seed, training.step, training.epoch, task.headline, mean, blind, told)


def _mean(deltas: Sequence[Path], source: "Source") -> "dict[str, torch.Tensor]":
    """Return the mean of the trained tensors of several steps (Izmailov et al., Averaging Weights, UAI 2018)."""
    total, _ = load_delta(deltas[0], source)
    for path in deltas[1:]:
        for name, tensor in load_delta(path, source)[0].items():
            total[name] += tensor
    return {name: tensor / len(deltas) for name, tensor in total.items()}


def _selected_on(run: Run) -> str:
    recipe = run.plan.recipe
    if recipe.averaged:
        return f"nothing (mean of the last {recipe.averaged} epochs)"
    language = "+".join(run.plan.source_languages)
    return f"validation data of {language}" if recipe.keep == "source-dev" else "nothing (last step)"
