"""The initial values of a new adapter: a language's adapter, the mean of several, the identity, or random numbers."""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from xmodctl.core.errors import UserError
from xmodctl.languages import resolve
from xmodctl.training.masked_lm.ranking import IDENTITY

if TYPE_CHECKING:
    from torch import Tensor

    from xmodctl.model import Xmod

AUTO, RANDOM = "auto", "random"


def check_init_from(text: str, adapters: Sequence[str], model: str) -> str:
    """Return `--init-from` with its languages as the checkpoint spells them.

    Raises:
        UserError: A part of it is neither a keyword nor one of the model's languages.
    """
    if text in (AUTO, RANDOM, IDENTITY):
        return text
    parts = [part.strip() for part in text.split("+")]
    if not all(parts) or {AUTO, RANDOM, IDENTITY} & set(parts):
        raise UserError(f"--init-from {text}: choose {AUTO}, {RANDOM}, {IDENTITY}, LANG or LANG+LANG")
    return "+".join(dict.fromkeys(resolve(part, adapters, model=model).adapter for part in parts))


def initial_tensors(model: "Xmod", start: str, language: str, seed: int) -> dict[str, "Tensor"]:
    """Return initial tensors for the adapter of `language`; they share no memory with the adapters they come from.

    Random tensors are drawn from the seed and the language's name, in the way stock initializes linear layers: weights
    are normal with the configuration's standard deviation, biases are zero. For the identity, the first layer is drawn
    in this way and the second layer is zero.
    """
    import torch

    shapes = model.adapter_shapes(language)
    if start in (RANDOM, IDENTITY):
        digest = hashlib.sha256(f"{language} {seed}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
        tensors = {name: torch.zeros(shape) for name, shape in shapes.items()}
        for name, tensor in tensors.items():
            if tensor.ndim == 2 and (start == RANDOM or "dense1" in name):
                tensor.normal_(std=model.module.config.initializer_range, generator=generator)
        return tensors
    sources = [[tensor.float() for tensor in model.adapter(source).values()] for source in start.split("+")]
    return {name: torch.stack(parts).mean(0) for name, parts in zip(shapes, zip(*sources, strict=True), strict=True)}
