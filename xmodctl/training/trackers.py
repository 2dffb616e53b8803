"""Experiment trackers as consumers of a fine-tuning's events, through Accelerate's own adapters to each."""

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
"""Each is also the name of the package it needs and of the extra that installs it."""

PROJECT = "xmodctl"
"""What the trackers that group runs call the group."""


def check(names: Sequence[str]) -> None:
    """Refuse what cannot be tracked with, before anything is trained.

    Raises:
        UserError: There is no such tracker, or its package is not installed.
    """
    for name in names:
        if name not in TRACKERS:
            raise UserError(f"--track {name}: choose {', '.join(TRACKERS)}{did_you_mean(name, TRACKERS)}")
        if find_spec(name) is None:
            raise UserError(f'--track {name} needs a package that is not installed; run: pip install "xmodctl[{name}]"')


class Trackers(AbstractContextManager["Trackers"]):
    """Sends the curves of each seed to trackers; a seed is one run there.

    What they cannot take (their server is away, say) is theirs to tell: a tracker never changes what is trained.
    """

    def __init__(self, names: Sequence[str], run: Run) -> None:
        self.names, self.run = tuple(dict.fromkeys(names)), run
        self.open: list[Any] = []
        self.steps_before = 0  # of the stages before the present one

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish()

    def show(self, event: Event) -> None:
        """Send what one event says."""
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
                each = {f"validation/{event.metric}/{language}": value for language, value in event.values.items()}
                self.log(event.step, {f"validation/{event.metric}": event.value, **each})
            case SeedFinished():
                self.finish()

    def start(self, seed: int) -> None:
        """Open one run a tracker, and tell it the settings."""
        for name in self.names:
            tracker = self._make(name, seed)
            with redirect_stdout(sys.stderr):  # what some of them print is no result
                tracker.start()
                self.open.append(tracker)
                tracker.store_init_configuration(self.settings(seed))

    def log(self, step: int, values: dict[str, float]) -> None:
        """Send values of a step."""
        for tracker in self.open:
            tracker.log(values, step=self.steps_before + step)

    def finish(self) -> None:
        """Close what is open."""
        while self.open:
            tracker = self.open.pop()
            with redirect_stdout(sys.stderr):
                if tracker.name == "trackio":
                    # Accelerate ends the run but leaves it the current one, which trackio ends again when Python exits.
                    import_module("trackio").finish()
                else:
                    tracker.finish()

    def settings(self, seed: int) -> dict[str, bool | int | float | str]:
        """Return what decides the run, as the plain values that trackers take."""
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

        told = f"{self.run.folder.resolve().name}-seed-{seed}"
        match name:
            case "tensorboard":
                return tracking.TensorBoardTracker(f"seed-{seed}", self.run.folder / "tensorboard")
            case "wandb":
                return tracking.WandBTracker(PROJECT, name=told)
            case "trackio":
                return tracking.TrackioTracker(PROJECT, name=told)
            case _:
                return tracking.MLflowTracker(PROJECT, run_name=told)
