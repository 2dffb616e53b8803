"""The precision of matrix products: fp32, TF32, or automatic mixed precision with bf16 or fp16."""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Literal

from xmodctl.core.errors import UserError

if TYPE_CHECKING:
    import torch

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
"""What matrix products are computed in; weights that train stay fp32."""


def resolve_precision(precision: str) -> Precision:
    """Return the precision to compute in.

    `auto` is bf16 on GPUs that have bf16 arithmetic, fp16 on NVIDIA's older GPUs with tensor cores, else fp32.

    Raises:
        UserError: The device does not support it, or torch has no code for the GPU.
    """
    import torch

    from xmodctl.model.kernels import has_bf16

    cuda = torch.cuda.is_available()
    if cuda:
        _check_gpu()
    match precision:
        case "auto":
            return _fastest() if cuda else "fp32"
        case "fp32":
            return "fp32"
        case "tf32":
            if not cuda or torch.version.cuda is None or torch.cuda.get_device_capability() < (8, 0):
                raise UserError(
                    "TF32 needs an NVIDIA GPU of the Ampere generation or a later one; use --precision fp32"
                )
            return "tf32"
        case "bf16":
            if cuda and not torch.cuda.is_bf16_supported(including_emulation=False):
                raise UserError("this GPU has no bf16 arithmetic; use --precision fp16 or fp32")
            if not torch.accelerator.is_available() and not has_bf16():
                raise UserError("this CPU has no bf16 arithmetic, so bf16 would be slower; use --precision fp32")
            return "bf16"
        case "fp16":
            if not cuda:
                raise UserError("fp16 training needs a CUDA GPU; use --precision fp32 or auto")
            return "fp16"
        case _:
            raise UserError(f"unknown precision `{precision}`; choose from auto, fp32, tf32, bf16, fp16")


def _fastest() -> Precision:
    """Return the narrowest precision for which a GPU has arithmetic, of bf16, fp16, and fp32, in this order.

    NVIDIA's GPUs before Volta (7.0) have no tensor cores, and many of them compute fp16 far slower than fp32.
    """
    import torch

    if torch.cuda.is_bf16_supported(including_emulation=False):
        return "bf16"
    is_nvidia = torch.version.cuda is not None
    return "fp16" if is_nvidia and torch.cuda.get_device_capability() >= (7, 0) else "fp32"


def _check_gpu() -> None:
    """Refuse a GPU that torch was not built for: its first kernel would fail.

    Code for a generation (`sm_80`) runs on that and on later ones of the same major number; `compute_90` is compiled
    for any later one when it is first needed.

    Raises:
        UserError: Torch has no code for it.
    """
    import torch

    built = [name.partition("_") for name in torch.cuda.get_arch_list()]
    codes = [(kind, divmod(int(digits.rstrip("af")), 10)) for kind, _, digits in built if kind in ("sm", "compute")]
    own = torch.cuda.get_device_capability()
    if not codes or any(code <= own and (kind == "compute" or code[0] == own[0]) for kind, code in codes):
        return
    first, last = (".".join(map(str, pick(code for _, code in codes))) for pick in (min, max))
    raise UserError(
        f"torch {torch.__version__} has no code for {torch.cuda.get_device_name()}, a GPU of compute capability "
        f"{own[0]}.{own[1]}: it has that for {first} to {last}; install a torch built for this GPU, or compute on the "
        "CPU: put CUDA_VISIBLE_DEVICES= before the command"
    )


def narrow_type(precision: Precision) -> "torch.dtype | None":
    """Return the type that the operands of matrix products are cast to; None if they stay fp32."""
    import torch

    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)


def autocast(device: "torch.device", precision: Precision) -> AbstractContextManager[None]:
    """Return a context in which matrix products are computed in this precision.

    Whether CUDA rounds the operands of fp32 products to TF32 is a setting of the process. It stays until the next call,
    so that the backward pass computes as the forward pass did.
    """
    import torch

    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    dtype = narrow_type(precision)
    context: AbstractContextManager[None] = torch.autocast(device.type, dtype, enabled=dtype is not None)
    return context
