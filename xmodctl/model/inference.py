"""Inference: the logits of encoded rows, batch by batch, on the best device."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xmodctl.core.encoded import Encoded
from xmodctl.model.batches import collate, evaluation_batches
from xmodctl.model.precision import Precision

if TYPE_CHECKING:
    import torch

    from xmodctl.model import Xmod

TOKENS_PER_STEP = 8192
"""Padded tokens of one forward pass in a sweep: enough to fill a device, little memory without gradients."""


@dataclass(frozen=True)
class Advanced:
    """Some rows of the language being scored are done."""

    rows: int


def best_device() -> str:
    """Return the device a sweep runs on: an accelerator where there is one."""
    import torch

    return str(torch.accelerator.current_accelerator()) if torch.accelerator.is_available() else "cpu"


@contextmanager
def predicting(device: "torch.device", precision: Precision) -> Iterator[None]:
    """Compute without gradients, matrix products in this precision."""
    import torch

    dtype = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    with torch.inference_mode(), torch.autocast(device.type, dtype, enabled=dtype is not None):
        yield


def predict(
    model: "Xmod", encoded: Encoded, *, precision: Precision, pad_id: int, tokens: int = TOKENS_PER_STEP
) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """Yield (unit numbers, their logits) batch by batch, longest first."""
    import torch

    device = model.module.device
    model.leave_padding_out()
    model.module.eval()
    for part in evaluation_batches(encoded.lengths, choices=encoded.sizes, tokens_per_step=tokens):
        batch = collate(encoded, part, pad_id=pad_id)
        inputs = {name: batch[name].to(device) for name in ("input_ids", "attention_mask")}
        with predicting(device, precision):
            outputs = model.module(**inputs)
            # Question answering names its two logits of a token apart.
            both = (outputs.start_logits, outputs.end_logits) if "start_logits" in outputs else None
            logits = torch.stack(both, dim=-1) if both else outputs.logits
        yield part, list(logits.float().cpu().numpy())


def gathered(
    model: "Xmod", encoded: Encoded, *, precision: Precision, pad_id: int
) -> Generator[Advanced, None, list[np.ndarray]]:
    """Tell each batch that is done, and return the logits of every unit, in order."""
    logits: list[Any] = [None] * len(encoded)
    for part, values in predict(model, encoded, precision=precision, pad_id=pad_id):
        for unit, value in zip(part, values, strict=True):
            logits[int(unit)] = value
        yield Advanced(len(part))
    return logits


def logits_of(model: "Xmod", encoded: Encoded, *, precision: Precision, pad_id: int) -> list[np.ndarray]:
    """Return the logits of every unit, in order."""
    batches = gathered(model, encoded, precision=precision, pad_id=pad_id)
    while True:
        try:
            next(batches)
        except StopIteration as done:
            logits: list[np.ndarray] = done.value
            return logits
