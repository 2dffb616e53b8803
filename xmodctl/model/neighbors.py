"""The pieces of the vocabulary with the nearest embeddings: in a multilingual model, often translations."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from xmodctl.core.encoded import BLANKS, Ragged
from xmodctl.model.modules import routed

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from xmodctl.model.engine import Xmod

BLOCK = 128
"""Pieces whose similarities to the whole vocabulary are in memory at a time."""
CONTINUATION = "##"
"""What WordPiece writes before the other pieces of a word."""
SPARE = 12
"""How many more pieces are looked at than are wanted, because some are other spellings of the piece itself."""


def near_words(
    model: "Xmod",
    tokenizer: "PreTrainedTokenizerBase",
    ids: NDArray[np.integer[Any]],
    *,
    count: int,
    similarity: float,
) -> Ragged:
    """Return the pieces that are near to each piece that begins a word, by their word embeddings.

    Only pieces with letters count, and the same letters in another case are not another word.

    Args:
        model: With the embeddings to compare.
        tokenizer: Its tokenizer.
        ids: The pieces to look at.
        count: How many are returned for each, at most.
        similarity: The smallest cosine similarity.

    Returns:
        For each piece of the vocabulary, the pieces near to it, nearest first; none for those that are not in `ids`,
        begin no word, or have no letters.
    """
    import torch

    with torch.inference_mode():
        words = routed(model.module).embeddings.word_embeddings.weight.float()
        words = torch.nn.functional.normalize(words[: len(tokenizer)], dim=1)
        pieces = tokenizer.convert_ids_to_tokens(list(range(len(words))))
        texts: Sequence[str] = [piece or "" for piece in pieces]  # an id can be without a piece
        has_letters = np.array([any(map(str.isalpha, text)) for text in texts])
        has_letters[list(tokenizer.all_special_ids)] = False
        folded = np.array([text.lstrip("".join(BLANKS)).casefold() for text in texts], dtype=object)
        marked = np.array([text.startswith(BLANKS) for text in texts])
        starts = marked if marked.any() else np.array([not text.startswith(CONTINUATION) for text in texts])
        wanted = np.zeros(len(texts), dtype=np.bool_)
        wanted[ids] = True
        wanted &= has_letters & starts
        excluded = torch.from_numpy(~has_letters).to(words.device)
        near: list[NDArray[np.int64]] = [np.zeros(0, dtype=np.int64)] * len(texts)
        for block in np.array_split(np.flatnonzero(wanted), max(1, -(-int(wanted.sum()) // BLOCK))):
            cosines = (words[torch.from_numpy(block).to(words.device)] @ words.T).masked_fill(excluded, -torch.inf)
            values, nearest = (each.cpu().numpy() for each in cosines.topk(min(count + SPARE, len(texts))))
            for piece, similar, others in zip(block, values, nearest, strict=True):
                kept = others[(similar >= similarity) & (folded[others] != folded[piece])]
                near[piece] = kept[:count]
    return Ragged.of(near, np.int64)
