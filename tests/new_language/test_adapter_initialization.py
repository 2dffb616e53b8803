"""What a new adapter is initialized from, and how the model's adapters are ranked."""

import os
import signal

import numpy as np
import pytest
import torch
from additions import equal, run

from xmodctl import model
from xmodctl.core.errors import UserError
from xmodctl.core.signals import Interrupted
from xmodctl.new_language.adapter_initialization import copied_tensors, drawn_tensors
from xmodctl.training.masked_lm import ranking
from xmodctl.training.masked_lm.held_out import HeldOutLoss
from xmodctl.training.masked_lm.masking import pack
from xmodctl.training.masked_lm.ranking import candidate_adapters, rank_adapters


@pytest.fixture
def xmod(tiny_model):
    return model.load(model.find(str(tiny_model)), "masked-lm", ["en_XX"])


def copied(tensors: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in tensors.values()]


def test_the_mean_of_several_adapters_leaves_them_as_they_are(xmod):
    before = {language: copied(xmod.adapter(language)) for language in ("en_XX", "sw_KE")}
    tensors = copied_tensors(xmod, "en_XX+sw_KE", "zu_ZA")
    assert list(tensors) == list(xmod.adapter_shapes("zu_ZA"))
    for number, tensor in enumerate(tensors.values()):
        assert torch.allclose(tensor, (before["en_XX"][number] + before["sw_KE"][number]) / 2, atol=1e-6)
        tensor.fill_(7)
    for language, tensors in before.items():
        for old, now in zip(tensors, xmod.adapter(language).values(), strict=True):
            assert torch.equal(old, now), language


def test_a_copy_shares_no_memory_with_its_source(xmod):
    tensors = copied_tensors(xmod, "en_XX", "zu_ZA")
    for copy, original in zip(tensors.values(), xmod.adapter("en_XX").values(), strict=True):
        assert torch.equal(copy, original)
        assert copy.data_ptr() != original.data_ptr()


def test_the_identity_changes_nothing_and_random_values_depend_on_seed_and_language(xmod):
    batch = {"input_ids": torch.tensor([[0, 5, 6, 7, 2]])}
    xmod.put_adapter("zu_ZA", drawn_tensors(xmod, "identity", "zu_ZA", seed=1))
    outputs = []
    with torch.inference_mode():
        for adapter in ("zu_ZA", None):
            xmod.use(adapter)
            outputs.append(xmod.module(**batch).logits)
    assert torch.equal(*outputs)

    def drawn(language: str, seed: int) -> torch.Tensor:
        return torch.cat([tensor.flatten() for tensor in drawn_tensors(xmod, "random", language, seed).values()])

    assert torch.equal(drawn("zu_ZA", 1), drawn("zu_ZA", 1))
    assert not torch.equal(drawn("zu_ZA", 1), drawn("zu_ZA", 2))
    assert not torch.equal(drawn("zu_ZA", 1), drawn("xh_ZA", 1))


def test_an_adapter_can_be_removed_from_memory_once_it_is_not_in_use(xmod):
    xmod.put_adapter("zu_ZA", drawn_tensors(xmod, "identity", "zu_ZA", seed=1))
    xmod.swap(["zu_ZA"])
    with pytest.raises(UserError, match="zu_ZA is in use: `swap` it out first"):
        xmod.forget("zu_ZA")
    xmod.swap(["sw_KE"])
    xmod.forget("zu_ZA")
    assert "zu_ZA" not in xmod.changed_adapters
    with pytest.raises(UserError, match="no adapter for 'zu_ZA'"):
        xmod.swap(["zu_ZA"])


def test_all_identity_adapters_are_one_candidate(xmod):
    assert candidate_adapters(xmod) == list(xmod.source.languages)
    for language in ("de_DE", "fr_XX"):
        xmod.put_adapter(language, drawn_tensors(xmod, "identity", language, seed=1))
    assert candidate_adapters(xmod) == ["en_XX", "sw_KE", "zh_CN", "zh_TW", "identity"]


def test_the_best_of_a_first_round_are_scored_on_more_text_and_the_best_comes_first(xmod, monkeypatch):
    packed = pack(["the cat sleeps red"] * 400, model.load_tokenizer(xmod.source), length=32)
    losses = dict(zip(xmod.source.languages, (3.0, 1.0, 2.0, 6.0, 5.0, 4.0), strict=True))
    scored_on: list[tuple[str | None, int]] = []

    def measure(scored, encoded, masker, *, precision, pad_id, units):
        scored_on.append((scored.active, len(units)))
        assert units[0] == 0
        assert units[-1] >= len(encoded) * 0.7, "spread over the text"
        return HeldOutLoss(np.full(len(units), losses[scored.active]), np.ones(len(units), dtype=np.int64))

    monkeypatch.setattr(ranking, "measure_held_out", measure)
    monkeypatch.setattr(ranking, "FINALISTS", 2)
    ranked = rank_adapters(xmod, candidate_adapters(xmod), packed, None, precision="fp32", pad_id=1)
    assert [candidate.adapter for candidate in ranked] == sorted(losses, key=losses.get)
    assert [candidate.tokens for candidate in ranked] == [32, 32, 4, 4, 4, 4]
    assert scored_on[-2:] == [("de_DE", 32), ("fr_XX", 32)]


@pytest.mark.slow
def test_the_ranking_can_be_interrupted(zulu, tmp_path, monkeypatch):
    arguments, _, uninterrupted = zulu
    measure, calls = ranking.measure_held_out, []

    def stop_then_measure(*args, **options):
        calls.append(1)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return measure(*args, **options)

    monkeypatch.setattr(ranking, "measure_held_out", stop_then_measure)
    with pytest.raises(Interrupted, match=r"^stopped; run the same command again"):
        run(arguments, tmp_path / "run")
    assert len(calls) == 2
    monkeypatch.undo()
    _, packages = run(arguments, tmp_path / "run")
    assert equal(packages[0], uninterrupted)
