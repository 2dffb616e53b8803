"""Languages added to the tiny model: what is trained, what is measured, and that nothing else changes."""

import json
import math
import os
import shutil
import signal
from pathlib import Path

import pytest
import torch

from xmodctl import model
from xmodctl.adapters.attaching import attach
from xmodctl.adapters.vocabulary import EMBEDDINGS
from xmodctl.core.errors import UserError
from xmodctl.core.events import StepTaken
from xmodctl.new_language import adapter_initialisation as starting
from xmodctl.new_language import adding
from xmodctl.new_language.adding import AdapterStarted, Added, Interrupted, Ranked, VocabularyMade
from xmodctl.new_language.command import add_languages, look
from xmodctl.new_language.heads import HeadStep, HeadTrained
from xmodctl.new_language.integrity import digests
from xmodctl.new_language.plan import Asked, Extension

SETTINGS = ("epochs=4", "learning_rate=0.05", "max_length=32", "batch_size=32", "save_steps=5")


def asked(tiny_model: Path, *texts: tuple[str, Path], **more) -> Asked:
    settings = more.pop("settings", ())
    return Asked(
        tuple((language, str(path)) for language, path in texts),
        str(tiny_model), recipe="add-language-mini", overrides=(*SETTINGS, *settings), **more,
    )  # fmt: skip


def run(command: Asked, folder: Path, seeds: tuple[int, ...] = (1,), on_exists: str = "resume"):
    """Return the events of a command, and what it added."""
    events: list = []
    _, added = add_languages(command, seeds, folder, on_exists, events.append)
    return events, added


def tensors(one: Added) -> dict[str, torch.Tensor]:
    return one.package.tensors()


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def of(kind: type, events: list) -> list:
    return [event for event in events if isinstance(event, kind)]


@pytest.fixture(scope="module")
def zulu(tiny_model, write_text, head_text, tmp_path_factory):
    """Return a command, its events and what it added."""
    command = asked(tiny_model, ("zu", write_text("zu")), head_text=head_text)
    events, added = run(command, tmp_path_factory.mktemp("added") / "run")
    return command, events, added[0]


def test_the_new_adapter_predicts_held_out_text_better_than_every_control(zulu):
    _, events, added = zulu
    measured = {row.what: row for row in added.compared}
    assert measured.keys() == {"trained", "start", "best existing", "none", "frequencies"}
    for what, row in measured.items():
        if what != "trained":
            assert row.above == pytest.approx(row.loss - measured["trained"].loss)
            assert row.above_low < row.above < row.above_high
            assert row.above_low > 0 or what == "frequencies", what  # of made-up text, hard to beat
    ranked = of(Ranked, events)[0]
    assert measured["best existing"].adapter == ranked.candidates[0].adapter == ranked.start
    assert {one.adapter for one in ranked.candidates} == set(model.find(zulu[0].model).languages)
    assert [one.loss for one in ranked.candidates] == sorted(one.loss for one in ranked.candidates)


def test_only_the_adapter_trains_and_only_it_takes_optimiser_memory(zulu, tmp_path, monkeypatch):
    command, events, _ = zulu
    seen = []
    save = adding.save_checkpoint

    def watched(folder, progress, trained, optimizer):
        seen.append((set(trained), set(optimizer)))
        return save(folder, progress, trained, optimizer)

    monkeypatch.setattr(adding, "save_checkpoint", watched)
    run(command, tmp_path / "run")
    trained, optimizer = seen[0]
    assert all(".adapter_modules.zu_ZA." in name for name in trained)
    assert len(trained) == 2 * 4
    assert optimizer == {f"{name}.{part}" for name in trained for part in ("step", "exp_avg", "exp_avg_sq")}
    started = of(AdapterStarted, events)[0]
    assert started.trainable == 2 * (2 * 16 * 8 + 16 + 8)


def test_other_languages_give_the_same_logits_to_the_bit_and_the_checkpoint_is_not_touched(zulu):
    command, _, added = zulu
    source = model.find(command.model)
    ids = torch.tensor([[0, 5, 6, 7, 8, 2], [0, 9, 10, 2, 1, 1]])
    batch = {"input_ids": ids, "attention_mask": (ids != 1).long()}

    def logits(xmod, language: str) -> torch.Tensor:
        xmod.use(language)
        with torch.inference_mode():
            return xmod.module(**batch).last_hidden_state

    plain, extended = (model.load(source, "none", ["en_XX"]) for _ in range(2))
    attach(extended, added.package)
    new = logits(extended, "zu_ZA")
    for language in source.languages:
        assert torch.equal(logits(plain, language), logits(extended, language)), language
        assert not torch.equal(new, logits(plain, language))
    assert torch.equal(logits(extended, "zu_ZA"), new)


