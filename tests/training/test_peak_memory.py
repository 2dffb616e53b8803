"""The predicted peak of memory: what autograd keeps for deep models and large batches follows from shallow ones."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.model.geometries import GEOMETRIES, bare_body, tiny_config
from xmodctl.catalog.recipe import Recipe
from xmodctl.core.encoded import Encoded, Ragged
from xmodctl.core.errors import UserError
from xmodctl.core.events import listening
from xmodctl.model import find, freeze, load
from xmodctl.model.activations import kept_per_token
from xmodctl.model.building import build
from xmodctl.model.freezing import PRESETS, ParameterReport, group_of
from xmodctl.run.checkpoints import save_checkpoint
from xmodctl.training.loop import Training
from xmodctl.training.peak_memory import USED, MemoryNeeds, free_memory, memory_needs

CPU = torch.device("cpu")
LENGTH = 24


def trains(preset: str):
    return lambda name: group_of(name) not in PRESETS[preset]


def kept(config: dict, head: str, preset: str, **settings) -> float:
    settings = {"length": LENGTH, "precision": "fp32", "device": CPU, **settings}
    return kept_per_token(config, head, trains=trains(preset), **settings)


def saved_by(module, inputs: dict) -> int:
    """Return the bytes of the tensors that autograd saves in a training step."""
    parameters = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}
    storages = {}

    def save(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor):
        output = module(**inputs)
    assert output is not None
    return sum(storages.values())


@pytest.mark.parametrize("head", ["sequence", "tokens"])
@pytest.mark.parametrize(
    ("geometry", "preset"), [*((name, "embeddings+adapters") for name in GEOMETRIES), ("base", "none")]
)
def test_what_five_layers_keep_for_the_backward_pass_follows_from_two(geometry, preset, head):
    config = tiny_config(**GEOMETRIES[geometry], num_hidden_layers=5).to_dict()
    module = build(config, head, ["en_XX"], num_labels=3).to_empty(device="cpu").train()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.zero_().requires_grad_(trains(preset)(name))
    bare_body(module)
    ids = torch.full((8, LENGTH), 7)
    measured = saved_by(module, {"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    assert kept(config, head, preset) * ids.numel() == pytest.approx(measured, rel=0.03)


def test_a_body_that_does_not_train_keeps_nothing():
    assert kept(tiny_config().to_dict(), "sequence", "head") == 0


def test_dropout_of_attention_keeps_its_weights_and_longer_texts_keep_more_of_them():
    config = tiny_config().to_dict()
    without = kept(config, "tokens", "embeddings+adapters", attention_dropout=0.0)
    short, long = (kept(config, "tokens", "embeddings+adapters", length=length) for length in (8, 32))
    assert without < short < long


def test_counting_changes_no_random_number():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    kept(tiny_config().to_dict(), "sequence", "embeddings+adapters")
    assert torch.equal(torch.rand(2), expected)


def needs_of(batch: int, *, trainable: int = 1_000, seeds: int = 1) -> MemoryNeeds:
    recipe, parameters = Recipe(batch_size=batch, max_length=32), ParameterReport(10_000, trainable, ())
    config = tiny_config().to_dict()
    trained = trains("embeddings+adapters")
    return memory_needs(config, "sequence", parameters, recipe, "fp32", trains=trained, seeds=seeds)


def test_a_micro_batch_never_counts_as_larger_than_the_batch_and_several_leave_gradients():
    few, many = needs_of(8), needs_of(16)
    assert few.peak(256) == few.peak(100_000) < many.peak(512)
    assert many.peak(256) == few.peak(256) + many.gradients


def test_seeds_that_are_trained_together_share_what_is_frozen_and_have_the_rest_each():
    one, three = needs_of(16), needs_of(16, seeds=3)
    assert three.weights == 4 * (9_000 + 3 * 1_000)
    assert three.peak(256) - three.process - three.weights == 3 * (one.peak(256) - one.process - one.weights)


def test_a_unit_that_is_longer_than_a_micro_batch_counts_whole():
    needs = MemoryNeeds(process=0, weights=0, gradients=0, per_token=2.0, unit=100, batch=1_000)
    assert needs.peak(64) == 200


@pytest.mark.parametrize("gigabytes", [0.001, 0.01, 0.1, 1, 10, 1_000])
def test_the_tokens_that_fit_are_the_largest_power_of_two_whose_peak_fits(gigabytes):
    needs = MemoryNeeds(process=0, weights=400_000, gradients=100_000, per_token=10_000.0, unit=64, batch=64 * 1_024)
    free = int(gigabytes * 1e9)
    tokens = needs.fitting(free)
    assert tokens.bit_count() == 1
    assert 64 <= tokens <= needs.batch
    assert tokens == 64 or needs.peak(tokens) <= USED * free
    assert tokens == needs.batch or needs.peak(2 * tokens) + needs.gradients > USED * free


@pytest.fixture
def trained(tiny_model):
    """Return a function that makes a training with so many tokens per step."""
    draw = np.random.default_rng(0)
    rows = Ragged.of([draw.integers(5, 18, length).astype(np.int32) for length in range(8, 24)])
    encoded = Encoded(rows, np.arange(16), scalars={"labels": np.arange(16) % 3}, counts={"truncated": 0})

    def make(tokens) -> Training:
        model = load(find(str(tiny_model)), "sequence", ["en_XX"], num_labels=3, seed=1)
        model.activate("en_XX")
        freeze(model, "embeddings+adapters")
        recipe = Recipe(epochs=2, batch_size=8, max_length=32, learning_rate=1e-3, tokens_per_step=tokens)
        return Training(model, encoded, np.ones(16), recipe, seed=1, precision="fp32", pad_id=1)

    return make


def test_auto_says_what_it_chose_and_trains_as_that_number_does(trained, monkeypatch):
    notices = []
    for free, expected in ((100_000, 64), (10**12, 256)):
        monkeypatch.setattr("xmodctl.training.peak_memory.free_memory", lambda device, free=free: free)
        with listening(notices.append):
            auto = trained("auto")
        assert auto.recipe.tokens_per_step == expected
        assert f"auto is {expected:,} here" in notices[-1].text
        assert [step.loss for step in auto] == [step.loss for step in trained(expected)]


def test_auto_keeps_its_number_when_a_training_resumes_with_less_memory(trained, monkeypatch, tmp_path):
    free = iter([10**12, 100_000, 100_000])
    monkeypatch.setattr("xmodctl.training.peak_memory.free_memory", lambda device: next(free))
    whole, checkpoint = trained("auto"), None
    for step in whole:
        checkpoint = checkpoint or save_checkpoint(tmp_path, whole.progress(), whole.trained(), whole.optimizer_state())
        losses = [step.loss]
    resumed, notices = trained("auto"), []
    assert (whole.recipe.tokens_per_step, resumed.recipe.tokens_per_step) == (256, 64)
    with listening(notices.append):
        resumed.restore(checkpoint)
    assert [notice.text for notice in notices] == [
        "tokens_per_step: auto stays 256, as before the training was interrupted"
    ]
    assert [step.loss for step in resumed][-1:] == losses
    for tensor, other in zip(resumed.trained().values(), whole.trained().values(), strict=True):
        assert torch.equal(tensor, other)
    earlier = replace(checkpoint, progress=replace(checkpoint.progress, tokens=None))
    unrecorded = trained("auto")
    unrecorded.restore(earlier)
    assert unrecorded.recipe.tokens_per_step == 64


def test_memory_of_a_gpu_that_an_earlier_seed_has_freed_is_free(monkeypatch):
    for name, value in (("mem_get_info", (5_000, 80_000)), ("memory_reserved", 60_000), ("memory_allocated", 10_000)):
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    assert free_memory(torch.device("cuda")) == 55_000


def test_a_number_of_tokens_that_is_too_small_is_refused_with_what_is_allowed():
    for wrong in (63, "all", True, 100.5, [64], math.inf):
        with pytest.raises(UserError, match="neither a whole number of at least 64 nor auto"):
            Recipe().with_values({"tokens_per_step": wrong}, origin="--set")
    for value, expected in (("auto", "auto"), ("2048", 2048), (64, 64), (128.0, 128)):
        assert Recipe().with_values({"tokens_per_step": value}, origin="--set").tokens_per_step == expected
