"""The training of one seed on one data set, between its first step and its delta on disk."""

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from xmodctl.core.events import Listener, Notice, SeedStarted
from xmodctl.run.checkpoints import latest_checkpoint
from xmodctl.run.deltas import save_delta
from xmodctl.run.run import Run
from xmodctl.run.written import DELTA
from xmodctl.training.chosen_settings import choose_settings, chosen_text
from xmodctl.training.kept_weights import KeptWeights, selected_on
from xmodctl.training.loop import Training
from xmodctl.training.resumable import ResumableTraining
from xmodctl.training.target_scale import TargetScale
from xmodctl.training.training_data import EncodedTrainingData
from xmodctl.training.validation import validate

if TYPE_CHECKING:
    from xmodctl.model import ParameterReport, Source

CHECKPOINTS, KEPT_FOLDER = "checkpoints", "kept"
"""Folders of a training that is not finished."""

METRICS = "metrics.jsonl"
"""The log of a training."""


@dataclass(frozen=True)
class OpenTraining:
    """A training with what it has on disk.

    Args:
        run: The run.
        source: The base model.
        seed: The seed.
        encoded: The data.
        folder: Gets the delta; also keeps the log and, while it trains, the checkpoints.
        kept: The weights of earlier epochs.
        resumable: The training with its log and its checkpoints.
        listen: Is called with each event.
    """

    run: Run
    source: "Source"
    seed: int
    encoded: EncodedTrainingData
    folder: Path
    kept: KeptWeights
    resumable: ResumableTraining
    listen: Listener

    @classmethod
    def resume(
        cls,
        run: Run,
        source: "Source",
        seed: int,
        training: Training,
        encoded: EncodedTrainingData,
        folder: Path,
        listen: Listener,
    ) -> Self:
        """Restore the latest checkpoint that can be used of a training that is at its first step."""
        stage, checkpoints = encoded.data.stage, folder / CHECKPOINTS
        name = f"seed {seed}" + (f", stage {stage}" if stage else "")
        kept = KeptWeights(folder / KEPT_FOLDER, encoded.data.recipe, source, training.epoch_ends)
        if (damaged := kept.damaged(latest_checkpoint(checkpoints))) is not None:
            listen(Notice(f"{name}: {damaged} is damaged or missing; training restarts at step 0", caution=True))
            shutil.rmtree(checkpoints, ignore_errors=True)
        metrics = folder / METRICS
        resumable = ResumableTraining.resume(training, folder=checkpoints, metrics=metrics, name=name, listen=listen)
        return cls(run, source, seed, encoded, folder, kept, resumable, listen)

    @property
    def training(self) -> Training:
        """The training itself."""
        return self.resumable.training

    def report_start(self, parameters: "ParameterReport", steps_before: int = 0) -> None:
        """Report that the training starts or resumes.

        Args:
            parameters: How many there are, and how many of them train.
            steps_before: Steps of the stages before.
        """
        training, adapters = self.training, self.encoded.adapters
        shares = tuple(zip(adapters, training.shares, strict=True)) if len(adapters) > 1 else ()
        self.listen(
            SeedStarted(
                self.seed, training.step, training.total_steps, training.epoch, parameters.trainable, parameters.total,
                self.encoded.data.stage, steps_before, shares,
            )
        )  # fmt: skip

    def end_epoch(self) -> None:
        """Keep the weights of the epoch that has ended, if they are needed, and score them."""
        training, log = self.training, self.resumable.log
        self.kept.end_epoch(training)
        if self.encoded.validation and not log.is_validated(training.step):
            validated = validate(training, self.seed, self.encoded)
            self.kept.validated(training, validated.value, list(log.validations.values()))
            log.add(asdict(validated))
            self.listen(validated)

    def finish(self) -> int:
        """Write the delta, and remove what only the training needed.

        Returns:
            The step whose weights were kept.
        """
        recipe, languages = self.encoded.data.recipe, self.run.plan.source_languages
        step, tensors = self.kept.choose(self.training)
        selected = selected_on(recipe, languages)
        facts = {"seed": self.seed, "step": step, "selected_on": selected, "freeze": recipe.freeze}
        if settings := choose_settings(self.training, self.encoded, tensors):
            facts["settings"] = settings
            self.listen(Notice(f"{self.resumable.name}: {chosen_text(settings, languages, self.encoded)}"))
        save_delta(self.folder / DELTA, TargetScale.of(self.encoded).of_data(tensors), self.source, facts)
        shutil.rmtree(self.resumable.checkpoints, ignore_errors=True)
        self.kept.remove()
        return step
