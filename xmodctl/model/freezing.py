"""Which weights train: the presets, and the number of parameters that train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xmodctl.core.errors import UserError, did_you_mean
from xmodctl.model.building import build
from xmodctl.model.engine import Xmod
from xmodctl.model.source import Facts, Source, check_languages, config_download

if TYPE_CHECKING:
    from torch import nn

_GROUPS = ("embeddings", "adapters", "attention", "feed-forward", "layer norms", "head")

# Preset -> the groups that it freezes.
PRESETS: dict[str, frozenset[str]] = {
    "embeddings+adapters": frozenset({"embeddings", "adapters"}),
    "adapters": frozenset({"adapters"}),
    "none": frozenset(),
    "head": frozenset(_GROUPS) - {"head"},
}


@dataclass(frozen=True)
class ParameterReport:
    """How many parameters a model has and how many of them train; tied ones count once."""

    total: int
    trainable: int
    groups: tuple[tuple[str, int, int], ...]  # (group, parameters, trainable), only groups with parameters

    @property
    def share(self) -> float:
        """The share of parameters that train, between 0 and 1."""
        return self.trainable / self.total


def freeze(model: Xmod, preset: str) -> ParameterReport:
    """Freeze the groups of `preset`; everything else trains.

    `embeddings` are the word, position and token type embeddings, their LayerNorm, and whatever is tied to them (the
    decoder of a language-model head); `adapters` include the LayerNorm that some geometries give them.

    Raises:
        UserError: the preset does not exist, or leaves this model without trainable parameters.
    """
    held = _held(preset)
    report = _freeze(model.module, held)
    if report.trainable == 0:
        raise UserError(f"with the preset {preset!r}, a model with head {model.head!r} has no trainable parameters")
    model.adapters_train = "adapters" not in held
    return report


def freeze_all_but(model: Xmod, language: str) -> int:
    """Freeze everything but a language's adapter and its own embeddings; return how many parameters train."""
    names = {model.local_name(name) for name in model.adapter_shapes(language)}
    for name, parameter in model.module.named_parameters():
        parameter.requires_grad_(name in names)
    if language in model.own_vocabularies:
        for parameter in model.own_embeddings(language).values():
            parameter.requires_grad_(True)
    return sum(parameter.numel() for parameter in model.module.parameters() if parameter.requires_grad)


def describe(
    subject: Source | Facts | Mapping[str, Any],
    head: str,
    languages: Sequence[str],
    preset: str,
    num_labels: int | None = None,
) -> ParameterReport:
    """Return the report that `freeze` would return, from the configuration alone, without loading weights."""
    config: Mapping[str, Any]
    if isinstance(subject, Source | Facts):
        if isinstance(subject, Source):
            check_languages(subject, languages)
        config = subject.config
    else:
        config = subject
    if "vocab_size" not in config:
        remedy = f"; run `{config_download(subject.name)}` first" if isinstance(subject, Source | Facts) else ""
        raise UserError(f"the size of this checkpoint's vocabulary is not known before it is downloaded{remedy}")
    module = build(config, head, languages, num_labels=num_labels)
    if head == "none":
        module.pooler = None
    return _freeze(module, _held(preset))


def group_of(name: str) -> str:
    """Return the group of a parameter by its stock name, with or without the body's prefix."""
    name = name.removeprefix("roberta.")
    if name.startswith("embeddings."):
        return "embeddings"
    if not name.startswith("encoder."):
        return "head"
    if ".adapter_modules." in name or ".adapter_layer_norm." in name:
        return "adapters"
    if "LayerNorm" in name:
        return "layer norms"
    return "attention" if ".attention." in name or ".crossattention." in name else "feed-forward"


def _held(preset: str) -> frozenset[str]:
    if preset not in PRESETS:
        raise UserError(
            f"unknown freeze preset {preset!r}{did_you_mean(preset, tuple(PRESETS))}; choose from {', '.join(PRESETS)}"
        )
    return PRESETS[preset]


def report_of(module: nn.Module) -> ParameterReport:
    """Return how many parameters of a module train now."""
    counts = {group: [0, 0] for group in _GROUPS}
    for name, parameter in module.named_parameters():  # names a tied parameter once, where it is first: the embeddings
        group = group_of(name)
        counts[group][0] += parameter.numel()
        counts[group][1] += parameter.numel() * parameter.requires_grad
    return ParameterReport(
        total=sum(total for total, _ in counts.values()),
        trainable=sum(trainable for _, trainable in counts.values()),
        groups=tuple((group, total, trainable) for group, (total, trainable) in counts.items() if total),
    )


def _freeze(module: nn.Module, held: frozenset[str]) -> ParameterReport:
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(group_of(name) not in held)
    return report_of(module)
