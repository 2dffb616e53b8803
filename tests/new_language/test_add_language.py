"""Languages added to the tiny model: what trains, what is measured, and that nothing else changes."""

import json
import math
import os
import shutil
import signal
from fractions import Fraction

import pytest
import torch
from additions import addition, equal, held_out, of, run

from tests.scarce import Scarcity
from xmodctl import model, resume
from xmodctl.adapters.attaching import attach
from xmodctl.adapters.mixtures import Mixture
from xmodctl.adapters.packages import write_package
from xmodctl.adapters.vocabulary import EMBEDDINGS
from xmodctl.core.errors import UserError
from xmodctl.core.events import (
    AdapterAdded,
    AdaptersRanked,
    AdapterStarted,
    HeadTrained,
    MixtureFound,
    Notice,
    StepTaken,
    VocabularyTrained,
)
from xmodctl.core.signals import Interrupted
from xmodctl.new_language.dry_run import plan_add_language
from xmodctl.new_language.language_run import LanguageRun
from xmodctl.training import resumable
from xmodctl.training.masked_lm.masked_training import MaskedTraining
from xmodctl.training.masked_lm.mixing import mix


def test_the_new_adapter_predicts_held_out_text_better_than_every_baseline(zulu):
    arguments, events, package = zulu
    measured = held_out(package)
    assert measured.keys() == {"trained", "start", "best existing", "none", "frequencies"}
    for label, row in measured.items():
        if label != "trained":
            assert row["above"] == pytest.approx(row["loss"] - measured["trained"]["loss"])
            assert row["above_low"] < row["above"] < row["above_high"]
            assert row["above_low"] > 0 or label == "frequencies", label  # hard to beat on an invented text
    ranked = of(AdaptersRanked, events)[0]
    assert measured["best existing"]["adapter"] == ranked.losses[0][0] == ranked.start
    assert {adapter for adapter, _ in ranked.losses} == set(model.find(str(arguments["model"])).languages)
    assert [loss for _, loss in ranked.losses] == sorted(loss for _, loss in ranked.losses)


def test_only_the_adapter_trains_and_only_it_takes_optimizer_memory(zulu, tmp_path, monkeypatch):
    arguments, events, _ = zulu
    saved = []
    save = resumable.save_checkpoint

    def watch(folder, progress, trained, optimizer):
        saved.append((set(trained), set(optimizer)))
        return save(folder, progress, trained, optimizer)

    monkeypatch.setattr(resumable, "save_checkpoint", watch)
    run(arguments, tmp_path / "run")
    trained, optimizer = saved[0]
    assert all(".adapter_modules.zu_ZA." in name for name in trained)
    assert len(trained) == 2 * 4
    assert optimizer == {f"{name}.{part}" for name in trained for part in ("step", "exp_avg", "exp_avg_sq")}
    assert of(AdapterStarted, events)[0].trainable == 2 * (2 * 16 * 8 + 16 + 8)


def test_logits_of_other_languages_stay_bit_identical(zulu):
    arguments, _, package = zulu
    source = model.find(str(arguments["model"]))
    ids = torch.tensor([[0, 5, 6, 7, 8, 2], [0, 9, 10, 2, 1, 1]])
    batch = {"input_ids": ids, "attention_mask": (ids != 1).long()}

    def logits(xmod, language: str) -> torch.Tensor:
        xmod.use(language)
        with torch.inference_mode():
            return xmod.module(**batch).last_hidden_state

    original, extended = (model.load(source, "none", ["en_XX"]) for _ in range(2))
    attach(extended, package)
    new = logits(extended, "zu_ZA")
    for language in source.languages:
        assert torch.equal(logits(original, language), logits(extended, language)), language
        assert not torch.equal(new, logits(original, language))
    assert torch.equal(logits(extended, "zu_ZA"), new)


def test_the_package_records_its_training_and_that_nothing_else_changed(zulu):
    arguments, events, package = zulu
    facts = package.facts
    assert (package.language, facts["seed"]) == ("zu_ZA", 1)
    assert facts["steps"] == 4 * math.ceil(facts["sequences"] / 32)
    stored = model.weights.CheckpointTensors(model.find(str(arguments["model"])).folder, "tiny").entries
    assert facts["untouched"]["tensors"] == of(AdapterAdded, events)[0].unchanged_tensors == len(stored)
    assert facts["text"]["kept"] + facts["text"]["duplicates"] == 450
    assert facts["held_out"][0]["what"] == "trained"


