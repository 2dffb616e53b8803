"""The training of masked-language modelling: the loop is that of fine-tuning, its batches are masked anew each time."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from xmodctl.catalog.recipe import Recipe
from xmodctl.core.encoded import Encoded
from xmodctl.model.precision import Precision
from xmodctl.new_language.masking import Masker
from xmodctl.training.loop import Training

if TYPE_CHECKING:
    import torch

    from xmodctl.model import Xmod


class MaskedTraining(Training):
    """Trains whatever does not stand still to predict masked tokens of packed sequences.

    The mask of a sequence depends on seed, step and sequence alone, so that a continued training draws what an unbroken
    one would, however its batches are cut.
    """

    def __init__(
        self,
        model: "Xmod",
        text: Encoded,
        masker: Masker,
        recipe: Recipe,
        *,
        seed: int,
        precision: Precision,
        pad_id: int,
    ) -> None:
        weights = masker.counts(text.input_ids).astype(np.float64)
        super().__init__(model, text, weights, recipe, seed=seed, precision=precision, pad_id=pad_id)
        self.masker = masker
        model.score_labelled_only(masker.candidates.tolist())

    def collate(self, part: np.ndarray) -> dict[str, "torch.Tensor"]:
        """Return a masked micro-batch."""
        return self.masker.batch(self.rows, part, seed=self.seed, step=self.step, pad_id=self.pad_id)

    def trained(self) -> dict[str, "torch.Tensor"]:
        """Return the values of what trains, and nothing else, under their stock names."""
        return {name: parameter.detach() for name, parameter in self.training_parameters().items()}

    def put(self, tensors: "Mapping[str, torch.Tensor]") -> None:
        """Put back what `trained` returned."""
        import torch

        own = self.training_parameters()
        assert own.keys() == tensors.keys()
        with torch.no_grad():
            for name, tensor in tensors.items():
                own[name].copy_(tensor)
