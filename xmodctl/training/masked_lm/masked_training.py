"""Training by masked-language modeling: fine-tuning's loop, with batches that are masked afresh at each step."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from xmodctl.catalog.recipe import Recipe
from xmodctl.core.encoded import Encoded
from xmodctl.core.messages import listed
from xmodctl.model.precision import Precision
from xmodctl.model.transfer import HOST
from xmodctl.training.loop import Training
from xmodctl.training.masked_lm.masking import Masker
from xmodctl.training.world import World

if TYPE_CHECKING:
    import torch

    from xmodctl.model import Xmod


class MaskedTraining(Training):
    """Trains whatever is not frozen to predict the masked tokens of packed sequences.

    The mask of a sequence depends on seed, step and sequence alone, so that a resumed training draws the same masks as
    one that was never stopped, however its batches are cut.
    """

    host = (*HOST, "labels")
    stores_narrow = False  # adding a language proves with digests that no other weight changes

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
        world: World = World(),  # noqa: B008 (frozen)
    ) -> None:
        weights = masker.counts(text.input_ids).astype(np.float64)
        super().__init__(
            model,
            text,
            weights,
            recipe,
            seed=seed,
            precision=precision,
            pad_id=pad_id,
            describe=_sequences,
            world=world,
        )
        self.masker = masker
        model.score_labeled_only(masker.candidates.tolist())

    def collate(self, part: np.ndarray) -> dict[str, "torch.Tensor"]:
        """Return a masked micro-batch."""
        return self.masker.batch(self.rows, part, seed=self.seed, step=self.step, pad_id=self.pad_id)

    def trained(self) -> dict[str, "torch.Tensor"]:
        """Return the values of the parameters that train, under their stock names."""
        return {name: parameter.detach() for name, parameter in self.training_parameters().items()}

    def put(self, tensors: "Mapping[str, torch.Tensor]") -> None:
        """Put back what `trained` returned."""
        import torch

        parameters = self.training_parameters()
        assert parameters.keys() == tensors.keys()
        with torch.no_grad():
            for name, tensor in tensors.items():
                parameters[name].copy_(tensor)


def _sequences(units: np.ndarray) -> str:
    return f"sequences of the text ({listed([str(unit + 1) for unit in units])})"
