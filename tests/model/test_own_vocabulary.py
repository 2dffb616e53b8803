"""A language that is read with a vocabulary of its own: swapped in with its adapter, trained, and kept apart."""

import pytest
import torch
from geometries import GEOMETRIES
from torch import nn

from xmodctl import model
from xmodctl.core.errors import UserError
from xmodctl.core.safetensors_io import read_entries

PIECES = 50


def own(hidden: int = 32, pieces: int = PIECES) -> torch.Tensor:
    return torch.randn(pieces, hidden, generator=torch.Generator().manual_seed(5))


def small(batch):
    """Return the batch with ids that exist in the small vocabulary."""
    ids = batch["input_ids"]
    return {**batch, "input_ids": ids.where(ids == 1, ids % (PIECES - 4) + 4)}


def loaded(folder, head="masked-lm", languages=("en_XX", "de_DE")):
    return model.load(model.find(str(folder)), head, list(languages))


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_the_language_computes_what_stock_does_with_its_rows_and_bias(checkpoint, batch, geometry):
    stock, folder = checkpoint(**GEOMETRIES[geometry])
    language, other = stock.config.languages[1], stock.config.languages[0]
    xmod = loaded(folder, languages=[other, language])
    before = xmod.use(other) or xmod.module(**batch).logits
    words, bias = own(), torch.randn(PIECES)
    xmod.put_embeddings(language, words, bias)
    assert xmod.own_vocabularies == (language,)
    assert torch.equal(xmod.module(**batch).logits, before)  # nothing has changed for the language that is active
    xmod.use(language)
    assert xmod.vocabulary == language
    stock.resize_token_embeddings(PIECES)
    with torch.no_grad():
        stock.roberta.embeddings.word_embeddings.weight.copy_(words)
        stock.lm_head.bias.copy_(bias)
    stock.set_default_language(language)
    ours = xmod.module(**small(batch), labels=small(batch)["input_ids"])
    expected = stock(**small(batch), labels=small(batch)["input_ids"])
    assert ours.logits.shape[-1] == PIECES
    assert torch.allclose(ours.logits, expected.logits, atol=1e-5)
    assert torch.allclose(ours.loss, expected.loss, atol=1e-5)
    xmod.use(other)
    assert xmod.vocabulary is None
    assert torch.equal(xmod.module(**batch).logits, before)


def test_swapping_out_and_in_and_the_control_without_adapter_choose_the_vocabulary(checkpoint):
    _, folder = checkpoint()
    xmod = loaded(folder, head="none")
    base = xmod.module.embeddings.word_embeddings.weight
    xmod.put_embeddings("de_DE", own())
    for language, words in (("de_DE", own()), ("fr_XX", base), ("de_DE", own()), (None, base), ("en_XX", base)):
        xmod.use(language)
        assert torch.equal(xmod.module.embeddings.word_embeddings.weight, words), language
    xmod.use("de_DE")
    xmod.swap(["en_XX", "fr_XX"])  # nobody is active now
    assert xmod.module.embeddings.word_embeddings.weight is base


def test_training_reaches_its_own_rows_and_bias_and_nothing_of_the_checkpoint(checkpoint, batch):
    _, folder = checkpoint()
    xmod = loaded(folder)
    xmod.put_embeddings("de_DE", own())
    before = {name: tensor.clone() for name, tensor in xmod.module.state_dict().items()}
    xmod.use("de_DE")
    parameters = xmod.own_embeddings("de_DE")
    assert set(parameters) == {"words", "bias"}
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    optimizer = torch.optim.SGD(parameters.values(), lr=0.5)
    inputs = small(batch)
    losses = []
    for _ in range(3):
        loss = xmod.module(**inputs, labels=inputs["input_ids"]).loss
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < losses[0]
    # The decoder is tied to the rows: both uses of them count.
    assert xmod.module.lm_head.decoder.weight is xmod.module.roberta.embeddings.word_embeddings.weight
    assert not torch.equal(parameters["words"], own())
    xmod.use("en_XX")
    after = xmod.module.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_the_rows_follow_the_module_in_precision(checkpoint, batch):
    _, folder = checkpoint()
    xmod = model.load(model.find(str(folder)), "none", ["en_XX", "de_DE"], dtype=torch.bfloat16)
    xmod.put_embeddings("de_DE", own())
    xmod.use("de_DE")
    assert xmod.module(**small(batch)).last_hidden_state.dtype == torch.bfloat16


