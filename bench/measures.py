"""What every measure shares: where it runs, the lines of its table, and the check that both sides compute the same."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import sides
from bench.timing import Figure, ratios
from xmodctl.core.encoded import Encoded
from xmodctl.model import look_up
from xmodctl.model.precision import Precision, autocast
from xmodctl.model.transfer import mask_on_host

PACKED = "variable_length=true, attention_dropout=0"
"""How variants without padding on a GPU are named."""


@dataclass(frozen=True)
class Setting:
    """Where and how to measure."""

    folder: Path
    device: str
    precision: Precision
    rounds: int
    steps: int  # optimizer steps per round
    compiled: bool = False  # whether trainings are also measured with compiled steps
    variable_length: bool = False  # whether trainings and sweeps are also measured with batches without padding

    @property
    def is_gpu(self) -> bool:
        """Whether a GPU computes."""
        return self.device != "cpu"

    @property
    def languages(self) -> tuple[str, ...]:
        """The checkpoint's languages."""
        return look_up(str(self.folder)).languages or ()

    @property
    def dtype(self) -> torch.dtype:
        """The type of stock's weights; stock has no mixed precision."""
        return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[self.precision]

    @property
    def config(self) -> dict[str, Any]:
        """The checkpoint's configuration."""
        return dict(look_up(str(self.folder)).config)

    @property
    def source(self) -> str:
        """English where the checkpoint has it, otherwise its first language."""
        return "en_XX" if "en_XX" in self.languages else self.languages[0]


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    measure: str
    variant: str
    figure: Figure
    unit: str
    against: Mapping[str, Figure]  # variant -> by how much this variant is better, as a factor


BEST = "stock at its best"
"""The fastest of stock's variants in each round."""


class UnequalError(Exception):
    """The two sides compute different results, so that a comparison of their speed is meaningless."""


def check_equal(setting: Setting, stock: Any, ours: sides.Xmod, rows: Encoded) -> dict[str, float]:
    """Compare logits, loss and gradients of one batch without dropout, and return the largest differences.

    Raises:
        UnequalError: One of them differs by more than 1e-5 + 1e-4 of its value (fp32).
    """
    shared = dict(ours.module.named_parameters())
    stock_parameters = {name: parameter for name, parameter in stock.named_parameters() if name in shared}
    with torch.no_grad():  # heads are initialized at random: make them equal
        for name in ours.initialized:
            stock_parameters[name].copy_(shared[name])
    language = setting.languages.index(ours.languages[0])
    batch = sides.stock_batch(rows, np.arange(min(4, len(rows))), None, language, setting.device)
    stock.eval()
    ours.module.eval()
    stock_out = stock(**batch)
    batch.pop("lang_ids")
    host = mask_on_host(ours, setting.precision)
    with autocast(ours.device, setting.precision) if host else nullcontext():
        our_out = ours.module(**{name: tensor.cpu() if name in host else tensor for name, tensor in batch.items()})
    stock_out.loss.backward()
    our_out.loss.backward()
    real = batch["attention_mask"].bool()
    per_token = our_out.loss is not None and "logits" in our_out and our_out["logits"].shape[:2] == real.shape
    logits = [out["logits"] if "logits" in out else out["start_logits"] for out in (our_out, stock_out)]
    if per_token or "start_logits" in our_out:
        logits = [values[real] for values in logits]
    pairs = {"logits": logits, "loss": [our_out.loss, stock_out.loss]}
    gradients = [name for name, parameter in shared.items() if parameter.grad is not None]
    if not gradients or any(stock_parameters[name].grad is None for name in gradients):
        raise UnequalError("the two sides train different tensors")
    pairs |= {f"gradient of {name}": [shared[name].grad, stock_parameters[name].grad] for name in gradients}
    worst = {"logits": 0.0, "loss": 0.0, "gradients": 0.0}
    for name, (computed, expected) in pairs.items():
        difference = (computed.detach() - expected.detach()).abs()
        if bool((difference > 1e-5 + 1e-4 * expected.abs()).any()) and setting.precision == "fp32":
            raise UnequalError(f"{name} differs by {float(difference.max()):.2e}")
        group = name if name in worst else "gradients"
        worst[group] = max(worst[group], float(difference.max()))
    for module in (stock, ours.module):
        module.zero_grad(set_to_none=True)
    return worst


def lines_of(measure: str, measured: Mapping[str, Sequence[float]], unit: str) -> list[Line]:
    """Return one line per variant; xmodctl's is compared with every other, and its settings with stock's best."""
    stock = [values for name, values in measured.items() if name.startswith("stock")]
    best = {BEST: [max(values) for values in zip(*stock, strict=True)]} if len(stock) > 1 else {}

    def against(variant: str, values: Sequence[float]) -> dict[str, Figure]:
        if not variant.startswith("xmodctl"):
            return {}
        others = {name: own for name, own in measured.items() if name != variant} if variant == "xmodctl" else {}
        return {name: ratios(values, own) for name, own in {**others, **best}.items()}

    return [Line(measure, name, Figure.of(values), unit, against(name, values)) for name, values in measured.items()]
