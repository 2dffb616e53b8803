"""Weight files: what is damaged is refused, what is pickled is converted once, names are stock's."""

import json
import os
import pickle
import shutil

import pytest
import torch
from geometries import scatter, tiny_config
from safetensors.torch import load_file, save_file
from transformers import AutoModelForMaskedLM

from xmodctl import model
from xmodctl.core.errors import UserError
from xmodctl.core.safetensors_io import entry_of, read_entries, write_stream, write_tensors
from xmodctl.model import weights


def as_pickle(folder, **options):
    """Turn a saved folder into what early repositories hold: one pytorch_model.bin, its tied tensors shared."""
    state = load_file(folder / "model.safetensors")
    state["lm_head.decoder.weight"] = state["roberta.embeddings.word_embeddings.weight"]
    state["lm_head.decoder.bias"] = state["lm_head.bias"]
    state["roberta.embeddings.position_ids"] = torch.arange(34)[None]
    torch.save(state, folder / "pytorch_model.bin", **options)
    (folder / "model.safetensors").unlink()
    return state


def same_logits(folder, stock, batch):
    ours = model.load(model.find(str(folder)), "masked-lm", ["de_DE"])
    expected = stock(**batch, lang_ids=torch.ones(4, dtype=torch.long)).logits
    real = batch["attention_mask"].bool()
    return torch.allclose(ours.module(**batch).logits[real], expected[real], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickled_checkpoint_is_converted_once_and_never_read_again(zipped, checkpoint, batch, monkeypatch):
    stock, folder = checkpoint()
    as_pickle(folder, _use_new_zipfile_serialization=zipped)
    assert same_logits(folder, stock, batch)
    converted = list((weights.cache_folder() / "converted").glob("*/model.safetensors"))
    assert [path.parent.name for path in converted] == [weights.sha256_of(folder / "pytorch_model.bin")]
    assert not any("decoder" in name or "position_ids" in name for name in read_entries(converted[0]))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("the pickled file is read again"))
    monkeypatch.setattr(weights, "sha256_of", lambda _: pytest.fail("the pickled file is hashed again"))
    assert same_logits(folder, stock, batch)


def test_a_pickled_checkpoint_of_many_chunks_converts_to_the_same_tensors(checkpoint, monkeypatch):
    monkeypatch.setattr(weights, "_CHUNK_BYTES", 4096)
    _, folder = checkpoint()
    state = as_pickle(folder)
    converted = load_file(weights.convert(folder, "it") / "model.safetensors")
    assert converted.keys() == {name for name in state if "decoder" not in name and "position_ids" not in name}
    assert all(torch.equal(converted[name], state[name]) for name in converted)


def test_a_pickled_checkpoint_in_shards_is_converted(checkpoint, batch):
    stock, folder = checkpoint()
    state = as_pickle(folder)
    (folder / "pytorch_model.bin").unlink()
    names = sorted(state)
    placed = {name: f"pytorch_model-0000{number % 2 + 1}-of-00002.bin" for number, name in enumerate(names)}
    for file in set(placed.values()):
        torch.save({name: state[name] for name in names if placed[name] == file}, folder / file)
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": placed}))
    assert same_logits(folder, stock, batch)


class _Code:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("content", ["code", "torn", "nothing", "no tensors"])
def test_a_pickled_file_that_is_no_plain_checkpoint_is_refused(content, checkpoint, tmp_path):
    _, folder = checkpoint()
    as_pickle(folder)
    path = folder / "pytorch_model.bin"
    match content:
        case "code":
            path.write_bytes(pickle.dumps({"a": _Code(tmp_path / "ran")}))
        case "torn":
            path.write_bytes(path.read_bytes()[:5000])
        case "nothing":
            path.write_bytes(b"")
        case "no tensors":
            torch.save({"epoch": 3}, path)
    with pytest.raises(
        UserError, match=r"pytorch_model.bin (is damaged|contains something other).*; download it again"
    ):
        model.load(model.find(str(folder)), "masked-lm", ["de_DE"])
    assert not (tmp_path / "ran").exists()
    assert not list((weights.cache_folder() / "converted").glob("*/*"))


def test_a_sharded_checkpoint_is_read_through_its_index(checkpoint, batch):
    stock, folder = checkpoint()
    stock.save_pretrained(folder, max_shard_size="20KB")
    (folder / "model.safetensors").unlink()
    assert len(list(folder.glob("model-*.safetensors"))) > 2
    assert same_logits(folder, stock, batch)


