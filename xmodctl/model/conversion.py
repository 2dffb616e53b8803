"""Convert a post-norm BERT- or RoBERTa-style encoder to an X-MOD whose adapters have no effect yet.

If `adapter_reuse_layer_norm`, `adapter_layer_norm` and `ln_before_adapter` are all false and the second adapter layer
is zero, an X-MOD layer computes exactly the same as a BERT layer.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xmodctl.core.errors import UserError

_BERT = ("bert",)
_ROBERTA = ("roberta", "xlm-roberta", "camembert")

_EMBEDDINGS = ("word_embeddings.weight", "position_embeddings.weight", "token_type_embeddings.weight")
_LAYER = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "attention.output.LayerNorm",
    "intermediate.dense",
    "output.dense",
    "output.LayerNorm",
)
_POOLER = ("pooler.dense.weight", "pooler.dense.bias")
# X-MOD's masked-LM head -> the same tensors in BERT. The decoder is tied to the word embeddings and never stored.
_LM_HEAD = {
    "lm_head.dense.weight": "cls.predictions.transform.dense.weight",
    "lm_head.dense.bias": "cls.predictions.transform.dense.bias",
    "lm_head.layer_norm.weight": "cls.predictions.transform.LayerNorm.weight",
    "lm_head.layer_norm.bias": "cls.predictions.transform.LayerNorm.bias",
    "lm_head.bias": "cls.predictions.bias",
}


@dataclass(frozen=True)
class Conversion:
    """An X-MOD: its config.json, its tensors under stock names, and the names of the source tensors that it lacks.

    Unchanged tensors share the source's memory.
    """

    config: dict[str, Any]
    tensors: dict[str, Tensor]
    left_out: tuple[str, ...]


def convert(
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    languages: Sequence[str],
    *,
    pad_token_id: int,
    reduction_factor: int = 4,
    seed: int = 0,
) -> Conversion:
    """Return the X-MOD that computes the same as the source encoder in each of `languages`.

    Args:
        config: The source's config.json.
        tensors: The source's state dict, with or without the prefix `bert.` or `roberta.`, and with any head.
        languages: The names of the adapters, in the order of their ids.
        pad_token_id: That of the *tokenizer*; BERT-style configs of multilingual models often have a wrong one.
        reduction_factor: Hidden size divided by the adapters' inner size.
        seed: Seed of the adapters' first layers.

    Raises:
        UserError: The source is not convertible, or lacks tensors.
    """
    family = check_convertible(config)
    source = {bare_name(name): name for name in tensors}
    names = _body_names(config, source)
    head = _LM_HEAD if family == _BERT else {name: name for name in _LM_HEAD}
    has_head = (
        all(name in source for name in head.values())
        and config.get("tie_word_embeddings", True)
        and (family == _ROBERTA or config.get("hidden_act", "gelu") == "gelu")  # the only one in X-MOD's head
    )
    if has_head:
        names |= head
    converted = {name: tensors[source[origin]] for name, origin in names.items()}
    if family == _BERT:
        # X-MOD counts positions from pad_token_id + 1, like RoBERTa; BERT counts from 0. The rows before the first
        # position are never used for a token that is attended to.
        positions = "roberta.embeddings.position_embeddings.weight"
        before = converted[positions].new_zeros(pad_token_id + 1, config["hidden_size"])
        converted[positions] = torch.cat([before, converted[positions]])
    elif config.get("pad_token_id", 1) != pad_token_id:
        raise UserError(
            f"the config of the model to convert has pad_token_id {config.get('pad_token_id', 1)}, its tokenizer "
            f"{pad_token_id}; they must agree, because the model counts positions from it: fix config.json"
        )
    converted |= _adapters(config, languages, reduction_factor, seed)
    used = {source[name] for name in names.values()}
    return Conversion(
        config=_config(config, converted, languages, pad_token_id, reduction_factor, has_head),
        tensors=converted,
        left_out=tuple(name for name in tensors if name not in used),
    )


def _body_names(config: Mapping[str, Any], source: Mapping[str, str]) -> dict[str, str]:
    """Return the names of the body's tensors: X-MOD's -> the source's, without its prefix.

    Raises:
        UserError: The source lacks some of them.
    """
    body = [f"embeddings.{name}" for name in (*_EMBEDDINGS, "LayerNorm.weight", "LayerNorm.bias")]
    layers = range(config["num_hidden_layers"])
    body += [f"encoder.layer.{i}.{part}.{kind}" for i in layers for part in _LAYER for kind in ("weight", "bias")]
    if missing := [name for name in body if name not in source]:
        raise UserError(
            f"the model to convert lacks {len(missing)} of {len(body)} tensors, such as {missing[0]!r}; "
            "give the folder of a complete checkpoint"
        )
    pooler = _POOLER if all(name in source for name in _POOLER) else ()
    return {f"roberta.{name}": name for name in (*body, *pooler)}


def _adapters(
    config: Mapping[str, Any], languages: Sequence[str], reduction_factor: int, seed: int
) -> dict[str, Tensor]:
    """Return the tensors of identity adapters in all layers."""
    adapters: dict[str, Tensor] = {}
    for language in languages:
        for layer in range(config["num_hidden_layers"]):
            adapter = identity_adapter(
                language,
                layer,
                hidden_size=config["hidden_size"],
                inner_size=config["hidden_size"] // reduction_factor,
                std=config.get("initializer_range", 0.02),
                seed=seed,
            )
            prefix = f"roberta.encoder.layer.{layer}.output.adapter_modules.{language}"
            adapters |= {f"{prefix}.{name}": tensor for name, tensor in adapter.items()}
    return adapters


def identity_adapter(
    language: str, layer: int, *, hidden_size: int, inner_size: int, std: float = 0.02, seed: int = 0
) -> dict[str, Tensor]:
    """Return the tensors of a trainable adapter whose output is zero.

    They depend only on the arguments, not on the order of languages or on other random numbers. NumPy's `RandomState`
    is used because its stream is guaranteed to stay the same in all versions.
    """
    digest = hashlib.sha256(f"{language}\n{layer}\n{seed}".encode()).digest()
    stream = np.random.RandomState(int.from_bytes(digest[:4], "little"))
    first = (stream.standard_normal((inner_size, hidden_size)) * std).astype(np.float32)
    return {
        "dense1.weight": torch.from_numpy(first),
        "dense1.bias": torch.zeros(inner_size),
        "dense2.weight": torch.zeros(hidden_size, inner_size),
        "dense2.bias": torch.zeros(hidden_size),
    }


def check_convertible(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the model types of an encoder's family, BERT or RoBERTa.

    Raises:
        UserError: It is of another family.
    """
    kind = config.get("model_type")
    if kind not in (*_BERT, *_ROBERTA):
        raise UserError(
            f"cannot convert a model of type {kind!r}, because its layers differ from X-MOD's; "
            f"the types that can be converted are {', '.join((*_BERT, *_ROBERTA))}"
        )
    if (embedding := config.get("position_embedding_type", "absolute")) != "absolute":
        raise UserError(
            f"cannot convert a model with {embedding!r} position embeddings, because X-MOD has only 'absolute' ones"
        )
    return _BERT if kind in _BERT else _ROBERTA


