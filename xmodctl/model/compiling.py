"""Compiled training steps: what `torch.compile` makes of the encoder, for a few shapes of padded batches.

A batch is padded to the next of a few lengths, and to a power of two of rows, so that the number of graphs is bounded.
The head stays as it is: it gets the rows and tokens of the batch alone, so that no padding reaches the loss.
"""

from __future__ import annotations

import inspect
import shutil
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from xmodctl.core.environment import COMPILER
from xmodctl.core.errors import UserError
from xmodctl.core.visible import one_line
from xmodctl.model.batches import padded_length, padded_rows
from xmodctl.model.precision import Precision

BACKEND = "inductor"
"""What compiles: torch's own compiler."""

MOST_GRAPHS = 256
"""More graphs than the shapes of any training: then its shapes are not those that are meant to be compiled."""


class CompiledEncoder:
    """The encoder of a model, compiled for training steps. CUDA replays it as CUDA graphs.

    Args:
        encode: Encodes padded batches: token ids and mask, each (rows, length), and the routes of tokens and of first
            tokens.
        device: Where the model is.
        longest: Tokens that the model reads at most.
        pad_id: The id of the padding token.
    """

    def __init__(self, encode: Callable[..., Tensor], device: torch.device, *, longest: int, pad_id: int) -> None:
        self.longest, self.pad_id, self.replays = longest, pad_id, device.type == "cuda"
        settings: dict[str, Any] = {"recompile_limit": MOST_GRAPHS}
        if self.replays:
            settings["mode"] = "reduce-overhead"
        self.compiled: Callable[..., Tensor] = torch.compile(
            encode, fullgraph=True, dynamic=False, backend=BACKEND, **settings
        )

    def shape(self, rows: int, length: int) -> tuple[int, int]:
        """Return the shape that a batch is padded to."""
        return padded_rows(rows), min(self.longest, int(padded_length(np.asarray(length))))

    def padded(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Pad a batch; a row of padding attends to its first token, because attention to nothing is not defined."""
        rows, length = input_ids.shape
        more_rows, longer = (new - old for new, old in zip(self.shape(rows, length), (rows, length), strict=True))
        padding = (0, longer, 0, more_rows)
        attention_mask = functional.pad(attention_mask, padding)
        attention_mask[rows:, :1] = 1
        return functional.pad(input_ids, padding, value=self.pad_id), attention_mask

    def __call__(self, input_ids: Tensor, *arguments: Any) -> Tensor:
        """Encode a padded batch.

        Raises:
            UserError: The compiler does not work on this machine.
        """
        if self.replays:
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        try:
            return self.compiled(input_ids, *arguments)
        except RuntimeError as error:
            if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
                raise
            reason = one_line(str(error).strip().splitlines()[0])
            raise UserError(
                f"torch.compile does not work on this machine ({type(error).__name__}: {reason}); train with "
                "--set compile=false"
            ) from error


def check_compiler(*, languages: int, freeze: str, precision: Precision) -> None:
    """Refuse to compile training steps where that cannot work, as far as it is known before it is tried.

    Args:
        languages: How many languages train together.
        freeze: What does not train.
        precision: The precision of matrix products.

    Raises:
        UserError: Torch or its compiler for the device is missing or too old, or this training cannot be compiled.
    """
    without = "or train with --set compile=false"
    if "recompile_limit" not in inspect.signature(torch.compile).parameters:
        raise UserError(
            f"compile=true needs a newer torch than {torch.__version__}, such as 2.13; install it, {without}"
        )
    if languages > 1 and freeze == "none":
        raise UserError(
            "compile=true with several languages needs frozen adapters; use --set freeze=embeddings+adapters, "
            f"name one language, {without}"
        )
    if torch.cuda.is_available():
        _check_cuda(languages, precision, without)
        return
    if torch.accelerator.is_available():
        raise UserError(f"compile=true is for CPUs and CUDA GPUs; choose one of these, {without}")
    usual = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    compiler = COMPILER.value or usual
    if shutil.which(compiler) is None:
        raise UserError(
            f"compile=true needs a C++ compiler, and there is no `{one_line(compiler)}`; install one, name it in the "
            f"environment variable CXX, {without}"
        )


def _check_cuda(languages: int, precision: Precision, without: str) -> None:
    capability = torch.cuda.get_device_capability()
    if find_spec("triton") is None:
        raise UserError(f"compile=true needs Triton on a GPU; run: pip install triton, {without}")
    if torch.version.cuda and capability < (7, 0):
        raise UserError(f"compile=true needs an NVIDIA GPU of the Volta generation or a later one; use one, {without}")
    if languages > 1 and (precision != "bf16" or capability < (9, 0)):
        raise UserError(
            "compile=true with several languages needs bf16 on an NVIDIA GPU of the Hopper generation or a later "
            f"one; use --precision bf16 there, name one language, {without}"
        )
