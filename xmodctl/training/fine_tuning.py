"""Training the seeds of a run: each goes through the recipe's stages, then trains on the task itself."""

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xmodctl.core.encoded import Encoded
from xmodctl.core.events import Listener, Notice, SeedFinished, SeedStarted
from xmodctl.core.signals import stop_signals
from xmodctl.data import Rows
from xmodctl.kinds import KINDS
from xmodctl.run.checkpoints import latest_checkpoint
from xmodctl.run.deltas import is_delta, load_delta, save_delta
from xmodctl.run.jobs import Jobs, Piece
from xmodctl.run.run import Run
from xmodctl.run.shots import DrawnShots, row_digests, write_shots
from xmodctl.run.written import DELTA
from xmodctl.training.chosen_settings import choose_settings, chosen_text
from xmodctl.training.kept_weights import KeptWeights, selected_on
from xmodctl.training.loop import Training
from xmodctl.training.resumable import ResumableTraining, interruptible
from xmodctl.training.target_scale import TargetScale
from xmodctl.training.training_data import EncodedTrainingData, TrainingData, draw_shots
from xmodctl.training.validation import validate
from xmodctl.training.world import World

if TYPE_CHECKING:
    from xmodctl.model import ParameterReport, Source, Xmod

CHECKPOINTS, KEPT_FOLDER = "checkpoints", "kept"
"""Folders of a training that is not finished."""


def fine_tune(
    run: Run,
    source: "Source",
    data: Sequence[TrainingData],
    listen: Listener,
    seeds: Sequence[int] | None = None,
    *,
    jobs: Jobs,
    wait: bool = False,
    world: World = World(),  # noqa: B008 (frozen)
) -> None:
    """Train every seed of a run that is not finished, one after the other on the same encoded rows.

    Args:
        run: The run.
        source: The base model.
        data: What `load_training_data` returns for the run's plan.
        listen: Is called with each event.
        seeds: Train only these of the run's seeds.
        jobs: Those on the run's folder; seeds that another one trains are passed over.
        wait: Whether to wait for seeds that other jobs train.
        world: The processes that train together. The first one alone writes and calls `listen`.

    Raises:
        InProgressError: Other jobs train some of the seeds.
        Interrupted: The user asked to stop; the last step that was taken is saved.
    """
    from xmodctl.model import load_tokenizer, longest_input
    from xmodctl.training.planning import check_length

    tokenizer = load_tokenizer(source)
    encoded = []
    for one_training in data:
        encoded.append(EncodedTrainingData.encode(one_training, tokenizer))
        if encoded[-1].longest > longest_input(source.config):  # shorter texts fit whatever the recipe allows
            check_length(one_training.recipe, source)
        listen(encoded[-1].summary)

    def train(seed: int) -> None:
        if is_delta(run.delta(seed)):
            listen(SeedFinished(seed, step=0, known=True))
        else:
            world.from_first(seed)
            training = SeedTraining(run, source, seed, listen, world)
            training.report_damage(run.delta(seed))
            step = training.train(encoded)
            listen(SeedFinished(seed, step))
        remove_what_training_needed(run, seed, len(encoded) - 1)

    with interruptible(run, jobs), world.agreed_stops():
        pieces = [Piece(f"seed {seed}", seed, seed) for seed in (run.seeds if seeds is None else seeds)]
        held = jobs.share(pieces, train, wait=wait)
        world.from_first(None)  # there is no other seed
    world.wait()  # the others may read the run now
    if held := [piece for piece in held if not is_delta(run.delta(piece.work))]:
        raise jobs.in_progress(held, run)


def remove_what_training_needed(run: Run, seed: int, stages: int) -> None:
    """Remove the weights of stages, and what a command left that was killed between a seed's delta and its end."""
    folders = [run.stage_folder(seed, number) for number in range(1, stages + 1)]
    for folder in folders:
        (folder / DELTA).unlink(missing_ok=True)  # the seed's delta includes it
    for folder in (run.seed_folder(seed), *folders):
        for name in (CHECKPOINTS, KEPT_FOLDER):
            shutil.rmtree(folder / name, ignore_errors=True)


