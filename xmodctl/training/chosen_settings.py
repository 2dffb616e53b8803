"""Settings of a task that are chosen for each seed on the validation data of its training languages."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from xmodctl.kinds import KINDS
from xmodctl.model.inference import logits_of

if TYPE_CHECKING:
    import torch

    from xmodctl.training.loop import Training
    from xmodctl.training.training_data import EncodedTrainingData


def choose_settings(
    training: "Training", encoded: "EncodedTrainingData", tensors: "Mapping[str, torch.Tensor]"
) -> dict[str, Any]:
    """Return the settings that the task leaves to be chosen, for a model with the weights that the run keeps.

    Args:
        training: A finished training; its model has these weights afterwards.
        encoded: Its data.
        tensors: The weights.
    """
    from xmodctl.model import apply_delta

    task, model = encoded.data.task, training.model
    kind = KINDS[task.kind]
    if not kind.chosen_keys(task):
        return {}
    apply_delta(model, tensors)
    validation = []
    for language, units in zip(encoded.data.validation, encoded.validation, strict=True):
        model.activate(language.adapter)
        logits = logits_of(model, units, precision=training.precision, pad_id=training.pad_id)
        validation.append((logits, language.rows.table))
    return kind.choose(validation, task)


def chosen_text(settings: Mapping[str, Any], languages: Sequence[str], encoded: "EncodedTrainingData") -> str:
    """Return what was chosen, and on what."""
    values = ", ".join(f"{key} {value:g}" for key, value in settings.items())
    if not encoded.validation:
        return f"{values}, because there is no validation data to choose it on"
    return f"{values}, chosen on the validation data of {'+'.join(languages)}"
