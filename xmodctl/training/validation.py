"""Scoring a model on the validation data of its training languages."""

from typing import TYPE_CHECKING

from xmodctl.core.events import Validated
from xmodctl.kinds import KINDS
from xmodctl.kinds.scoring import score_predictions
from xmodctl.model.inference import logits_of

if TYPE_CHECKING:
    from xmodctl.training.loop import Training
    from xmodctl.training.training_data import EncodedTrainingData


def validate(training: "Training", seed: int, encoded: "EncodedTrainingData") -> Validated:
    """Score each training language's validation data through its own adapter."""
    task, model = encoded.data.task, training.model
    kind = KINDS[task.kind]
    scores: dict[str, float] = {}
    baselines: list[float] = []
    for language, units in zip(encoded.data.validation, encoded.validation, strict=True):
        rows = language.rows
        model.activate(language.adapter)
        logits = logits_of(
            model, units, precision=training.precision, pad_id=training.pad_id, shorter="--set max_length="
        )
        predictions, _, metrics = score_predictions(kind, task, rows.table, rows.language, units, logits)
        scores[language.adapter] = metrics[task.headline]
        gold = [predicted.gold for predicted in predictions]
        baselines.append(kind.baseline(gold, rows.table, task, rows.language))
    return Validated(
        seed=seed,
        step=training.step,
        epoch=training.epoch,
        metric=task.headline,
        value=sum(scores.values()) / len(scores),
        baseline=sum(baselines) / len(baselines),
        values=scores if len(scores) > 1 else {},
    )
