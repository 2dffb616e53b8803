"""Small X-MODs with random weights, in every geometry that real checkpoints have."""

import torch
from transformers import AutoConfig

from xmodctl.model.modules import routed

GEOMETRIES = {
    "base": {},
    "large-prenorm": {
        "pre_norm": True,
        "adapter_reduction_factor": 4,
        "adapter_layer_norm": True,
        "adapter_reuse_layer_norm": False,
        "ln_before_adapter": False,
    },
    "swiss": {"languages": ["de_CH", "fr_CH", "gsw"]},
    "post-norm": {
        "adapter_reduction_factor": 4,
        "adapter_reuse_layer_norm": False,
        "ln_before_adapter": False,
        "type_vocab_size": 2,
    },
}


def tiny_config(**settings):
    """Return a configuration of three languages, two layers and 34 positions (32 tokens)."""
    return AutoConfig.for_model(
        "xmod",
        **{
            "vocab_size": 120,
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 48,
            "max_position_embeddings": 34,
            "type_vocab_size": 1,
            "layer_norm_eps": 1e-5,
            "languages": ["en_XX", "de_DE", "fr_XX"],
            **settings,
        },
    )


def scatter(module, seed=0):
    """Give every parameter, LayerNorms and biases too, values at which a mistake would show."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.normal_(std=0.2, generator=generator)
            if name.endswith(("LayerNorm.weight", "layer_norm.weight")):
                parameter.add_(1.0)
    return module.eval()


def bare_body(module, positions: int = 34):
    """Return the body of a module that was built without weights, with the constants of its embeddings and a language.

    Args:
        module: What `build` returned, on its device.
        positions: How many positions it has.
    """
    body = routed(module)
    body.reads_padding = False
    body.embeddings.position_ids = torch.arange(positions)[None]
    body.embeddings.token_type_ids = torch.zeros((1, positions), dtype=torch.int64)
    for layer in body.encoder.layer:
        layer.output.active, layer.output.chosen = "en_XX", True
    return body
