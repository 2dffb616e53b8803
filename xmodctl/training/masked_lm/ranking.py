"""Ranking adapters by how well each predicts masked words of a text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xmodctl.adapters.packages import Package
from xmodctl.core.encoded import Encoded
from xmodctl.model.precision import Precision
from xmodctl.training.masked_lm.held_out import measure_held_out
from xmodctl.training.masked_lm.masking import Masker

if TYPE_CHECKING:
    from xmodctl.model import Xmod

IDENTITY = "identity"
"""The name among candidates of all adapters that change nothing."""
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


def use_adapter(model: "Xmod", adapter: str | None) -> None:
    """Send batches through one of the model's own adapters; for None and `identity`, through no adapter."""
    model.use(None if adapter == IDENTITY else adapter)


def candidate_adapters(model: "Xmod", packages: Sequence[Package] = ()) -> list[str]:
    """Return the model's adapters, all that are identities as one candidate, `identity`, and those of packages."""
    adapters = [language for language in model.source.languages if not is_identity(model, language)]
    identities = [IDENTITY] if len(adapters) < len(model.source.languages) else []
    return list(dict.fromkeys([*adapters, *identities, *(package.language for package in packages)]))


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
        use_adapter(model, adapter)
        units = text.evenly_spaced(count)
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
