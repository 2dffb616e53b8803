"""The loss of a micro-batch, with R-Drop's divergence between two passes if the recipe asks for it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from xmodctl.catalog.recipe import Recipe
from xmodctl.core.errors import UserError
from xmodctl.model.batches import IGNORED

if TYPE_CHECKING:
    from torch import Tensor, nn

SPANS = ("start_logits", "end_logits")
IMPOSSIBLE = -1e4
"""The logit of a position in the padding: its probability is 0, and unlike with -inf the divergence stays finite."""


def check_rdrop(recipe: Recipe, config: Mapping[str, Any] | None) -> None:
    """Refuse R-Drop, if the recipe asks for it, where two passes cannot differ, or where one overwrites the other.

    Args:
        recipe: How to train.
        config: The model's configuration, as far as it is known yet.

    Raises:
        UserError: It cannot work.
    """
    if not recipe.rdrop:
        return
    without = "or train without it, with --set rdrop=0"
    if recipe.compile:
        raise UserError(
            f"rdrop={recipe.rdrop:g} cannot be combined with compile=true; use --set compile=false, {without}"
        )
    defaults = {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "classifier_dropout": None}
    hidden, attention, head = ({**defaults, **(config or {})}[name] for name in defaults)  # those of XmodConfig
    shares = (
        (hidden, head) if recipe.dropout is None else (recipe.dropout,),
        (attention,) if recipe.attention_dropout is None else (recipe.attention_dropout,),
    )
    if not recipe.code_switching and not any(map(any, shares)):
        raise UserError(
            f"rdrop={recipe.rdrop:g} compares two passes with different dropout, but there is none; "
            f"use --set dropout=0.1, {without}"
        )


def mean_loss(module: "nn.Module", inputs: Mapping[str, "Tensor"], rdrop: float) -> "Tensor":
    """Return the mean loss of a micro-batch.

    With R-Drop, the batch passes through the model twice, with different dropout, and the loss is the mean of both
    losses plus `rdrop` times the divergence of the predictions (Liang et al., *R-Drop: Regularized Dropout for Neural
    Networks*, NeurIPS 2021, equation 3, divided by 2 like its code).

    Args:
        module: In training mode.
        inputs: The collated batch, with its targets; if `switched` is there, the second pass reads these tokens.
        rdrop: The weight of the divergence; 0 makes a single pass.
    """
    switched = {"input_ids": inputs["switched"]} if "switched" in inputs else {}
    inputs = {name: tensor for name, tensor in inputs.items() if name != "switched"}
    first = module(**inputs)
    loss: Tensor = first.loss
    if rdrop:
        second = module(**{**inputs, **switched})
        loss = (loss + second.loss) / 2 + rdrop * divergence(module, first, second, inputs)
    return loss


def divergence(module: "nn.Module", first: Any, second: Any, inputs: Mapping[str, "Tensor"]) -> "Tensor":
    """Return how far apart the predictions of two passes are, as the mean over the terms of the loss.

    Of distributions, it is the mean of both Kullback-Leibler divergences, in nats: over the labels of each text, of
    each labeled word, or of each choice, over the positions where an answer begins and ends, and for several labels a
    text over the two values of each label. Of numbers, it is the squared difference.

    Args:
        module: Its configuration says what the logits are.
        first: The output of one pass.
        second: That of the other.
        inputs: What both were computed from.
    """
    import torch
    from torch.nn import functional

    from xmodctl.model.transfer import copied

    if SPANS[0] in first:
        padding = copied(inputs["attention_mask"], first.start_logits.device) == 0
        starts, ends = (
            [output[name].float().masked_fill(padding, IMPOSSIBLE) for output in (first, second)] for name in SPANS
        )
        return (_between(*starts) + _between(*ends)).mean() / 2
    logits, others = first.logits.float(), second.logits.float()
    problem = getattr(module.config, "problem_type", None)
    if problem == "regression":
        return functional.mse_loss(logits, others)
    if problem == "multi_label_classification":  # each label has two outcomes, whose logits are 0 and the label's own
        return _between(*(torch.stack([torch.zeros_like(each), each], -1) for each in (logits, others))).mean()
    labeled = inputs["labels"] != IGNORED  # of a word's pieces only the first
    total: Tensor = (_between(logits, others) * labeled).sum()
    return total / labeled.sum()


def _between(logits: "Tensor", others: "Tensor") -> "Tensor":
    """Return the mean divergence both ways between distributions of logits: (..., outcomes) -> (...)."""
    first, second = logits.log_softmax(-1), others.log_softmax(-1)
    both_ways = (first.exp() - second.exp()) * (first - second)
    return both_ways.sum(-1) / 2
