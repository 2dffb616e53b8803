"""The masked-language-modeling loss of held-out text: through the model, and from piece frequencies alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from xmodctl.core.encoded import Encoded
from xmodctl.model.batches import IGNORED, evaluation_batches
from xmodctl.model.inference import predicting
from xmodctl.model.memory import in_halves
from xmodctl.model.precision import Precision
from xmodctl.model.transfer import copied, on_device
from xmodctl.training.masked_lm.masking import Ids, Masker

if TYPE_CHECKING:
    from xmodctl.model import Xmod

TOKENS_PER_STEP = 2_048
"""Padded tokens of one forward pass, of which about 300 are predicted."""


@dataclass(frozen=True)
class HeldOutLoss:
    """The masked-language-modeling loss of held-out sequences, always under the same mask."""

    losses: NDArray[np.float64]  # (sequences,): nats, summed over the predicted tokens
    tokens: NDArray[np.int64]  # (sequences,): number of predicted tokens

    @property
    def loss(self) -> float:
        """Nats per predicted token."""
        return float(self.losses.sum() / self.tokens.sum())

    @property
    def perplexity(self) -> float:
        """The exponential of the loss."""
        return float(np.exp(self.loss))


def measure_held_out(
    model: "Xmod", encoded: Encoded, masker: Masker, *, precision: Precision, pad_id: int, units: Ids | None = None
) -> HeldOutLoss:
    """Return the loss of sequences through the active adapter; with `units`, of these sequences only.

    Raises:
        UserError: There is not enough memory for a single sequence; larger batches are halved.
    """
    import torch
    from torch.nn import functional

    model.score_labeled_only(masker.candidates.tolist())
    model.module.eval()
    losses, tokens = np.zeros(len(encoded)), np.zeros(len(encoded), dtype=np.int64)
    device = model.module.device
    candidates = torch.from_numpy(masker.candidates).to(device)
    units = np.arange(len(encoded)) if units is None else units
    units = units[masker.counts(encoded.input_ids)[units] > 0]

    def token_losses_of(part: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        inputs = masker.batch(encoded, part, seed=0, step=0, pad_id=pad_id)
        is_predicted = inputs["labels"].numpy() != IGNORED
        labels = torch.from_numpy(inputs["labels"].numpy()[is_predicted])
        inputs = on_device(inputs, device, host=("labels",))
        with predicting(device, precision):
            logits = model.module(**inputs).logits
        targets = torch.searchsorted(candidates, copied(labels, device))
        token_losses = functional.cross_entropy(logits.float(), targets, reduction="none")
        return np.nonzero(is_predicted)[0], token_losses.double().cpu().numpy()

    for part, (row, values) in in_halves(
        _batches(encoded, units), encoded.lengths, model.batch_limit, token_losses_of,
        device=device, shorter="--set max_length=",
    ):  # fmt: skip
        losses[part] = np.bincount(row, weights=values, minlength=len(part))
        tokens[part] = np.bincount(row, minlength=len(part))
    return HeldOutLoss(losses[units], tokens[units])


def frequency_baseline(training: Encoded, encoded: Encoded, masker: Masker) -> HeldOutLoss:
    """Return the loss of predicting pieces by their frequency in the training text, without the model and the context.

    Frequencies are smoothed by adding one. The mask is that of `measure_held_out`.
    """
    counts = np.bincount(training.input_ids.values, minlength=len(masker.maskable))[masker.candidates] + 1
    nats = np.zeros(len(masker.maskable))
    nats[masker.candidates] = np.log(counts.sum()) - np.log(counts)
    units = np.flatnonzero(masker.counts(encoded.input_ids) > 0)
    labels = [masker.mask_unit(encoded, int(unit), seed=0, step=0)[1] for unit in units]
    targets = [row[row != IGNORED] for row in labels]
    return HeldOutLoss(np.array([nats[row].sum() for row in targets]), np.array([len(row) for row in targets]))


def _batches(encoded: Encoded, units: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for part in evaluation_batches(encoded.lengths[units], tokens_per_step=TOKENS_PER_STEP):
        yield units[part]
