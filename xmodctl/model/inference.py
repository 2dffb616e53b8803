"""Inference: the logits of encoded rows, without gradients, in the precision you ask for."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xmodctl.core.encoded import Encoded
from xmodctl.model.batches import collate, evaluation_batches
from xmodctl.model.memory import in_halves
from xmodctl.model.precision import Precision, autocast
from xmodctl.model.transfer import HOST, mask_on_host, on_device, one_behind

if TYPE_CHECKING:
    import torch

    from xmodctl.model import Xmod

TOKENS_PER_STEP = 8192
"""Padded tokens of one forward pass on an accelerator: enough to fill it, and little memory without gradients."""
TOKENS_PER_CPU_STEP = 2048
"""Those on a CPU, where the activations of small batches stay in its caches; processes share small batches evenly."""


def best_device() -> str:
    """Return the device that inference runs on: an accelerator if there is one, else the CPU."""
    import torch

    return str(torch.accelerator.current_accelerator()) if torch.accelerator.is_available() else "cpu"


@contextmanager
def predicting(device: "torch.device", precision: Precision) -> Iterator[None]:
    """Compute without gradients, with matrix products in the given precision."""
    import torch

    with torch.inference_mode(), autocast(device, precision):
        yield


def batches_of(
    encoded: Encoded, device: "torch.device", chosen: NDArray[np.int64] | None = None
) -> list[NDArray[np.int64]]:
    """Return the batches of inference: the numbers of the units of each, of all units or of the chosen ones."""
    units = np.arange(len(encoded)) if chosen is None else chosen
    tokens = TOKENS_PER_CPU_STEP if device.type == "cpu" else TOKENS_PER_STEP
    batches = evaluation_batches(encoded.lengths[units], choices=encoded.sizes[units], tokens_per_step=tokens)
    return [units[batch] for batch in batches]


def predict(
    model: "Xmod",
    encoded: Encoded,
    *,
    precision: Precision,
    pad_id: int,
    batches: Iterable[NDArray[np.int64]] | None = None,
    shorter: str = "",
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Yield the numbers of the units of each batch and their logits; the longest units come first.

    Batches for which there is not enough memory are halved. Without `batches`, these are those of all units.

    Raises:
        UserError: There is not enough memory for a single unit.
    """
    import torch

    device = model.module.device
    host = (*HOST, *mask_on_host(model, precision))
    model.leave_padding_out()
    model.module.eval()

    def logits_of_batch(units: NDArray[np.int64]) -> "torch.Tensor":
        batch = collate(encoded, units, pad_id=pad_id)
        inputs = on_device({name: batch[name] for name in ("input_ids", "attention_mask")}, device, host=host)
        with predicting(device, precision):
            outputs = model.module(**inputs)
            # The span head returns its two logits per token separately.
            spans = (outputs.start_logits, outputs.end_logits) if "start_logits" in outputs else None
            logits = torch.stack(spans, dim=-1) if spans else outputs.logits
        return logits.float()

    batches = batches_of(encoded, device) if batches is None else batches
    computed = in_halves(batches, encoded.lengths, model.batch_limit, logits_of_batch, device=device, shorter=shorter)
    for units, values in one_behind(computed, device):
        yield units, values.cpu().numpy()


def logits_of(
    model: "Xmod",
    encoded: Encoded,
    *,
    precision: Precision,
    pad_id: int,
    on_batch: Callable[[int], None] | None = None,
    shorter: str = "",
) -> list[np.ndarray]:
    """Return the logits of every unit, in order.

    Args:
        model: The model, with the adapter of the text's language active.
        encoded: The encoded rows.
        precision: The precision of matrix products.
        pad_id: The id of the padding token.
        on_batch: Called after each batch with the number of its units.
        shorter: The option that makes rows shorter, up to its value, for a message about memory.

    Raises:
        UserError: There is not enough memory for a single unit.
    """
    logits: list[Any] = [None] * len(encoded)
    for units, values in predict(model, encoded, precision=precision, pad_id=pad_id, shorter=shorter):
        for unit, value in zip(units, values, strict=True):
            logits[int(unit)] = value
        if on_batch:
            on_batch(len(units))
    return logits
