"""Whether a device computes what a CPU does in fp32: the logits of a sweep, and the loss and gradients of a step."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from bench import lengths, sides
from bench.measures import PACKED, Line, Setting, UnequalError
from bench.timing import Figure
from xmodctl.core.encoded import Encoded
from xmodctl.model.batches import collate
from xmodctl.model.inference import logits_of
from xmodctl.model.precision import Precision

ROWS = 16
"""Rows that are compared, in one batch."""

SCALE = 256.0
"""Of the loss in fp16: a training begins with a larger one, and skips steps until nothing overflows."""

LIMITS: Mapping[Precision, float] = {"fp32": 1e-4, "fp16": 0.01, "bf16": 0.05}
"""Largest relative difference of logits and gradients in each precision: the norm of the difference over the norm."""


def correctness(setting: Setting) -> tuple[list[Line], dict[str, Any]]:
    """Compare each kind on the device with the CPU in fp32, as it trains and as it is scored, without dropout.

    Raises:
        UnequalError: A difference is larger than rounding explains.
    """
    lines = []
    for benchmark, head in lengths.HEADS.items():
        counts, _ = lengths.training_lengths(benchmark, ROWS)
        rows = lengths.encoded(benchmark, counts, setting.config["vocab_size"])
        expected = _on_cpu(_model(setting, head, "cpu"), rows)
        for variant, changes in _variants(setting).items():
            model = _model(setting, head, setting.device)
            model.variable_length = changes == "packed"
            own = _on_device(model, rows, setting.precision, compiled=changes == "compiled")
            for name, value in expected.items():
                difference = _relative(own[name], value)
                if not difference <= LIMITS[setting.precision]:  # also if it is not a number
                    raise UnequalError(f"{benchmark}, {variant}: {name} differ by {difference:.1e} of their norm")
                figure = Figure.of([difference])
                lines.append(Line(f"difference from fp32 on a CPU, {benchmark}", f"{variant}, {name}", figure, "", {}))
    return lines, {"rows": ROWS, "largest difference accepted": LIMITS[setting.precision]}


def _variants(setting: Setting) -> dict[str, str]:
    """Return the ways to compute that are compared, by name."""
    return {
        "xmodctl": "padded",
        **({"xmodctl, compile=true": "compiled"} if setting.compiled else {}),
        **({f"xmodctl, {PACKED}": "packed"} if setting.variable_length else {}),
    }


def _model(setting: Setting, head: str, device: str) -> sides.Xmod:
    """Return the model that `finetune` begins with, without dropout; its head has the same weights on every device."""
    model = sides.ours(setting.folder, head, [setting.source], device)
    model.set_dropout(hidden=0.0, attention=0.0)
    model.leave_padding_out()
    return model


def _on_cpu(model: sides.Xmod, rows: Encoded) -> dict[str, torch.Tensor]:
    """Return what the CPU computes in fp32, outside of the training loop."""
    logits = _logits(model, rows, "fp32")
    loss = model.module.train()(**collate(rows, np.arange(len(rows)), pad_id=sides.PAD)).loss
    loss.backward()
    return {"logits": logits, "loss": loss.detach(), "gradients": _gradients(model.module)}


def _on_device(model: sides.Xmod, rows: Encoded, precision: Precision, *, compiled: bool) -> dict[str, torch.Tensor]:
    """Return what the device computes, as a sweep and as the training loop do."""
    logits = _logits(model, rows, precision)
    training = sides.our_training(model, rows, precision, tokens=2**20, batch=len(rows), compiled=compiled)
    training.scaler = torch.amp.GradScaler(training.device.type, init_scale=SCALE, enabled=precision == "fp16")
    training.module.train()
    loss = training.accumulate([np.arange(len(rows))])
    training.scaler.unscale_(training.optimizer)
    return {"logits": logits, "loss": torch.as_tensor(loss).cpu(), "gradients": _gradients(training.module)}


def _logits(model: sides.Xmod, rows: Encoded, precision: Precision) -> torch.Tensor:
    """Return the logits of all rows, or of all their tokens, in one row."""
    values = logits_of(model, rows, precision=precision, pad_id=sides.PAD)
    per_token = not rows.choices and model.head in ("tokens", "span")
    real = [own[: rows.lengths[number]] if per_token else own for number, own in enumerate(values)]
    return torch.from_numpy(np.concatenate([own.ravel() for own in real]))


def _gradients(module: torch.nn.Module) -> torch.Tensor:
    """Return the gradients of all that trains, in one row."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    return torch.cat([parameter.grad.float().flatten().cpu() for parameter in trained if parameter.grad is not None])


def _relative(own: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the norm of the difference over the norm."""
    return float((own.double() - expected.double()).norm() / expected.double().norm())