def test_the_package_tells_what_was_done_and_that_nothing_else_changed(zulu):
    command, _, added = zulu
    facts = added.package.facts
    assert (added.package.language, facts["seed"], facts["steps"]) == (
        "zu_ZA",
        1,
        4 * math.ceil(facts["sequences"] / 32),
    )
    stored = model.weights.Checkpoint(model.find(command.model).folder, "tiny").entries
    assert facts["untouched"]["tensors"] == added.untouched == len(stored)
    assert facts["text"]["kept"] + facts["text"]["duplicates"] == 450
    assert facts["held_out"][0]["what"] == "trained"


def test_a_tensor_that_changed_is_noticed(tiny_model, write_text, tmp_path, monkeypatch):
    train = adding.MaskedTraining.take

    def spoil(self, batch):
        with torch.no_grad():
            dict(self.model.module.named_parameters())["roberta.encoder.layer.0.output.dense.bias"].add_(1e-7)
        return train(self, batch)

    monkeypatch.setattr(adding.MaskedTraining, "take", spoil)
    command = asked(tiny_model, ("zu", write_text("zu")), settings=("epochs=0.1",))
    with pytest.raises(AssertionError, match=r"training zu_ZA changed roberta\.encoder\.layer\.0\.output\.dense\.bias"):
        run(command, tmp_path / "run")
    assert not (tmp_path / "run" / "seed-1" / "zu_ZA").exists()


