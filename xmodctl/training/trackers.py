"""Experiment trackers: a listener that sends the curves of a fine-tuning to them, through Accelerate's adapters."""

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, redirect_stdout
from importlib import import_module
from importlib.util import find_spec
from types import TracebackType
from typing import Any

from xmodctl.core.errors import UserError, did_you_mean
from xmodctl.core.events import Event, SeedFinished, SeedStarted, StepTaken, Validated
from xmodctl.run.run import Run

TRACKERS = ("tensorboard", "wandb", "trackio", "mlflow")
"""Each is also the name of the package that it needs, and of the extra that installs it."""

PROJECT = "xmodctl"
"""The name of the project in trackers that group runs."""


def check_trackers(names: Sequence[str]) -> None:
    """Refuse trackers that cannot be used, before anything is trained.

    Raises:
        UserError: There is no such tracker, or its package is not installed.
    """
    for name in names:
        if name not in TRACKERS:
            raise UserError(f"--track {name}: choose from {', '.join(TRACKERS)}{did_you_mean(name, TRACKERS)}")
        if find_spec(name) is None:
            raise UserError(f'--track {name} needs a package that is not installed; run: pip install "xmodctl[{name}]"')


class Trackers(AbstractContextManager["Trackers"]):
    """A listener that sends the curves of each seed to trackers; each seed is one run there.

    Trackers report their own problems, such as an unreachable server; they never change what is trained.
    """

    def __init__(self, names: Sequence[str], run: Run) -> None:
        self.names, self.run = names, run
        self.open: list[Any] = []
        self.steps_before = 0  # steps of the stages before this one

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish()

    def __call__(self, event: Event) -> None:
        """Send the values of one event."""
        match event:
            case SeedStarted():
                self.steps_before = event.steps_before
                if not self.open:
                    self.start(event.seed)
            case StepTaken():
                self.log(
                    event.step,
                    {
                        "train/loss": event.loss,
                        "train/learning_rate": event.learning_rate,
                        "train/gradient_norm": event.gradient_norm,
                        "train/epoch": event.epoch,
                        "train/examples_per_second": event.examples / event.seconds,
                    },
                )
            case Validated():
                language_values = {
                    f"validation/{event.metric}/{language}": value for language, value in event.values.items()
                }
                self.log(event.step, {f"validation/{event.metric}": event.value, **language_values})
            case SeedFinished():
                self.finish()

    def start(self, seed: int) -> None:
        """Open one run per tracker, and send it the settings."""
        for name in self.names:
            tracker = self._make(name, seed)
            with redirect_stdout(sys.stderr):  # what some of them print is not a result
                tracker.start()
                self.open.append(tracker)
                tracker.store_init_configuration(self.settings(seed))

    def log(self, step: int, values: dict[str, float]) -> None:
        """Send the values of one step."""
        for tracker in self.open:
            tracker.log(values, step=self.steps_before + step)

    def finish(self) -> None:
        """Close the runs that are open."""
        while self.open:
            tracker = self.open.pop()
            with redirect_stdout(sys.stderr):
                if tracker.name == "trackio":
                    # Accelerate ends the run but leaves it the current one, which trackio ends again when Python exits.
                    import_module("trackio").finish()
                else:
                    tracker.finish()

    def settings(self, seed: int) -> dict[str, bool | int | float | str]:
        """Return the settings of a run, as the plain values that trackers take."""
        plan = self.run.plan
        recipe = plan.recipe.model_dump(mode="json", exclude_none=True)
        plain = {
            key: value if isinstance(value, bool | int | float | str) else str(value) for key, value in recipe.items()
        }
        return plain | {
            "task": plan.task.name,
            "language": "+".join(plan.source_languages),
            "model": plan.model,
            "revision": plan.revision or "",
            "precision": plan.precision,
            "limit": plan.limit or 0,
            "seed": seed,
        }

    def _make(self, name: str, seed: int) -> Any:
        from accelerate import tracking

        run_name = f"{self.run.folder.resolve().name}-seed-{seed}"
        match name:
            case "tensorboard":
                return tracking.TensorBoardTracker(f"seed-{seed}", self.run.folder / "tensorboard")
            case "wandb":
                return tracking.WandBTracker(PROJECT, name=run_name)
            case "trackio":
                return tracking.TrackioTracker(PROJECT, name=run_name)
            case _:
                return tracking.MLflowTracker(PROJECT, run_name=run_name)
