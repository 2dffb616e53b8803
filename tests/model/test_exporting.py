"""An exported folder is a plain transformers model."""

import errno
import json

import pytest
import torch
import transformers
from safetensors import safe_open

from xmodctl import model
from xmodctl.core.errors import UserError
from xmodctl.model.heads import ARCHITECTURES

AUTO = {
    "sequence": "AutoModelForSequenceClassification",
    "tokens": "AutoModelForTokenClassification",
    "span": "AutoModelForQuestionAnswering",
    "choice": "AutoModelForMultipleChoice",
    "masked-lm": "AutoModelForMaskedLM",
    "causal-lm": "AutoModelForCausalLM",
    "none": "AutoModel",
}


def first(output):
    return output.last_hidden_state[:, 0] if "last_hidden_state" in output else output[0][:, :1]


@pytest.mark.parametrize("head", ARCHITECTURES)
def test_transformers_alone_loads_the_folder_and_computes_the_same(head, checkpoint, batch, tmp_path):
    _, folder = checkpoint("XmodForMaskedLM")
    ours = model.load(model.find(str(folder)), head, ["de_DE"], seed=4)
    with torch.no_grad():  # what a run changed goes along
        ours.module.get_parameter(ours.local_name("roberta.encoder.layer.0.output.dense.bias")).add_(0.1)
    exported = tmp_path / "out" / "model"
    model.export(ours, None, exported, ["fr_XX", "de_DE"])
    stock, report = getattr(transformers, AUTO[head]).from_pretrained(exported, output_loading_info=True)
    missing = {name for name in report["missing_keys"] if "pooler" not in name or head != "none"}
    assert not missing
    assert not report["unexpected_keys"]
    assert stock.config.languages == ["fr_XX", "de_DE"]
    assert stock.config.default_language is None
    if head == "choice":
        batch = {name: value.view(2, 2, 12) for name, value in batch.items()}
    for language, number in (("fr_XX", 0), ("de_DE", 1)):
        ours.swap([language])
        ids = torch.tensor([number]) if head == "choice" else torch.full((4,), number)
        expected = first(stock(**batch, lang_ids=ids))
        assert torch.allclose(first(ours.module(**batch)), expected, rtol=1e-4, atol=1e-5)
    again = model.load(model.find(str(exported)), head, ["de_DE"])
    assert again.initialized == ()
    assert torch.allclose(first(again.module(**batch)), first(ours.module(**batch)), rtol=1e-4, atol=1e-5)


def test_labels_travel_and_a_single_language_is_the_default(checkpoint, batch, tmp_path):
    _, folder = checkpoint("XmodForMaskedLM")
    names = {0: "entailment", 1: "neutral", 2: "contradiction"}
    ours = model.load(model.find(str(folder)), "sequence", ["de_DE"], id2label=names)
    model.export(ours, None, tmp_path / "one", ["de_DE"])
    stock = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "one")
    assert stock.config.id2label == names
    assert torch.allclose(stock(**batch).logits, ours.module(**batch).logits, rtol=1e-4, atol=1e-5)
    assert json.loads((tmp_path / "one" / "config.json").read_text())["architectures"] == [
        "XmodForSequenceClassification"
    ]
    assert ours.module.config.default_language is None
    with safe_open(tmp_path / "one" / "model.safetensors", "pt") as opened:
        assert opened.metadata() == {"format": "pt"}


def test_a_trained_adapter_is_exported_as_trained_and_closes_an_open_model(checkpoint, batch, tmp_path):
    _, folder = checkpoint("XmodForMaskedLM")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "identity_adapters": True}))
    ours = model.load(model.find(str(folder)), "none", ["zu_ZA"])
    model.export(ours, None, tmp_path / "open", ["zu_ZA"])
    assert model.find(str(tmp_path / "open")).open_languages
    model.freeze(ours, "none")
    with torch.no_grad():
        for parameter in ours.module.parameters():
            parameter.mul_(1.02)
    expected = ours.module(**batch).last_hidden_state
    ours.swap(["en_XX"])
    model.export(ours, None, tmp_path / "closed", ["zu_ZA", "en_XX"])
    assert not model.find(str(tmp_path / "closed")).open_languages
    back = model.load(model.find(str(tmp_path / "closed")), "none", ["zu_ZA"])
    assert torch.equal(back.module(**batch).last_hidden_state, expected)


def test_what_cannot_be_exported_leaves_nothing_behind(checkpoint, tmp_path, monkeypatch):
    _, folder = checkpoint("XmodForMaskedLM")
    ours = model.load(model.find(str(folder)), "none", ["de_DE"])
    for languages, message in (([], "at least one language"), (["xx_XX"], "no adapter for 'xx_XX'")):
        with pytest.raises(UserError, match=message):
            model.export(ours, None, tmp_path / "new" / "model", languages)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("xmodctl.model.exporting.write_stream", full)
    with pytest.raises(UserError, match=r"cannot write .*model: No space left on device; free some space"):
        model.export(ours, None, tmp_path / "new" / "model", ["de_DE"])
    assert not any((tmp_path / "new").glob("*"))


def test_the_exported_tokenizer_makes_no_token_types(tiny_model, tmp_path):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]  # as BERT's has it
    assert "token_type_ids" in tokenizer("the cat", "a dog")
    model.export(model.load(model.find(str(tiny_model)), "sequence", ["de_DE"]), tokenizer, tmp_path / "m", ["de_DE"])
    assert [*AutoTokenizer.from_pretrained(tmp_path / "m")("the cat", "a dog")] == ["input_ids", "attention_mask"]