def test_a_shard_that_is_missing_or_lacks_a_tensor_is_refused(checkpoint):
    stock, folder = checkpoint()
    stock.save_pretrained(folder, max_shard_size="20KB")
    (folder / "model.safetensors").unlink()
    index = folder / "model.safetensors.index.json"
    listing = json.loads(index.read_text())
    name, file = next(iter(listing["weight_map"].items()))
    listing["weight_map"]["roberta.strange"] = file
    index.write_text(json.dumps(listing))
    with pytest.raises(UserError, match=r"lacks the tensor roberta.strange that model.safetensors.index.json places"):
        model.find(str(folder))
    (folder / file).unlink()
    with pytest.raises(UserError, match=rf"is incomplete: .* lacks {file}"):
        model.find(str(folder))
    index.write_text("[]")
    with pytest.raises(UserError, match="is not an index of weight files"):
        model.find(str(folder))
    assert name


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda raw: raw[:-100], "metadata, file not fully covered"),
        (lambda raw: raw + b"more", "is damaged"),
        (lambda raw: raw[:60], "invalid header length"),
        (lambda raw: b"", "header too small"),
        (lambda raw: raw[:8] + b"x" + raw[9:], "is damaged or is not a safetensors file"),
        (lambda raw: b"<html>404 Not Found</html>" * 9, "is not a safetensors file"),
        (lambda raw: (2).to_bytes(8, "little") + b"[]", "is damaged or is not a safetensors file"),
    ],
)
def test_a_damaged_safetensors_file_is_refused_before_anything_is_loaded(damage, message, checkpoint):
    _, folder = checkpoint()
    path = folder / "model.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=message) as failure:
        model.find(str(folder))
    assert str(path) in str(failure.value)
    assert "download it again" in str(failure.value)


def test_a_folder_without_weights_is_refused(checkpoint):
    _, folder = checkpoint()
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"has no weights: .* contains neither model.safetensors nor pytorch_model.bin"):
        model.find(str(folder))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_refused(checkpoint):
    _, folder = checkpoint()
    (folder / "model.safetensors").chmod(0)
    with pytest.raises(UserError, match="cannot read"):
        model.find(str(folder))


def test_a_missing_tensor_is_named_and_a_missing_head_is_drawn_from_the_seed(checkpoint):
    _, folder = checkpoint()
    path = folder / "model.safetensors"
    state = load_file(path)
    source = model.find(str(folder))
    first, same, other = (model.load(source, "sequence", ["en_XX"], num_labels=3, seed=seed) for seed in (1, 1, 2))
    assert set(first.initialized) == {
        f"classifier.{part}.{kind}" for part in ("dense", "out_proj") for kind in ("weight", "bias")
    }
    head = first.module.classifier.dense.weight
    assert torch.equal(head, same.module.classifier.dense.weight)
    assert not torch.equal(head, other.module.classifier.dense.weight)
    assert 0.015 < head.std() < 0.025
    assert first.module.classifier.dense.bias.abs().sum() == 0

    del state["roberta.encoder.layer.1.attention.self.key.bias"]
    save_file(state, path)
    with pytest.raises(UserError, match=r"lacks roberta.encoder.layer.1.attention.self.key.bias"):
        model.load(model.find(str(folder)), "masked-lm", ["en_XX"])


def test_a_missing_or_misshapen_adapter_is_named(checkpoint):
    _, folder = checkpoint()
    path = folder / "model.safetensors"
    state = load_file(path)
    name = "roberta.encoder.layer.0.output.adapter_modules.de_DE.dense1.bias"
    state[name] = torch.zeros(3)
    save_file(state, path)
    model.load(model.find(str(folder)), "masked-lm", ["en_XX"])  # the others are whole
    with pytest.raises(UserError, match=rf"{name} with the shape \(3,\), but its config.json says \(16,\)"):
        model.load(model.find(str(folder)), "masked-lm", ["de_DE"])
    del state[name]
    save_file(state, path)
    with pytest.raises(UserError, match=f"lacks {name}"):
        model.load(model.find(str(folder)), "masked-lm", ["de_DE"])
    loaded = model.load(model.find(str(folder)), "masked-lm", ["en_XX"])
    with pytest.raises(UserError, match=f"lacks {name}"):
        loaded.swap(["de_DE"])
    assert loaded.languages == ("en_XX",)


def test_old_layer_norm_names_and_a_bare_checkpoint_are_understood(checkpoint, batch):
    stock, folder = checkpoint("XmodModel")
    path = folder / "model.safetensors"
    state = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): tensor
        for name, tensor in load_file(path).items()
    }
    assert any(name.startswith("embeddings.LayerNorm.gamma") for name in state)
    save_file(state, path)
    expected = stock(**batch, lang_ids=torch.ones(4, dtype=torch.long)).last_hidden_state[:, 0]
    bare = model.load(model.find(str(folder)), "none", ["de_DE"])
    assert torch.allclose(bare.module(**batch).last_hidden_state[:, 0], expected, rtol=1e-4, atol=1e-5)
    with_head = model.load(model.find(str(folder)), "tokens", ["de_DE"], num_labels=3)
    assert set(with_head.initialized) == {"classifier.weight", "classifier.bias"}
    assert torch.equal(with_head.module.roberta.embeddings.LayerNorm.weight, stock.embeddings.LayerNorm.weight)


