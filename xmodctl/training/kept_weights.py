"""Which step's weights a run keeps: the last, the best on validation data, or an average of several."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from xmodctl.catalog.recipe import Recipe
from xmodctl.run.checkpoints import Checkpoint
from xmodctl.run.deltas import is_delta, load_delta, save_delta

if TYPE_CHECKING:
    import torch

    from xmodctl.model import Source
    from xmodctl.training.loop import Training


@dataclass(frozen=True)
class KeptWeights:
    """The weights of earlier epochs, on disk while a training may still need them.

    Args:
        folder: Where they are.
        recipe: Its `keep` decides.
        source: The base model.
        epoch_ends: The steps that end an epoch.
    """

    folder: Path
    recipe: Recipe
    source: "Source"
    epoch_ends: Sequence[int]

    @property
    def averaged(self) -> tuple[int, ...]:
        """The steps whose weights are averaged; none unless the recipe keeps a mean."""
        return tuple(self.epoch_ends[-self.recipe.averaged :]) if self.recipe.averaged else ()

    def end_epoch(self, training: "Training") -> None:
        """Save the weights of an epoch that is averaged."""
        if training.step in self.averaged:
            save_delta(self._path(training.step), training.trained(), self.source, {})

    def validated(self, training: "Training", score: float, scores_before: Sequence[float]) -> None:
        """Save the weights if they score better than those of every earlier epoch."""
        if self.recipe.keep == "source-dev" and score > max(scores_before, default=-inf):
            save_delta(self._best, training.trained(), self.source, {"step": training.step})

    def damaged(self, checkpoint: Checkpoint | None) -> Path | None:
        """Return a file that a training resumed from a checkpoint needs and that is damaged or missing, if any."""
        if checkpoint is None:
            return None
        saved = [step for step in self.epoch_ends if step < checkpoint.progress.step]  # its own epoch may not be
        needed = [self._path(step) for step in saved if step in self.averaged]
        if self.recipe.keep == "source-dev" and saved:
            needed.append(self._best)
        return next((path for path in needed if not is_delta(path)), None)

    def choose(self, training: "Training") -> "tuple[int, dict[str, torch.Tensor]]":
        """Return the step and the weights that the run keeps."""
        if self.averaged:
            return training.step, self._mean()
        if self.recipe.moving_decay:
            return training.step, training.averages()
        if self.recipe.keep == "source-dev":
            tensors, facts = load_delta(self._best, self.source)
            return facts["step"], tensors
        return training.step, training.trained()

    def remove(self) -> None:
        """Delete them."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _mean(self) -> "dict[str, torch.Tensor]":
        """Return the mean of the trained tensors of several steps (Izmailov et al., Averaging Weights, UAI 2018)."""
        total, _ = load_delta(self._path(self.averaged[0]), self.source)
        for step in self.averaged[1:]:
            for name, tensor in load_delta(self._path(step), self.source)[0].items():
                total[name] += tensor
        return {name: tensor / len(self.averaged) for name, tensor in total.items()}

    @property
    def _best(self) -> Path:
        return self.folder / "best.safetensors"

    def _path(self, step: int) -> Path:
        return self.folder / f"{step}.safetensors"


def selected_on(recipe: Recipe, languages: Sequence[str]) -> str:
    """Return what the kept weights were selected on, as result rows report it."""
    if recipe.averaged:
        return f"nothing (mean of the last {recipe.averaged} epochs)"
    if recipe.moving_decay:
        return "nothing (moving average of all steps)"
    return f"validation data of {'+'.join(languages)}" if recipe.keep == "source-dev" else "nothing (last step)"
