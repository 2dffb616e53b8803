"""Folders of sentence-transformers: the files beside the model that say how its hidden states become vectors."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xmodctl.core.errors import UserError
from xmodctl.core.files import read_json, write_json
from xmodctl.model.source import Source

QUERY, PASSAGE = "query: ", "passage: "
"""What E5 models read in front of a text (Wang et al. 2024, arXiv 2402.05672): `query: ` for symmetric tasks, such as
finding translations; for a search, `query: ` before questions and `passage: ` before the texts that are searched."""

MODULES, PROMPTS, LENGTH = "modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"
POOLING = Path("1_Pooling") / "config.json"

_TYPES = ("Transformer", "Pooling", "Normalize")
_MODES = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token"}


@dataclass(frozen=True)
class StoredSettings:
    """How a model's hidden states become vectors, if nothing else is said."""

    pooling: str
    prefix: str


def stored_settings(source: Source, *, pooling: str | None = None, prefix: str | None = None) -> StoredSettings:
    """Return the settings of a model: those of a folder of sentence-transformers, or what `mini` was trained with.

    Args:
        source: The model.
        pooling: What the user said; None asks the model.
        prefix: Likewise.

    Raises:
        UserError: The folder has a file that is damaged, or a pooling that is not known here.
    """
    has_files = source.id != "mini" and (source.folder / MODULES).exists()
    if pooling is None:
        pooling = _stored_pooling(source.folder / POOLING) if has_files else "mean"
    if prefix is None:
        prefix = _stored_prefix(source.folder / PROMPTS) if has_files else QUERY if source.id == "mini" else ""
    return StoredSettings(pooling, prefix)


def _stored_pooling(path: Path) -> str:
    value = _read(path)
    modes = [mode for mode, key in _MODES.items() if value.get("pooling_mode") == mode or value.get(key) is True]
    others = [key for key, is_used in value.items() if key.startswith("pooling_mode_") and is_used is True]
    if len(modes) != 1 or len(others) > 1:
        raise UserError(f"{path} names no pooling that xmodctl has; give --pooling mean or --pooling cls")
    return modes[0]


def _stored_prefix(path: Path) -> str:
    value = _read(path)
    named, default = value.get("prompts"), value.get("default_prompt_name")
    prefix = named.get(default, "") if isinstance(named, dict) and isinstance(default, str) else ""
    if not isinstance(prefix, str):
        raise UserError(f"{path} has a default prompt that is not text; give --prefix TEXT")
    return prefix


def write_settings(
    folder: Path, *, pooling: str, prefix: str, dimensions: int, max_length: int, versions: Mapping[str, str]
) -> None:
    """Add to the folder of a model what sentence-transformers reads, in the layout that all of its versions know.

    Args:
        folder: Holds the model and its tokenizer.
        pooling: `mean` or `cls`.
        prefix: What is put in front of each text unless another prompt is named.
        dimensions: Of a vector.
        max_length: The number of tokens of a text that are read.
        versions: Of the packages that made the model.
    """
    for number, name in enumerate(_TYPES[1:], start=1):
        (folder / f"{number}_{name}").mkdir()
    write_json(
        folder / POOLING,
        {"word_embedding_dimension": dimensions, **{key: mode == pooling for mode, key in _MODES.items()}}
        | {"pooling_mode_max_tokens": False, "pooling_mode_mean_sqrt_len_tokens": False, "include_prompt": True},
    )
    write_json(folder / "2_Normalize" / "config.json", {})
    prompts = {"query": QUERY, "passage": PASSAGE} if prefix == QUERY else {"default": prefix} if prefix else {}
    write_json(
        folder / PROMPTS,
        {
            "__version__": dict(versions),
            "prompts": prompts,
            "default_prompt_name": next(iter(prompts), None),
            "similarity_fn_name": "cosine",
        },
    )
    write_json(
        folder / LENGTH,
        {"max_seq_length": max_length, "do_lower_case": False, "model_args": {"add_pooling_layer": False}},
    )
    modules = [
        {
            "idx": number,
            "name": str(number),
            "path": f"{number}_{name}" if number else "",
            "type": f"sentence_transformers.models.{name}",
        }
        for number, name in enumerate(_TYPES)
    ]
    write_json(folder / MODULES, modules)  # last: with it, the folder is one of sentence-transformers


def _read(path: Path) -> dict[str, Any]:
    """Return the object in a file, or an empty one if there is no file.

    Raises:
        UserError: It is damaged.
    """
    try:
        value = read_json(path)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path} ({error}); restore the file") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} is not a JSON object; restore the file")
    return value