@pytest.mark.parametrize("languages", [["en_XX", "de_DE"], ["de_DE", "de_DE"]])
def test_a_batch_by_language_ids_refuses_a_language_whose_embeddings_are_not_in_place(checkpoint, batch, languages):
    _, folder = checkpoint()
    xmod = loaded(folder)
    xmod.put_embeddings("de_DE", own())
    xmod.use("en_XX")
    ids = xmod.ids(languages * 2)
    with pytest.raises(UserError, match=r"the batch contains de_DE.*activate\('de_DE'\)"):
        xmod.module(**batch, lang_ids=ids)
    xmod.use("de_DE")
    if len(set(languages)) > 1:
        with pytest.raises(UserError, match="the batch contains en_XX"):
            xmod.module(**small(batch), lang_ids=ids)
    else:
        expected = xmod.module(**small(batch)).logits
        assert torch.equal(xmod.module(**small(batch), lang_ids=ids).logits, expected)


@pytest.mark.parametrize(
    ("words", "bias", "message"),
    [
        (torch.zeros(PIECES, 31), None, r"are \(50, 31\), but .* reads \(pieces, 32\)"),
        (torch.zeros(PIECES), None, r"are \(50,\)"),
        (torch.zeros(1, 32), None, r"are \(1, 32\)"),
        (torch.zeros(PIECES, 32), torch.zeros(49), r"bias of de_DE is \(49,\), not \(50,\)"),
    ],
)
def test_embeddings_of_another_shape_are_refused(checkpoint, words, bias, message):
    _, folder = checkpoint()
    xmod = loaded(folder)
    with pytest.raises(UserError, match=message):
        xmod.put_embeddings("de_DE", words, bias)
    assert xmod.own_vocabularies == ()


@pytest.mark.parametrize(("preset", "refused"), [("embeddings+adapters", False), ("adapters", True), ("none", True)])
def test_a_run_that_trained_the_shared_embeddings_takes_no_other_vocabulary(checkpoint, preset, refused):
    _, folder = checkpoint()
    trained = loaded(folder, head="sequence")
    model.freeze(trained, preset)
    delta = model.trained_tensors(trained)
    xmod = loaded(folder, head="sequence")
    model.apply_delta(xmod, delta)
    if refused:
        with pytest.raises(UserError, match="this run trained them"):
            xmod.put_embeddings("de_DE", own())
    else:
        xmod.put_embeddings("de_DE", own())


def test_an_export_of_the_language_alone_holds_its_own_embeddings_and_restores_the_model(checkpoint, tmp_path):
    _, folder = checkpoint()
    xmod = loaded(folder)
    base = xmod.module.roberta.embeddings.word_embeddings.weight
    xmod.put_embeddings("de_DE", own())
    xmod.use("en_XX")
    model.export(xmod, None, tmp_path / "de", ["de_DE"])
    assert xmod.module.roberta.embeddings.word_embeddings.weight is base
    entries = read_entries(tmp_path / "de" / "model.safetensors")
    assert entries["roberta.embeddings.word_embeddings.weight"].shape == (PIECES, 32)
    assert entries["lm_head.bias"].shape == (PIECES,)
    assert model.find(str(tmp_path / "de")).config["vocab_size"] == PIECES
    model.export(xmod, None, tmp_path / "others", ["en_XX", "fr_XX"])
    entries = read_entries(tmp_path / "others" / "model.safetensors")
    assert entries["roberta.embeddings.word_embeddings.weight"].shape == (120, 32)
    with pytest.raises(UserError, match="export de_DE alone with --langs de_DE"):
        model.export(xmod, None, tmp_path / "both", ["en_XX", "de_DE"])
    assert not (tmp_path / "both").exists()


def test_an_untied_decoder_comes_back(checkpoint, batch):
    _, folder = checkpoint(tie_word_embeddings=False)
    xmod = loaded(folder)
    xmod.use("en_XX")
    before = xmod.module(**batch).logits
    decoder = xmod.module.lm_head.decoder.weight
    assert isinstance(decoder, nn.Parameter)
    assert decoder is not xmod.module.roberta.embeddings.word_embeddings.weight
    xmod.put_embeddings("de_DE", own())
    xmod.use("de_DE")
    assert xmod.module(**small(batch)).logits.shape[-1] == PIECES
    xmod.use("en_XX")
    assert xmod.module.lm_head.decoder.weight is decoder
    assert torch.equal(xmod.module(**batch).logits, before)


def test_each_of_several_languages_keeps_a_vocabulary_of_its_own(checkpoint):
    _, folder = checkpoint()
    xmod = loaded(folder, languages=["en_XX"])
    sizes = {"de_DE": 50, "fr_XX": 60}
    for language, pieces in sizes.items():
        xmod.put_embeddings(language, own(pieces=pieces))
    for language in ("fr_XX", "de_DE", "en_XX", "fr_XX"):
        xmod.use(language)
        pieces = sizes.get(language, 120)
        ids = torch.tensor([[0, pieces - 1, 2]])
        assert xmod.module(ids).logits.shape[-1] == pieces == xmod.module.config.vocab_size
    xmod.put_embeddings("fr_XX", own(pieces=40))  # anew, while it is active
    assert len(xmod.module.roberta.embeddings.word_embeddings.weight) == 40