def follow(run: Run, source: "Source", data: Sequence[TrainingData], world: World) -> None:
    """Train the seeds that the first of several processes trains, and write nothing.

    Raises:
        Interrupted: One of the processes was asked to stop.
        LostProcessError: Another process has ended.
    """
    from xmodctl.model import load_tokenizer

    tokenizer = load_tokenizer(source)
    encoded = [EncodedTrainingData.encode(one_training, tokenizer) for one_training in data]
    with stop_signals(), world.agreed_stops():
        while (seed := world.from_first(None)) is not None:
            SeedTraining(run, source, seed, lambda _: None, world).train(encoded)
    world.wait()


@dataclass(frozen=True)
class SeedTraining:
    """The training of one seed of a run."""

    run: Run
    source: "Source"
    seed: int
    listen: Listener
    world: World = field(default_factory=World)

    @property
    def training_seed(self) -> int:
        """The seed of the order of rows, and of the head if the recipe names none; with shots, that of every draw."""
        shots = self.run.plan.shots
        return shots.training_seed if shots else self.seed

    def train(self, encoded: Sequence[EncodedTrainingData]) -> int:
        """Train the stages that are not finished, each from the delta of the one before, then the task itself.

        Returns:
            The step whose weights were kept.
        """
        *stages, last = encoded
        initial, steps_before = None, 0
        for number, stage in enumerate(stages, 1):
            folder = self.run.stage_folder(self.seed, number)
            if not self.world.from_first(is_delta(folder / DELTA)):
                if self.world.is_first:
                    self.report_damage(folder / DELTA)
                self.train_once(stage, folder, initial, steps_before)
            initial, steps_before = folder / DELTA, steps_before + stage.total_steps
        return self.train_once(self.with_shots(last), self.run.seed_folder(self.seed), initial, steps_before)

    def report_damage(self, delta: Path) -> None:
        """Say that a delta is damaged, if there is one, and remove it: its training starts over."""
        if delta.exists():
            self.listen(Notice(f"{delta} is damaged; seed {self.seed} is trained again", caution=True))
            delta.unlink()
            (delta.parent / "metrics.jsonl").unlink(missing_ok=True)

    def with_shots(self, encoded: EncodedTrainingData) -> EncodedTrainingData:
        """Return the data with this seed's shots, if the plan asks for some, and record which they are."""
        shots = self.run.plan.shots
        if shots is None:
            return encoded
        drawn = [draw_shots(pool.rows, shots.count, self.seed) for pool in encoded.data.pools]
        records = [_record(*pair, rows) for pair, rows in zip(shots.languages, drawn, strict=True)]
        if self.world.is_first:
            write_shots(self.run.shots(self.seed), records)
        return encoded.with_shots(drawn)

    def train_once(self, encoded: EncodedTrainingData, folder: Path, initial: Path | None, steps_before: int) -> int:
        """Train on one data set and write the delta into `folder`.

        Args:
            encoded: The data.
            folder: Also keeps the log and, while it trains, the checkpoints.
            initial: The delta of the stage before.
            steps_before: Steps of the stages before.

        Returns:
            The step whose weights were kept.
        """
        recipe, stage = encoded.data.recipe, encoded.data.stage
        model = self.load_model(encoded, initial if self.world.is_first else None)
        training, parameters = self.prepare(model, encoded)
        if not self.world.is_first:
            return self.follow(training)
        checkpoints, name = folder / CHECKPOINTS, f"seed {self.seed}" + (f", stage {stage}" if stage else "")
        kept = KeptWeights(folder / KEPT_FOLDER, recipe, self.source, training.epoch_ends)
        if (damaged := kept.damaged(latest_checkpoint(checkpoints))) is not None:
            self.listen(Notice(f"{name}: {damaged} is damaged or missing; training restarts at step 0", caution=True))
            shutil.rmtree(checkpoints, ignore_errors=True)
        resumable = ResumableTraining.resume(
            training,
            folder=checkpoints,
            metrics=folder / "metrics.jsonl",
            name=name,
            listen=self.listen,
        )
        training.spread()
        shares = tuple(zip(encoded.adapters, training.shares, strict=True)) if len(encoded.adapters) > 1 else ()
        self.listen(
            SeedStarted(
                self.seed, training.step, training.total_steps, training.epoch, parameters.trainable, parameters.total,
                stage, steps_before, shares,
            )
        )  # fmt: skip

        def end_epoch() -> None:
            kept.end_epoch(training)
            if encoded.validation and not resumable.log.is_validated(training.step):
                validated = validate(training, self.seed, encoded)
                kept.validated(training, validated.value, list(resumable.log.validations.values()))
                resumable.log.add(asdict(validated))
                self.listen(validated)

        resumable.run(self.listen, end_epoch)

        step, tensors = kept.choose(training)
        selected = selected_on(recipe, self.run.plan.source_languages)
        facts = {"seed": self.seed, "step": step, "selected_on": selected, "freeze": recipe.freeze}
        if settings := choose_settings(training, encoded, tensors):
            facts["settings"] = settings
            self.listen(Notice(f"{name}: {chosen_text(settings, self.run.plan.source_languages, encoded)}"))
        save_delta(folder / DELTA, TargetScale.of(encoded).of_data(tensors), self.source, facts)
        shutil.rmtree(resumable.checkpoints, ignore_errors=True)
        kept.remove()
        return int(self.world.from_first(step))

    def follow(self, training: Training) -> int:
        """Take the steps that the first process takes, from its weights, and write nothing.

        Returns:
            The step whose weights the first process kept.
        """
        training.spread()
        for batch in training.remaining():
            training.take(batch)
        return int(self.world.from_first(None))

    def load_model(self, encoded: EncodedTrainingData, initial: Path | None) -> "Xmod":
        """Load the base with only the adapters in use, and the weights of the stage before, if there is one."""
        from xmodctl.model import apply_delta, load

        task, recipe = encoded.data.task, encoded.data.recipe
        kind = KINDS[task.kind]
        outputs = kind.outputs(task)
        model = load(
            self.source,
            kind.head,
            encoded.adapters,
            num_labels=len(outputs),
            id2label=dict(enumerate(outputs)),
            problem_type=kind.problem_type,
            seed=self.training_seed if recipe.head_seed is None else recipe.head_seed,
        )
        if initial:
            tensors, _ = load_delta(initial, self.source)
            apply_delta(model, TargetScale.of(encoded).of_training(tensors))
        return model

    def prepare(self, model: "Xmod", encoded: EncodedTrainingData) -> "tuple[Training, ParameterReport]":
        """Freeze what the recipe freezes, and put model and rows together into a training."""
        from xmodctl.model import freeze

        recipe = encoded.data.recipe
        rows, languages = _join(model, encoded)
        rows = TargetScale.of(encoded).standardized(rows)
        model.set_dropout(hidden=recipe.dropout, attention=recipe.attention_dropout)
        model.variable_length = recipe.variable_length
        parameters = freeze(model, recipe.freeze)
        training = Training(
            model,
            rows,
            KINDS[encoded.data.task.kind].weights(rows),
            recipe,
            seed=self.training_seed,
            precision=self.run.plan.precision,
            pad_id=encoded.tokenizer.pad_token_id,
            languages=languages,
            describe=encoded.describe,
            world=self.world,
        )
        return training, parameters


def _join(model: "Xmod", encoded: EncodedTrainingData) -> tuple[Encoded, np.ndarray | None]:
    """Return the rows of all languages, and the number of each unit's language; None for a single language.

    Rows of several languages carry `lang_ids`: a micro-batch mixes languages, and the engine sorts them.
    """
    adapters, parts = encoded.adapters, encoded.training
    if len(parts) == 1:
        model.activate(adapters[0])
        return parts[0], None
    rows = Encoded.joined(parts)
    ids = np.repeat(model.ids(adapters).numpy(), [len(part.input_ids) for part in parts])
    languages = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return replace(rows, scalars={**rows.scalars, "lang_ids": ids}), languages


def _record(language: str, adapter: str, rows: Rows) -> DrawnShots:
    return DrawnShots(language, adapter, rows.split, rows.origin, tuple(rows.table["id"]), row_digests(rows.table))
