"""A text as a model reads it: packed into sequences, a part of them held out."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from xmodctl.core.encoded import Encoded
from xmodctl.core.errors import UserError
from xmodctl.core.versions import versions
from xmodctl.data.encoding import cached, tokenizer_identity
from xmodctl.data.texts import Corpus
from xmodctl.training.masked_lm import heads
from xmodctl.training.masked_lm.heads import HeadText
from xmodctl.training.masked_lm.masking import Masker, pack

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MAX_HELD_OUT_TOKENS = 65_536
"""Held-out tokens that losses are measured on at most; about 10,000 of them are predicted."""
MODEL_VOCABULARY, OWN_VOCABULARY = "the model's", "its own"
"""The vocabularies of a text, as packages record them."""


@dataclass(frozen=True)
class PackedText:
    """A text as the model reads it."""

    training: Encoded
    held_out: Encoded
    masker: Masker
    characters: int  # of the held-out text that losses are measured on, spaces included
    vocabulary: str  # MODEL_VOCABULARY or OWN_VOCABULARY

    @classmethod
    def of(cls, corpus: Corpus, tokenizer: "PreTrainedTokenizerBase", length: int, vocabulary: str) -> Self:
        """Pack a corpus into sequences of `length` tokens; the held-out part is cut to `MAX_HELD_OUT_TOKENS`."""
        key = {
            "tool": versions()["xmodctl"],
            "packed": corpus.fingerprint,
            "tokenizer": tokenizer_identity(tokenizer),
            "length": str(length),
        }
        training = cached(key, lambda: pack(corpus.documents(), tokenizer, length=length))
        documents = list(_first(corpus.held_out_documents(), tokenizer, MAX_HELD_OUT_TOKENS))
        held_out = pack(documents, tokenizer, length=length)
        masker = Masker.of(tokenizer, training, held_out)
        check_known(masker, training, held_out, corpus)
        return cls(training, held_out, masker, sum(len(document) + 1 for document in documents), vocabulary)

    @property
    def tokens(self) -> int:
        """The number of training tokens."""
        return int(self.training.input_ids.lengths.sum())


def check_known(masker: Masker, training: Encoded, held_out: Encoded, corpus: Corpus) -> None:
    """Refuse a text of which nothing can be predicted.

    Raises:
        UserError: The vocabulary knows no piece of its training part, or none of its held-out part.
    """
    for part, name in ((training, "training text"), (held_out, "held-out text")):
        if not masker.counts(part.input_ids).any():
            raise UserError(
                f"{', '.join(corpus.origins)}: every piece of the {name} is unknown to the model's vocabulary, so "
                "nothing can be predicted or measured; give text in a script that it has, or use --model with a "
                "model whose vocabulary has this script"
            )


def pack_head_text(corpus: Corpus, tokenizer: "PreTrainedTokenizerBase") -> HeadText:
    """Pack as much of a corpus as a head is trained and measured on."""
    length = heads.head_recipe(tokenizer).max_length
    training = pack(_first(corpus.documents(), tokenizer, heads.MAX_TOKENS), tokenizer, length=length)
    held_out = pack(_first(corpus.held_out_documents(), tokenizer, MAX_HELD_OUT_TOKENS), tokenizer, length=length)
    check_known(Masker.of(tokenizer, training, held_out), training, held_out, corpus)
    return HeadText(training, held_out, corpus.fingerprint)


def _first(documents: Iterator[str], tokenizer: "PreTrainedTokenizerBase", tokens: int) -> Iterator[str]:
    """Yield documents until they have this many tokens; at least one document."""
    remaining = tokens
    for document in documents:
        if remaining <= 0:
            return
        yield document
        remaining -= (
            len(tokenizer(document, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]) + 1
        )
