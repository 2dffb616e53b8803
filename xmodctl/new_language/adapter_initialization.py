"""The initial values of a new adapter: a language's adapter, the mean of several, the identity, or random numbers."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xmodctl.core.encoded import Encoded
from xmodctl.core.errors import UserError
from xmodctl.languages import resolve
from xmodctl.model.precision import Precision
from xmodctl.new_language.held_out import measure_held_out
from xmodctl.new_language.masking import Masker

if TYPE_CHECKING:
    from torch import Tensor

    from xmodctl.model import Xmod

AUTO, RANDOM, IDENTITY = "auto", "random", "identity"
FIRST_ROUND, SECOND_ROUND = 4, 32
"""Sequences that every candidate is scored on, and those that the best candidates are scored on."""
FINALISTS = 6
"""Candidates that reach the second round."""


@dataclass(frozen=True)
class Candidate:
    """One of the model's adapters, and how well it predicts masked words of the new language."""

    adapter: str  # a language, or `identity`
    loss: float  # nats per predicted token
    tokens: int  # number of predicted tokens; more for the best candidates


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


def use_adapter(model: "Xmod", adapter: str | None) -> None:
    """Send batches through one of the model's own adapters; for None and `identity`, through no adapter."""
    model.use(None if adapter == IDENTITY else adapter)


def candidate_adapters(model: "Xmod") -> list[str]:
    """Return the model's adapters; all that are identities count as one candidate, `identity`."""
    adapters = [language for language in model.source.languages if not is_identity(model, language)]
    return [*adapters, *([IDENTITY] if len(adapters) < len(model.source.languages) else [])]


def is_identity(model: "Xmod", language: str) -> bool:
    """Return whether an adapter of the checkpoint changes nothing."""
    return not any(bool(tensor.any()) for name, tensor in model.adapter(language).items() if "dense2" in name)


def rank_adapters(
    model: "Xmod",
    adapters: Sequence[str],
    text: Encoded,
    masker: Masker,
    *,
    precision: Precision,
    pad_id: int,
) -> list[Candidate]:
    """Score adapters on the training text of a new language, and return them, the best first.

    All are scored on a few sequences, and the best of them on more. The sequences are evenly spaced over the text.

    Args:
        model: The model.
        adapters: What `candidate_adapters` returned.
        text: Packed training text.
        masker: Masks it.
        precision: What matrix products are computed in.
        pad_id: The tokenizer's padding id.
    """

    def score(adapter: str, count: int) -> Candidate:
        stride = max(1, len(text) // count)
        units = np.arange(0, len(text), stride)[:count]
        use_adapter(model, adapter)
        measured = measure_held_out(model, text, masker, precision=precision, pad_id=pad_id, units=units)
        return Candidate(adapter, measured.loss, int(measured.tokens.sum()))

    first = (
        sorted((score(adapter, FIRST_ROUND) for adapter in adapters), key=_loss) if len(adapters) > FINALISTS else []
    )
    finalists = [candidate.adapter for candidate in first[:FINALISTS]] or list(adapters)
    second = sorted((score(adapter, SECOND_ROUND) for adapter in finalists), key=_loss)
    return [*second, *first[FINALISTS:]]


def _loss(candidate: Candidate) -> float:
    return candidate.loss