def test_a_second_command_finds_the_adapter_and_trains_nothing(zulu):
    command, _, added = zulu
    events, again = run(command, added.package.folder.parents[1])
    assert not of(StepTaken, events)
    assert (again[0].known, again[0].compared) == (True, added.compared)
    folder = added.package.folder.parent
    assert sorted(path.name for path in folder.iterdir()) == ["zu_ZA", "zu_ZA.metrics.jsonl"]
    lines = [json.loads(line) for line in (folder / "zu_ZA.metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, added.package.facts["steps"] + 1))
    assert Extension.read(folder.parent).state == "finished"
    assert not [path for path in folder.parent.iterdir() if path.name.startswith(".text")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_training_goes_on_to_the_same_bits(zulu, tmp_path, number):
    command, _, whole = zulu
    steps = []

    def stop(event):
        steps.append(event.step) if isinstance(event, StepTaken) else None
        if isinstance(event, StepTaken) and event.step == 7:
            os.kill(os.getpid(), number)

    with pytest.raises(Interrupted, match=r"stopped at step 7 of .*zu_ZA, seed 1.*the same command goes on from there"):
        add_languages(command, (1,), tmp_path / "run", "resume", stop)
    assert Extension.read(tmp_path / "run").state == "interrupted"
    events, added = run(command, tmp_path / "run")
    assert of(AdapterStarted, events)[0].resumed_at == 7
    assert of(StepTaken, events)[0].step == 8
    assert of(Ranked, events)[0].known
    assert same(tensors(added[0]), tensors(whole))
    assert added[0].compared == whole.compared


def test_a_training_that_died_goes_on_from_its_last_checkpoint(zulu, tmp_path):
    command, _, whole = zulu

    class DiedError(Exception):
        pass

    def die(event):
        if isinstance(event, StepTaken) and event.step == 13:
            raise DiedError

    with pytest.raises(DiedError):
        add_languages(command, (1,), tmp_path / "run", "resume", die)
    events, added = run(command, tmp_path / "run")
    assert of(StepTaken, events)[0].step == 11
    assert same(tensors(added[0]), tensors(whole))


def test_languages_added_together_or_in_turn_in_any_order_are_the_same(
    zulu, tiny_model, write_text, head_text, tmp_path
):
    command, _, alone = zulu
    texts = [("zu", Path(command.texts[0][1])), ("xh", write_text("xh"))]
    _, both = run(asked(tiny_model, *texts, head_text=head_text), tmp_path / "both")
    _, reverse = run(asked(tiny_model, *reversed(texts), head_text=head_text), tmp_path / "reverse")
    _, xhosa = run(asked(tiny_model, texts[1], head_text=head_text), tmp_path / "xhosa")
    assert [one.package.language for one in both] == ["zu_ZA", "xh_ZA"]
    assert [one.package.language for one in reverse] == ["xh_ZA", "zu_ZA"]
    assert same(tensors(both[0]), tensors(alone))
    assert same(tensors(reverse[1]), tensors(alone))
    assert same(tensors(both[1]), tensors(xhosa[0]))
    assert same(tensors(reverse[0]), tensors(xhosa[0]))


def test_a_head_of_the_languages_own_text_does_not_depend_on_the_language_before(
    tiny_model, write_text, tmp_path, monkeypatch
):
    texts = [("zu", write_text("zu")), ("xh", write_text("xh"))]
    found = {}
    for name, some in {"alone": texts[1:], "after": texts}.items():
        monkeypatch.setenv("XMODCTL_CACHE", str(tmp_path / f"cache-{name}"))  # nothing is kept there
        events, added = run(asked(tiny_model, *some, settings=("epochs=0.2",)), tmp_path / name)
        assert not any(event.known for event in of(HeadTrained, events))
        found[name] = of(HeadTrained, events)[-1], tensors(added[-1])
    assert found["alone"][0].after == found["after"][0].after
    assert same(found["alone"][1], found["after"][1])


def test_seeds_give_different_adapters_of_the_same_head_and_start(zulu, tmp_path):
    command, _, first = zulu
    events, added = run(command, tmp_path / "run", seeds=(1, 2))
    assert [one.seed for one in added] == [1, 2]
    assert same(tensors(added[0]), tensors(first))
    assert not same(tensors(added[1]), tensors(first))
    assert len(of(HeadTrained, events)) == len(of(Ranked, events)) == 1


def test_a_head_is_trained_once_and_the_same_again(zulu, tmp_path, monkeypatch):
    command, events, added = zulu
    trained = of(HeadTrained, events)[0]
    assert trained.after < trained.before - 1
    again, _ = run(command, tmp_path / "run")
    kept = of(HeadTrained, again)[0]
    assert (kept.known, kept.identity, kept.after) == (True, trained.identity, trained.after)
    monkeypatch.setenv("XMODCTL_CACHE", str(tmp_path / "cache"))  # nothing is kept there
    anew, fresh = run(command, tmp_path / "anew")
    assert not of(HeadTrained, anew)[0].known
    assert same(tensors(fresh[0]), tensors(added))


def test_a_damaged_head_is_trained_again(zulu, tmp_path, monkeypatch):
    command, events, _ = zulu
    monkeypatch.setenv("XMODCTL_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "cache" / "heads" / f"{of(HeadTrained, events)[0].identity}.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"torn")
    again, _ = run(command, tmp_path / "run")
    assert not of(HeadTrained, again)[0].known


def test_without_head_text_the_head_is_trained_on_the_languages_own(zulu, tiny_model, tmp_path):
    command, events, _ = zulu
    other = asked(tiny_model, ("zu", Path(command.texts[0][1])), settings=("epochs=0.1",))
    again, _ = run(other, tmp_path / "run")
    assert of(HeadTrained, again)[0].identity != of(HeadTrained, events)[0].identity


@pytest.fixture(scope="module")
def headed(tiny_model, tmp_path_factory) -> Path:
    """Return the tiny model with a masked-language-modelling head of its own."""
    import transformers

    folder = tmp_path_factory.mktemp("models") / "headed"
    shutil.copytree(tiny_model, folder)
    torch.manual_seed(0)
    transformers.XmodForMaskedLM.from_pretrained(tiny_model).save_pretrained(folder)
    return folder


def test_a_checkpoints_own_head_is_used_as_it_is(headed, write_text, head_text, tmp_path):
    text = ("zu", write_text("zu"))
    events, added = run(asked(headed, text, settings=("epochs=0.1",)), tmp_path / "run")
    assert not of(HeadTrained, events)
    assert added[0].package.facts["head"] is None
    names = set(digests(model.load(model.find(str(headed)), "masked-lm", ["en_XX"]), "zu_ZA"))
    assert len(names) == added[0].untouched
    assert {"lm_head.bias", "lm_head.dense.weight"} <= names
    with pytest.raises(UserError, match=r"has a masked-language-modelling head of its own; leave --head-text out"):
        run(asked(headed, text, head_text=head_text), tmp_path / "other")


def test_an_open_models_placeholders_are_replaced_each_on_its_own(tiny_model, write_text, tmp_path):
    folder = tmp_path / "open"
    shutil.copytree(tiny_model, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"identity_adapters": True}))
    texts = [("en", write_text("zu")), ("de", write_text("xh"))]
    _, both = run(asked(folder, *texts, settings=("epochs=0.2",)), tmp_path / "both")
    _, german = run(asked(folder, texts[1], settings=("epochs=0.2",)), tmp_path / "german")
    assert [one.package.language for one in both] == ["en_XX", "de_DE"]
    assert same(tensors(both[1]), tensors(german[0]))
    assert both[0].untouched == both[1].untouched


def test_languages_whose_head_text_is_the_same_share_one_head(zulu, tiny_model, write_text, head_text, tmp_path):
    """Also where they are placeholders of an open model, which are no part of what the head's text goes through."""
    folder = tmp_path / "open"
    shutil.copytree(tiny_model, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"identity_adapters": True}))
    texts = [("fr", write_text("zu")), ("de", write_text("xh")), ("yo", write_text("zu"))]
    events, _ = run(asked(folder, *texts, settings=("epochs=0.2",), head_text=head_text), tmp_path / "three")
    first, *later = of(HeadTrained, events)
    assert [(one.known, one.identity) for one in later] == [(True, first.identity)] * 2


