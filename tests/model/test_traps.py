"""Each trap of the stock implementation: what stock does, and that the engine does not."""

import shutil

import pytest
import torch
import transformers
from geometries import scatter, tiny_config

from xmodctl import model
from xmodctl.core.errors import UserError


@pytest.fixture
def pair(checkpoint):
    """Return a stock sequence classifier and ours with all three of its languages."""
    stock, folder = checkpoint("XmodForSequenceClassification", num_labels=3)
    ours = model.load(model.find(str(folder)), "sequence", ["en_XX", "de_DE", "fr_XX"])
    model.freeze(ours, "none")
    return stock, ours


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision_works(dtype, pair, batch):
    stock, ours = pair
    labels = torch.tensor([0, 1, 2, 0])
    with torch.autocast("cpu", dtype=dtype), pytest.raises(RuntimeError, match="dtype"):
        stock(**batch, lang_ids=torch.full((4,), 1))

    ours.activate("de_DE")
    exact = ours.module(**batch).logits
    mixed = ours.ids(["de_DE", "en_XX", "fr_XX", "de_DE"])
    exact_mixed = ours.module(**batch, lang_ids=mixed).logits
    with torch.autocast("cpu", dtype=dtype):
        output = ours.module(**batch, labels=labels)
        output_mixed = ours.module(**batch, lang_ids=mixed)
    output.loss.backward()
    assert torch.allclose(output.logits.float(), exact, atol=0.15)
    assert torch.allclose(output_mixed.logits.float(), exact_mixed, atol=0.15)
    assert all(torch.isfinite(p.grad).all() for p in ours.module.parameters() if p.grad is not None)


def calls_of(layer, run):
    called = []
    handles = [
        adapter.register_forward_hook(lambda *_, language=language: called.append(language))
        for language, adapter in layer.output.adapter_modules.items()
    ]
    run()
    for handle in handles:
        handle.remove()
    return called


def test_only_the_adapters_of_the_batch_are_called(pair, batch):
    stock, ours = pair
    ours.activate("de_DE")
    layer, stock_layer = ours.module.roberta.encoder.layer[0], stock.roberta.encoder.layer[0]
    everything = calls_of(stock_layer, lambda: stock(**batch, lang_ids=torch.full((4,), 1)))
    assert everything == ["en_XX", "de_DE", "fr_XX"]
    assert calls_of(layer, lambda: ours.module(**batch)) == ["de_DE"]
    two = ours.ids(["fr_XX", "en_XX", "fr_XX", "fr_XX"])
    assert calls_of(layer, lambda: ours.module(**batch, lang_ids=two)) == ["en_XX", "fr_XX"]


@pytest.mark.parametrize("wrong", [3, -1, 81])
def test_an_id_out_of_range_is_refused(wrong, pair, batch):
    stock, ours = pair
    silent = stock(**batch, lang_ids=torch.tensor([0, wrong, 0, 0])).logits
    right = stock(**batch, lang_ids=torch.zeros(4, dtype=torch.long)).logits
    assert not torch.allclose(silent, right)  # stock loses the adapter and says nothing
    with pytest.raises(UserError, match=rf"lang_ids contain {wrong}, but ids go from 0 to 2 \(en_XX, de_DE, fr_XX\)"):
        ours.module(**batch, lang_ids=torch.tensor([0, wrong, 0, 0]))


@pytest.mark.parametrize("shape", [(2,), (4, 11), (12,), (4, 12, 1), (0,)])
def test_ids_of_a_strange_shape_are_refused(shape, pair, batch):
    _, ours = pair
    with pytest.raises(UserError, match=r"a batch of \(4, 12\) takes one id, one per sample"):
        ours.module(**batch, lang_ids=torch.zeros(shape, dtype=torch.long))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool])
def test_ids_that_are_no_whole_numbers_are_refused(dtype, pair, batch):
    _, ours = pair
    with pytest.raises(UserError, match="lang_ids must be whole numbers"):
        ours.module(**batch, lang_ids=torch.ones(4, dtype=dtype))


@pytest.mark.parametrize("shape", [(), (1,)])
def test_one_id_holds_for_the_whole_batch(shape, pair, batch):
    stock, ours = pair
    expected = stock(**batch, lang_ids=torch.full((4,), 2)).logits
    if shape == (1,):
        with pytest.raises((IndexError, RuntimeError)):
            stock(**batch, lang_ids=torch.full(shape, 2))
    assert torch.allclose(ours.module(**batch, lang_ids=torch.full(shape, 2)).logits, expected, atol=1e-5)


