"""Training the seeds of a run: each goes through the recipe's stages, then trains on the task itself."""

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xmodctl.core.encoded import Encoded
from xmodctl.core.events import Listener, Notice, SeedFinished
from xmodctl.core.reading import check_file
from xmodctl.core.signals import stop_signals
from xmodctl.data import Rows
from xmodctl.kinds import KINDS
from xmodctl.run.deltas import is_delta, load_delta
from xmodctl.run.jobs import Jobs, Piece
from xmodctl.run.run import Run
from xmodctl.run.shots import DrawnShots, row_digests, write_shots
from xmodctl.run.written import DELTA
from xmodctl.training.code_switching import CodeSwitching
from xmodctl.training.loop import Training
from xmodctl.training.open_training import CHECKPOINTS, KEPT_FOLDER, METRICS, OpenTraining
from xmodctl.training.resumable import interruptible
from xmodctl.training.target_scale import TargetScale
from xmodctl.training.together import go_back_to_shared_step, run_together
from xmodctl.training.training_data import EncodedTrainingData, TrainingData, draw_shots
from xmodctl.training.world import World

if TYPE_CHECKING:
    from xmodctl.model import ParameterReport, Source, Xmod


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
    """Train every seed of a run that is not finished, on the same encoded rows: together if the recipe says so.

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

    chosen = run.seeds if seeds is None else seeds
    with interruptible(run, jobs), world.agreed_stops():
        if run.plan.recipe.seeds_together:
            finished = _train_together(run, source, encoded[-1], chosen, listen, jobs)
            chosen = [seed for seed in chosen if seed not in finished]
        pieces = [Piece(f"seed {seed}", seed, seed) for seed in chosen]
        held = jobs.share(pieces, train, wait=wait)
        world.from_first(None)  # there is no other seed
    world.wait()  # the others may read the run now
    if held := [piece for piece in held if not is_delta(run.delta(piece.work))]:
        raise jobs.in_progress(held, run)


def _train_together(
    run: Run, source: "Source", encoded: EncodedTrainingData, seeds: Sequence[int], listen: Listener, jobs: Jobs
) -> Sequence[int]:
    """Train the seeds that are not finished, and that no other job trains, in one pass; return them.

    Seeds that stand at different steps, and a single one, are left to be trained one after the other.
    """
    with ExitStack() as claims:
        free = [
            seed for seed in seeds if not is_delta(run.delta(seed)) and claims.enter_context(jobs.claim(f"seed {seed}"))
        ]
        free = [seed for seed in free if not is_delta(run.delta(seed))]  # another job may have finished it
        if len(free) < 2:
            return ()
        opened = _open_together([SeedTraining(run, source, seed, listen) for seed in free], encoded)
        if len({each.training.step for each, _ in opened}) > 1:
            places = ", ".join(f"seed {each.seed} at step {each.training.step:,}" for each, _ in opened)
            listen(Notice(f"seeds_together: the seeds do not stand at one step ({places}), so each is trained alone"))
            return ()
        for each, parameters in opened:
            each.report_start(parameters)
        run_together([each for each, _ in opened], listen)
        for each, _ in opened:
            listen(SeedFinished(each.seed, each.finish()))
            remove_what_training_needed(run, each.seed, 0)
    return free


def _open_together(
    trainings: "Sequence[SeedTraining]", encoded: EncodedTrainingData
) -> "list[tuple[OpenTraining, ParameterReport]]":
    """Load the seeds' trainings at the newest step of which each has a whole checkpoint, or each at its own.

    A damaged checkpoint is found, and removed, when it is loaded: then there may be an earlier step that all have.
    """
    from xmodctl.model.seeds import share_frozen

    folders = [training.run.seed_folder(training.seed) for training in trainings]
    for training in trainings:
        training.report_damage(training.run.delta(training.seed))
    step = go_back_to_shared_step(folders)
    while True:
        opened: list[tuple[OpenTraining, ParameterReport]] = []
        for training in trainings:
            opened.append(training.open(encoded))
            share_frozen([each.training.module for each, _ in (opened[0], opened[-1])])
        before, step = step, go_back_to_shared_step(folders)
        if step == before or step is None:
            return opened


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
        """Say that a delta is damaged, if there is one, and remove it: its training starts over.

        Raises:
            UserError: It is no file.
        """
        check_file(delta)
        if delta.exists():
            self.listen(Notice(f"{delta} is damaged; seed {self.seed} is trained again", caution=True))
            delta.unlink()
            (delta.parent / METRICS).unlink(missing_ok=True)

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
        model = self.load_model(encoded, initial if self.world.is_first else None)
        training, parameters = self.prepare(model, encoded)
        if not self.world.is_first:
            return self.follow(training)
        opened = OpenTraining.resume(self.run, self.source, self.seed, training, encoded, folder, self.listen)
        training.spread()
        opened.report_start(parameters, steps_before)
        opened.resumable.run(self.listen, opened.end_epoch)
        return int(self.world.from_first(opened.finish()))

    def open(self, encoded: EncodedTrainingData) -> "tuple[OpenTraining, ParameterReport]":
        """Load the training of a seed that has no stages, at its latest checkpoint."""
        training, parameters = self.prepare(self.load_model(encoded, None), encoded)
        folder = self.run.seed_folder(self.seed)
        return OpenTraining.resume(self.run, self.source, self.seed, training, encoded, folder, self.listen), parameters

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
        switching = None
        if recipe.code_switching:
            self.listen(Notice("code-switching: looking for words with near embeddings in the whole vocabulary"))
            switching = CodeSwitching.of(recipe, model, encoded.tokenizer, rows)
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
            switching=switching,
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
