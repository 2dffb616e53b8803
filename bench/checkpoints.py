"""Checkpoints to measure on: published sizes with random weights, built once in the cache, or a real folder."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from xmodctl.core.files import cache_folder, whole_folder
from xmodctl.core.safetensors_io import Entry, write_stream
from xmodctl.model import find, look_up
from xmodctl.model.building import build

_TINY = {
    "vocab_size": 500,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}


def folder_of(model: str) -> Path:
    """Return the folder of `base`, `large`, `tiny` (random weights), `mini`, or of any checkpoint."""
    match model:
        case "base" | "tiny":
            return _random(model, "facebook/xmod-base")
        case "large":
            return _random(model, "facebook/xmod-large-prenorm")
        case _:
            return find(model).folder


def _random(name: str, like: str) -> Path:
    folder = cache_folder() / "bench" / name
    if (folder / "model.safetensors").exists():
        return folder
    facts = look_up(like)
    assert facts.languages is not None
    config: dict[str, Any] = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, **facts.config}
    config |= {"model_type": "xmod", "languages": list(facts.languages), **(_TINY if name == "tiny" else {})}
    module = build(config, "masked-lm", facts.languages)
    shapes = {tensor: tuple(parameter.shape) for tensor, parameter in module.named_parameters()}

    def tensors() -> Iterator[torch.Tensor]:
        generator = torch.Generator().manual_seed(0)
        for tensor, shape in shapes.items():
            drawn = torch.empty(shape).normal_(std=0.02, generator=generator)
            yield drawn + 1 if tensor.lower().endswith(("layernorm.weight", "layer_norm.weight")) else drawn

    with whole_folder(folder) as part:
        (part / "config.json").write_text(json.dumps(config), encoding="utf-8")
        write_stream(part / "model.safetensors", {t: Entry("F32", s) for t, s in shapes.items()}, tensors())
    return folder