@pytest.mark.slow
def test_a_changed_tensor_is_detected(tiny_model, write_text, tmp_path, monkeypatch):
    update = MaskedTraining.update

    def spoil(self, batch, gradient):
        with torch.no_grad():
            dict(self.model.module.named_parameters())["roberta.encoder.layer.0.output.dense.bias"].add_(1e-7)
        return update(self, batch, gradient)

    monkeypatch.setattr(MaskedTraining, "update", spoil)
    arguments = addition(tiny_model, {"zu": write_text("zu")}, overrides={"epochs": 0.1})
    with pytest.raises(AssertionError, match=r"training zu_ZA changed roberta\.encoder\.layer\.0\.output\.dense\.bias"):
        run(arguments, tmp_path / "run")
    assert not (tmp_path / "run" / "seed-1" / "zu_ZA").exists()


def test_a_second_call_finds_the_adapter_and_trains_nothing(zulu):
    arguments, _, package = zulu
    events, again = run(arguments, package.folder.parents[1])
    assert not of(StepTaken, events)
    assert of(AdapterAdded, events)[0].known
    assert again[0].facts == package.facts
    folder = package.folder.parent
    assert sorted(path.name for path in folder.iterdir()) == ["zu_ZA", "zu_ZA.metrics.jsonl"]
    lines = [json.loads(line) for line in (folder / "zu_ZA.metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, package.facts["steps"] + 1))
    assert LanguageRun.read(folder.parent).state == "finished"
    assert not [path for path in folder.parent.iterdir() if path.name.startswith(".text")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_resumes_to_the_same_bits(zulu, tmp_path, number):
    arguments, _, uninterrupted = zulu

    def stop(event):
        if isinstance(event, StepTaken) and event.step == 7:
            os.kill(os.getpid(), number)

    with pytest.raises(Interrupted, match=r"stopped at step 7 of .*zu_ZA, seed 1.*run the same command again"):
        run(arguments, tmp_path / "run", listen=stop)
    assert LanguageRun.read(tmp_path / "run").state == "interrupted"
    events, packages = run(arguments, tmp_path / "run")
    assert of(AdapterStarted, events)[0].resumed_at == 7
    assert of(StepTaken, events)[0].step == 8
    assert of(AdaptersRanked, events)[0].known
    assert equal(packages[0], uninterrupted)
    assert packages[0].facts["held_out"] == uninterrupted.facts["held_out"]


def test_a_training_that_died_resumes_from_its_last_checkpoint(zulu, tmp_path):
    arguments, _, uninterrupted = zulu

    class DiedError(Exception):
        pass

    def die(event):
        if isinstance(event, StepTaken) and event.step == 13:
            raise DiedError

    with pytest.raises(DiedError):
        run(arguments, tmp_path / "run", listen=die)
    ranking = tmp_path / "run" / "zu_ZA.start.json"
    whole = ranking.read_text()
    best, second = (candidate["adapter"] for candidate in json.loads(whole)["candidates"][:2])
    ranking.write_text(whole.replace(f'"start": "{best}"', f'"start": "{second}"'))
    events, packages = run(arguments, tmp_path / "run")
    assert not of(AdaptersRanked, events)[0].known, "a changed ranking is not used"
    assert ranking.read_text() == whole
    assert of(StepTaken, events)[0].step == 11
    assert equal(packages[0], uninterrupted)


@pytest.mark.slow
def test_languages_added_together_or_in_turn_in_any_order_are_the_same(
    zulu, tiny_model, write_text, head_text, tmp_path
):
    arguments, _, alone = zulu
    texts = {"zu": arguments["texts"]["zu"], "xh": write_text("xh")}
    reverse_texts = dict(reversed(texts.items()))
    _, both = run(addition(tiny_model, texts, head_text=head_text), tmp_path / "both")
    _, reverse = run(addition(tiny_model, reverse_texts, head_text=head_text), tmp_path / "reverse")
    _, xhosa = run(addition(tiny_model, {"xh": texts["xh"]}, head_text=head_text), tmp_path / "xhosa")
    assert [package.language for package in both] == ["zu_ZA", "xh_ZA"]
    assert [package.language for package in reverse] == ["xh_ZA", "zu_ZA"]
    assert equal(both[0], alone)
    assert equal(reverse[1], alone)
    assert equal(both[1], xhosa[0])
    assert equal(reverse[0], xhosa[0])


@pytest.mark.slow
def test_seeds_give_different_adapters_with_the_same_head_and_initialization(zulu, tmp_path):
    arguments, _, first = zulu
    events, packages = run(arguments, tmp_path / "run", seeds=(1, 2))
    assert [package.facts["seed"] for package in packages] == [1, 2]
    assert equal(packages[0], first)
    assert not equal(packages[1], first)
    assert len(of(HeadTrained, events)) == len(of(AdaptersRanked, events)) == 1


@pytest.mark.slow
def test_placeholders_of_an_open_model_are_replaced_one_by_one(open_model, write_text, tmp_path):
    texts = {"en": write_text("zu"), "de": write_text("xh")}
    _, both = run(addition(open_model, texts, overrides={"epochs": 0.2}), tmp_path / "both")
    _, german = run(addition(open_model, {"de": texts["de"]}, overrides={"epochs": 0.2}), tmp_path / "german")
    assert [package.language for package in both] == ["en_XX", "de_DE"]
    assert equal(both[1], german[0])
    assert both[0].facts["untouched"]["tensors"] == both[1].facts["untouched"]["tensors"]


@pytest.mark.parametrize("start", ["sw_KE", "en_XX+de_DE", "identity", "random"])
def test_an_adapter_is_initialized_as_requested(tiny_model, write_text, tmp_path, start):
    arguments = addition(tiny_model, {"zu": write_text("zu")}, init_from=start, overrides={"epochs": 0.1})
    events, packages = run(arguments, tmp_path / "run")
    facts = packages[0].facts
    assert of(AdaptersRanked, events)[0].start == facts["start"] == start
    sources = {row["adapter"] for row in facts["held_out"] if row["what"] in ("source", "best existing")}
    assert set(start.split("+")) - {"identity", "random"} <= sources


def test_an_adapter_starts_from_a_mixture_and_is_as_wide_as_its_parts(tiny_model, zulu, write_text, tmp_path):
    arguments = addition(
        tiny_model, {"xh": write_text("xh")}, head_text=zulu[0]["head_text"], init_from="xh=0.75*sw+0.25*zu",
        adapters=zulu[2].folder, overrides={"epochs": 0.1, "learning_rate": 1e-9}, seeds="1,2",
    )  # fmt: skip
    _, (first, second) = run(arguments, tmp_path / "run")
    assert first.facts["start"] == "3*sw_KE+1*zu_ZA"
    assert first.width == 2 * zulu[2].width
    for name, tensor in first.tensors().items():  # which hardly move at this learning rate
        torch.testing.assert_close(tensor, second.tensors()[name], atol=1e-6, rtol=0)
    assert {row["adapter"] for row in first.facts["held_out"] if row["what"] == "source"} >= {"zu_ZA"}

    base = model.load(model.find(str(tiny_model)), "masked-lm", ["en_XX"])
    attach(base, zulu[2])
    attach(base, Mixture.of([("sw_KE", Fraction(3)), ("zu_ZA", Fraction(1))], [zulu[2]]))
    attach(base, first)
    batch, outputs = {"input_ids": torch.tensor([[0, 5, 6, 7, 2]])}, []
    with torch.inference_mode():
        for adapter in ("3*sw_KE+1*zu_ZA", "xh_ZA"):
            base.use(adapter)
            outputs.append(base.module(**batch).logits)
    assert torch.allclose(*outputs, atol=1e-5)
    assert first.facts["start_packages"][0]["sha256"] == zulu[2].sha256


def test_a_found_mixture_is_stored_and_leaves_the_model_as_it_is(tiny_model, zulu, write_text, tmp_path):
    texts, more = {"xh": write_text("xh")}, {"head_text": zulu[0]["head_text"], "overrides": {"epochs": 0.5}}
    arguments = addition(tiny_model, texts, init_from="xh=mix", adapters=[zulu[2].folder], **more)
    events, (package,) = run(arguments, tmp_path / "run")
    (ranked,), (mixture,) = of(AdaptersRanked, events), of(MixtureFound, events)
    assert "zu_ZA" in dict(ranked.losses)
    assert package.facts["start"] == ranked.start == mixture.mixture
    assert ranked.start.endswith("@text")
    assert mixture.loss <= mixture.best_loss
    _, (plain,) = run(addition(tiny_model, texts, **more), tmp_path / "plain")
    assert package.facts["untouched"] == plain.facts["untouched"]
    (tmp_path / "run/seed-1/xh_ZA/adapter.json").unlink()
    events, (again,) = run(arguments, tmp_path / "run")
    assert not of(MixtureFound, events), "the weights are read from the folder"
    assert equal(package, again)


def test_a_package_that_changed_since_the_folder_was_begun_is_refused(tiny_model, zulu, write_text, tmp_path):
    started_from = tmp_path / "zu_ZA"
    shutil.copytree(zulu[2].folder, started_from)
    arguments = addition(
        tiny_model, {"xh": write_text("xh")}, init_from="zu", adapters=started_from, overrides={"epochs": 0.1}
    )
    run(arguments, tmp_path / "run")
    (tmp_path / "run/seed-1/xh_ZA/adapter.json").unlink()
    shutil.rmtree(started_from)
    base = model.find(str(tiny_model))
    other = model.load(base, "none", ["en_XX"])
    write_package(started_from, base, "zu_ZA", {
        name.replace("sw_KE", "zu_ZA"): tensor.clone() for name, tensor in other.adapter("sw_KE").items()
    }, {})  # fmt: skip
    with pytest.raises(UserError, match=r"zu_ZA in .* is not the one that this folder was begun with"):
        resume(tmp_path / "run", listen=lambda _: None)


def test_packages_that_no_adapter_can_start_from_are_refused(tiny_model, zulu, write_text, tmp_path):
    text, package = write_text("xh"), zulu[2].folder
    wide = mix("yo=0.5*sw+0.5*zu", tmp_path / "yo_NG", model=tiny_model, adapters=[package], listen=lambda _: None)
    for languages, more, message in (
        ("zu", {}, r"is for zu_ZA, and zu_ZA is what is added"),
        ("xh", {"init_from": "yo+sw", "adapters": wide.folder}, r"yo_\w\w in .* is wider .* as in xh_ZA=yo\+sw"),
        ("xh", {"init_from": "so"}, r"no adapter for 'so'"),
    ):
        arguments = addition(tiny_model, {languages: text}, **{"adapters": package, **more})
        with pytest.raises(UserError, match=message):
            run(arguments, tmp_path / "refused")
    assert not (tmp_path / "refused").exists()


def test_a_language_can_have_its_own_vocabulary(zulu, tiny_model, head_text, tmp_path):
    arguments, _, kept = zulu
    own = addition(tiny_model, arguments["texts"], vocabulary="new", vocabulary_size=60, head_text=head_text)
    events, (package,) = run(own, tmp_path / "run")
    trained = of(VocabularyTrained, events)[0]
    assert 10 < trained.pieces <= 60
    assert len(package.tokenizer()) == trained.pieces
    rows = held_out(package)
    assert rows["trained"]["vocabulary"] == rows["start"]["vocabulary"] == "its own"
    assert rows["none"]["vocabulary"] == "the model's"
    assert rows["none"]["above"] is None, "losses over other pieces are not comparable"
    assert rows["start"]["above_low"] > 0
    assert package.tensors()[EMBEDDINGS].shape == (trained.pieces, 16)
    assert package.facts["untouched"]["tensors"] == kept.facts["untouched"]["tensors"]


def test_another_plan_or_text_in_the_same_folder_is_refused(zulu, tiny_model, head_text, tmp_path):
    arguments, _, package = zulu
    folder = package.folder.parents[1]
    other = addition(tiny_model, arguments["texts"], head_text=head_text, overrides={"epochs": 5})
    with pytest.raises(
        UserError, match=r"an added language with a different plan \(recipe\.epochs: .*--on-exists redo"
    ):
        run(other, folder)
    with pytest.raises(UserError, match=r"already contains an added language; .*--on-exists resume"):
        run(arguments, folder, on_exists="error")
    path = arguments["texts"]["zu"]
    before = path.read_text()
    path.write_text(before + "the cat is not red\n")
    try:
        with pytest.raises(UserError, match=r"the zu_ZA data has changed since"):
            run(arguments, folder)
    finally:
        path.write_text(before)
    (tmp_path / "notes.txt").write_text("my notes")
    with pytest.raises(UserError, match=r"contains other files \(notes\.txt\); choose another folder with --out"):
        run(arguments, tmp_path)


def test_a_sequence_longer_than_the_model_is_refused_before_anything_is_read(tiny_model, tmp_path):
    arguments = addition(tiny_model, {"zu": tmp_path / "no.txt"}, overrides={"max_length": 128})
    with pytest.raises(UserError, match=r"max_length is 128, .* at most 64 tokens; add --set max_length=64"):
        run(arguments, tmp_path / "run")


def test_a_dry_run_writes_nothing_and_estimates_the_cost(zulu, tmp_path, monkeypatch):
    arguments, events, _ = zulu
    monkeypatch.chdir(tmp_path)
    dry_run = plan_add_language(**arguments, seeds=(1, 2))
    started = of(AdapterStarted, events)[0]
    assert dry_run.cost.steps == pytest.approx(started.total_steps, rel=0.15)
    assert dry_run.cost.parameters.trainable == started.trainable
    assert dry_run.texts[0].corpus.counts.lines == 450
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_an_adapter_is_added_with_as_little_memory_as_a_few_sequences_need(
    tiny_model, write_text, tmp_path, monkeypatch
):
    arguments = addition(tiny_model, {"zu": write_text("zu")}, overrides={"epochs": 1})
    _, (whole,) = run(arguments, tmp_path / "whole")
    monkeypatch.setenv("XMODCTL_CACHE", str(tmp_path / "cache"))  # the head is trained with as little memory
    scarcity = Scarcity(256, during_training=True).install(monkeypatch)
    events, (halved,) = run(arguments, tmp_path / "halved")
    assert scarcity.failures
    assert any("halved" in notice.text for notice in of(Notice, events))
    losses, others = held_out(whole), held_out(halved)
    assert [row["loss"] for row in losses.values()] == pytest.approx([row["loss"] for row in others.values()], abs=0.05)
