"""Masked-language modelling: documents packed into sequences, tokens masked, and the loss on held-out text."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from xmodctl.core.encoded import Encoded, Ragged
from xmodctl.model.batches import IGNORED, collate, evaluation_batches
from xmodctl.model.inference import predicting
from xmodctl.model.precision import Precision

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

    from xmodctl.model import Xmod

MASKED = 0.15
"""Share of the tokens that are predicted: Devlin et al. (2019), section 3.1, and Liu et al. (2019), RoBERTa."""
AS_MASK, AS_RANDOM = 0.8, 0.1
"""Of the predicted tokens these shares become `<mask>` and a random piece; the rest stay as they are (as there)."""

Ids = NDArray[np.int64]

DOCUMENTS_AT_A_TIME = 1_000
TOKENS_PER_STEP = 2_048
"""Padded tokens of one forward pass: about 300 of them are scored against the whole vocabulary."""


def pack(documents: Iterable[str], tokenizer: "PreTrainedTokenizerBase", *, length: int) -> Encoded:
    """Lay documents one after the other, each closed by `</s>`, and cut them into sequences that begin with `<s>`.

    Every sequence but the last has `length` tokens. A sequence may hold the end of a document and the beginning of the
    next: the model sees `</s>` between them and may attend across it, as in RoBERTa's FULL-SENTENCES (Liu et al., 2019,
    section 4.2). A feature's row is its own number. `counts["unknown"]` is how many tokens the vocabulary lacks.
    """
    begin, end, unknown = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id
    parts: list[NDArray[np.int32]] = []
    left = iter(documents)
    while some := list(islice(left, DOCUMENTS_AT_A_TIME)):
        encoded = tokenizer(some, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
        parts.append(np.fromiter((token for ids in encoded for token in (*ids, end)), dtype=np.int32))
    stream = np.concatenate(parts) if parts else np.zeros(0, dtype=np.int32)
    starts = range(0, len(stream), length - 1)
    first = np.array([begin], dtype=np.int32)
    sequences = [np.concatenate([first, stream[start : start + length - 1]]) for start in starts]
    return Encoded(
        input_ids=Ragged.of(sequences),
        rows=np.arange(len(sequences)),
        counts={"truncated": 0, "unknown": int((stream == unknown).sum())},
    )


@dataclass(frozen=True)
class Masker:
    """Which tokens are predicted, what the model reads in their place, and among which pieces it chooses."""

    mask: int  # the piece `<mask>`
    plain: NDArray[np.bool_]  # (vocabulary,): whether a piece can be predicted, or drawn at random: no special one
    candidates: Ids  # ascending: the pieces of the vocabulary among which the masked ones are predicted

    @classmethod
    def of(cls, tokenizer: "PreTrainedTokenizerBase", *texts: Encoded) -> Self:
        """Return the masker of some texts: what is predicted is one of the pieces that occur in them.

        A text uses a few thousand of XLM-R's 250,002 pieces. Leaving the others out of the softmax halves the work on
        a small model, and asks what the text can teach: which of its words stands here, not that it is no Chinese.
        Source: Jean et al. (2015), On Using Very Large Target Vocabulary, section 3 (the candidates of a text).
        """
        plain = np.ones(len(tokenizer), dtype=np.bool_)
        plain[list(tokenizer.all_special_ids)] = False
        there = np.zeros(len(tokenizer), dtype=np.bool_)
        for text in texts:
            there[text.input_ids.values] = True
        return cls(tokenizer.mask_token_id, plain, np.flatnonzero(there & plain))

    @cached_property
    def pieces(self) -> Ids:
        """The pieces that may be drawn at random."""
        return np.flatnonzero(self.plain)

    def counts(self, sequences: Ragged) -> NDArray[np.int64]:
        """Return how many tokens of each sequence are predicted: 15 %, and at least one where there is one.

        The number depends on the sequence alone, so that a sequence's share of a batch's loss is known beforehand.
        """
        plain = self.plain[sequences.values].astype(np.int64)
        totals = np.diff(np.concatenate([[0], np.cumsum(plain)])[sequences.bounds])
        return np.minimum(totals, np.maximum(1, np.round(MASKED * totals).astype(np.int64)))

    def __call__(self, sequence: NDArray[Any], draw: np.random.Generator) -> tuple[Ids, Ids]:
        """Return what the model reads and what it should say (-100 where it is not asked), as long as `sequence`."""
        places = np.flatnonzero(self.plain[sequence])
        count = min(len(places), max(1, round(MASKED * len(places))))
        chosen = draw.choice(places, count, replace=False, shuffle=False)
        labels = np.full(len(sequence), IGNORED, dtype=np.int64)
        labels[chosen] = sequence[chosen]
        read = sequence.astype(np.int64)
        fate = draw.random(count)
        read[chosen[fate < AS_MASK]] = self.mask
        drawn = (fate >= AS_MASK) & (fate < AS_MASK + AS_RANDOM)
        read[chosen[drawn]] = draw.choice(self.pieces, int(drawn.sum()))
        return read, labels

    def batch(
        self, encoded: Encoded, units: NDArray[np.int64], *, seed: int, step: int, pad_id: int
    ) -> "dict[str, torch.Tensor]":
        """Return the tensors of some sequences, masked: what is masked depends on seed, step and sequence alone."""
        import torch

        inputs = collate(encoded, units, pad_id=pad_id)
        inputs["labels"] = torch.full_like(inputs["input_ids"], IGNORED)
        for row, unit in enumerate(units):
            read, labels = _masked(encoded, self, int(unit), seed=seed, step=step)
            inputs["input_ids"][row, : len(read)] = torch.from_numpy(read)
            inputs["labels"][row, : len(labels)] = torch.from_numpy(labels)
        return inputs


@dataclass(frozen=True)
class HeldOut:
    """The masked-language-modelling loss of held-out sequences, under a mask that is always the same."""

    losses: NDArray[np.float64]  # (sequences,): nats, summed over the predicted tokens
    tokens: NDArray[np.int64]  # (sequences,): how many those are

    @property
    def loss(self) -> float:
        """Nats a predicted token."""
        return float(self.losses.sum() / self.tokens.sum())

    @property
    def perplexity(self) -> float:
        """The exponential of the loss."""
        return float(np.exp(self.loss))


def held_out(
    model: "Xmod", encoded: Encoded, masker: Masker, *, precision: Precision, pad_id: int, units: Ids | None = None
) -> HeldOut:
    """Return the loss of sequences through the active adapter; of some `units` only, if given."""
    import torch
    from torch.nn import functional

    model.score_labelled_only(masker.candidates.tolist())
    model.module.eval()
    losses, tokens = np.zeros(len(encoded)), np.zeros(len(encoded), dtype=np.int64)
    device = model.module.device
    candidates = torch.from_numpy(masker.candidates).to(device)
    units = np.arange(len(encoded)) if units is None else units
    units = units[masker.counts(encoded.input_ids)[units] > 0]
    for part in _batches(encoded, units):
        inputs = masker.batch(encoded, part, seed=0, step=0, pad_id=pad_id)
        inputs = {name: tensor.to(device) for name, tensor in inputs.items()}
        asked = inputs["labels"] != IGNORED
        with predicting(device, precision):
            logits = model.module(**inputs).logits
        which = torch.searchsorted(candidates, inputs["labels"][asked])
        each = functional.cross_entropy(logits.float(), which, reduction="none")
        row = asked.nonzero()[:, 0].cpu().numpy()
        losses[part] = np.bincount(row, weights=each.double().cpu().numpy(), minlength=len(part))
        tokens[part] = np.bincount(row, minlength=len(part))
    return HeldOut(losses[units], tokens[units])


def by_frequency(training: Encoded, encoded: Encoded, masker: Masker) -> HeldOut:
    """Return the loss of predicting pieces by how often training text has them (plus once), without reading.

    The mask is that of `held_out`.
    """
    counts = np.bincount(training.input_ids.values, minlength=len(masker.plain))[masker.candidates] + 1
    nats = np.zeros(len(masker.plain))
    nats[masker.candidates] = np.log(counts.sum()) - np.log(counts)
    units = np.flatnonzero(masker.counts(encoded.input_ids) > 0)
    asked = [_masked(encoded, masker, int(unit), seed=0, step=0)[1] for unit in units]
    said = [labels[labels != IGNORED] for labels in asked]
    return HeldOut(np.array([nats[one].sum() for one in said]), np.array([len(one) for one in said]))


def _masked(encoded: Encoded, masker: Masker, unit: int, *, seed: int, step: int) -> tuple[Ids, Ids]:
    return masker(encoded.input_ids[unit], np.random.default_rng([seed, step, unit]))


def _batches(encoded: Encoded, units: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for part in evaluation_batches(encoded.lengths[units], tokens_per_step=TOKENS_PER_STEP):
        yield units[part]
