"""Convert another encoder's checkpoint on disk to X-MOD, and verify that both compute the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from xmodctl.core.errors import UserError
from xmodctl.core.files import disk_errors, whole_folder, write_json
from xmodctl.core.safetensors_io import entry_of, write_stream
from xmodctl.model import conversion, hub, weights
from xmodctl.model.conversion import bare_name, check_convertible
from xmodctl.model.loading import load
from xmodctl.model.source import find, read_any_config
from xmodctl.model.tokenizer import load_tokenizer, read_tokenizer

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SAMPLE = (
    "The cat sleeps.",
    "Katzen schlafen sechzehn Stunden am Tag, manche sogar länger: niemand weiß, warum sie das tun.",
    "وما أوتيتم من العلم إلا قليلا",
    "猫は一日に十六時間眠る。",
    "Кот спит 16 часов в сутки 😺",
    "cat",
)
"""Texts in several scripts and of several lengths: shorter ones are padded, which tests positions, too."""

TOLERANCE = 1e-4
"""The largest difference that the order of summation explains, in outputs of a LayerNorm, which have unit size."""


@dataclass(frozen=True)
class Ported:
    """The result of a conversion."""

    folder: Path
    languages: tuple[str, ...]
    kind: str  # the source's model_type
    pieces: int
    head: bool  # whether its masked-LM head was converted
    left_out: tuple[str, ...]  # tensors of the source that X-MOD does not have
    largest_difference: float  # of hidden states, between the source and the result

    def to_json(self) -> dict[str, Any]:
        """Return the facts as plain JSON values."""
        return {
            "folder": str(self.folder),
            "languages": list(self.languages),
            "source_type": self.kind,
            "pieces": self.pieces,
            "masked_lm_head": self.head,
            "left_out": list(self.left_out),
            "largest_difference": self.largest_difference,
        }


def port(
    name: str | Path, folder: str | Path, languages: Sequence[str], *, reduction_factor: int = 4, seed: int = 0
) -> Ported:
    """Convert the checkpoint `name` to an X-MOD with identity adapters that computes the same.

    Both encode `SAMPLE`; the folder is written only if their hidden states agree.

    Args:
        name: A folder, or a Hub id with an optional `@revision`.
        folder: The folder to write.
        languages: The names of the adapters.
        reduction_factor: Hidden size divided by the adapters' inner size.
        seed: Seed of the adapters' first layers.

    Raises:
        UserError: The source cannot be downloaded, read or converted, or the result differs.
    """
    name, folder = str(name), Path(folder)
    origin = _find(name)
    config = _config(origin, name)
    checkpoint = weights.CheckpointTensors(origin, name)
    tokenizer = _tokenizer(origin, name)
    tensors = checkpoint.read(list(checkpoint.entries))
    _check_vocabulary(tokenizer, tensors, name)
    hidden = config["hidden_size"]
    if not 1 <= reduction_factor <= hidden:
        raise UserError(f"a reduction factor of {reduction_factor} leaves no adapter; choose 1 to {hidden}")
    converted = conversion.convert(
        config, tensors, languages, pad_token_id=tokenizer.pad_token_id, reduction_factor=reduction_factor, seed=seed
    )
    with disk_errors(folder), whole_folder(folder, keep=True) as part:
        write_json(part / "config.json", converted.config)
        dtype = converted.tensors["roberta.embeddings.word_embeddings.weight"].dtype
        stored = {key: tensor.to(dtype) for key, tensor in converted.tensors.items()}
        entries = {key: entry_of(tensor) for key, tensor in stored.items()}
        write_stream(part / "model.safetensors", entries, stored.values(), sealed=True)
        tokenizer.model_max_length = converted.config["max_position_embeddings"] - converted.config["pad_token_id"] - 1
        tokenizer.save_pretrained(part)
        difference = _largest_difference(_stock(config, tensors, name), tokenizer, part, languages)
        if not difference <= TOLERANCE:
            raise UserError(
                f"{name} was not converted: the X-MOD's hidden states differ from its own by {difference:.2g} "
                f"(at most {TOLERANCE:g} is rounding); its config.json does not match its weights"
            )
    return Ported(
        folder=folder,
        languages=tuple(languages),
        kind=config["model_type"],
        pieces=converted.config["vocab_size"],
        head="lm_head.dense.weight" in converted.tensors,
        left_out=converted.left_out,
        largest_difference=difference,
    )


def _find(name: str) -> Path:
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.exists() or name.startswith((".", "~", "/")) or name.count("/") != 1:
        raise UserError(f"there is no model folder {name!r}; give a folder with config.json and weights, or a Hub id")
    repository, _, revision = name.partition("@")
    return hub.download(repository, revision or None)


def _config(folder: Path, name: str) -> dict[str, Any]:
    path, config = folder / "config.json", read_any_config(folder, name)
    if not isinstance(config, dict) or "model_type" not in config:
        raise UserError(f"{path} has no model_type, so it is not the configuration of a transformers model")
    if config["model_type"] == "xmod":
        raise UserError(f"{name} is an X-MOD model already; use it with --model {name}")
    check_convertible(config)
    for key in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"):
        if not isinstance(config.get(key), int):
            raise UserError(f"{path} lacks {key}; download the file again")
    return config


def _tokenizer(folder: Path, name: str) -> PreTrainedTokenizerBase:
    if not any((folder / file).exists() for file in hub.TOKENIZER_MODELS):
        raise UserError(
            f"{name} has no tokenizer: {folder} contains none of {', '.join(hub.TOKENIZER_MODELS)}; put it there"
        )
    tokenizer = read_tokenizer(folder)
    tokenizer.padding_side = "right"
    if tokenizer.pad_token_id is None:
        raise UserError(f"the tokenizer of {name} has no pad_token, but X-MOD counts positions from it")
    return tokenizer


def _check_vocabulary(tokenizer: PreTrainedTokenizerBase, tensors: dict[str, Tensor], name: str) -> None:
    suffix = "embeddings.word_embeddings.weight"
    rows = next((len(tensor) for key, tensor in tensors.items() if key.endswith(suffix)), None)
    # As for loaded tokenizers: embeddings may be padded to a round number of rows.
    if rows is not None and not 0.95 * rows <= len(tokenizer) <= rows:
        raise UserError(
            f"the tokenizer of {name} has {len(tokenizer)} pieces but its embeddings have {rows}; "
            "put the tokenizer that it was trained with into its folder"
        )


def _stock(config: dict[str, Any], tensors: dict[str, Tensor], name: str) -> PreTrainedModel:
    """Return the source as a transformers model."""
    from transformers import AutoConfig, AutoModel

    kind = config["model_type"]
    settings = AutoConfig.for_model(kind, **{key: value for key, value in config.items() if key != "model_type"})
    model: PreTrainedModel = AutoModel.from_config(settings, dtype=torch.float32, add_pooling_layer=False).eval()
    state = {bare_name(key): tensor.float() for key, tensor in tensors.items()}
    expected = model.state_dict()
    for key, tensor in expected.items():
        if key not in state or state[key].shape != tensor.shape:
            seen = f"has the shape {tuple(state[key].shape)}" if key in state else "is missing"
            raise UserError(f"{name}: {key} {seen}, but its config.json implies {tuple(tensor.shape)}")
    model.load_state_dict({key: state[key] for key in expected})
    return model


def _largest_difference(
    source: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path, languages: Sequence[str]
) -> float:
    """Return the largest difference between the hidden states of the X-MOD in `folder` and the source's."""
    converted = find(str(folder))
    converted_tokenizer = load_tokenizer(converted)
    limit = tokenizer.model_max_length
    batch = tokenizer(list(SAMPLE), padding=True, truncation=True, max_length=limit, return_tensors="pt")
    again = converted_tokenizer(list(SAMPLE), padding=True, truncation=True, max_length=limit, return_tensors="pt")
    if not torch.equal(batch["input_ids"], again["input_ids"]):
        raise UserError(f"the tokenizer of {source.config.model_type} encodes differently after it is saved and loaded")
    inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    real = batch["attention_mask"].bool()
    with torch.inference_mode():
        expected = source(**inputs).last_hidden_state[real]
        model = load(converted, "none", languages[:1])
        difference = 0.0
        for language in languages:
            model.use(language)
            difference = max(difference, float((model.module(**inputs).last_hidden_state[real] - expected).abs().max()))
    return difference