def bare_name(name: str) -> str:
    """Return a tensor's name without the model's prefix, and with current names for the parts of LayerNorms."""
    for prefix in ("bert.", "roberta."):
        name = name.removeprefix(prefix)
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")


def _config(
    source: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    languages: Sequence[str],
    pad_token_id: int,
    reduction_factor: int,
    has_head: bool,
) -> dict[str, Any]:
    embeddings = "roberta.embeddings"
    return {
        "architectures": ["XmodForMaskedLM" if has_head else "XmodModel"],
        "model_type": "xmod",
        "vocab_size": len(tensors[f"{embeddings}.word_embeddings.weight"]),
        "hidden_size": source["hidden_size"],
        "num_hidden_layers": source["num_hidden_layers"],
        "num_attention_heads": source["num_attention_heads"],
        "intermediate_size": source["intermediate_size"],
        "hidden_act": source.get("hidden_act", "gelu"),
        "hidden_dropout_prob": source.get("hidden_dropout_prob", 0.1),
        "attention_probs_dropout_prob": source.get("attention_probs_dropout_prob", 0.1),
        "max_position_embeddings": len(tensors[f"{embeddings}.position_embeddings.weight"]),
        "type_vocab_size": len(tensors[f"{embeddings}.token_type_embeddings.weight"]),
        "initializer_range": source.get("initializer_range", 0.02),
        "layer_norm_eps": source.get("layer_norm_eps", 1e-12),
        "pad_token_id": pad_token_id,
        "bos_token_id": source.get("bos_token_id"),
        "eos_token_id": source.get("eos_token_id"),
        "pre_norm": False,
        "adapter_reduction_factor": reduction_factor,
        "adapter_layer_norm": False,
        "adapter_reuse_layer_norm": False,
        "ln_before_adapter": False,
        "languages": list(languages),
        "default_language": None,
        "identity_adapters": True,
    }
