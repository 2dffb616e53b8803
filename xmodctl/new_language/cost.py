"""What adding languages takes: steps, memory and disk, estimated before it starts."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from xmodctl.new_language.plan import LanguagePlan, share_steps
from xmodctl.run.checkpoints import KEPT
from xmodctl.training.cost import activations
from xmodctl.training.masked_lm.masking import MASKED_SHARE
from xmodctl.training.optimization import total_steps

if TYPE_CHECKING:
    from xmodctl.model import Facts, ParameterReport, Source


@dataclass(frozen=True)
class LanguageCost:
    """What adding languages takes, estimated before it starts."""

    sequences: int | None  # None: the text was not read
    steps: int | None
    parameters: "ParameterReport"
    memory: int  # bytes
    disk: int  # bytes


def estimate(
    plan: LanguagePlan, model: "Source | Facts", sequences: Mapping[str, int] | None, seeds: int
) -> LanguageCost:
    """Estimate steps, memory and disk.

    Memory counts weights (4 bytes each), gradients and AdamW's two moments of the adapter (12 bytes each), the
    activations of one micro-batch, and the logits of its masked tokens. Languages train one after the other, so it is
    the memory of one language. Disk counts a package per language and seed, and the checkpoints.

    Args:
        plan: What to add.
        model: To what.
        sequences: The training sequences of each language, if they are known.
        seeds: The number of seeds.
    """
    config: Mapping[str, Any] = model.config
    parameters = _parameters(plan, model)
    logits = 3 * 4 * MASKED_SHARE * config["vocab_size"]
    per_token = activations(config, plan.precision) + logits
    memory = round(4 * parameters.total + 12 * parameters.trainable + per_token * plan.recipe.tokens_per_step)
    disk = parameters.trainable * 4 * (len(plan.languages) * seeds + (KEPT + 1) * 3)
    steps = None
    if sequences:
        recipes = share_steps(sequences, plan.recipe)
        steps = sum(total_steps(sequences[language], recipe) for language, recipe in recipes.items())
    return LanguageCost(sum(sequences.values()) if sequences else None, steps, parameters, memory, disk)


def _parameters(plan: LanguagePlan, model: "Source | Facts") -> "ParameterReport":
    """Count the parameters of the model with one new adapter, and with the vocabulary that it trains."""
    from xmodctl.model import describe

    config: Mapping[str, Any] = model.config
    hidden, layers = config["hidden_size"], config["num_hidden_layers"]
    bottleneck = hidden // config["adapter_reduction_factor"]
    adapter = layers * (2 * hidden * bottleneck + hidden + bottleneck)
    vocabulary = (plan.vocabulary_size or 0) * (hidden + 1)
    languages = (model.languages or (next(iter(plan.texts)),))[:1]
    report = describe(dict(config), "masked-lm", languages, "head")
    return replace(
        report,
        trainable=adapter + vocabulary,
        groups=(
            *((group, count, 0) for group, count, _ in report.groups if group != "adapters"),
            ("new adapter", adapter, adapter),
            *((("new vocabulary", vocabulary, vocabulary),) if vocabulary else ()),
        ),
        total=report.total + vocabulary,
    )
