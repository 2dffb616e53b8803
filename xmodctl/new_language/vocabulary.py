"""A vocabulary trained for one language, with embeddings initialized from the model's own."""

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from xmodctl.adapters.vocabulary import NewVocabulary
from xmodctl.core.errors import UserError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor
    from transformers import PreTrainedTokenizerFast

MAX_CHARACTERS = 20_000_000
"""Characters that a tokenizer is trained on at most: more takes memory and minutes, and changes few pieces."""

ScoredPiece = tuple[str, float]  # a piece and its log probability

_MARKER = "▁"  # stands for a space within a piece
_LONGEST_PIECE = 16  # characters; the trainer's default
_PENALTY = 1e-4  # difference between the scores that the trainer gives to characters it must keep


def train_vocabulary(
    texts: Iterable[str],
    base_tokenizer: "PreTrainedTokenizerFast",
    base_embeddings: "Tensor",
    *,
    size: int,
    seed: int,
    base_bias: "Tensor | None" = None,
    max_characters: int = MAX_CHARACTERS,
) -> NewVocabulary:
    """Train a Unigram tokenizer on texts, and initialize its embeddings from those of the base.

    A piece that the base also has copies its row, as in Pfeiffer et al., UNKs Everywhere (EMNLP 2021) and SwissBERT
    (Vamvas et al., 2023). Any other piece is initialized with the mean of the rows of the pieces into which the base
    cuts it, as in Gee et al., Fast Vocabulary Transfer (EMNLP 2022, industry track), or, if the base knows none of its
    characters, with the mean of all rows. The same text, size and seed give the same vocabulary.

    Args:
        texts: Text of the language.
        base_tokenizer: The base model's; its special tokens keep their ids, and its normalizer is used.
        base_embeddings: The base's word embeddings, (pieces, hidden).
        size: The number of pieces, special tokens included; a small text may yield fewer.
        seed: Of the sample that is drawn from more than `max_characters`.
        base_bias: The bias of the base's masked-LM head, (pieces,); treated like the embeddings.
        max_characters: The sample's characters.

    Raises:
        UserError: There is too little text for a vocabulary, or the size is too small for its characters.
    """
    sample, total = sample_texts(texts, seed, max_characters)
    tokenizer = _train_tokenizer(sample, base_tokenizer, size)
    ids = tokenizer.get_vocab()
    pieces = sorted(ids, key=ids.__getitem__)
    base_ids = base_tokenizer.get_vocab()
    sources = [[base_ids[piece]] if piece in base_ids else _base_pieces(piece, base_tokenizer) for piece in pieces]
    copied = sum(piece in base_ids for piece in pieces)
    return NewVocabulary(
        tokenizer=_wrap(tokenizer, base_tokenizer),
        embeddings=_mean_rows(base_embeddings[: len(base_tokenizer)], sources),
        bias=None if base_bias is None else _mean_rows(base_bias[: len(base_tokenizer), None], sources)[:, 0],
        copied=copied,
        averaged=len(pieces) - copied,
        facts={"size": len(pieces), "texts": total, "texts_trained_on": len(sample), "seed": seed},
    )


def sample_texts(texts: Iterable[str], seed: int, max_characters: int = MAX_CHARACTERS) -> tuple[list[str], int]:
    """Draw texts at random until they have `max_characters`.

    Each text draws a number, and those with the lowest numbers stay, in the order of the text.

    Returns:
        The sample, which has more than `max_characters` only if it is a single text; and the number of all texts.
    """
    generator = random.Random(seed)  # noqa: S311 - a sample, not a secret
    kept: list[tuple[float, int, str]] = []
    total = characters = 0
    for text in texts:
        total += 1
        characters += len(text)
        heappush(kept, (-generator.random(), total, text))
        while characters > max_characters and len(kept) > 1:
            characters -= len(heappop(kept)[2])
    return [text for _, _, text in sorted(kept, key=lambda entry: entry[1])], total


def _train_tokenizer(texts: Sequence[str], base: "PreTrainedTokenizerFast", size: int) -> "Tokenizer":
    """Return a Unigram tokenizer of `size` pieces; special tokens keep the base's ids where these fit."""
    from tokenizers import models

    special = _special_ids(base)
    learned = _train_pieces(texts, base, special, size)
    pieces = _order_independent([(piece, score) for piece, score in learned if piece not in special])
    if not pieces:
        raise UserError("there is too little text to train a vocabulary; give more, or use --vocabulary keep")
    placed = _place(pieces, special)
    unknown_id = next(number for number, (piece, _) in enumerate(placed) if piece == base.unk_token)
    # Built again: the trained tokenizer remembers its unknown piece under another id.
    tokenizer = _tokenizer_of(models.Unigram(placed, unk_id=unknown_id, byte_fallback=False), base)
    tokenizer.add_special_tokens([base.added_tokens_decoder[number] for number in sorted(special.values())])
    if base.backend_tokenizer.post_processor is not None:
        tokenizer.post_processor = base.backend_tokenizer.post_processor
    assert {token: tokenizer.token_to_id(token) for token, _ in placed} == {
        token: number for number, (token, _) in enumerate(placed)
    }
    return tokenizer


