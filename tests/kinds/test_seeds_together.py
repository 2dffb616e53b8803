"""Several seeds in one pass: each has the losses, the weights, and the dropout that it has when it trains alone."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from test_training_of_kinds import TRAINED, prepared

from tests.scarce import Scarcity
from xmodctl.core.errors import UserError
from xmodctl.core.events import StepTaken, listening
from xmodctl.model.modules import routed
from xmodctl.training.loop import Training
from xmodctl.training.together import SeedsTogether

SEEDS = (1, 2, 3)
PATHS = [pytest.param(True, id="packed"), pytest.param(False, id="padded")]
"""As on a CPU, and as on an accelerator, where weights are stacked."""


def trainings_of(
    tiny_model,
    kind: str,
    *,
    packs: bool = True,
    double: bool = False,
    dropout: float = 0.0,
    languages: int = 1,
    **settings,
) -> list[Training]:
    """Return the trainings of three seeds, on batches of several micro-batches, at their first step."""
    trainings = []
    for seed in SEEDS:
        names = ("en_XX", "de_DE")[:languages]
        training, rows = prepared(tiny_model, kind, seed=seed, languages=names, tokens_per_step=64, **settings)
        training.model.set_dropout(hidden=dropout, attention=dropout)
        if languages > 1:
            training.rows = replace(rows, scalars={**rows.scalars, "lang_ids": rows.rows % languages})
        if not packs:
            routed(training.module).packs_on = frozenset()
        if double:
            training.module.double()
        training.recipe = training.recipe.model_copy(update={"batch_size": 5})
        training.steps_per_epoch, training.total_steps = -(-len(training.units) // 5), 4
        trainings.append(training)
    return trainings


def taken_together(trainings: Sequence[Training]) -> list[list[StepTaken]]:
    """Train to the end; return the steps of each seed."""
    together, steps = SeedsTogether(trainings), [[] for _ in trainings]
    for batches in zip(*(training.remaining() for training in trainings), strict=True):
        gradients = together.gradients(batches)
        for own, training, batch, gradient in zip(steps, trainings, batches, gradients, strict=True):
            training.update(batch, gradient)
            own.extend(training.read())
    return steps


def check_equal_steps(taken: Sequence[list[StepTaken]], expected: Sequence[list[StepTaken]], *, losses: float) -> None:
    for steps, other in zip(taken, expected, strict=True):
        assert [step.step for step in steps] == [step.step for step in other] == [1, 2, 3, 4]
        assert [step.loss for step in steps] == pytest.approx([step.loss for step in other], rel=losses)
        norms = [step.gradient_norm for step in other]
        assert [step.gradient_norm for step in steps] == pytest.approx(norms, rel=10 * losses)
        assert [step.tokens for step in steps] == [step.tokens for step in other]
    assert len({tuple(step.loss for step in steps) for steps in taken}) == len(SEEDS), "seeds differ"


def check_equal(together: Sequence[Training], alone: Sequence[Training], *, weights: float, losses: float) -> None:
    taken = taken_together(together)
    check_equal_steps(taken, [list(training) for training in alone], losses=losses)
    for own, other in zip(together, alone, strict=True):
        trained = other.trained()
        assert own.trained().keys() == trained.keys()
        for name, tensor in own.trained().items():
            torch.testing.assert_close(tensor, trained[name], atol=weights, rtol=0)


@pytest.mark.parametrize("packs", PATHS)
@pytest.mark.parametrize("kind", TRAINED)
def test_seeds_in_one_pass_equal_separate_ones_in_fp64(kind, packs, tiny_model):
    settings = {"packs": packs, "double": True}
    together, alone = (trainings_of(tiny_model, kind, **settings) for _ in range(2))
    check_equal(together, alone, weights=1e-9, losses=1e-6)


@pytest.mark.parametrize("kind", ["question-answering", "multiple-choice"])
def test_each_seed_drops_what_it_drops_alone(kind, tiny_model):
    together, alone = (trainings_of(tiny_model, kind, dropout=0.1, languages=2) for _ in range(2))
    check_equal(together, alone, weights=1e-5, losses=1e-5)


@pytest.mark.parametrize("packs", PATHS)
@pytest.mark.parametrize(("freeze", "languages"), [("none", 1), ("adapters", 2), ("head", 2)])
def test_any_choice_of_what_trains_equals_separate_seeds(freeze, languages, packs, tiny_model):
    settings = {"freeze": freeze, "languages": languages, "packs": packs, "double": True}
    together, alone = (trainings_of(tiny_model, "token-classification", **settings) for _ in range(2))
    check_equal(together, alone, weights=1e-9, losses=1e-6)


@pytest.mark.parametrize("packs", PATHS)
def test_micro_batches_that_memory_does_not_hold_together_are_halved(packs, tiny_model, monkeypatch):
    settings = {"packs": packs, "double": True}
    scarce, alone = (trainings_of(tiny_model, "token-classification", **settings) for _ in range(2))
    expected = [list(training) for training in alone]
    scarcity, notices = Scarcity(30, during_training=True).install(monkeypatch), []
    with listening(notices.append):
        check_equal_steps(taken_together(scarce), expected, losses=1e-6)
    assert 1 <= len(notices) == len(scarcity.failures) < 6, "a size that failed is not tried again"
    assert "so it is halved" in notices[0].text
    for own, other in zip(scarce, alone, strict=True):
        for name, tensor in other.trained().items():
            torch.testing.assert_close(own.trained()[name], tensor, atol=1e-6, rtol=0)


def test_one_row_of_each_seed_that_memory_does_not_hold_is_one_sentence(tiny_model, monkeypatch):
    trainings = trainings_of(tiny_model, "token-classification")
    Scarcity(1, during_training=True).install(monkeypatch)
    with (
        listening(lambda event: None),
        pytest.raises(UserError, match=r"one row of each of 3 seeds at step 1; .*--set seeds_together=false"),
    ):
        taken_together(trainings)


def test_a_loss_that_is_not_finite_names_its_seed(tiny_model):
    trainings = trainings_of(tiny_model, "token-classification")
    with torch.no_grad():
        trainings[1].module.classifier.bias.fill_(torch.nan)
    with pytest.raises(UserError, match=r"the loss \(nan\) is not finite at step 1 of 4 with seed 2"):
        taken_together(trainings)
    assert [training.step for training in trainings] == [0, 0, 0], "no seed takes a step that another one cannot"


def test_frozen_weights_are_in_memory_once_and_what_trains_is_stacked(tiny_model):
    trainings = trainings_of(tiny_model, "sequence-classification", packs=False)
    models = SeedsTogether(trainings).models
    parameters = [dict(training.module.named_parameters()) for training in trainings]
    for name, first in parameters[0].items():
        places = {own[name].untyped_storage().data_ptr() for own in parameters}
        is_stacked = first.requires_grad and ".encoder." in f".{name}"
        assert len(places) == (1 if is_stacked or not first.requires_grad else len(SEEDS)), name
    assert {stack.tensor.shape[0] for stack in models.stacks} == {len(SEEDS)}