def test_multiple_choice_takes_an_id_a_sample_a_choice_or_a_token(checkpoint, batch):
    stock, folder = checkpoint("XmodForMultipleChoice")
    ours = model.load(model.find(str(folder)), "choice", ["en_XX", "de_DE", "fr_XX"])
    choices = {name: value.view(2, 2, 12) for name, value in batch.items()}
    with pytest.raises(IndexError):
        stock(**choices, lang_ids=torch.tensor([2, 0]))
    one_by_one = torch.cat(
        [
            stock(
                **{name: value[row : row + 1] for name, value in choices.items()}, lang_ids=torch.tensor([language])
            ).logits
            for row, language in enumerate([2, 0])
        ]
    )
    ids = torch.tensor([2, 0])
    for lang_ids in (ids, ids[:, None].expand(2, 2), ids[:, None, None].expand(2, 2, 12)):
        assert torch.allclose(ours.module(**choices, lang_ids=lang_ids).logits, one_by_one, atol=1e-5)
    code_switched = ours.module(**choices, lang_ids=torch.tensor([[2, 0], [0, 1]])).logits
    assert torch.allclose(code_switched[0, 0], one_by_one[0, 0], atol=1e-5)
    assert not torch.allclose(code_switched[0, 1], one_by_one[0, 1], atol=1e-3)


def test_the_active_language_is_each_models_own(pair, checkpoint, batch):
    shared = tiny_config(num_labels=3)
    item, two = (transformers.XmodForSequenceClassification(shared) for _ in range(2))
    item.set_default_language("fr_XX")
    assert two.config.default_language == "fr_XX"  # stock: it leaks into every model of that config

    _, folder = checkpoint("XmodForSequenceClassification", num_labels=3, default_language="fr_XX")
    source = model.find(str(folder))
    first = model.load(source, "sequence", ["en_XX", "de_DE"])
    second = model.load(source, "sequence", ["en_XX", "de_DE"])
    with pytest.raises(UserError, match=r"which language is the batch in\? en_XX, de_DE are loaded"):
        first.module(**batch)
    first.activate("de_DE")
    assert first.active == "de_DE"
    assert first.module.config.default_language is None
    with pytest.raises(UserError, match="no language is active"):
        _ = second.active


def test_an_unknown_language_is_refused_in_one_sentence(pair):
    stock, ours = pair
    with pytest.raises(ValueError, match="does not have an adapter") as failure:
        stock.set_default_language("de")
    assert len(str(failure.value).splitlines()) > 20  # stock prints the model
    with pytest.raises(UserError, match=r"has no adapter for 'de_DX' \(did you mean de_DE") as ours_failure:
        ours.activate("de_DX")
    assert len(str(ours_failure.value).splitlines()) == 1
    with pytest.raises(UserError, match="has no adapter for 'xx_XX'"):
        ours.ids(["en_XX", "xx_XX"])


def test_weight_decay_leaves_the_adapters_of_other_languages_alone(pair, batch):
    stock, ours = pair
    labels = torch.tensor([0, 1, 2, 0])
    ours.activate("de_DE")
    for network, extra in ((stock, {"lang_ids": torch.full((4,), 1)}), (ours.module, {})):
        adapter = network.roberta.encoder.layer[0].output.adapter_modules["fr_XX"].dense1.weight
        before = adapter.detach().clone()
        optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, weight_decay=0.1)
        network(**batch, labels=labels, **extra).loss.backward()
        optimizer.step()
        assert torch.equal(adapter, before) == (network is ours.module)


def test_a_language_the_checkpoint_lacks_is_refused_when_loading(checkpoint):
    _, folder = checkpoint("XmodForMaskedLM")
    config = transformers.AutoConfig.from_pretrained(folder)
    config.languages = ["en_XX", "de_XX"]
    stock, report = transformers.XmodForMaskedLM.from_pretrained(folder, config=config, output_loading_info=True)
    assert any("de_XX" in name for name in report["missing_keys"])  # stock goes on with random numbers
    assert stock is not None
    with pytest.raises(UserError, match=r"has no adapter for 'de_XX' \(did you mean .*de_DE"):
        model.load(model.find(str(folder)), "masked-lm", ["en_XX", "de_XX"])
    with pytest.raises(UserError, match="no adapter for 'de_XX'"):
        model.find(str(folder), languages=["de_XX"])


def test_padding_is_not_attended_to_without_a_mask(pair, batch):
    stock, ours = pair
    ours.activate("en_XX")
    en = torch.zeros(4, dtype=torch.long)
    unmasked = stock(batch["input_ids"], lang_ids=en).logits
    masked = stock(**batch, lang_ids=en).logits
    assert not torch.allclose(unmasked, masked, atol=1e-3)
    assert torch.allclose(ours.module(batch["input_ids"]).logits, masked, atol=1e-5)


def test_an_input_longer_than_the_positions_is_refused(pair):
    stock, ours = pair
    ours.activate("en_XX")
    long = torch.full((1, 33), 7)
    with pytest.raises((IndexError, RuntimeError)):
        stock(long, lang_ids=torch.zeros(1, dtype=torch.long))
    with pytest.raises(UserError, match="an input has 33 tokens, but the model has positions for 32"):
        ours.module(long)
    padded = torch.cat([long[:, :32], torch.ones((1, 4), dtype=torch.long)], dim=1)
    assert torch.allclose(ours.module(padded).logits, ours.module(long[:, :32]).logits, atol=1e-5)


