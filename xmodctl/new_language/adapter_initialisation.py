"""Where a new adapter starts: a language's adapter, the mean of several, the identity, or random numbers."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xmodctl.core.encoded import Encoded
from xmodctl.core.errors import UserError
from xmodctl.languages import resolve
from xmodctl.model.precision import Precision
from xmodctl.new_language.masking import Masker, held_out

if TYPE_CHECKING:
    from torch import Tensor

    from xmodctl.model import Xmod

AUTO, RANDOM, IDENTITY = "auto", "random", "identity"
FIRST_LOOK, SECOND_LOOK = 4, 32
"""Sequences that every candidate is scored on, and the best of them."""
FINALISTS = 6


@dataclass(frozen=True)
class Candidate:
    """One of the model's adapters, and how well it predicts the new language's masked words."""

    adapter: str  # a language, or `identity`
    loss: float  # nats a predicted token
    tokens: int  # predicted ones: more of them for the best candidates


def check_start(text: str, adapters: Sequence[str], model: str) -> str:
    """Return `--init-from` with the languages as the checkpoint spells them.

    Raises:
        UserError: A part of it is neither one of the words nor one of the model's languages.
    """
    if text in (AUTO, RANDOM, IDENTITY):
        return text
    parts = [part.strip() for part in text.split("+")]
    if not all(parts) or {AUTO, RANDOM, IDENTITY} & set(parts):
        raise UserError(f"--init-from {text}: expected {AUTO}, {RANDOM}, {IDENTITY}, LANG, or LANG+LANG")
    return "+".join(dict.fromkeys(resolve(part, adapters, model=model).adapter for part in parts))


def start_tensors(model: "Xmod", start: str, language: str, seed: int) -> dict[str, "Tensor"]:
    """Return new tensors for the adapter of `language`; those that they come from stay as they are.

    Random ones are drawn from the seed and the language's name, as stock draws linear layers: normal with the
    configuration's spread, biases zero. The identity draws its first layer so, and has a second layer of zeros.
    """
    import torch

    shapes = model.adapter_shapes(language)
    if start in (RANDOM, IDENTITY):
        digest = hashlib.sha256(f"{language} {seed}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
        drawn = {name: torch.zeros(shape) for name, shape in shapes.items()}
        for name, tensor in drawn.items():
            if tensor.ndim == 2 and (start == RANDOM or "dense1" in name):
                tensor.normal_(std=model.module.config.initializer_range, generator=generator)
        return drawn
    sources = [[tensor.float() for tensor in model.adapter(one).values()] for one in start.split("+")]
    return {name: torch.stack(parts).mean(0) for name, parts in zip(shapes, zip(*sources, strict=True), strict=True)}


def use(model: "Xmod", adapter: str | None) -> None:
    """Make batches go through one of the model's own adapters; None and `identity` leave the adapters out."""
    model.use(None if adapter == IDENTITY else adapter)


def candidates(model: "Xmod") -> list[str]:
    """Return the model's adapters; those that add nothing are one, the identity."""
    found = [language for language in model.source.languages if adds(model, language)]
    return [*found, *([IDENTITY] if len(found) < len(model.source.languages) else [])]


def adds(model: "Xmod", language: str) -> bool:
    """Return whether an adapter of the checkpoint adds anything, or is an identity."""
    return any(bool(tensor.any()) for name, tensor in model.adapter(language).items() if "dense2" in name)


def rank(
    model: "Xmod",
    names: Sequence[str],
    encoded: Encoded,
    masker: Masker,
    *,
    precision: Precision,
    pad_id: int,
    heed: Callable[[], None] = lambda: None,
) -> list[Candidate]:
    """Score adapters on text that none of them was trained on here, and return them, the best first.

    All are scored on a few sequences, the best of them on more; the sequences are spread evenly over the text. `heed`
    is called before each, and may raise.
    """

    def look(name: str, count: int) -> Candidate:
        heed()
        every = max(1, len(encoded) // count)
        units = np.arange(0, len(encoded), every)[:count]
        use(model, name)
        found = held_out(model, encoded, masker, precision=precision, pad_id=pad_id, units=units)
        return Candidate(name, found.loss, int(found.tokens.sum()))

    looked = sorted((look(name, FIRST_LOOK) for name in names), key=_loss) if len(names) > FINALISTS else []
    best = [one.adapter for one in looked[:FINALISTS]] or list(names)
    second = sorted((look(name, SECOND_LOOK) for name in best), key=_loss)
    return [*second, *looked[FINALISTS:]]


def _loss(candidate: Candidate) -> float:
    return candidate.loss
