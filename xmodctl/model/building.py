"""Building an X-MOD module with the heads and adapters that are asked for, and filling it from a checkpoint."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor, nn
from transformers.models.xmod import modeling_xmod
from transformers.models.xmod.configuration_xmod import XmodConfig

from xmodctl.core.errors import UserError
from xmodctl.model.heads import ARCHITECTURES, READS_FIRST_TOKEN, check_head
from xmodctl.model.modules import ROUTED, RoutedModel, routed
from xmodctl.model.routing import prepare
from xmodctl.model.source import Source
from xmodctl.model.weights import CheckpointTensors

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BODY = "roberta."
"""The prefix of the body's tensors in a checkpoint."""
ADAPTER_TENSORS = ("dense1.weight", "dense1.bias", "dense2.weight", "dense2.bias")
"""The tensors of an adapter in one layer."""


def adapter_name(layer: int, language: str, tensor: str) -> str:
    """Return the name of an adapter's tensor in a checkpoint."""
    return f"roberta.encoder.layer.{layer}.output.adapter_modules.{language}.{tensor}"


def bottleneck(config: Any) -> int:
    """Return the width of a language's adapter; a mixture of several is a multiple of it wide."""
    return int(config.hidden_size // config.adapter_reduction_factor)


def adapter_shapes(language: str, config: Any, width: int | None = None) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes of the tensors of a language's adapter in a model with this configuration."""
    wide, narrow = config.hidden_size, width or bottleneck(config)
    shapes = ((narrow, wide), (narrow,), (wide, narrow), (wide,))
    return {
        adapter_name(number, language, name): shape
        for number in range(config.num_hidden_layers)
        for name, shape in zip(ADAPTER_TENSORS, shapes, strict=True)
    }


def check_adapter(language: str, tensors: Mapping[str, Tensor], config: Any, model: str) -> dict[str, tuple[int, ...]]:
    """Return the shapes of an adapter's tensors, after checking that they fit a model.

    Raises:
        UserError: The names or shapes are not those of an adapter of this model, or of a mixture of several.
    """
    usual = bottleneck(config)
    bias = tensors.get(adapter_name(0, language, "dense1.bias"))
    is_multiple = bias is not None and bias.numel() and bias.numel() % usual == 0
    shapes = adapter_shapes(language, config, bias.numel() if bias is not None and is_multiple else usual)
    if tensors.keys() != shapes.keys():
        strange = min(tensors.keys() ^ shapes.keys())
        raise UserError(f"this is not an adapter for {model}: {strange} is missing or unexpected")
    for name, shape in shapes.items():
        if tuple(tensors[name].shape) != shape:
            raise UserError(
                f"this adapter does not have the shape that {model} needs: "
                f"{name} is {tuple(tensors[name].shape)}, not {shape}"
            )
    return shapes


def adapter_module(config: Any, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Return an adapter in one layer with these tensors, by their names in `ADAPTER_TENSORS`; as wide as they are."""
    with torch.device("meta"):
        adapter: Any = modeling_xmod.XmodAdapter(config)
        width, hidden = tensors["dense1.weight"].shape
        if width != adapter.bottleneck_size:
            adapter.bottleneck_size = width
            adapter.dense1, adapter.dense2 = nn.Linear(hidden, width), nn.Linear(width, hidden)
    adapter.load_state_dict(dict(tensors), assign=True)
    prepare(adapter)
    module: nn.Module = adapter
    return module


def build(
    config: Mapping[str, Any],
    head: str,
    languages: Sequence[str],
    *,
    num_labels: int | None = None,
    id2label: Mapping[int, str] | None = None,
    problem_type: str | None = None,
) -> PreTrainedModel:
    """Return the module without weights, on the meta device."""
    check_head(head)
    if not languages:
        raise UserError("a model needs at least one language")
    settings = _configuration(config, head, languages, num_labels, id2label)
    if problem_type is not None:
        settings.problem_type = problem_type
    with torch.device("meta"):
        if head == "none":
            module = RoutedModel(settings)
        else:
            kind = ROUTED[head] if head in ROUTED else getattr(modeling_xmod, ARCHITECTURES[head])
            # The head is built around an empty body, which is then replaced by the routed one.
            empty = copy.copy(settings)
            empty.num_hidden_layers = 0
            module = kind(empty)
            module.roberta = RoutedModel(settings, add_pooling_layer=head == "choice")
            module.roberta.reads_first_token = head in READS_FIRST_TOKEN
            module.config = settings
    prepare(module)
    _tie(module)
    return module


def identity_adapter(language: str, shapes: Mapping[str, tuple[int, ...]], config: Any) -> dict[str, Tensor]:
    """Return an adapter that adds nothing: its second layer is zero, its first drawn from the language's name."""
    generator = torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(language.encode()).digest()[:7], "big"))
    tensors = {name: torch.zeros(shape) for name, shape in shapes.items()}
    for name, tensor in tensors.items():
        if name.endswith("dense1.weight"):
            tensor.normal_(std=config.initializer_range, generator=generator)
    return tensors


