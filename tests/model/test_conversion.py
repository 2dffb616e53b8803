import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaForSequenceClassification,
    RobertaModel,
)

from xmodctl.core.errors import UserError
from xmodctl.model.conversion import convert, identity_adapter

SIZES = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 32,
    "max_position_embeddings": 20,
}
IDS = torch.tensor([[0, 7, 8, 9, 2], [0, 11, 2, 1, 1]])
BATCH = {"input_ids": IDS, "attention_mask": IDS.ne(1).long()}


def shaken(model):
    """LayerNorms start at one and biases at zero; away from there, no mistake in them stays hidden."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval()


def sources():
    bert = BertConfig(**SIZES, pad_token_id=0)  # wrong on purpose, as multilingual MiniLM states it
    roberta = RobertaConfig(**SIZES, pad_token_id=1)
    return [shaken(BertModel(bert)), shaken(RobertaModel(roberta))]


def x_mod(auto, conversion):
    return auto.from_config(AutoConfig.for_model(**conversion.config)).eval()


def bare(conversion):
    return {name.removeprefix("roberta."): tensor for name, tensor in conversion.tensors.items()}


@pytest.mark.parametrize("source", sources(), ids=["bert", "roberta"])
@pytest.mark.parametrize("language", ["de_DE", "gsw"])
def test_a_converted_encoder_computes_what_its_source_does_in_every_language(source, language):
    conversion = convert(source.config.to_dict(), source.state_dict(), ["de_DE", "gsw"], pad_token_id=1)
    model = x_mod(AutoModel, conversion)
    model.load_state_dict(bare(conversion), strict=True)
    model.set_default_language(language)
    with torch.no_grad():
        ours, expected = model(**BATCH), source(**BATCH)
    real = BATCH["attention_mask"].bool()
    assert torch.allclose(ours.last_hidden_state[real], expected.last_hidden_state[real], atol=1e-5)
    assert torch.allclose(ours.pooler_output, expected.pooler_output, atol=1e-5)
    assert conversion.config["architectures"] == ["XmodModel"]


@pytest.mark.parametrize(
    "source",
    [shaken(BertForMaskedLM(BertConfig(**SIZES))), shaken(RobertaForMaskedLM(RobertaConfig(**SIZES)))],
    ids=["bert", "roberta"],
)
def test_a_masked_lm_head_comes_along(source):
    conversion = convert(source.config.to_dict(), source.state_dict(), ["en_XX"], pad_token_id=1)
    assert conversion.config["architectures"] == ["XmodForMaskedLM"]
    model = x_mod(AutoModelForMaskedLM, conversion)
    report = model.load_state_dict(conversion.tensors, strict=False)
    assert not report.unexpected_keys
    assert set(report.missing_keys) == {"lm_head.decoder.weight", "lm_head.decoder.bias"}  # tied
    model.set_default_language("en_XX")
    real = BATCH["attention_mask"].bool()
    with torch.no_grad():
        assert torch.allclose(model(**BATCH).logits[real], source(**BATCH).logits[real], atol=1e-4)


def test_a_masked_lm_head_that_x_mod_cannot_compute_is_left_out_and_told():
    source = BertForMaskedLM(BertConfig(**SIZES, hidden_act="relu"))
    conversion = convert(source.config.to_dict(), source.state_dict(), ["en_XX"], pad_token_id=1)
    assert not any("lm_head" in name for name in conversion.tensors)
    assert "cls.predictions.transform.dense.weight" in conversion.left_out


def test_another_head_and_an_absent_pooler_are_not_invented():
    source = RobertaForSequenceClassification(RobertaConfig(**SIZES))
    conversion = convert(source.config.to_dict(), source.state_dict(), ["en_XX"], pad_token_id=1)
    assert not any("pooler" in name or "classifier" in name for name in conversion.tensors)
    assert {name.split(".")[0] for name in conversion.left_out} == {"classifier"}


def test_old_layer_norm_names_are_understood():
    source = BertModel(BertConfig(**SIZES))
    old = {
        f"bert.{name}".replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): tensor
        for name, tensor in source.state_dict().items()
    }
    new = convert(source.config.to_dict(), source.state_dict(), ["en_XX"], pad_token_id=1).tensors
    converted = convert(source.config.to_dict(), old, ["en_XX"], pad_token_id=1).tensors
    assert converted.keys() == new.keys()
    assert all(torch.equal(converted[name], new[name]) for name in new)


def test_unchanged_tensors_are_not_copied():
    source = RobertaModel(RobertaConfig(**SIZES)).state_dict()
    converted = convert({**RobertaConfig(**SIZES).to_dict()}, source, ["en_XX"], pad_token_id=1).tensors
    name = "embeddings.word_embeddings.weight"
    assert converted[f"roberta.{name}"].data_ptr() == source[name].data_ptr()


def test_an_identity_adapter_depends_on_nothing_but_its_arguments():
    torch.manual_seed(1)
    first = identity_adapter("gsw", 3, hidden_size=16, inner_size=4)
    torch.manual_seed(2)
    again = identity_adapter("gsw", 3, hidden_size=16, inner_size=4)
    assert all(torch.equal(first[name], again[name]) for name in first)
    for other in (("gsw", 4, 0), ("rm_CH", 3, 0), ("gsw", 3, 1)):
        language, layer, seed = other
        changed = identity_adapter(language, layer, hidden_size=16, inner_size=4, seed=seed)
        assert not torch.equal(first["dense1.weight"], changed["dense1.weight"])


def test_an_identity_adapter_can_learn():
    """Zero in its second layer only: with both at zero, no gradient would ever reach either."""
    adapter = identity_adapter("gsw", 0, hidden_size=256, inner_size=64)
    assert not adapter["dense2.weight"].any()
    assert 0.019 < adapter["dense1.weight"].std() < 0.021


def test_a_language_has_the_same_adapter_whichever_others_are_there():
    source = RobertaModel(RobertaConfig(**SIZES))
    alone = convert(source.config.to_dict(), source.state_dict(), ["gsw"], pad_token_id=1).tensors
    among = convert(source.config.to_dict(), source.state_dict(), ["de_DE", "gsw"], pad_token_id=1).tensors
    assert all(torch.equal(among[name], tensor) for name, tensor in alone.items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "gpt2"}, "cannot convert a model of type 'gpt2'.*bert, roberta, xlm-roberta, camembert"),
        ({"model_type": None}, "cannot convert a model of type None"),
        ({"position_embedding_type": "relative_key"}, "'relative_key' position embeddings"),
        ({"pad_token_id": 0}, "pad_token_id 0, its tokenizer 1"),
        (
            {"num_hidden_layers": 3},
            r"lacks 16 of \d+ tensors, such as 'encoder.layer.2.attention.self.query.weight'",
        ),
    ],
)
def test_what_cannot_be_converted_is_refused_with_the_reason(change, message):
    source = RobertaModel(RobertaConfig(**SIZES))
    with pytest.raises(UserError, match=message):
        convert({**source.config.to_dict(), **change}, source.state_dict(), ["en_XX"], pad_token_id=1)
