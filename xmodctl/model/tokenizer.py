"""The tokenizer of a checkpoint, checked against the size of its embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from xmodctl.core.errors import UserError
from xmodctl.model import hub
from xmodctl.model.source import Source

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_XLM_R = "FacebookAI/xlm-roberta-base"  # every facebook/xmod-* has its vocabulary; most ship without tokenizer files
_XLM_R_VOCABULARY = 250002


def load_tokenizer(source: Source) -> PreTrainedTokenizerFast:
    """Return the checkpoint's tokenizer, or XLM-R's if it has none and its vocabulary is XLM-R's.

    XLM-R's tokenizer comes from the local Hub cache, else from `mini`, which contains it, else from the Hub.

    Raises:
        UserError: There is no tokenizer, or it does not match the embeddings.
    """
    from transformers import AutoTokenizer

    vocabulary = source.config["vocab_size"]
    folder = source.folder if "tokenizer.json" in hub.tokenizer_files(source.folder) else None
    if folder is None and "sentencepiece.bpe.model" in hub.tokenizer_files(source.folder):
        folder = source.folder
    if folder is None:
        if vocabulary != _XLM_R_VOCABULARY:
            raise UserError(
                f"{source.name} has no tokenizer files, and with {vocabulary} pieces its vocabulary is not XLM-R's; "
                f"put its tokenizer.json into {source.folder}"
            )
        folder = _xlm_r()
    tokenizer: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(folder)
    _check(tokenizer, source)
    tokenizer.model_max_length = source.config["max_position_embeddings"] - source.config.get("pad_token_id", 1) - 1
    return tokenizer


def _xlm_r() -> Path:
    if (cached := hub.cached_config(_XLM_R, None)) and (cached.parent / "tokenizer.json").exists():
        return cached.parent
    from xmodctl.model import mini

    try:
        return mini.build()
    except UserError:  # the extra is not installed
        return hub.download(_XLM_R, None, weights=False)


def _check(tokenizer: PreTrainedTokenizerFast, source: Source) -> None:
    vocabulary, pad = source.config["vocab_size"], source.config.get("pad_token_id", 1)
    size = len(tokenizer)
    # Embeddings may be padded to a round number of rows; a much smaller tokenizer is another one.
    if size > vocabulary or size < 0.95 * vocabulary:
        raise UserError(
            f"the tokenizer of {source.name} has {size} pieces but its embeddings have {vocabulary}; "
            f"put the tokenizer.json that it was trained with into {source.folder}"
        )
    if tokenizer.pad_token_id != pad:
        raise UserError(
            f"the tokenizer of {source.name} pads with {tokenizer.pad_token_id}, but its config.json says {pad}; "
            f"put the tokenizer.json that it was trained with into {source.folder}"
        )
