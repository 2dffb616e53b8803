"""The masked-language-modeling head of a checkpoint without one: trained once, cached, shared."""

import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
from additions import addition, equal, of, run

from xmodctl import model, resume
from xmodctl.core.errors import UserError
from xmodctl.core.events import HeadStep, HeadTrained, Notice, StepTaken
from xmodctl.core.signals import Interrupted
from xmodctl.training.masked_lm.integrity import tensor_digests


@pytest.fixture(scope="module")
def model_with_head(tiny_model, tmp_path_factory) -> Path:
    """Return the tiny model with a masked-language-modeling head."""
    import transformers

    folder = tmp_path_factory.mktemp("models") / "headed"
    shutil.copytree(tiny_model, folder)
    torch.manual_seed(0)
    transformers.XmodForMaskedLM.from_pretrained(tiny_model).save_pretrained(folder)
    return folder


def test_a_head_is_trained_once_and_reproducibly(zulu, tmp_path, monkeypatch):
    arguments, events, package = zulu
    trained = of(HeadTrained, events)[0]
    assert trained.after < trained.before - 1
    again, same = run(arguments, tmp_path / "run")
    cached = of(HeadTrained, again)[0]
    left = tmp_path / "run" / "seed-1" / "zu_ZA.training" / "step-5"
    left.mkdir(parents=True)  # by a process that was killed after it wrote the package
    run(arguments, tmp_path / "run")
    assert not left.parent.exists()
    assert same[0].facts["head"] == package.facts["head"]
    assert (cached.known, cached.identity, cached.after) == (True, trained.identity, trained.after)
    monkeypatch.setenv("XMODCTL_CACHE", str(tmp_path / "cache"))  # an empty cache
    anew, packages = run(arguments, tmp_path / "anew")
    assert not of(HeadTrained, anew)[0].known
    assert equal(packages[0], package)


@pytest.mark.slow
def test_a_damaged_head_is_trained_again(zulu, tmp_path, monkeypatch):
    arguments, events, _ = zulu
    monkeypatch.setenv("XMODCTL_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "cache" / "heads" / f"{of(HeadTrained, events)[0].identity}.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"torn")
    again, _ = run(arguments, tmp_path / "run")
    assert not of(HeadTrained, again)[0].known


@pytest.mark.slow
def test_a_changed_bit_in_a_cached_head_is_noticed(zulu, tmp_path, monkeypatch):
    arguments, events, package = zulu
    monkeypatch.setenv("XMODCTL_CACHE", str(tmp_path / "cache"))
    run(arguments, tmp_path / "first")
    path = tmp_path / "cache" / "heads" / f"{of(HeadTrained, events)[0].identity}.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
    again, packages = run(arguments, tmp_path / "again")
    assert f"the cached head {path} is damaged; it is trained again" in [event.text for event in of(Notice, again)]
    assert not of(HeadTrained, again)[0].known
    assert path.read_bytes() == whole
    assert equal(packages[0], package)


@pytest.mark.slow
def test_a_cache_that_cannot_be_written_stops_no_training(zulu, tmp_path, monkeypatch):
    arguments, _, package = zulu
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XMODCTL_CACHE", str(tmp_path / "file"))
    events, packages = run(arguments, tmp_path / "run")
    assert any("the head is not cached in" in event.text for event in of(Notice, events))
    assert equal(packages[0], package)


@pytest.mark.slow
def test_a_recipe_that_leaves_dropout_to_the_checkpoint_gives_one_adapter_however_it_is_trained(
    tiny_model, write_text, tmp_path, monkeypatch
):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("title: dropout as in the checkpoint\nepochs: 1\nbatch_size: 32\nlearning_rate: 0.05\n")
    texts, overrides = {"zu": write_text("zu")}, {"max_length": 32, "save_steps": 2}
    arguments = {"texts": texts, "model": tiny_model, "recipe": recipe, "overrides": overrides}
    monkeypatch.setenv("XMODCTL_CACHE", str(tmp_path / "cache"))
    events, (trained,) = run(arguments, tmp_path / "head-trained")
    assert not of(HeadTrained, events)[0].known
    events, (cached,) = run(arguments, tmp_path / "head-cached")
    assert of(HeadTrained, events)[0].known
    assert (trained.folder / "adapter.safetensors").read_bytes() == (cached.folder / "adapter.safetensors").read_bytes()

    def interrupt(event):
        if isinstance(event, StepTaken) and event.step == 3:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted):
        run(arguments, tmp_path / "resumed", listen=interrupt)
    events, (resumed,) = run(arguments, tmp_path / "resumed")
    assert equal(resumed, trained)


