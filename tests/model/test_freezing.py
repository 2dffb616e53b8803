"""The freeze presets, on every head, and what they report."""

import pytest
import torch
from geometries import GEOMETRIES, tiny_config

from xmodctl import model
from xmodctl.core.errors import UserError
from xmodctl.model.freezing import group_of
from xmodctl.model.heads import ARCHITECTURES


def loaded(checkpoint, head, languages=("en_XX", "de_DE"), **settings):
    _, folder = checkpoint("XmodForMaskedLM", **settings)
    return model.load(model.find(str(folder)), head, list(languages))


def trains(module):
    return {name for name, parameter in module.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("geometry", ["base", "large-prenorm"])
@pytest.mark.parametrize("head", ARCHITECTURES)
def test_the_default_preset_freezes_embeddings_and_adapters_on_every_head(head, geometry, checkpoint):
    ours = loaded(checkpoint, head, **GEOMETRIES[geometry])
    report = model.freeze(ours, "embeddings+adapters")
    frozen = {name for name, _ in ours.module.named_parameters()} - trains(ours.module)
    assert all("embeddings." in name or "adapter" in name for name in frozen)
    assert not any("embeddings." in name or "adapter" in name for name in trains(ours.module))
    assert any("embeddings.LayerNorm" in name for name in frozen)
    assert any("output.LayerNorm.weight" in name for name in trains(ours.module))
    if geometry == "large-prenorm":
        assert any("adapter_layer_norm" in name for name in frozen)
    if head in {"masked-lm", "causal-lm"}:
        assert not ours.module.lm_head.decoder.weight.requires_grad
        assert ours.module.lm_head.dense.weight.requires_grad
        assert ours.module.lm_head.bias.requires_grad
    assert report.trainable == sum(p.numel() for p in ours.module.parameters() if p.requires_grad)
    assert report.total == sum(p.numel() for p in ours.module.parameters())
    assert report.share == report.trainable / report.total


def test_stock_cannot_freeze_a_bare_model(checkpoint):
    stock, _ = checkpoint("XmodModel")
    with pytest.raises(AttributeError):
        stock.freeze_embeddings_and_language_adapters()


def test_stock_freezes_what_the_default_preset_freezes_where_it_can(checkpoint):
    stock, folder = checkpoint("XmodForTokenClassification", num_labels=3)
    stock.freeze_embeddings_and_language_adapters()
    ours = model.load(model.find(str(folder)), "tokens", ["en_XX", "de_DE", "fr_XX"])
    model.freeze(ours, "embeddings+adapters")
    assert trains(ours.module) == trains(stock)


def test_each_preset_trains_what_it_says(checkpoint):
    ours = loaded(checkpoint, "sequence")
    model.freeze(ours, "adapters")
    assert {group_of(name) for name in trains(ours.module)} == {
        "embeddings", "attention", "feed-forward", "layer norms", "head",
    }  # fmt: skip
    model.freeze(ours, "none")
    assert trains(ours.module) == {name for name, _ in ours.module.named_parameters()}
    report = model.freeze(ours, "head")
    assert trains(ours.module) == {
        "classifier.dense.weight", "classifier.dense.bias", "classifier.out_proj.weight", "classifier.out_proj.bias",
    }  # fmt: skip
    assert [group for group, _, trainable in report.groups if trainable] == ["head"]


def test_nothing_trains_before_a_preset_says_what_does(checkpoint):
    ours = loaded(checkpoint, "sequence")
    assert not trains(ours.module)
    assert model.trained_tensors(ours) == {}


def test_a_preset_that_leaves_nothing_to_train_is_refused(checkpoint):
    ours = loaded(checkpoint, "none")
    with pytest.raises(UserError, match="with the preset 'head', a model with head 'none' has no trainable parameters"):
        model.freeze(ours, "head")
    with pytest.raises(UserError, match=r"unknown freeze preset 'adapter' \(did you mean adapters"):
        model.freeze(ours, "adapter")


def test_frozen_parts_get_no_gradients_and_the_head_alone_no_graph(checkpoint, batch):
    ours = loaded(checkpoint, "sequence")
    ours.activate("de_DE")
    model.freeze(ours, "embeddings+adapters")
    ours.module(**batch, labels=torch.tensor([0, 1, 0, 1])).loss.backward()
    assert {name for name, p in ours.module.named_parameters() if p.grad is not None} == trains(ours.module)
    model.freeze(ours, "head")
    assert not ours.module.roberta(**batch).last_hidden_state.requires_grad


@pytest.mark.parametrize("head", ARCHITECTURES)
@pytest.mark.parametrize("preset", model.PRESETS)
def test_describing_needs_no_weights_and_says_what_freezing_says(preset, head, checkpoint):
    if (head, preset) == ("none", "head"):
        return
    ours = loaded(checkpoint, head)
    described = model.describe(ours.source, head, ["en_XX", "de_DE"], preset)
    assert described == model.freeze(ours, preset)
    assert described == model.describe(ours.source.config, head, ["en_XX", "de_DE"], preset)


def test_the_released_base_model_has_the_parameters_it_is_known_for():
    facts = model.look_up("facebook/xmod-base")
    report = model.describe(facts, "sequence", ["en_XX"], "embeddings+adapters", 3)
    assert {group: total for group, total, _ in report.groups}["adapters"] == 7_091_712
    assert 85.6e6 < report.trainable < 85.7e6
    assert 0.29 < report.share < 0.31
    every = model.describe(facts, "none", list(facts.languages), "embeddings+adapters")
    assert round(every.total / 1e6, 1) == 851.9
    large = model.describe(model.look_up("facebook/xmod-large-prenorm"), "none", ["en_XX", "de_DE"], "none")
    adapters = {group: total for group, total, _ in large.groups}["adapters"]
    assert 2 * 12.6e6 < adapters < 2 * 12.7e6


def test_describing_refuses_what_is_not_known(checkpoint):
    with pytest.raises(UserError, match="vocabulary is not known before it is downloaded"):
        model.describe(model.look_up("ZurichNLP/swissbert"), "none", ["de_CH"], "none")
    with pytest.raises(UserError, match=r"unknown head 'sequences' \(did you mean sequence"):
        model.describe(tiny_config().to_dict(), "sequences", ["en_XX"], "none")
    ours = loaded(checkpoint, "none")
    with pytest.raises(UserError, match="no adapter for 'xx_XX'"):
        model.describe(ours.source, "none", ["xx_XX"], "none")
