"""The fine-tuning loop: method only. It yields what happens; saving, logging and drawing are the caller's."""

from typing import TYPE_CHECKING, Literal

from xmodctl.core.errors import UserError

Precision = Literal["fp32", "bf16", "fp16"]
"""What matrix products are computed in."""

if TYPE_CHECKING:
    pass


def resolve_precision(asked: str) -> Precision:
    """Return the precision to compute in: `auto` is bf16 where the accelerator is built for it, else fp32.

    Raises:
        UserError: The device cannot do what was asked for.
    """
    import torch

    from xmodctl.model.kernels import has_bf16

    cuda = torch.cuda.is_available()
    match asked:
        case "auto":
            return "bf16" if cuda and torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
        case "fp32":
            return "fp32"
        case "bf16":
            if cuda and not torch.cuda.is_bf16_supported(including_emulation=False):
                raise UserError("this GPU has no bf16 arithmetic; use --precision fp16 or fp32")
            if not torch.accelerator.is_available() and not has_bf16():
                raise UserError(
                    "this processor has no bf16 arithmetic, so that it would be slower; use --precision fp32"
                )
            return "bf16"
        case "fp16":
            if not cuda:
                raise UserError("fp16 training needs a CUDA GPU; use --precision fp32 or auto")
            return "fp16"
        case _:
            raise UserError(f"no precision `{asked}`; choose auto, fp32, bf16 or fp16")