def test_a_stop_while_the_head_is_trained_is_heard(zulu, tmp_path, monkeypatch):
    command, _, whole = zulu
    monkeypatch.setenv("XMODCTL_CACHE", str(tmp_path / "cache"))
    heard = []

    def stop(event):
        if isinstance(event, HeadStep):
            heard.append(event)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted, match="stopped before the head was trained; the same command goes on"):
        add_languages(command, (1,), tmp_path / "run", "resume", stop)
    assert len(heard) == 1
    _, added = run(command, tmp_path / "run")
    assert same(tensors(added[0]), tensors(whole))


def test_a_stop_while_adapters_are_tried_is_heard(zulu, tmp_path, monkeypatch):
    command, _, added = zulu
    look, looks = starting.held_out, []

    def stop_then_look(*args, **more):
        looks.append(1)
        if len(looks) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return look(*args, **more)

    monkeypatch.setattr(starting, "held_out", stop_then_look)
    with pytest.raises(Interrupted, match="before the adapter was trained"):
        run(command, tmp_path / "run")
    assert len(looks) == 2
    monkeypatch.undo()
    _, again = run(command, tmp_path / "run")
    assert same(tensors(again[0]), tensors(added))


@pytest.mark.parametrize("start", ["sw_KE", "en_XX+de_DE", "identity", "random"])
def test_an_adapter_starts_where_it_is_told_to(tiny_model, write_text, tmp_path, start):
    command = asked(tiny_model, ("zu", write_text("zu")), init_from=start, settings=("epochs=0.1",))
    events, added = run(command, tmp_path / "run")
    assert of(Ranked, events)[0].start == added[0].package.facts["start"] == start
    sources = {row.adapter for row in added[0].compared if row.what in ("source", "best existing")}
    assert set(start.split("+")) - {"identity", "random"} <= sources


def test_a_language_can_have_a_vocabulary_of_its_own(zulu, tiny_model, head_text, tmp_path):
    command, _, kept = zulu
    own = asked(
        tiny_model, ("zu", Path(command.texts[0][1])), vocabulary="new", vocabulary_size=60, head_text=head_text
    )
    events, added = run(own, tmp_path / "run")
    made = of(VocabularyMade, events)[0]
    assert 10 < made.pieces <= 60
    package = added[0].package
    tokenizer = package.tokenizer()
    assert len(tokenizer) == made.pieces
    rows = {row.what: row for row in added[0].compared}
    assert rows["trained"].vocabulary == rows["start"].vocabulary == "its own"
    assert rows["none"].vocabulary == "the model's"
    assert rows["none"].above is None, "losses over other pieces are not comparable"
    assert rows["start"].above_low > 0
    assert package.tensors()[EMBEDDINGS].shape == (made.pieces, 16)
    assert added[0].untouched == kept.untouched


def test_another_plan_or_text_in_the_same_folder_is_refused(zulu, tiny_model, head_text, tmp_path):
    command, _, added = zulu
    folder = added.package.folder.parents[1]
    other = asked(tiny_model, ("zu", Path(command.texts[0][1])), head_text=head_text, settings=("epochs=5",))
    with pytest.raises(
        UserError, match=r"holds an added language with another plan \(recipe\.epochs: .*--on-exists redo"
    ):
        run(other, folder)
    with pytest.raises(UserError, match=r"holds an added language already; go on with --on-exists resume"):
        run(command, folder, on_exists="error")
    path = Path(command.texts[0][1])
    before = path.read_text()
    path.write_text(before + "the cat is not red\n")
    try:
        with pytest.raises(UserError, match=r"the zu_ZA data has changed since"):
            run(command, folder)
    finally:
        path.write_text(before)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"holds other files \(notes\.txt\); choose another folder with --out"):
        run(command, tmp_path)


def test_a_sequence_longer_than_the_model_is_refused_before_anything_is_read(tiny_model, tmp_path):
    command = asked(tiny_model, ("zu", tmp_path / "no.txt"), settings=("max_length=128",))
    with pytest.raises(UserError, match=r"max_length is 128, .* for 64 tokens; add --set max_length=64"):
        run(command, tmp_path / "run")


def test_a_look_writes_nothing_and_tells_the_cost(zulu, tmp_path, monkeypatch):
    command, events, _ = zulu
    monkeypatch.chdir(tmp_path)
    looked = look(command, seeds=2)
    steps = of(AdapterStarted, events)[0].total_steps
    assert looked.cost.steps == pytest.approx(steps, rel=0.15)
    assert looked.cost.parameters.trainable == of(AdapterStarted, events)[0].trainable
    assert looked.texts[0].corpus.counts.lines == 450
    assert not list(tmp_path.iterdir())