def _train_pieces(
    texts: Sequence[str], base: "PreTrainedTokenizerFast", special: Mapping[str, int], size: int
) -> list[ScoredPiece]:
    """Run the Unigram trainer, and return the pieces it finds beside the special ones."""
    from tokenizers import models, trainers

    unknown: str = base.unk_token
    characters = {character for text in texts for character in text if not character.isspace()}
    room = size - len(special)
    if room <= len(characters):
        raise UserError(
            f"a vocabulary of {size:,} pieces is too small: the text has {len(characters):,} different characters; "
            "choose a larger --vocabulary-size"
        )
    trainer = trainers.UnigramTrainer(
        vocab_size=room + 1,  # the trainer counts its unknown piece, which is one of `special`
        special_tokens=[unknown],
        unk_token=unknown,
        max_piece_length=_LONGEST_PIECE,
        show_progress=False,
    )
    tokenizer = _tokenizer_of(models.Unigram(), base)
    tokenizer.train_from_iterator(texts, trainer)
    return [(piece, score) for piece, score in json.loads(tokenizer.to_str())["model"]["vocab"]]


def _tokenizer_of(model: Any, base: "PreTrainedTokenizerFast") -> "Tokenizer":
    """Return a tokenizer around a Unigram model, with the base's normalizer and spaces marked as in XLM-R."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers

    tokenizer = Tokenizer(model)
    if (normalizer := base.backend_tokenizer.normalizer) is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=_MARKER, prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement=_MARKER, prepend_scheme="always")
    return tokenizer


def _special_ids(base: "PreTrainedTokenizerFast") -> dict[str, int]:
    ids = {token: base.convert_tokens_to_ids(token) for token in base.all_special_tokens}
    for role in ("pad_token", "unk_token", "mask_token"):
        if getattr(base, role) is None:
            raise UserError(f"the model's tokenizer has no {role}, which --vocabulary new needs; use --vocabulary keep")
    return ids


def _order_independent(learned: Sequence[ScoredPiece]) -> list[ScoredPiece]:
    """Return pieces and scores without traces of the order in which the trainer's threads added numbers up.

    Scores are rounded far above the last digits of these sums. Characters that the trainer must keep although they did
    not earn their place get the lowest score plus a penalty each, in an order that changes between trainings; here,
    in alphabetical order.
    """
    lowest = min((score for _, score in learned), default=0.0)
    single = [piece for piece, _ in learned if len(piece) == 1]
    forced = sorted(
        piece for piece, score in learned if len(piece) == 1 and score <= lowest + _PENALTY * (len(single) + 1)
    )
    scores = dict(learned) | {piece: lowest + _PENALTY * (number + 1) for number, piece in enumerate(forced)}
    rounded = [(piece, round(score, 6)) for piece, score in scores.items()]
    return sorted(rounded, key=lambda pair: (-pair[1], pair[0]))


def _place(pieces: Sequence[ScoredPiece], special: Mapping[str, int]) -> list[ScoredPiece]:
    """Return pieces with each special token at its own id; special tokens with ids past the end come last."""
    placed: list[ScoredPiece] = []
    used = 0
    for token, number in sorted(special.items(), key=lambda pair: pair[1]):
        before = pieces[used : used + number - len(placed)]
        used += len(before)
        placed += [*before, (token, 0.0)]
    return [*placed, *pieces[used:]]


def _wrap(tokenizer: "Tokenizer", base: "PreTrainedTokenizerFast") -> "PreTrainedTokenizerFast":
    from transformers import PreTrainedTokenizerFast

    roles = ("bos_token", "eos_token", "cls_token", "sep_token", "pad_token", "unk_token", "mask_token")
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=base.model_max_length,
        padding_side="right",
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
        **{role: getattr(base, role) for role in roles if getattr(base, role) is not None},
    )


def _base_pieces(piece: str, base: "PreTrainedTokenizerFast") -> list[int]:
    """Return the ids of the pieces into which the base cuts a piece that it lacks; unknown ones are skipped."""
    from tokenizers.pre_tokenizers import Metaspace

    backend = base.backend_tokenizer
    if isinstance(backend.pre_tokenizer, Metaspace):  # it marks spaces in the same way, and would add one in front
        ids = [token.id for token in backend.model.tokenize(piece)]
    else:
        ids = backend.encode(piece.replace(_MARKER, " "), add_special_tokens=False).ids
    return [number for number in ids if number != base.unk_token_id]


def _mean_rows(rows: "Tensor", sources: Sequence[Sequence[int]]) -> "Tensor":
    """Return the mean of the rows with each list's ids, and the mean of all rows for an empty list."""
    import torch

    mean = rows.float().mean(0)
    return torch.stack([rows[list(ids)].float().mean(0) if ids else mean for ids in sources])
