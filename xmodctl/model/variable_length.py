"""Batches without padding on a GPU: what torch's attention for sequences of any lengths asks for.

The kernel (`torch.nn.attention.varlen`) reads all sequences from one row of tokens. Where each begins is computed by
the host, from a mask that stays in its memory: the device computes nothing that the host would have to wait for.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import torch

from xmodctl.core.errors import UserError
from xmodctl.model.inference import best_device
from xmodctl.model.precision import Precision, narrow_type

LARGEST_HEAD = 256
"""Dimensions of an attention head that the kernel computes at most; it needs a multiple of `HEAD_UNIT`."""
HEAD_UNIT = 8


def check_variable_length(
    config: Mapping[str, Any] | None, precision: Precision, *, attention_dropout: float | None, compiled: bool
) -> None:
    """Refuse to train batches without padding on a GPU where that cannot work.

    Args:
        config: The model's configuration; None if it is not known yet.
        precision: The precision of matrix products.
        attention_dropout: The recipe's; None is the configuration's.
        compiled: Whether the recipe compiles training steps.

    Raises:
        UserError: The device, torch, or the model lacks what it needs, or another setting excludes it.
    """
    missing = missing_for_packing(torch.device(best_device()), config, precision)
    if not missing and compiled:
        missing = "batches of any length, and compile=true needs few shapes; choose one of the two"
    if attention_dropout is None and config is not None:
        attention_dropout = config.get("attention_probs_dropout_prob")
    if not missing and attention_dropout:
        missing = f"attention without dropout, which is {attention_dropout:g} here; add --set attention_dropout=0"
    if missing:
        raise UserError(f"variable_length=true needs {missing}, or train with --set variable_length=false")


def missing_for_packing(device: torch.device, config: Mapping[str, Any] | None, precision: Precision) -> str:
    """Return what a device lacks for packed batches, and the remedy; nothing if it lacks nothing.

    Args:
        device: The model's.
        config: The model's configuration; None if it is not known yet.
        precision: The precision of matrix products.
    """
    if device.type == "cpu":
        return "an NVIDIA GPU; on a CPU, batches have no padding in any case: use a GPU"
    is_nvidia = device.type == "cuda" and torch.version.cuda is not None
    if not is_nvidia or torch.cuda.get_device_capability(device) < (8, 0):
        return "an NVIDIA GPU of the Ampere generation or a later one; use one"
    if find_spec("torch.nn.attention.varlen") is None:
        return f"a newer torch than {torch.__version__}, such as 2.13; install it"
    if not torch.backends.cuda.is_flash_attention_available():
        return f"flash attention, and torch {torch.__version__} was built without it; install another build"
    return _missing_type(precision) or ("" if config is None else _missing_size(config))


def _missing_type(precision: Precision) -> str:
    if narrow_type(precision) is not None:
        return ""
    return f"bf16 or fp16, and the precision is {precision}; use --precision bf16 or fp16"


def _missing_size(config: Mapping[str, Any]) -> str:
    size = int(config["hidden_size"]) // int(config["num_attention_heads"])
    if size <= LARGEST_HEAD and size % HEAD_UNIT == 0:
        return ""
    return (
        f"attention heads of at most {LARGEST_HEAD} dimensions, a multiple of {HEAD_UNIT}, and this model's have "
        f"{size}; use another model"
    )
