"""What adding languages takes: steps, memory and disk, estimated before it starts."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from xmodctl.adapters.mixtures import MIXED
from xmodctl.adapters.written_weights import MIX
from xmodctl.new_language.adapter_initialization import AUTO, mixture_of, sources_of
from xmodctl.new_language.plan import LanguagePlan, share_steps
from xmodctl.run.checkpoints import KEPT
from xmodctl.training.optimization import total_steps
from xmodctl.training.peak_memory import memory_needs

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

    Memory is that of one language, because languages train one after the other, and includes the logits of masked
    tokens. Disk counts a package per language and seed, and the checkpoints.

    Args:
        plan: What to add.
        model: To what.
        sequences: The training sequences of each language, if they are known.
        seeds: The number of seeds.
    """
    from xmodctl.model.freezing import group_of

    config: Mapping[str, Any] = model.config
    parameters = _parameters(plan, model)
    needs = memory_needs(
        config, "masked-lm", parameters, plan.recipe, plan.precision, trains=lambda name: group_of(name) == "adapters"
    )
    memory = needs.peak(needs.tokens(plan.recipe))
    disk = parameters.trainable * 4 * (len(plan.languages) * seeds + (KEPT + 1) * 3)
    steps = None
    if sequences:
        recipes = share_steps(sequences, plan.recipe)
        steps = sum(total_steps(sequences[language], recipe) for language, recipe in recipes.items())
    return LanguageCost(sum(sequences.values()) if sequences else None, steps, parameters, memory, disk)


def _width(plan: LanguagePlan, own: int) -> int:
    """Return the largest number of units that the new adapter can have, if those of the model have `own`."""
    widths = {package.language: package.width for package in plan.packages}
    if plan.init_from == MIX:
        return sum(sorted([*widths.values(), *[own] * MIXED])[-MIXED:])
    if plan.init_from == AUTO:
        return max([own, *widths.values()])
    parts = [widths.get(source, own) for source in sources_of(plan.init_from)]
    return (sum if mixture_of(plan.init_from) else max)([*parts] or [own])


def _parameters(plan: LanguagePlan, model: "Source | Facts") -> "ParameterReport":
    """Count the parameters of the model with one new adapter, and with the vocabulary that it trains."""
    from xmodctl.model import describe

    config: Mapping[str, Any] = model.config
    hidden, layers = config["hidden_size"], config["num_hidden_layers"]
    bottleneck = _width(plan, hidden // config["adapter_reduction_factor"])
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
