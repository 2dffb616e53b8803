"""The progress of `finetune` on the terminal."""

from typing import Any

from xmodctl.cli.output import current_output
from xmodctl.cli.progress import Bar, duration
from xmodctl.core import events
from xmodctl.core.messages import counted
from xmodctl.evaluation.results import MAJORITY_BASELINE


class TrainingProgress(Bar):
    """Draws a fine-tuning's events as they come."""

    def __init__(self) -> None:
        super().__init__("loss {task.fields[loss]}  lr {task.fields[rate]}  {task.fields[speed]} ex/s")
        self.speed = Speed()
        self.steps_shown = 0
        self.open_seeds: set[int] = set()  # several if they are trained together

    def show(self, event: events.Event) -> None:
        """Draw one event."""
        match event:
            case events.DataEncoded():
                self.say(
                    (f"{event.stage}: " if event.stage else "")
                    + f"{counted(event.rows, 'training row')}, {event.tokens:,} tokens"
                    + (f", {event.truncated:,} truncated to max_length" if event.truncated else "")
                    + (f"; {event.validation_rows:,} validation rows" if event.validation_rows else "")
                )
                for note in event.notes:
                    self.say(note)
            case events.SeedStarted():
                where = (
                    f"resuming at step {event.resumed_at:,} of {event.total_steps:,} (epoch {event.epoch:.1f})"
                    if event.resumed_at
                    else f"training for {counted(event.total_steps, 'step')}"
                )
                share = 100 * event.trainable / event.parameters
                name = f"seed {event.seed}" + (f", {event.stage}" if event.stage else "")
                if self.task is not None:  # the stage before is done
                    self.bar.remove_task(self.task)
                self.steps_shown = 0
                self.open_seeds.add(event.seed)
                if event.languages:
                    shares = ", ".join(f"{count:,} of {language}" for language, count in event.languages)
                    self.say(f"{name}: an epoch takes {shares}")
                self.say(
                    f"{name}: {where}; {event.trainable / 1e6:.1f} M of "
                    f"{event.parameters / 1e6:.1f} M parameters are trainable ({share:.0f}%)"
                )
                self.task = self.bar.add_task(
                    name, total=event.total_steps, completed=event.resumed_at,
                    loss="-", rate="-", speed="-",
                )  # fmt: skip
            case events.StepTaken():
                self.step(event)
            case events.StepsTaken():
                if self.task is not None:
                    self.bar.update(self.task, description=f"seeds {', '.join(map(str, event.steps))}")
                self.step(event.mean)
            case events.Validated():
                seed = f"seed {event.seed}, " if len(self.open_seeds) > 1 else ""
                # One line of 80 characters: a training on few rows has dozens of epochs.
                each = ", ".join(f"{language} {value:.1f}" for language, value in event.values.items())
                self.say(
                    f"{seed}epoch {event.epoch:.3g}: validation {event.metric} {event.value:.1f}"
                    + (f", the mean of {each}" if each else "")
                    + f" ({MAJORITY_BASELINE} {event.baseline:.1f})"
                )
            case events.SeedFinished():
                self.open_seeds.discard(event.seed)
                if self.task is not None:
                    self.bar.remove_task(self.task)
                    self.task = None
                if event.known:
                    self.say(f"seed {event.seed}: already trained")

    def step(self, step: events.StepTaken) -> None:
        """Move the bar; without one, and in a log, say something every tenth of the way, or in detail hundredth."""
        loss, speed = self.speed.add(step)
        fields: dict[str, Any] = {"loss": f"{loss:.3f}", "rate": f"{step.learning_rate:.1e}", "speed": f"{speed:.1f}"}
        if self.task is not None:
            self.bar.update(self.task, completed=step.step, **fields)
        output = current_output()
        part = (100 if output.verbose else 10) * step.step // step.total_steps
        if part > self.steps_shown and (output.log or output.verbose or not self.console.is_terminal):
            self.steps_shown = part
            remaining_seconds = (step.total_steps - step.step) * self.speed.seconds_per_step
            is_shown = output.verbose or not self.console.is_terminal
            (self.say if is_shown else output.write)(
                f"step {step.step:,} of {step.total_steps:,}, loss {loss:.3f}, learning rate {step.learning_rate:.1e}, "
                f"{speed:.1f} examples/s, {duration(remaining_seconds)} left"
            )


class Speed:
    """Running means of loss and speed, recent, but not jumpy."""

    def __init__(self, memory: float = 0.95) -> None:
        self.memory = memory
        self.weight = self.loss = self.examples = self.seconds = 0.0

    def add(self, step: events.StepTaken) -> tuple[float, float]:
        """Take a step in; return the mean loss and examples per second."""
        self.weight = self.memory * self.weight + 1
        self.loss = self.memory * self.loss + step.loss
        self.examples = self.memory * self.examples + step.examples
        self.seconds = self.memory * self.seconds + step.seconds
        return self.loss / self.weight, self.examples / self.seconds

    @property
    def seconds_per_step(self) -> float:
        """Mean seconds per step."""
        return self.seconds / self.weight
