"""The one resumable loop: fine-tuning and the training of language adapters both go through it.

Nothing is lost but the steps since the last checkpoint, and a resumed training reaches the same bits as one that was
never stopped: batches, masks and dropout depend on seed and step alone.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self, TypeVar

from xmodctl.core.errors import UserError
from xmodctl.core.events import Listener, Notice, StepTaken
from xmodctl.core.signals import Interrupted, deferred, stop_signals
from xmodctl.run.checkpoints import Checkpoint, checkpoints, newest_step, remove_others, save_checkpoint
from xmodctl.run.folder import Folder
from xmodctl.run.jobs import Jobs
from xmodctl.training.loop import Training
from xmodctl.training.metrics_log import MetricsLog, logged_steps
from xmodctl.training.readings import Batch

Item = TypeVar("Item")


@contextmanager
def interruptible(folder: Folder, jobs: Jobs) -> Iterator[None]:
    """Honor Ctrl-C and SIGTERM, and record in the folder's file whether the work was interrupted or finished."""
    with stop_signals():
        try:
            yield
        except KeyboardInterrupt:
            if folder.folder.exists():
                with suppress(UserError, OSError):
                    _record_state(folder, jobs)
            raise
        _record_state(folder, jobs)


def _record_state(folder: Folder, jobs: Jobs) -> None:
    """Record the state that a job leaves: finished if all seeds are, else interrupted if this is the last job."""
    with jobs.writing():
        now = type(folder).read(folder.folder) if (folder.folder / folder.FILE).exists() else folder
        is_finished = now.finished_seeds == now.seeds
        replace(now, state="finished" if is_finished else "training" if jobs.others() else "interrupted").write()


def run_steps(
    training: Training,
    batches: Iterable[Item],
    *,
    take: Callable[[Item], None],
    end_epoch: Callable[[], None],
    save: Callable[[], None],
    name: str,
) -> None:
    """Take steps until the last, of one training or of several that take each step together.

    Args:
        training: One of them; its step and its epoch are those of all.
        batches: What the steps that are left train on.
        take: Takes a step.
        end_epoch: Is called at the end of each epoch, after the step is taken. When an earlier command died in between,
            it is called again for the same epoch.
        save: Saves the last step that was taken.
        name: What messages call the training.

    Raises:
        Interrupted: The user asked to stop; the last step that was taken is saved.
    """
    try:
        if training.step and training.ends_epoch:
            end_epoch()
        for batch in batches:
            take(batch)
            if training.ends_epoch:
                end_epoch()
    except KeyboardInterrupt as error:
        save()
        where = f"at step {training.step:,} of {training.total_steps:,} ({name})"
        raise Interrupted(where) from error


@dataclass(frozen=True)
class ResumableTraining:
    """A training with its log and its checkpoints on disk; `resume` makes one, `run` trains to the end.

    Args:
        training: Frozen, restored from its latest checkpoint.
        checkpoints: The folder of checkpoints.
        log: One line per step, and whatever else the caller adds.
        name: What messages call it, such as "seed 1".
    """

    training: Training
    checkpoints: Path
    log: MetricsLog
    name: str

    @classmethod
    def resume(cls, training: Training, *, folder: Path, metrics: Path, name: str, listen: Listener) -> Self:
        """Restore the latest checkpoint that can be used, and drop the lines of the log that come after it.

        Args:
            training: Frozen, at its first step.
            folder: That of the checkpoints.
            metrics: The log.
            name: What messages call the training.
            listen: Is called with a notice about what is damaged.
        """
        logged = logged_steps(metrics)
        checkpoint, reasons = _usable(folder, logged)
        for reason in reasons:
            listen(Notice(f"{name}: {reason}", caution=True))
        if checkpoint:
            training.restore(checkpoint)
            remove_others(folder, training.step)
            before, now = checkpoint.progress.world, training.world.size
            if before != now:
                listen(
                    Notice(
                        f"{name}: {before} at a time up to step {training.step:,}, {now} from here on: with a "
                        "different number of processes, the last bits of weights may differ"
                    )
                )
        if reasons and checkpoint:
            listen(Notice(f"{name}: training resumes from the checkpoint before it, at step {training.step:,}"))
        elif reasons or (logged and not checkpoint):
            listen(Notice(f"{name}: no checkpoint can be used; training restarts at step 0", caution=True))
        return cls(training, folder, MetricsLog(metrics, keep_until=training.step), name)

    def run(self, listen: Listener, end_epoch: Callable[[], None] = lambda: None) -> None:
        """Train from the present step to the last.

        Args:
            listen: Is called with each step.
            end_epoch: Is called at the end of each epoch, after the checkpoint is saved. When an earlier command died
                in between, it is called again for the same epoch.

        Raises:
            Interrupted: The user asked to stop; the last step that was taken is saved.
        """
        run_steps(
            self.training,
            self.training.remaining(),
            take=lambda batch: self.take_step(batch, listen),
            end_epoch=end_epoch,
            save=lambda: self.save_interrupted(listen),
            name=self.name,
        )

    def take_step(self, batch: Batch, listen: Listener) -> None:
        """Train on a batch, log what has been read of earlier steps, and save a checkpoint if one is due.

        Raises:
            KeyboardInterrupt: The user asked to stop.
        """
        training = self.training
        gradient = training.gradient(batch, listen)
        with deferred():
            training.update(batch, gradient)
            self.record(training.read(), listen)
            if self.is_due:
                self.save(listen)
        if self.is_due:
            remove_others(self.checkpoints, training.step)  # can take seconds, and a signal does not wait

    def save_interrupted(self, listen: Listener) -> None:
        """Save the last step, unless it is saved.

        Earlier checkpoints are left to the command that continues, so that this one ends sooner.
        """
        training = self.training
        if newest_step(self.checkpoints) < training.step:
            listen(Notice(f"saving step {training.step:,} of {training.total_steps:,} ({self.name}) ..."))
            self.save(listen)

    @property
    def is_due(self) -> bool:
        """Whether a checkpoint is saved after the present step: every `save_steps`, or at the end of each epoch."""
        training, save_steps = self.training, self.training.recipe.save_steps
        return training.step % save_steps == 0 if save_steps else training.ends_epoch

    def record(self, steps: Iterable[StepTaken], listen: Listener) -> None:
        """Log steps and report them."""
        for step in steps:
            self.log.add(asdict(step))
            listen(step)

    def save(self, listen: Listener) -> None:
        """Save the present step, after the losses up to it were read: none of them may be infinite."""
        training = self.training
        self.record(training.read(early=True), listen)
        save_checkpoint(self.checkpoints, training.progress(), training.trained(), training.optimizer_state())


def _usable(folder: Path, logged: int | None) -> tuple[Checkpoint | None, list[str]]:
    """Return the newest checkpoint that is whole and whose steps are logged, and why newer ones are not used.

    Those are removed: the training that resumes writes them again.
    """
    reasons: list[str] = []
    for path, checkpoint in checkpoints(folder):
        if checkpoint and checkpoint.progress.step <= (logged or 0):
            return checkpoint, reasons
        # Earlier validations decide which weights are kept, so a training cannot continue without them.
        log = "metrics.jsonl is missing" if logged is None else "metrics.jsonl is damaged before its step"
        cause = log if checkpoint else "it is damaged"
        reasons.append(f"the checkpoint {path} is not used, because {cause}")
        shutil.rmtree(path)
    return None, reasons
