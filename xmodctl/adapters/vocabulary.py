"""A language's own vocabulary: its tokenizer, and embeddings for the tokenizer's pieces."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerFast

EMBEDDINGS, BIAS = "roberta.embeddings.word_embeddings.weight", "lm_head.bias"
"""The names of an own vocabulary's tensors in a package."""


@dataclass(frozen=True)
class NewVocabulary:
    """A language's own tokenizer, with embeddings for its pieces."""

    tokenizer: "PreTrainedTokenizerFast"
    embeddings: "Tensor"  # (pieces, hidden)
    bias: "Tensor | None" = None  # of the masked-LM head, (pieces,)
    copied: int = 0  # pieces that the base's vocabulary has, too
    averaged: int = 0  # pieces initialized with the mean of the base's pieces for the same text
    facts: Mapping[str, Any] = field(default_factory=dict)  # how it was trained