@pytest.mark.slow
def test_a_damaged_package_of_a_run_is_trained_again(zulu, tmp_path):
    arguments, _, package = zulu
    _, (first,) = run(arguments, tmp_path / "run")
    path = first.folder / "adapter.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    events, (again,) = run(arguments, tmp_path / "run")
    assert any("is damaged" in event.text and "seed 1 is trained again" in event.text for event in of(Notice, events))
    assert path.read_bytes() == whole
    path.write_bytes(whole[:-3])
    assert resume(tmp_path / "run", 1, lambda _: None).finished_seeds == (1,)
    assert path.read_bytes() == whole
    assert equal(again, package)


def test_without_head_text_the_head_is_trained_on_the_languages_own_text(zulu, tiny_model, tmp_path):
    arguments, events, _ = zulu
    again, _ = run(addition(tiny_model, arguments["texts"], overrides={"epochs": 0.1}), tmp_path / "run")
    assert of(HeadTrained, again)[0].identity != of(HeadTrained, events)[0].identity


@pytest.mark.slow
def test_a_head_trained_on_the_languages_own_text_does_not_depend_on_the_language_before(
    tiny_model, write_text, tmp_path, monkeypatch
):
    texts = {"zu": write_text("zu"), "xh": write_text("xh")}
    results = {}
    for name, some in {"alone": {"xh": texts["xh"]}, "after": texts}.items():
        monkeypatch.setenv("XMODCTL_CACHE", str(tmp_path / f"cache-{name}"))  # an empty cache
        events, packages = run(addition(tiny_model, some, overrides={"epochs": 0.2}), tmp_path / name)
        assert not any(event.known for event in of(HeadTrained, events))
        results[name] = of(HeadTrained, events)[-1], packages[-1]
    assert results["alone"][0].after == results["after"][0].after
    assert equal(results["alone"][1], results["after"][1])


def test_the_head_of_a_checkpoint_is_used_unchanged(model_with_head, write_text, head_text, tmp_path):
    texts = {"zu": write_text("zu")}
    events, (package,) = run(addition(model_with_head, texts, overrides={"epochs": 0.1}), tmp_path / "run")
    assert not of(HeadTrained, events)
    assert package.facts["head"] is None
    names = set(tensor_digests(model.load(model.find(str(model_with_head)), "masked-lm", ["en_XX"]), "zu_ZA"))
    assert len(names) == package.facts["untouched"]["tensors"]
    assert {"lm_head.bias", "lm_head.dense.weight"} <= names
    with pytest.raises(UserError, match=r"already has a masked-language-modeling head; remove --head-text"):
        run(addition(model_with_head, texts, head_text=head_text), tmp_path / "other")


def test_languages_with_the_same_head_text_share_one_head(open_model, write_text, head_text, tmp_path):
    """Even if they are placeholders of an open model, which the head's text does not go through."""
    texts = {"fr": write_text("zu"), "de": write_text("xh"), "yo": write_text("zu")}
    arguments = addition(open_model, texts, overrides={"epochs": 0.2}, head_text=head_text)
    events, _ = run(arguments, tmp_path / "three")
    first, *later = of(HeadTrained, events)
    assert [(event.known, event.identity) for event in later] == [(True, first.identity)] * 2


@pytest.mark.slow
def test_the_training_of_a_head_can_be_interrupted(zulu, tmp_path, monkeypatch):
    arguments, _, uninterrupted = zulu
    monkeypatch.setenv("XMODCTL_CACHE", str(tmp_path / "cache"))
    steps = []

    def stop(event):
        if isinstance(event, HeadStep):
            steps.append(event)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted, match=r"^stopped; run the same command again"):
        run(arguments, tmp_path / "run", listen=stop)
    assert len(steps) == 1
    _, packages = run(arguments, tmp_path / "run")
    assert equal(packages[0], uninterrupted)
