import re

import numpy as np
import pytest
import torch

from xmodctl import model
from xmodctl.core.errors import UserError
from xmodctl.languages.text_check import cautions
from xmodctl.new_language import adapter_initialisation as starting
from xmodctl.new_language.adapter_initialisation import candidates, rank, start_tensors
from xmodctl.new_language.masking import HeldOut, pack


@pytest.fixture
def xmod(tiny_model):
    return model.load(model.find(str(tiny_model)), "masked-lm", ["en_XX"])


def copied(tensors: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in tensors.values()]


def test_the_mean_of_several_adapters_leaves_them_as_they_are(xmod):
    before = {language: copied(xmod.adapter(language)) for language in ("en_XX", "sw_KE")}
    made = start_tensors(xmod, "en_XX+sw_KE", "zu_ZA", seed=1)
    assert list(made) == list(xmod.adapter_shapes("zu_ZA"))
    for number, tensor in enumerate(made.values()):
        assert torch.allclose(tensor, (before["en_XX"][number] + before["sw_KE"][number]) / 2)
        tensor.fill_(7)
    for language, tensors in before.items():
        for old, now in zip(tensors, xmod.adapter(language).values(), strict=True):
            assert torch.equal(old, now), language


def test_a_copy_shares_no_memory_with_its_source(xmod):
    made = start_tensors(xmod, "en_XX", "zu_ZA", seed=1)
    for copy, original in zip(made.values(), xmod.adapter("en_XX").values(), strict=True):
        assert torch.equal(copy, original)
        assert copy.data_ptr() != original.data_ptr()


def test_the_identity_adds_nothing_and_random_numbers_depend_on_seed_and_language(xmod):
    batch = {"input_ids": torch.tensor([[0, 5, 6, 7, 2]])}
    xmod.put_adapter("zu_ZA", start_tensors(xmod, "identity", "zu_ZA", seed=1))
    outputs = []
    with torch.inference_mode():
        for adapter in ("zu_ZA", None):
            xmod.use(adapter)
            outputs.append(xmod.module(**batch).logits)
    assert torch.equal(*outputs)

    def drawn(language: str, seed: int) -> torch.Tensor:
        return torch.cat([tensor.flatten() for tensor in start_tensors(xmod, "random", language, seed).values()])

    assert torch.equal(drawn("zu_ZA", 1), drawn("zu_ZA", 1))
    assert not torch.equal(drawn("zu_ZA", 1), drawn("zu_ZA", 2))
    assert not torch.equal(drawn("zu_ZA", 1), drawn("xh_ZA", 1))


def test_an_adapter_that_is_done_is_let_go_of_once_it_is_out_of_use(xmod):
    xmod.put_adapter("zu_ZA", start_tensors(xmod, "identity", "zu_ZA", seed=1))
    xmod.swap(["zu_ZA"])
    with pytest.raises(UserError, match="zu_ZA is in use: `swap` it out first"):
        xmod.forget("zu_ZA")
    xmod.swap(["sw_KE"])
    xmod.forget("zu_ZA")
    assert "zu_ZA" not in xmod.changed_adapters
    with pytest.raises(UserError, match="no adapter for 'zu_ZA'"):
        xmod.swap(["zu_ZA"])


def test_adapters_that_add_nothing_are_one_candidate(xmod):
    assert candidates(xmod) == list(xmod.source.languages)
    for language in ("de_DE", "fr_XX"):
        xmod.put_adapter(language, start_tensors(xmod, "identity", language, seed=1))
    assert candidates(xmod) == ["en_XX", "sw_KE", "zh_CN", "zh_TW", "identity"]


def test_the_best_of_a_first_look_are_looked_at_longer_and_the_best_comes_first(xmod, monkeypatch):
    packed = pack(["the cat sleeps red"] * 400, model.load_tokenizer(xmod.source), length=32)
    losses = dict(zip(xmod.source.languages, (3.0, 1.0, 2.0, 6.0, 5.0, 4.0), strict=True))
    looks: list[tuple[str | None, int]] = []

    def measure(asked, encoded, masker, *, precision, pad_id, units):
        looks.append((asked.active, len(units)))
        assert units[0] == 0
        assert units[-1] >= len(encoded) * 0.7, "spread over the text"
        return HeldOut(np.full(len(units), losses[asked.active]), np.ones(len(units), dtype=np.int64))

    monkeypatch.setattr(starting, "held_out", measure)
    monkeypatch.setattr(starting, "FINALISTS", 2)
    ranked = rank(xmod, candidates(xmod), packed, None, precision="fp32", pad_id=1)
    assert [one.adapter for one in ranked] == sorted(losses, key=losses.get)
    assert [one.tokens for one in ranked] == [32, 32, 4, 4, 4, 4]
    assert looks[-2:] == [("de_DE", 32), ("fr_XX", 32)]


GERMAN = ["Das Wasser ist heute kalt, und die Kinder gehen nicht in den See.", "Der Mann hat ein Buch für seine Frau."]
FINNISH = ["Hän on kotona, mutta me olemme vielä matkalla.", "Se ei ole niin vaikeaa kuin sinä luulet, joka päivä."]
ZULU = ["Ngiyabonga kakhulu ngosizo lwakho.", "Umuntu ngumuntu ngabantu.", "Abantwana bayadlala phandle."]


@pytest.mark.parametrize(
    ("language", "texts", "told"),
    [
        ("zu_ZA", ZULU, None),
        ("de_CH", GERMAN, None),
        (
            "zu_ZA",
            GERMAN,
            r"5\d% of the words are frequent words of German, 0% of Zulu: is it the right text\?",
        ),
        ("mt_MT", GERMAN, r"5\d% of the words are frequent words of German: is it the right text\?"),
        ("xh_ZA", FINNISH, "frequent words of Finnish, 0% of Xhosa"),
        ("et_EE", FINNISH, r"frequent words of Finnish, \d+% of Estonian"),
        ("lb_LU", GERMAN, None),  # near relatives of which one has no list are not told apart
        ("am_ET", ZULU, r"0% of the letters are in the usual script of Amharic \(ethiopic\), 100% are latin"),
        ("zu_ZA", ["12 34"], "the text has no letters"),
    ],
)
def test_text_that_does_not_look_like_the_language_is_told(language, texts, told):
    found = cautions(language, texts)
    assert found == () if told is None else re.search(told, found[0])
