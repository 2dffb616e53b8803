"""Adapters in and out of memory, deltas, and what is never lost."""

import pytest
import torch

from xmodctl import model
from xmodctl.core.errors import UserError


@pytest.fixture
def source(checkpoint):
    """Return a checkpoint of six languages with a head."""
    _, folder = checkpoint("XmodForSequenceClassification", num_labels=3, languages=["a", "b", "c", "d", "e", "f"])
    return model.find(str(folder))


def load(source, *languages):
    return model.load(source, "sequence", languages)


def train(ours, batch, steps=2):
    parameters = [parameter for parameter in ours.module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=0.05)
    for _ in range(steps):
        ours.module(**batch, labels=torch.tensor([0, 1, 2, 0])).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def test_swapping_gives_what_loading_gives_and_memory_does_not_grow(source, batch):
    ours = load(source, "a")
    size = sum(parameter.numel() for parameter in ours.module.parameters())
    for language in ("b", "f", "a", "c"):
        ours.swap([language])
        assert (ours.languages, ours.active) == ((language,), language)
        assert ours.module.config.languages == [language]
        assert torch.equal(ours.module(**batch).logits, load(source, language).module(**batch).logits)
        assert sum(parameter.numel() for parameter in ours.module.parameters()) == size
    ours.swap(["d", "c", "b"])
    assert ours.languages == ("d", "c", "b")
    assert ours.active == "c"
    assert ours.ids(["b", "d"]).tolist() == [2, 0]
    ours.swap(["d", "b"])
    with pytest.raises(UserError, match="no language is active: choose one of d, b"):
        _ = ours.active


def test_the_control_without_adapter_stays_on_through_a_swap(source):
    ours = load(source, "a")
    ours.activate(None)
    ours.swap(["b"])
    assert ours.active is None


def test_a_language_out_of_memory_or_unknown_is_told_apart(source):
    ours = load(source, "a")
    with pytest.raises(UserError, match=r"b is not in memory \(a are\): `swap` it in first"):
        ours.activate("b")
    with pytest.raises(UserError, match="has no adapter for 'x'"):
        ours.swap(["b", "x"])
    assert ours.languages == ("a",)
    with pytest.raises(UserError, match="at least one language"):
        load(source)


def test_active_is_read_back_from_the_layers(source):
    ours = load(source, "a", "b")
    ours.activate("b")
    ours.module.roberta.encoder.layer[1].output.active = "a"
    with pytest.raises(AssertionError, match="layers disagree"):
        _ = ours.active


def test_new_adapters_train_only_if_the_preset_lets_adapters_train(source):
    ours = load(source, "a")
    for preset, trains in (("embeddings+adapters", False), ("none", True)):
        model.freeze(ours, preset)
        ours.swap(["b"] if preset == "none" else ["c"])
        adapters = [p for name, p in ours.module.named_parameters() if ".adapter_modules." in name]
        assert {parameter.requires_grad for parameter in adapters} == {trains}


def test_a_trained_adapter_is_not_lost_when_it_leaves_memory(source, batch):
    ours = load(source, "a")
    model.freeze(ours, "none")
    train(ours, batch)
    trained = ours.module(**batch).logits
    ours.swap(["b"])
    ours.swap(["a"])
    assert torch.equal(ours.module(**batch).logits, trained)
    ours.swap(["b"])
    assert any(".a." in name for name in model.trained_tensors(ours))


@pytest.mark.parametrize("preset", model.PRESETS)
def test_a_delta_carries_a_run_into_a_fresh_model(preset, source, batch):
    ours = load(source, "a")
    model.freeze(ours, preset)
    train(ours, batch)
    delta = {name: tensor.clone() for name, tensor in model.trained_tensors(ours).items()}
    trained = {"a": ours.module(**batch).logits}
    ours.swap(["b"])
    trained["b"] = ours.module(**batch).logits

    fresh = load(source, "b")
    model.apply_delta(fresh, delta)
    for language in ("b", "a", "b", "a"):  # an adapter of the delta holds after every swap
        fresh.swap([language])
        assert torch.equal(fresh.module(**batch).logits, trained[language])
    untouched = load(source, "a")
    assert not torch.equal(untouched.module(**batch).logits, trained["a"])
    model.freeze(fresh, preset)
    again = model.trained_tensors(fresh)
    assert delta.keys() <= again.keys()
    if preset == "embeddings+adapters":
        assert not any("embeddings" in name or "adapter" in name for name in delta)


