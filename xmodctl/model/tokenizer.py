"""The tokenizer of a checkpoint, checked against the size of its embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from xmodctl.core.errors import UserError
from xmodctl.core.files import read_json
from xmodctl.core.reading import check_regular, check_utf8
from xmodctl.core.visible import one_line
from xmodctl.model import hub
from xmodctl.model.source import Facts, Source, longest_input

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

_SETTINGS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
LONGEST_REASON = 200
"""Characters of a library's message that are shown."""

_XLM_R = "FacebookAI/xlm-roberta-base"  # every facebook/xmod-* has its vocabulary; most ship without tokenizer files
_XLM_R_VOCABULARY = 250002

_PANIC = "PanicException"
"""What the tokenizers library raises where its Rust code gives up; it is no `Exception`, and cannot be imported."""


def load_tokenizer(source: Source) -> PreTrainedTokenizerFast:
    """Return the checkpoint's tokenizer, or XLM-R's if it has none and its vocabulary is XLM-R's.

    XLM-R's tokenizer comes from the local Hub cache, else from `mini`, which contains it, else from the Hub.

    Raises:
        UserError: There is no tokenizer, or it does not match the embeddings.
    """
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
    tokenizer = read_tokenizer(folder)
    _check(tokenizer, source)
    tokenizer.model_max_length = longest_input(source.config)
    return tokenizer


def tokenizer_at_hand(facts: Facts) -> Tokenizer | None:
    """Return a model's tokenizer as the `tokenizers` library has it, without the network and without transformers.

    None means that it is not on this disk. XLM-R's, which most X-MODs have, comes from the local Hub cache or `mini`.

    Raises:
        UserError: Its file is damaged.
    """
    from tokenizers import Tokenizer

    folder = facts.folder
    if folder is None or not (folder / "tokenizer.json").exists():
        is_xlm_r = facts.config.get("vocab_size", _XLM_R_VOCABULARY) == _XLM_R_VOCABULARY
        folder = _local_xlm_r() if is_xlm_r and not (folder and hub.tokenizer_files(folder)) else None
    if folder is None:
        return None
    _check_files(folder)
    try:
        return Tokenizer.from_file(str(folder / "tokenizer.json"))
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != _PANIC:
            raise
        raise _damage(folder, error) from error


def read_tokenizer(folder: Path, *, own_class: bool = True) -> PreTrainedTokenizerFast:
    """Read the tokenizer in a folder, without running code of the folder.

    Args:
        folder: Holds tokenizer.json, or another file that transformers makes a fast tokenizer of.
        own_class: Whether to use the class that the files name.

    Raises:
        UserError: One of its files is damaged, or the path is not UTF-8.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    check_utf8(folder)
    _check_files(folder)
    for name in _SETTINGS:
        _check_object(folder / name)
    try:
        if own_class:
            tokenizer: PreTrainedTokenizerFast = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        else:
            tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
        encoded = tokenizer("a", "b")
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != _PANIC:
            raise
        raise _damage(folder, error) from error
    if not tokenizer.is_fast or not all(isinstance(number, int) for number in encoded["input_ids"]):
        raise UserError(f"the tokenizer in {folder} is not a fast one; put its tokenizer.json there")
    return tokenizer


def _damage(folder: Path, error: BaseException) -> UserError:
    """Return what is wrong with a tokenizer that cannot be loaded."""
    reason = one_line(str(error))[:LONGEST_REASON] or type(error).__name__
    definition = folder / "tokenizer.json"
    if definition.exists():
        from tokenizers import Tokenizer

        _check_object(definition)
        try:
            Tokenizer.from_file(str(definition))
        except BaseException as inner:
            if not isinstance(inner, Exception) and type(inner).__name__ != _PANIC:
                raise
            reason = one_line(str(inner))[:LONGEST_REASON]
            return UserError(f"{definition} is damaged or is not a tokenizer ({reason}); download the file again")
        suspects = [str(folder / name) for name in _SETTINGS if (folder / name).exists()]
        return UserError(f"{' or '.join(suspects) or definition} is damaged ({reason}); download the file again")
    return UserError(f"the tokenizer in {folder} cannot be loaded ({reason}); download its files again")


def _check_files(folder: Path) -> None:
    """Refuse a folder with pipes or devices: it is not known which of its files the library reads."""
    for path in folder.iterdir():
        if path.exists() and not path.is_dir():
            try:
                check_regular(path)
            except OSError as error:
                raise UserError(f"cannot read {path}: {error.strerror}; remove it") from error


def _check_object(path: Path) -> None:
    """Refuse a file that is not a JSON object."""
    try:
        value = read_json(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({one_line(str(error))}); download the file again") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} is not a JSON object; download the file again")


def _xlm_r() -> Path:
    return _local_xlm_r() or hub.download(_XLM_R, None, weights=False)


def _local_xlm_r() -> Path | None:
    if (cached := hub.cached_config(_XLM_R, None)) and (cached.parent / "tokenizer.json").exists():
        return cached.parent
    from xmodctl.model import mini

    try:
        return mini.build()
    except UserError:  # the extra is not installed
        return None


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