def test_question_answering_has_two_outputs_whatever_is_asked(checkpoint):
    _, folder = checkpoint("XmodForMaskedLM")
    source = model.find(str(folder))
    assert model.load(source, "span", ["en_XX"]).module.qa_outputs.out_features == 2
    with pytest.raises(UserError, match="num_labels=3"):
        model.load(source, "span", ["en_XX"], num_labels=3)


@pytest.mark.slow
def test_a_batch_of_one_language_compiles_as_one_graph_with_one_languages_weights(pair, batch):
    stock, ours = pair
    ours.activate("fr_XX")
    expected = ours.module(**batch).logits
    graphs = []

    def record(graph, _):
        graphs.append(str(graph.graph))
        return graph

    torch.compiler.reset()
    torch.compile(stock, fullgraph=True, backend=record)(**batch, lang_ids=torch.full((4,), 2))
    compiled = torch.compile(ours.module, fullgraph=True, backend=record)
    assert torch.allclose(compiled(**batch).logits, expected, atol=1e-5)
    ours.activate("de_DE")
    assert not torch.allclose(compiled(**batch).logits, expected, atol=1e-3)
    languages = [{name for name in ("en_XX", "de_DE", "fr_XX") if name.lower() in graph.lower()} for graph in graphs]
    assert languages == [{"en_XX", "de_DE", "fr_XX"}, {"fr_XX"}, {"de_DE"}]
    torch.compiler.reset()


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_default_compiler_takes_a_training_step(pair, batch):
    stock, ours = pair
    ours.activate("fr_XX")
    labels = torch.tensor([0, 1, 2, 0])
    torch.compiler.reset()
    with pytest.raises(Exception, match=r"aten\.index") as failure:
        torch.compile(stock, fullgraph=True)(**batch, lang_ids=torch.full((4,), 2))
    assert "Inductor" in type(failure.value).__name__
    torch.compiler.reset()
    expected = ours.module(**batch, labels=labels).loss
    loss = torch.compile(ours.module, fullgraph=True)(**batch, labels=labels).loss
    loss.backward()
    assert torch.allclose(loss, expected, rtol=1e-4, atol=1e-5)
    assert ours.module.roberta.encoder.layer[0].output.adapter_modules["fr_XX"].dense1.weight.grad.abs().sum() > 0
    torch.compiler.reset()


def test_attention_weights_come_out_under_the_fused_kernel(pair, batch):
    stock, ours = pair
    ours.activate("en_XX")
    expected = stock(**batch, lang_ids=torch.zeros(4, dtype=torch.long), output_attentions=True).attentions
    assert not expected
    assert ours.module.config._attn_implementation == "sdpa"
    weights = ours.module(**batch, output_attentions=True).attentions
    assert [tuple(weight.shape) for weight in weights] == [(4, 4, 12, 12)] * 2
    assert torch.allclose(weights[0].sum(-1), torch.ones(4, 4, 12), atol=1e-5)
    assert ours.module.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing_gives_the_same_gradients(reentrant, mixed, pair, batch):
    _, ours = pair
    ours.activate("en_XX")
    labels = torch.tensor([0, 1, 2, 0])
    extra = {"lang_ids": ours.ids(["de_DE", "en_XX", "fr_XX", "de_DE"])} if mixed else {}
    for module in ours.module.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    ours.module.train()
    ours.module(**batch, labels=labels, **extra).loss.backward()
    plain = {name: p.grad.clone() for name, p in ours.module.named_parameters() if p.grad is not None}
    ours.module.zero_grad()
    ours.recompute_activations(use_reentrant=reentrant)
    loss = ours.module(**batch, labels=labels, **extra).loss
    ours.activate("fr_XX")  # what is recomputed later is what was computed then
    loss.backward()
    for name, parameter in ours.module.named_parameters():
        if name in plain:
            assert torch.allclose(parameter.grad, plain[name], rtol=1e-4, atol=1e-6), name
        else:
            assert parameter.grad is None


def test_only_the_wanted_tensors_are_read_and_their_order_does_not_matter(checkpoint, batch, monkeypatch):
    stock, folder = checkpoint("XmodForSequenceClassification", num_labels=3)
    read = []
    original = model.engine.CheckpointTensors.read
    monkeypatch.setattr(
        model.engine.CheckpointTensors,
        "read",
        lambda self, names: original(self, [read.append(name) or name for name in names]),
    )
    ours = model.load(model.find(str(folder)), "sequence", ["fr_XX"])
    assert not any("en_XX" in name or "de_DE" in name for name in read)
    assert sum("fr_XX" in name for name in read) == 2 * 4
    expected = stock(**batch, lang_ids=torch.full((4,), 2)).logits
    assert torch.allclose(ours.module(**batch).logits, expected, atol=1e-5)
    assert ours.ids(["fr_XX"]).tolist() == [0]


def test_scattering_makes_every_language_different(checkpoint, batch):
    stock, _ = checkpoint("XmodForSequenceClassification", num_labels=3)
    first, two, three = (stock(**batch, lang_ids=torch.full((4,), language)).logits for language in range(3))
    assert not torch.allclose(first, two, atol=1e-2)
    assert not torch.allclose(two, three, atol=1e-2)
    assert scatter(stock, seed=5) is stock