def test_what_is_written_is_read_by_the_safetensors_library(tmp_path):
    tensors = {
        "a": torch.randn(3, 5),
        "half": torch.randn(2, 2).to(torch.bfloat16),
        "transposed": torch.randn(4, 3).t(),
        "scalar": torch.tensor(7),
        "none": torch.empty(0, 3),
    }
    entries = {name: entry_of(tensor) for name, tensor in tensors.items()}
    write_stream(tmp_path / "file", entries, iter(tensors.values()), {"base": "x"})
    read = load_file(tmp_path / "file")
    assert all(torch.equal(read[name], tensor) and read[name].dtype == tensor.dtype for name, tensor in tensors.items())
    assert read_entries(tmp_path / "file") == entries


def test_a_model_in_half_precision_loads_in_the_precision_asked_for(checkpoint):
    stock, folder = checkpoint()
    stock.to(torch.bfloat16).save_pretrained(folder)
    source = model.find(str(folder))
    single = model.load(source, "masked-lm", ["en_XX"])
    half = model.load(source, "masked-lm", ["en_XX"], dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in single.module.parameters()} == {torch.float32}
    assert {parameter.dtype for parameter in half.module.parameters()} == {torch.bfloat16}


def test_the_decoder_is_tied_to_the_embeddings_unless_the_checkpoint_unties_it(checkpoint):
    _, folder = checkpoint()
    tied = model.load(model.find(str(folder)), "masked-lm", ["en_XX"]).module
    assert tied.lm_head.decoder.weight is tied.roberta.embeddings.word_embeddings.weight
    assert tied.lm_head.decoder.bias is tied.lm_head.bias
    stock = scatter(AutoModelForMaskedLM.from_config(tiny_config(tie_word_embeddings=False)))
    stock.save_pretrained(folder)
    free = model.load(model.find(str(folder)), "masked-lm", ["en_XX"]).module
    assert torch.equal(free.lm_head.decoder.weight, stock.lm_head.decoder.weight)
    assert not torch.equal(free.lm_head.decoder.weight, free.roberta.embeddings.word_embeddings.weight)


def test_a_changed_bit_in_the_cached_conversion_makes_it_again(checkpoint, caplog):
    _, folder = checkpoint()
    as_pickle(folder)
    converted = weights.convert(folder, "it") / "model.safetensors"
    whole = converted.read_bytes()
    changed = bytearray(whole)
    changed[-100] ^= 1
    converted.write_bytes(changed)
    with caplog.at_level("WARNING"):
        assert weights.convert(folder, "it") / "model.safetensors" == converted
    assert "the checkpoint is converted again" in caplog.text
    assert converted.read_bytes() == whole


def test_a_conversion_cached_by_an_older_version_is_read(checkpoint):
    _, folder = checkpoint()
    as_pickle(folder)
    converted = weights.convert(folder, "it") / "model.safetensors"
    save_file({name: tensor.clone() for name, tensor in load_file(converted).items()}, converted, {"format": "pt"})
    before = converted.stat().st_mtime_ns
    assert weights.convert(folder, "it") / "model.safetensors" == converted
    assert converted.stat().st_mtime_ns == before


def test_a_changed_bit_in_a_model_that_xmodctl_wrote_is_refused(checkpoint):
    _, folder = checkpoint()
    path = folder / "model.safetensors"
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    write_tensors(path, tensors, {"format": "pt"}, sealed=True)
    model.load(model.find(str(folder)), "masked-lm", ["de_DE"])
    raw = bytearray(path.read_bytes())
    raw[-100] ^= 1
    path.write_bytes(raw)
    with pytest.raises(UserError, match=r"model\.safetensors is damaged or was changed .*xmodctl convert"):
        model.load(model.find(str(folder)), "masked-lm", ["de_DE"])


@pytest.mark.parametrize(
    "content", [b"\x80\x02Q.", b"\x80\x02.", b"\x80\x02}q\x00(X\x01\x00\x00\x00aK\x01s.", b"\x80\x02h\x07.", b"Q"]
)
def test_pickled_weights_that_cannot_be_followed_are_damaged(content, tiny_model, tmp_path):
    shutil.copytree(tiny_model, tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").unlink()
    (tmp_path / "model" / "pytorch_model.bin").write_bytes(content)
    with pytest.raises(
        UserError, match=r"pytorch_model\.bin is damaged or is not a PyTorch file|contains something other"
    ):
        weights.CheckpointTensors(tmp_path / "model", "model")
