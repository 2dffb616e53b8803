"""Masked-language modeling: documents packed into sequences, and which of their tokens are masked."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from xmodctl.core.encoded import Encoded, Ragged
from xmodctl.model.batches import IGNORED, collate

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

MASKED_SHARE = 0.15
"""Share of the tokens that are predicted: Devlin et al. (2019), section 3.1, and Liu et al. (2019), RoBERTa."""
MASK_TOKEN_SHARE, RANDOM_TOKEN_SHARE = 0.8, 0.1
"""Of the predicted tokens, these shares are replaced by `<mask>` and by a random piece; the rest stay unchanged (same
sources)."""
DOCUMENTS_PER_BATCH = 1_000
"""Documents tokenized at a time."""

Ids = NDArray[np.int64]


def pack(documents: Iterable[str], tokenizer: "PreTrainedTokenizerBase", *, length: int) -> Encoded:
    """Concatenate documents, each followed by `</s>`, and cut them into sequences that begin with `<s>`.

    Every sequence but the last has `length` tokens. A sequence may contain the end of one document and the beginning
    of the next: the model sees `</s>` between them and may attend across it, as in RoBERTa's FULL-SENTENCES (Liu et
    al., 2019, section 4.2). The row of a feature is its own number. `counts["unknown"]` is the number of tokens that
    the vocabulary lacks.
    """
    begin, end, unknown = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id
    parts: list[NDArray[np.int32]] = []
    remaining = iter(documents)
    while batch := list(islice(remaining, DOCUMENTS_PER_BATCH)):
        encoded = tokenizer(batch, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
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
    """Decides which tokens are predicted, what the model reads in their place, and the pieces it chooses among."""

    mask_id: int  # of `<mask>`
    maskable: NDArray[np.bool_]  # (vocabulary,): True for every piece but the special tokens
    candidates: Ids  # ascending: the pieces among which masked tokens are predicted

    @classmethod
    def of(cls, tokenizer: "PreTrainedTokenizerBase", *texts: Encoded) -> Self:
        """Return the masker of some texts: masked tokens are predicted among the pieces that occur in them.

        A text uses a few thousand of XLM-R's 250,002 pieces. A softmax over these alone halves the work on a small
        model, and asks what the text can teach: which of its words fits, not that it is not Chinese. Source: Jean et
        al. (2015), On Using Very Large Target Vocabulary, section 3 (the candidates of a text).
        """
        maskable = np.ones(len(tokenizer), dtype=np.bool_)
        maskable[list(tokenizer.all_special_ids)] = False
        occurs = np.zeros(len(tokenizer), dtype=np.bool_)
        for text in texts:
            occurs[text.input_ids.values] = True
        return cls(tokenizer.mask_token_id, maskable, np.flatnonzero(occurs & maskable))

    @cached_property
    def random_pieces(self) -> Ids:
        """The pieces that may replace a token at random."""
        return np.flatnonzero(self.maskable)

    def counts(self, sequences: Ragged) -> NDArray[np.int64]:
        """Return the number of predicted tokens of each sequence: 15% of the maskable ones, at least one.

        It depends on the sequence alone, so that a sequence's share of a batch's loss is known in advance.
        """
        maskable = self.maskable[sequences.values].astype(np.int64)
        totals = np.diff(np.concatenate([[0], np.cumsum(maskable)])[sequences.bounds])
        return np.minimum(totals, np.maximum(1, np.round(MASKED_SHARE * totals).astype(np.int64)))

    def mask(self, sequence: NDArray[Any], generator: np.random.Generator) -> tuple[Ids, Ids]:
        """Mask a sequence.

        Returns:
            What the model reads, and the labels (-100 for tokens that are not predicted); each (tokens,).
        """
        maskable = np.flatnonzero(self.maskable[sequence])
        count = min(len(maskable), max(1, round(MASKED_SHARE * len(maskable))))
        chosen = generator.choice(maskable, count, replace=False, shuffle=False)
        labels = np.full(len(sequence), IGNORED, dtype=np.int64)
        labels[chosen] = sequence[chosen]
        inputs = sequence.astype(np.int64)
        draws = generator.random(count)
        inputs[chosen[draws < MASK_TOKEN_SHARE]] = self.mask_id
        is_random = (draws >= MASK_TOKEN_SHARE) & (draws < MASK_TOKEN_SHARE + RANDOM_TOKEN_SHARE)
        inputs[chosen[is_random]] = generator.choice(self.random_pieces, int(is_random.sum()))
        return inputs, labels

    def mask_unit(self, encoded: Encoded, unit: int, *, seed: int, step: int) -> tuple[Ids, Ids]:
        """Mask one sequence of a text; the mask depends on seed, step and the sequence's number alone."""
        return self.mask(encoded.input_ids[unit], np.random.default_rng([seed, step, unit]))

    def batch(
        self, encoded: Encoded, units: NDArray[np.int64], *, seed: int, step: int, pad_id: int
    ) -> "dict[str, torch.Tensor]":
        """Return the tensors of some masked sequences, each (units, longest), with their labels."""
        import torch

        inputs = collate(encoded, units, pad_id=pad_id)
        inputs["labels"] = torch.full_like(inputs["input_ids"], IGNORED)
        for row, unit in enumerate(units):
            masked, labels = self.mask_unit(encoded, int(unit), seed=seed, step=step)
            inputs["input_ids"][row, : len(masked)] = torch.from_numpy(masked)
            inputs["labels"][row, : len(labels)] = torch.from_numpy(labels)
        return inputs
