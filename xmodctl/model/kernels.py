"""Faster CPU kernels: matrix products through oneDNN, and dropout from 16-bit random numbers.

Under bf16 autocast, only the operands of a linear layer's product are cast: its result, the residual and all
element-wise operations stay float32.
"""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional

from xmodctl.model.parts import Share, current_share

for _limit in ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY"):
    # oneDNN and PyTorch's layer above it each keep the last 1,024 shapes of a product with their working memory, which
    # cuts the heap in pieces: memory grows for thousands of steps. 32 hold what the layers of one batch share, and
    # batches rarely repeat a shape. Both are read at the first product.
    os.environ.setdefault(_limit, "32")

_LANES = 4  # 16-bit numbers in one 64-bit draw
_RANGE = 2**16


@cache
def onednn_is_faster() -> bool:
    """Return whether oneDNN multiplies float32 matrices faster than MKL, PyTorch's choice, on this machine.

    MKL keeps its AVX-512 code for Intel's own processors; oneDNN asks only whether the processor has the
    instructions, and is then about twice as fast. The answer depends on the machine alone, so that runs repeat.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    return "GenuineIntel" not in _processor()


@cache
def has_bf16() -> bool:
    """Return whether this processor multiplies bf16 numbers natively, not through float32; True for unknown ones."""
    if platform.machine().lower() not in {"x86_64", "amd64"}:
        return True
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def uses_bf16_autocast() -> bool:
    """Return whether bf16 autocast is on for the CPU and the processor supports it."""
    return (
        torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
        and has_bf16()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def _processor() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")[:4096]
    except OSError:
        return platform.processor()


def is_fp32_cpu(tensor: Tensor) -> bool:
    """Return whether `tensor` is float32 on the CPU, outside of other autocast modes and compilation."""
    return (
        tensor.dtype == torch.float32
        and tensor.device.type == "cpu"
        and (not torch.is_autocast_enabled("cpu") or uses_bf16_autocast())
        and not torch.compiler.is_compiling()
    )


class Linear(nn.Linear):
    """A linear layer that uses the faster matrix product of the machine; a drop-in for the stock class."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x W^T + b, for x of (..., in)."""
        if not _quick(x):
            return functional.linear(x, self.weight, self.bias)
        if not torch.is_grad_enabled():
            return _product(*_operands(x, self.weight, self.bias))
        out: Tensor = _Linear.apply(x, self.weight, self.bias)  # type: ignore[no-untyped-call]
        return out

    def gelu(self, x: Tensor) -> Tensor:
        """Return GELU(x W^T + b), in one pass if no gradient is needed."""
        if _quick(x) and not torch.is_grad_enabled():
            return _product(*_operands(x, self.weight, self.bias), "gelu")
        return functional.gelu(self(x))


class _Linear(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        wants_x, wants_weight, _ = ctx.needs_input_grad
        x, weight, bias = _operands(x, weight, bias)
        ctx.save_for_backward(x if wants_weight else None, weight if wants_x else None)
        return _product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        of_weight = None
        of_bias = gradient.reshape(-1, gradient.shape[-1]).sum(0) if ctx.needs_input_grad[2] else None
        if (kept := x if weight is None else weight) is not None:
            gradient = gradient.to(kept.dtype)
        rows = gradient.reshape(-1, gradient.shape[-1])
        if x is not None:
            inputs = x.reshape(-1, x.shape[-1])
            # oneDNN copies its transposed left factor: give it the narrower one.
            if rows.shape[1] > inputs.shape[1]:
                of_weight = _product(inputs.t(), rows.t()).t()
            else:
                of_weight = _product(rows.t(), inputs.t())
        return None if weight is None else _product(gradient, weight.t()), of_weight, of_bias


def _quick(x: Tensor) -> bool:
    return is_fp32_cpu(x) and x.numel() > 0 and (uses_bf16_autocast() or onednn_is_faster())


def _operands(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    if not uses_bf16_autocast():
        return x, weight, bias
    return x.bfloat16(), weight.bfloat16(), None if bias is None else bias.bfloat16()


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None, then: str = "none") -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, then, [], "none")
    return product.float()


