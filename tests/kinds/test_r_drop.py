"""R-Drop: each batch is computed twice with different dropout, and the divergence of the predictions is added."""

import pytest
import torch
from test_training_of_kinds import TRAINED, prepared, terms
from torch.distributions import Bernoulli, Categorical, kl_divergence

from xmodctl.catalog.recipe import Recipe
from xmodctl.core.errors import UserError
from xmodctl.model.batches import collate
from xmodctl.model.freezing import group_of
from xmodctl.training.losses import check_rdrop
from xmodctl.training.optimization import seed_step


def divergences(kind: str, first, second, batch: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """Return the divergence of each term of the loss, written out with the distributions of torch."""
    if kind == "text-regression":
        return list((first.logits[:, 0] - second.logits[:, 0]) ** 2)
    if kind == "multi-label-classification":
        pairs = [(Bernoulli(logits=first.logits), Bernoulli(logits=second.logits))]
    elif kind == "question-answering":
        pairs = [
            (Categorical(logits=first[name]), Categorical(logits=second[name]))
            for name in ("start_logits", "end_logits")
        ]
    elif kind in ("token-classification", "word-tagging"):
        labeled = batch["labels"] != -100
        pairs = [(Categorical(logits=first.logits[labeled]), Categorical(logits=second.logits[labeled]))]
    else:
        pairs = [(Categorical(logits=first.logits), Categorical(logits=second.logits))]
    both_ways = [(kl_divergence(ours, theirs) + kl_divergence(theirs, ours)) / 2 for ours, theirs in pairs]
    apart = torch.stack(both_ways).mean(0)
    return list(apart.mean(dim=1) if kind == "multi-label-classification" else apart)


@pytest.mark.parametrize("kind", TRAINED)
def test_the_loss_is_the_mean_of_two_passes_plus_the_weighted_divergence(kind, tiny_model):
    training, encoded = prepared(tiny_model, kind, tokens_per_step=64, rdrop=3.0, gradient_clip=0.0)
    training.model.set_dropout(hidden=0.3, attention=0.0)
    parameters = training.training_parameters()
    with torch.no_grad():
        for name in parameters:
            parameters[name] *= 30 if group_of(name) == "head" else 1  # a new head hardly tells the passes apart
    (batch,) = training.batches(0)
    assert len(batch) > 2
    losses: list[torch.Tensor] = []
    apart: list[torch.Tensor] = []
    seed_step(training.seed, 0)
    training.module.train()
    for part in batch:
        item = collate(encoded, part, pad_id=1)
        first, second = training.module(**item), training.module(**item)
        if kind == "question-answering":  # no answer begins or ends in the padding
            for output in (first, second):
                for name in ("start_logits", "end_logits"):
                    output[name] = output[name].masked_fill(item["attention_mask"] == 0, -1e3)
        losses += [*terms(kind, first, item), *terms(kind, second, item)]
        apart += divergences(kind, first, second, item)
    loss, divergence = torch.stack(losses).mean(), torch.stack(apart).mean()
    assert divergence.item() > 0.001
    expected = torch.autograd.grad(loss + 3 * divergence, list(parameters.values()))
    gradient = training.gradient(batch)
    assert gradient.loss == pytest.approx((loss + 3 * divergence).item(), rel=1e-4)
    for tensor, own in zip(expected, parameters.values(), strict=True):
        torch.testing.assert_close(own.grad, tensor, rtol=1e-3, atol=5e-5)


def test_r_drop_without_dropout_or_with_compiled_steps_is_refused():
    config = {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "classifier_dropout": None}
    check_rdrop(Recipe(rdrop=1), config)
    for unknown in (None, {}, {"hidden_size": 768}):  # before a download
        check_rdrop(Recipe(rdrop=1, attention_dropout=0), unknown)
    check_rdrop(Recipe(rdrop=1), {**still, "classifier_dropout": 0.1})
    check_rdrop(Recipe(rdrop=1, dropout=0.1), still)
    check_rdrop(Recipe(dropout=0, attention_dropout=0), config)
    check_rdrop(Recipe(rdrop=1, code_switching=0.5, dropout=0, attention_dropout=0), config)
    without = Recipe(rdrop=1, dropout=0, attention_dropout=0)
    for recipe, known in ((without, config), (without, None), (Recipe(rdrop=1), still)):
        with pytest.raises(UserError, match=r"rdrop=1 compares two passes with different dropout.* --set dropout=0\.1"):
            check_rdrop(recipe, known)
    with pytest.raises(UserError, match=r"cannot be combined with compile=true; use --set compile=false"):
        check_rdrop(Recipe(rdrop=1, compile=True), config)