def test_a_delta_of_a_bare_model_keeps_its_names(checkpoint, batch):
    _, folder = checkpoint("XmodForMaskedLM")
    result = model.find(str(folder))
    ours = model.load(result, "none", ["en_XX"])
    model.freeze(ours, "none")
    with torch.no_grad():
        for parameter in ours.module.parameters():
            parameter.mul_(1.01)
    delta = {name: tensor.clone() for name, tensor in model.trained_tensors(ours).items()}
    assert "encoder.layer.0.output.adapter_modules.en_XX.dense1.weight" in delta
    fresh = model.load(result, "none", ["de_DE"])
    model.apply_delta(fresh, delta)
    fresh.swap(["en_XX"])
    assert torch.equal(fresh.module(**batch).last_hidden_state, ours.module(**batch).last_hidden_state)


def test_a_delta_that_does_not_fit_is_refused_and_changes_nothing(source, checkpoint):
    ours = load(source, "a")
    before = {name: tensor.clone() for name, tensor in ours.module.state_dict().items()}
    good = {"classifier.dense.bias": torch.ones(32)}
    for wrong, message in (
        ({"classifier.dense.wright": torch.ones(2)}, "which has no classifier.dense.wright"),
        ({"classifier.out_proj.bias": torch.ones(2)}, r"classifier.out_proj.bias is \(2,\), not \(3,\)"),
        (
            {"roberta.encoder.layer.0.output.adapter_modules.a.dense1.bias": torch.ones(16)},
            "this is not an adapter for",
        ),
    ):
        with pytest.raises(UserError, match=message):
            model.apply_delta(ours, {**good, **wrong})
    assert all(torch.equal(tensor, before[name]) for name, tensor in ours.module.state_dict().items())

    _, folder = checkpoint("XmodForMaskedLM")
    headless = model.load(model.find(str(folder)), "sequence", ["en_XX"], num_labels=3)
    with pytest.raises(UserError, match=r"this delta lacks classifier.dense.weight.*the run is incomplete"):
        model.apply_delta(headless, good)


def test_an_adapter_can_be_put_in_for_a_language_the_checkpoint_lacks(source, batch):
    ours = load(source, "a")
    adapter = {name.replace(".a.", ".zulu."): tensor.clone() for name, tensor in ours.adapter("a").items()}
    ours.put_adapter("zulu", adapter)
    expected = ours.module(**batch).logits
    ours.swap(["zulu"])
    assert torch.equal(ours.module(**batch).logits, expected)
    with pytest.raises(UserError, match="does not have the shape"):
        ours.put_adapter("zulu", {name: tensor[:1] for name, tensor in adapter.items()})


def test_labels_are_the_checkpoints_unless_others_are_asked_for(source):
    assert load(source, "a").module.config.num_labels == 3
    assert load(source, "a").initialized == ()
    five = model.load(source, "sequence", ["a"], id2label=dict(enumerate("vwxyz")))
    assert five.module.classifier.out_proj.out_features == 5
    assert five.module.config.label2id == {"v": 0, "w": 1, "x": 2, "y": 3, "z": 4}
    assert "classifier.dense.weight" in five.initialized  # a head is the checkpoint's as a whole, or new
    for wrong in ({1: "a", 2: "b"}, {0: "a"}):
        with pytest.raises(UserError, match="id2label must name the labels 0 to 1"):
            model.load(source, "sequence", ["a"], id2label=wrong, num_labels=2)


def test_a_second_model_shares_nothing_with_the_first(source, batch):
    first, two = load(source, "a"), load(source, "a")
    with torch.no_grad():
        for parameter in first.module.parameters():
            parameter.zero_()
    assert two.module(**batch).logits.abs().sum() > 0
    assert load(source, "a").module(**batch).logits.abs().sum() > 0


def test_dropout_is_set_where_it_belongs(source, batch):
    ours = load(source, "a")
    ours.set_dropout(attention=0.0)
    layer = ours.module.roberta.encoder.layer[0]
    assert (layer.attention.self.dropout.p, layer.output.dropout.p, ours.module.classifier.dropout.p) == (0.0, 0.1, 0.1)
    ours.set_dropout(hidden=0.0, attention=0.0)
    ours.module.train()
    assert torch.equal(ours.module(**batch).logits, ours.module(**batch).logits)
    ours.set_dropout(attention=0.3)
    assert not torch.equal(ours.module(**batch).logits, ours.module(**batch).logits)
    assert (layer.attention.self.dropout.p, layer.output.dropout.p) == (0.3, 0.1), "the checkpoint's rate comes back"
    ours.set_dropout()
    assert (layer.attention.self.dropout.p, layer.output.dropout.p, ours.module.classifier.dropout.p) == (0.1, 0.1, 0.1)
    assert ours.module.config.hidden_dropout_prob == 0.1


def test_a_language_is_used_wherever_it_is(source):
    ours = load(source, "a", "b")
    ours.use("b")
    assert (ours.languages, ours.active) == (("a", "b"), "b")
    ours.use("c")
    assert (ours.languages, ours.active) == (("c",), "c")
    ours.use(None)
    assert (ours.languages, ours.active) == (("c",), None)
    ours.use("c")
    assert ours.active == "c"