class Dropout(nn.Dropout):
    """Dropout whose mask costs a quarter of the stock one's; a drop-in for the stock class.

    The share is rounded to a multiple of 2^-16, and what is kept is scaled by the exact inverse of that share.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return x with a share of its elements zero and the others scaled up; x itself when not training."""
        if not self.training or self.p == 0.0:
            return x
        if not is_fp32_cpu(x) or self.p == 1.0:
            return functional.dropout(x, self.p)
        return dropped(x, self.p)

    def plus(self, x: Tensor, residual: Tensor) -> Tensor:
        """Return the residual and the dropped x together."""
        if not self.training or self.p in {0.0, 1.0} or not is_fp32_cpu(x) or not is_fp32_cpu(residual):
            return residual + self.forward(x)
        out: Tensor = _DroppedPlus.apply(x, residual, _mask(x, self.p))  # type: ignore[no-untyped-call]
        return out


def linear_plus(linear: Linear, dropout: Dropout, x: Tensor, residual: Tensor) -> Tensor:
    """Return residual + dropout(x W^T + b), in one pass where nothing is dropped and no gradient wanted."""
    if dropout.training and dropout.p > 0.0:
        return dropout.plus(linear(x), residual)
    if _quick(x) and is_fp32_cpu(residual) and not torch.is_grad_enabled() and not uses_bf16_autocast():
        summed = torch.ops.mkldnn._linear_pointwise.binary(x, residual, linear.weight, linear.bias, "add")
    else:
        summed = residual + linear(x)
    out: Tensor = summed
    return out


def dropped(x: Tensor, share: float, own: Share | None = None) -> Tensor:
    """Return x with this share of its elements zero and the others scaled up."""
    out: Tensor = _Dropped.apply(x, _mask(x, share, own))  # type: ignore[no-untyped-call]
    return out


class _Dropped(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor) -> Tensor:
        ctx.save_for_backward(mask)
        return x * mask

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        mask: Tensor = ctx.saved_tensors[0]
        return gradient * mask, None


class _DroppedPlus(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, residual: Tensor, mask: Tensor) -> Tensor:
        ctx.save_for_backward(mask)
        return torch.addcmul(residual, x, mask)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        mask: Tensor = ctx.saved_tensors[0]
        return gradient * mask, gradient, None


def _mask(like: Tensor, share: float, own: Share | None = None) -> Tensor:
    """Return zeros where `like` is dropped and elsewhere the factor that makes up for it, as float32."""
    own = own or current_share()
    lanes = _drawn(like.shape) if own is None else own.of(_drawn(own.draw_shape(like.shape)), like.shape)
    out_of = min(round(share * _RANGE), _RANGE - 1)
    return (lanes >= out_of - _RANGE // 2) * (_RANGE / (_RANGE - out_of))


def _drawn(shape: Sequence[int]) -> Tensor:
    """Return random 16-bit numbers."""
    count = math.prod(shape)
    draws = torch.empty(-(-count // _LANES), dtype=torch.int64).random_(-(2**63), None)
    return draws.view(torch.int16)[:count].view(*shape)


def skip_attention(samples: int, heads: int, queries: int, length: int) -> None:
    """Draw what `attention_with_dropout` draws, for samples that another process computes."""
    _drawn((samples * heads, queries, length))


def attention_with_dropout(query: Tensor, key: Tensor, value: Tensor, share: float, own: Share | None = None) -> Tensor:
    """Return softmax(Q K^T / sqrt(size)) V with a share of the weights dropped, for (samples, heads, length, size).

    `own` is the share that these samples have of a run of samples, which several processes compute.

    The fused kernel of the CPU takes no dropout.
    """
    samples, heads, length, size = query.shape
    flat = [tensor.reshape(samples * heads, -1, size) for tensor in (query, key, value)]
    weights = torch.baddbmm(query.new_empty(1), flat[0], flat[1].transpose(1, 2), beta=0, alpha=size**-0.5).softmax(-1)
    return torch.bmm(dropped(weights, share, own), flat[2]).to(query.dtype).view(samples, heads, length, size)


def install_fast_kernels(module: nn.Module) -> None:
    """Make every linear layer and dropout of a model use the fast kernels."""
    for part in module.modules():
        if type(part) is nn.Linear:
            part.__class__ = Linear
        elif type(part) is nn.Dropout:
            part.__class__ = Dropout