def _configuration(
    config: Mapping[str, Any],
    head: str,
    languages: Sequence[str],
    num_labels: int | None,
    id2label: Mapping[int, str] | None,
) -> Any:
    settings = {key: value for key, value in config.items() if key != "default_language"}
    settings["languages"] = list(languages)
    if head == "span":
        if num_labels not in {None, 2}:
            raise UserError(f"question answering has two outputs, a start and an end, not num_labels={num_labels}")
        num_labels, id2label = 2, None
    if id2label is not None:
        if sorted(id2label) != list(range(len(id2label))) or num_labels not in {None, len(id2label)}:
            raise UserError(f"id2label must name the labels 0 to {(num_labels or len(id2label)) - 1}, not {id2label}")
        settings["id2label"] = dict(id2label)
        settings["label2id"] = {label: number for number, label in id2label.items()}
        settings.pop("num_labels", None)
    elif num_labels is not None:
        settings = {key: value for key, value in settings.items() if key not in {"id2label", "label2id"}}
        settings["num_labels"] = num_labels
    if head == "causal-lm":
        settings["is_decoder"] = True
    try:
        return XmodConfig.from_dict(settings)
    except (StrictDataclassError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise UserError(f"the checkpoint's config.json is not a valid X-MOD configuration: {reason}") from error


def fill(
    module: PreTrainedModel, source: Source, checkpoint: CheckpointTensors, *, dtype: torch.dtype, seed: int
) -> tuple[str, ...]:
    """Give every tensor of a module on the meta device its value.

    Returns:
        The names of the tensors that were drawn from `seed`, because the checkpoint lacks them.
    """
    tied = _tied(module)
    # Names as the checkpoint has them, in the module's order.
    prefix = BODY if isinstance(module, RoutedModel) else ""
    expected = {prefix + name: tensor for name, tensor in module.state_dict().items() if name not in tied}
    identities: dict[str, Tensor] = {}
    for language in module.config.languages:
        if language not in source.languages:
            identities |= identity_adapter(language, adapter_shapes(language, module.config), module.config)
    head = [name for name in expected if not name.startswith(BODY) or name.startswith("roberta.pooler.")]
    fits = _fitting(source, checkpoint, expected, identities, head)
    drawn: list[str] = []
    if not fits.issuperset(head):  # a head is the checkpoint's as a whole, or new
        drawn = head
    values = {
        **identities,
        **read_tensors(checkpoint, [name for name in expected if name in fits and name not in drawn]),
    }
    values |= _draw_head(module, prefix, {name: expected[name] for name in drawn}, seed)
    state = {name.removeprefix(prefix): values[name].to(dtype) for name in expected}
    module.load_state_dict(state, strict=False, assign=True)
    _tie(module)
    embeddings = routed(module).embeddings
    positions = module.config.max_position_embeddings
    embeddings.position_ids = torch.arange(positions).expand((1, -1))
    embeddings.token_type_ids = torch.zeros((1, positions), dtype=torch.int64)
    return tuple(name.removeprefix(prefix) for name in drawn)


def _fitting(
    source: Source,
    checkpoint: CheckpointTensors,
    expected: Mapping[str, Tensor],
    identities: Mapping[str, Tensor],
    head: Sequence[str],
) -> set[str]:
    """Return the names of the tensors that the checkpoint has in the shape that is wanted.

    Raises:
        UserError: A tensor outside the head is missing or has another shape.
    """
    stored = {name for name in expected if name in checkpoint.entries and name not in identities}
    lacking = [name for name in expected if name not in stored and name not in identities]
    if absent := [name for name in lacking if name not in head]:
        raise UserError(
            f"{source.name} lacks {absent[0]} and {len(absent) - 1} more tensors of the model: "
            "its weights are not those of its config.json"
        )
    fits = {name for name in stored if checkpoint.entries[name].shape == tuple(expected[name].shape)}
    if unfitting := sorted(stored - fits - set(head)):
        raise UserError(
            f"{source.name} contains {unfitting[0]} with the shape {checkpoint.entries[unfitting[0]].shape}, "
            f"but its config.json says {tuple(expected[unfitting[0]].shape)}"
        )
    return fits


def _tied(module: PreTrainedModel) -> dict[str, str]:
    """Return the parameters that are another's, as {name: the other's name}."""
    keys = getattr(module, "_tied_weights_keys", None)
    return dict(keys) if keys and module.config.tie_word_embeddings else {}


def _tie(module: PreTrainedModel) -> None:
    for target, origin in _tied(module).items():
        owner, _, attribute = target.rpartition(".")
        setattr(module.get_submodule(owner), attribute, module.get_parameter(origin))


def _draw_head(module: PreTrainedModel, prefix: str, expected: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Return new head weights as stock draws them: normal matrices, zero biases, LayerNorms of one."""
    generator = torch.Generator().manual_seed(seed)
    drawn: dict[str, Tensor] = {}
    for name, like in expected.items():
        owner = module.get_submodule(name.removeprefix(prefix).rpartition(".")[0])
        tensor = torch.zeros(like.shape)
        if name.endswith(".weight") and isinstance(owner, nn.LayerNorm):
            tensor.fill_(1.0)
        elif name.endswith(".weight"):
            tensor.normal_(std=module.config.initializer_range, generator=generator)
        drawn[name] = tensor
    return drawn


def read_tensors(checkpoint: CheckpointTensors, names: Sequence[str]) -> dict[str, Tensor]:
    """Read tensors of a checkpoint.

    Raises:
        UserError: The checkpoint lacks one.
    """
    if absent := [name for name in names if name not in checkpoint.entries]:
        raise UserError(f"{checkpoint.name} lacks {absent[0]}: its weights are not those of its config.json")
    return checkpoint.read(names)
