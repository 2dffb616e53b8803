import json
import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from xmodctl.core.arguments import as_seeds
from xmodctl.core.errors import UserError
from xmodctl.core.events import DataEncoded, Event, Notice, SeedFinished, SeedStarted, StepTaken, Validated
from xmodctl.core.files import sha256_of
from xmodctl.core.safetensors_io import read_tensors, write_tensors
from xmodctl.core.schema import parse_override
from xmodctl.core.signals import Interrupted
from xmodctl.model import Source, find
from xmodctl.run.deltas import load_delta
from xmodctl.run.jobs import joined
from xmodctl.run.run import Run
from xmodctl.run.trained import Trained
from xmodctl.training import resumable
from xmodctl.training.fine_tuning import SeedTraining, fine_tune
from xmodctl.training.finetune import finetune
from xmodctl.training.kept_weights import KeptWeights
from xmodctl.training.loop import Training
from xmodctl.training.planning import resolve_plan
from xmodctl.training.request import FinetuneRequest
from xmodctl.training.training_data import EncodedTrainingData, load_training_data

SETTINGS = ("epochs=3", "batch_size=8", "learning_rate=0.01", "max_length=32")


class Job:
    """One finetune command, without the command line."""

    def __init__(self, model: Path, data: Path, folder: Path, *settings: str, lang: str = "en", **options) -> None:
        overrides = dict(parse_override(text) for text in (*SETTINGS, *settings))
        request = FinetuneRequest("xnli", lang, model=model, recipe="nli", overrides=overrides, data=data, **options)
        resolved, self.source = resolve_plan(request, find)
        self.data = load_training_data(resolved.plan, folder=data)
        folder.mkdir(exist_ok=True)
        fingerprints = {name: value for part in self.data for name, value in part.fingerprints.items()}
        self.run = Run.open(folder, resolved.plan, request.run_seeds, fingerprints, "resume")

    def train(self, listen=lambda event: None) -> list[Event]:
        """Train; return the events."""
        events: list[Event] = []

        def record(event: Event) -> None:
            events.append(event)
            listen(event)

        with joined(self.run.folder) as jobs:
            fine_tune(self.run, self.source, self.data, record, jobs=jobs)
        return events

    def delta(self, seed: int = 1) -> dict[str, torch.Tensor]:
        return load_delta(self.run.delta(seed), self.source)[0]


def steps(events) -> list[int]:
    return [event.step for event in events if isinstance(event, StepTaken)]


def stop_after(job: Job, step: int, number: int = signal.SIGINT) -> None:
    """Run a job and send a signal after a step, as Ctrl-C does."""

    def interrupt(event: Event) -> None:
        if isinstance(event, StepTaken) and event.step == step:
            os.kill(os.getpid(), number)

    with pytest.raises(Interrupted):
        job.train(interrupt)


class DiedError(Exception):
    """The process is gone: nothing more is written."""


def die_after(job: Job, step: int) -> None:
    """Run a job that dies after a step, before anything is saved."""

    def die(event: Event) -> None:
        if isinstance(event, StepTaken) and event.step == step:
            raise DiedError

    with pytest.raises(DiedError):
        job.train(die)


def same(encoded: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return encoded.keys() == other.keys() and all(torch.equal(encoded[name], other[name]) for name in encoded)


def test_a_run_trains_learns_and_keeps_only_what_trained(tiny_model, pairs, tmp_path):
    job = Job(tiny_model, pairs, tmp_path / "run", "epochs=30", "dropout=0", "attention_dropout=0")
    events = job.train()
    assert steps(events) == list(range(1, 181))
    scores = [event.value for event in events if isinstance(event, Validated)]
    assert scores[-1] == 100.0, "the hypothesis tells the label"
    assert isinstance(events[-1], SeedFinished)
    assert Run.read(job.run.folder).state == "finished"
    assert not [name for name in job.delta() if "embeddings" in name or "adapter_modules" in name]
    assert sorted(path.name for path in (job.run.folder / "seed-1").iterdir()) == ["delta.safetensors", "metrics.jsonl"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_training_saves_the_present_step_and_goes_on_to_the_same_bits(tiny_model, pairs, tmp_path, number):
    whole = Job(tiny_model, pairs, tmp_path / "whole")
    whole.train()

    stopped = Job(tiny_model, pairs, tmp_path / "stopped")
    stop_after(stopped, 4, number)
    assert Run.read(stopped.run.folder).state == "interrupted"
    again = Job(tiny_model, pairs, tmp_path / "stopped")
    events = again.train()
    assert next(event for event in events if isinstance(event, SeedStarted)).resumed_at == 4
    assert steps(events) == list(range(5, 19))
    assert same(whole.delta(), again.delta())


def test_a_run_that_is_deleted_while_it_trains_is_one_sentence_and_not_made_anew(tiny_model, pairs, tmp_path):
    folder = tmp_path / "run"

    def delete(event: Event) -> None:
        if isinstance(event, StepTaken) and event.step == 2:
            shutil.rmtree(folder)

    settings = {"epochs": 1, "batch_size": 8, "max_length": 32}
    with pytest.raises(UserError, match=r"run was deleted, moved, or replaced .*run the same command again"):
        finetune("xnli", "en", model=str(tiny_model), data=pairs, overrides=settings, out=folder, listen=delete)
    assert not folder.exists()


def test_what_is_left_when_a_training_dies_after_its_delta_is_removed(tiny_model, pairs, tmp_path):
    job = Job(tiny_model, pairs, tmp_path / "run")
    job.train()
    for name in ("checkpoints", "kept"):
        (job.run.folder / "seed-1" / name / "step-12").mkdir(parents=True)
    job.train()
    assert sorted(path.name for path in (job.run.folder / "seed-1").iterdir()) == ["delta.safetensors", "metrics.jsonl"]


def test_a_training_that_died_goes_on_from_the_last_whole_epoch(tiny_model, pairs, tmp_path):
    whole = Job(tiny_model, pairs, tmp_path / "whole")
    whole.train()
    died = Job(tiny_model, pairs, tmp_path / "died")
    die_after(died, 9)  # in the middle of the second epoch
    again = Job(tiny_model, pairs, tmp_path / "died")
    assert steps(again.train()) == list(range(7, 19))
    assert same(whole.delta(), again.delta())
    lines = [json.loads(line) for line in (died.run.folder / "seed-1" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 19))


def test_a_training_that_died_between_saving_and_scoring_scores_first(tiny_model, pairs, tmp_path):
    died = Job(tiny_model, pairs, tmp_path / "died")
    save = resumable.save_checkpoint

    def save_and_die(*args):
        save(*args)
        raise DiedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resumable, "save_checkpoint", save_and_die)
        with pytest.raises(DiedError):
            died.train()
    scored = [event.step for event in Job(tiny_model, pairs, tmp_path / "died").train() if isinstance(event, Validated)]
    assert scored == [6, 12, 18]


def notices(events) -> str:
    return "\n".join(event.text for event in events if isinstance(event, Notice))


def flip(path: Path) -> None:
    """Change one bit of a file's last quarter: of tensors, in a safetensors file."""
    raw = bytearray(path.read_bytes())
    raw[-len(raw) // 4] ^= 4
    path.write_bytes(raw)


def test_equal_trainings_write_equal_files(tiny_model, pairs, tmp_path):
    for name in "ab":
        Job(tiny_model, pairs, tmp_path / name, "epochs=1").train()
    first, second = ((tmp_path / name / "seed-1" / "delta.safetensors").read_bytes() for name in "ab")
    assert first == second


def test_a_damaged_checkpoint_is_replaced_by_the_one_before_and_this_is_said(tiny_model, pairs, tmp_path):
    whole = Job(tiny_model, pairs, tmp_path / "whole")
    whole.train()
    died = Job(tiny_model, pairs, tmp_path / "died")
    die_after(died, 14)
    flip(died.run.folder / "seed-1" / "checkpoints" / "step-12" / "optimizer.safetensors")
    again = Job(tiny_model, pairs, tmp_path / "died")
    events = again.train()
    assert re.search(r"step-12 is not used, because it is damaged\n.*resumes .* at step 6", notices(events))
    assert steps(events) == list(range(7, 19))
    assert same(whole.delta(), again.delta())
    metrics = [(tmp_path / name / "seed-1" / "metrics.jsonl").read_text().splitlines() for name in ("whole", "died")]
    assert [json.loads(line)["step"] for line in metrics[0]] == [json.loads(line)["step"] for line in metrics[1]]


def test_a_training_without_a_usable_checkpoint_says_that_it_restarts(tiny_model, pairs, tmp_path):
    died = Job(tiny_model, pairs, tmp_path / "died")
    die_after(died, 14)
    for path in (died.run.folder / "seed-1" / "checkpoints").glob("*/manifest.json"):
        path.write_text("{}")
    events = Job(tiny_model, pairs, tmp_path / "died").train()
    assert "no checkpoint can be used; training restarts at step 0" in notices(events)
    assert steps(events) == list(range(1, 19))


def test_a_checkpoint_of_an_earlier_version_is_used_and_its_damage_is_noticed(tiny_model, pairs, tmp_path):
    died = Job(tiny_model, pairs, tmp_path / "died")
    die_after(died, 14)
    saved = {step: died.run.folder / "seed-1" / "checkpoints" / f"step-{step}" for step in (6, 12)}
    for folder in saved.values():
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["files"] = {name: sha256_of(folder / name) for name in manifest["files"]}
        (folder / "manifest.json").write_text(json.dumps(manifest))
    flip(saved[12] / "trained.safetensors")
    events = Job(tiny_model, pairs, tmp_path / "died").train()
    assert "step-12 is not used, because it is damaged" in notices(events)
    assert steps(events) == list(range(7, 19))


def test_a_stopped_training_leaves_the_removal_of_checkpoints_to_the_command_that_continues(
    tiny_model, pairs, tmp_path
):
    stopped = Job(tiny_model, pairs, tmp_path / "stopped", "save_steps=2")
    folder = stopped.run.folder / "seed-1" / "checkpoints"
    stop_after(stopped, 7)
    assert sorted(path.name for path in folder.iterdir()) == ["step-4", "step-6", "step-7"]
    seen = []

    def look(event: Event) -> None:
        if isinstance(event, StepTaken) and not seen:
            seen.extend(sorted(path.name for path in folder.iterdir()))

    Job(tiny_model, pairs, tmp_path / "stopped", "save_steps=2").train(look)
    assert seen == ["step-6", "step-7"]


@pytest.mark.parametrize("epoch", [1, 3])
def test_a_training_that_is_stopped_in_a_validation_loses_no_step(epoch, tiny_model, pairs, tmp_path, monkeypatch):
    settings = "keep=source-dev", "save_steps=100"
    whole, stopped = (Job(tiny_model, pairs, tmp_path / name, *settings) for name in ("whole", "stopped"))
    whole.train()
    with monkeypatch.context() as patch:
        validated = KeptWeights.validated

        def stop(kept: KeptWeights, training: Training, *scores: Any) -> None:
            if training.step == 6 * epoch:
                os.kill(os.getpid(), signal.SIGTERM)
            validated(kept, training, *scores)

        patch.setattr(KeptWeights, "validated", stop)
        with pytest.raises(Interrupted):
            stopped.train()
    events = Job(tiny_model, pairs, tmp_path / "stopped", *settings).train()
    assert steps(events) == list(range(6 * epoch + 1, 19))
    assert same(whole.delta(), stopped.delta())


def test_a_damaged_line_of_the_log_costs_only_the_steps_after_it(tiny_model, pairs, tmp_path):
    whole = Job(tiny_model, pairs, tmp_path / "whole", "keep=source-dev")
    whole.train()
    died = Job(tiny_model, pairs, tmp_path / "died", "keep=source-dev")
    die_after(died, 14)
    log = died.run.folder / "seed-1" / "metrics.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    lines[10] = b'{"step": \xff}\n'
    log.write_bytes(b"".join(lines))
    events = Job(tiny_model, pairs, tmp_path / "died", "keep=source-dev").train()
    assert "step-12 is not used, because metrics.jsonl is damaged before its step" in notices(events)
    assert steps(events) == list(range(7, 19))
    assert same(whole.delta(), died.delta())


def test_a_training_does_not_go_on_without_the_validations_that_choose_its_weights(tiny_model, pairs, tmp_path):
    whole = Job(tiny_model, pairs, tmp_path / "whole", "keep=source-dev")
    whole.train()
    died = Job(tiny_model, pairs, tmp_path / "died", "keep=source-dev")
    die_after(died, 14)
    log = died.run.folder / "seed-1" / "metrics.jsonl"
    log.unlink()
    events = Job(tiny_model, pairs, tmp_path / "died", "keep=source-dev").train()
    assert "step-12 is not used, because metrics.jsonl is missing" in notices(events)
    assert "no checkpoint can be used; training restarts at step 0" in notices(events)
    assert steps(events) == list(range(1, 19))
    assert same(whole.delta(), died.delta())
    assert json.loads(log.read_text().splitlines()[0])["step"] == 1


@pytest.mark.parametrize("name", ["delta.safetensors", "metrics.jsonl"])
def test_a_folder_in_the_place_of_a_file_is_one_sentence(tiny_model, pairs, tmp_path, name):
    job = Job(tiny_model, pairs, tmp_path / "run", "epochs=1")
    (job.run.folder / "seed-1" / name).mkdir(parents=True)
    with pytest.raises(UserError, match=f"{name} is not a regular file; move it away, and run the command again"):
        job.train()


@pytest.mark.parametrize(("keep", "name"), [("source-dev", "best"), ("average:3", "6")])
def test_damaged_kept_weights_restart_the_training(tiny_model, pairs, tmp_path, keep, name):
    whole = Job(tiny_model, pairs, tmp_path / "whole", f"keep={keep}")
    whole.train()
    died = Job(tiny_model, pairs, tmp_path / "died", f"keep={keep}")
    die_after(died, 14)
    flip(died.run.folder / "seed-1" / "kept" / f"{name}.safetensors")
    events = Job(tiny_model, pairs, tmp_path / "died", f"keep={keep}").train()
    assert f"{name}.safetensors is damaged or missing; training restarts at step 0" in notices(events)
    assert same(whole.delta(), died.delta())


@pytest.mark.parametrize("damage", [flip, lambda path: path.write_bytes(path.read_bytes()[:-9])])
def test_a_damaged_delta_is_trained_again_alone(tiny_model, pairs, tmp_path, damage):
    job = Job(tiny_model, pairs, tmp_path / "run", "epochs=1", seeds=(1, 2))
    job.train()
    whole = job.run.delta(2).read_bytes()
    damage(job.run.delta(2))
    command = rf"seed 2 again: xmodctl resume {job.run.folder} --seed 2"
    with pytest.raises(UserError, match=command):
        Trained.load(job.run, job.source, 2, "en_XX")
    events = Job(tiny_model, pairs, tmp_path / "run", "epochs=1", seeds=(1, 2)).train()
    assert "delta.safetensors is damaged; seed 2 is trained again" in notices(events)
    assert [(event.seed, event.known) for event in events if isinstance(event, SeedFinished)] == [(1, True), (2, False)]
    assert job.run.delta(2).read_bytes() == whole


def test_a_delta_of_an_older_version_is_read(tiny_model, pairs, tmp_path):
    job = Job(tiny_model, pairs, tmp_path / "run", "epochs=1")
    job.train()
    tensors, metadata = read_tensors(job.run.delta(1))
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}  # not mapped from the file that is written
    write_tensors(job.run.delta(1), tensors, metadata | {"format": "xmodctl-delta-1"})
    assert same(job.delta(), tensors)
    events = Job(tiny_model, pairs, tmp_path / "run", "epochs=1").train()
    assert [event.known for event in events if isinstance(event, SeedFinished)] == [True]


@pytest.mark.parametrize("facts", ["{", "[]", "[" * 100_000, "null"])
def test_a_delta_with_damaged_metadata_is_one_sentence(tiny_model, pairs, tmp_path, facts):
    job = Job(tiny_model, pairs, tmp_path / "run", "epochs=1")
    job.train()
    tensors, metadata = read_tensors(job.run.delta(1))
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    for key in ("base", "facts"):
        write_tensors(job.run.delta(1), tensors, metadata | {key: facts}, sealed=True)
        with pytest.raises(UserError, match="does not say which base model it belongs to"):
            job.delta()


def test_finished_seeds_are_not_trained_again_and_new_ones_are(tiny_model, pairs, tmp_path):
    Job(tiny_model, pairs, tmp_path / "run").train()
    events = Job(tiny_model, pairs, tmp_path / "run", seeds=(1, 2)).train()
    assert [(event.seed, event.known) for event in events if isinstance(event, SeedFinished)] == [(1, True), (2, False)]
    assert len(steps(events)) == 18


def test_source_dev_keeps_the_step_that_scored_best_and_says_so(tiny_model, pairs, tmp_path):
    # So high a rate at the end of training that the last epoch is not the best one.
    job = Job(tiny_model, pairs, tmp_path / "run", "keep=source-dev", "schedule=constant", "learning_rate=0.02")
    events = job.train()
    scores = {event.step: event.value for event in events if isinstance(event, Validated)}
    best = max(scores, key=lambda step: (scores[step], -step))
    _, facts = load_delta(job.run.delta(1), job.source)
    assert facts["step"] == best
    assert facts["selected_on"] == "validation data of en_XX"


@pytest.fixture
def saved(monkeypatch) -> dict[int, dict[str, torch.Tensor]]:
    """Return the weights of each checkpoint that a training saves, by step."""
    save, saved = resumable.save_checkpoint, {}

    def note(folder, progress, tensors, optimizer):
        saved[progress.step] = {name: tensor.clone() for name, tensor in tensors.items()}
        save(folder, progress, tensors, optimizer)

    monkeypatch.setattr(resumable, "save_checkpoint", note)
    return saved


def test_the_weights_after_the_last_epochs_can_be_averaged(tiny_model, pairs, tmp_path, saved):
    whole = Job(tiny_model, pairs, tmp_path / "whole", "keep=average:2")
    whole.train()
    assert list(saved) == [6, 12, 18]
    assert same(whole.delta(), {name: (tensor + saved[18][name]) / 2 for name, tensor in saved[12].items()})
    _, facts = load_delta(whole.run.delta(1), whole.source)
    assert facts["selected_on"] == "nothing (mean of the last 2 epochs)"
    files = sorted(path.name for path in (whole.run.folder / "seed-1").iterdir())
    assert files == ["delta.safetensors", "metrics.jsonl"]

    # What was averaged so far outlives a stop.
    stop_after(Job(tiny_model, pairs, tmp_path / "stopped", "keep=average:2"), 14)
    again = Job(tiny_model, pairs, tmp_path / "stopped", "keep=average:2")
    again.train()
    assert same(whole.delta(), again.delta())


@pytest.mark.parametrize(
    ("settings", "averaged", "selected_on"),
    [
        (("epochs=2", "keep=average:4"), [6, 12], "nothing (mean of the last 2 epochs)"),
        (("epochs=1", "keep=average:2"), [6], "nothing (last step)"),
        (("epochs=0.5", "keep=average:2"), [3], "nothing (last step)"),
    ],
)
def test_an_average_of_more_epochs_than_there_are_is_that_of_all(
    settings, averaged, selected_on, tiny_model, pairs, tmp_path, saved
):
    job = Job(tiny_model, pairs, tmp_path / "run", *settings)
    job.train()
    assert list(saved) == averaged
    assert same(job.delta(), {name: sum(saved[step][name] for step in saved) / len(saved) for name in job.delta()})
    assert load_delta(job.run.delta(1), job.source)[1]["selected_on"] == selected_on


def test_the_moving_average_of_all_steps_is_kept_and_outlives_a_stop(tiny_model, pairs, tmp_path):
    last = Job(tiny_model, pairs, tmp_path / "last")
    last.train()
    whole = Job(tiny_model, pairs, tmp_path / "whole", "keep=ema:0.9")
    whole.train()
    assert not same(whole.delta(), last.delta())
    _, facts = load_delta(whole.run.delta(1), whole.source)
    assert (facts["step"], facts["selected_on"]) == (18, "nothing (moving average of all steps)")
    stop_after(Job(tiny_model, pairs, tmp_path / "stopped", "keep=ema:0.9"), 14)
    again = Job(tiny_model, pairs, tmp_path / "stopped", "keep=ema:0.9")
    again.train()
    assert same(whole.delta(), again.delta())


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ("average:1", "is not 'last', 'source-dev', 'average:N'"),
        ("average:two", "is not .last"),
        ("best", "is not .last"),
    ],
)
def test_what_cannot_be_kept_is_refused(tiny_model, pairs, tmp_path, keep, message):
    with pytest.raises(UserError, match=message):
        Job(tiny_model, pairs, tmp_path / "run", f"keep={keep}")


def test_a_delta_fits_only_the_base_it_was_trained_on(tiny_model, pairs, tmp_path):
    job = Job(tiny_model, pairs, tmp_path / "run", "epochs=0.2")
    job.train()
    other = Source(**{**vars(job.source), "id": "another/model", "config_sha256": "f" * 64})
    with pytest.raises(UserError, match=r"was trained on .*tiny .*, not on another/model"):
        load_delta(job.run.delta(1), other)


def test_a_damaged_delta_is_told_with_the_remedy(tiny_model, pairs, tmp_path):
    job = Job(tiny_model, pairs, tmp_path / "run", "epochs=0.2")
    job.train()
    path = job.run.delta(1)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"is damaged .*--on-exists redo"):
        job.delta()


@pytest.mark.parametrize("text", ["", "1,1", "-1", "one", "1.5", "1,,2"])
def test_seeds_that_are_no_list_of_different_numbers_are_refused(text):
    with pytest.raises(UserError, match="--seeds"):
        as_seeds(text)


# --- several languages, stages, shots ---------------------------------------------------------------------------------


@pytest.fixture
def two_sources(pairs, write_pairs) -> Path:
    write_pairs(pairs, "de", "train", 24)
    return pairs


@pytest.mark.slow
def test_several_sources_train_through_their_own_adapters_and_are_validated_in_each(tiny_model, two_sources, tmp_path):
    settings = ("epochs=25", "dropout=0", "attention_dropout=0")
    job = Job(tiny_model, two_sources, tmp_path / "run", *settings, lang="en,de")
    events = job.train()
    (started,) = [event for event in events if isinstance(event, SeedStarted)]
    assert started.languages == (("en_XX", 48), ("de_DE", 24))
    validated = [event for event in events if isinstance(event, Validated)][-1]
    assert list(validated.values) == ["en_XX", "de_DE"]
    assert validated.value == pytest.approx(sum(validated.values.values()) / 2)
    assert validated.value > 80 > validated.baseline == pytest.approx(100 / 3)
    assert not [name for name in job.delta() if "adapter_modules" in name]
    assert load_delta(job.run.delta(1), job.source)[1]["selected_on"] == "nothing (last step)"


def test_a_batch_of_several_languages_has_the_gradient_of_each_row_through_its_own_adapter(
    tiny_model, two_sources, tmp_path
):
    import numpy as np

    from xmodctl.model import load_tokenizer
    from xmodctl.model.batches import collate

    settings = ("tokens_per_step=64", "dropout=0", "attention_dropout=0")
    command = Job(tiny_model, two_sources, tmp_path / "run", *settings, lang="en,de")
    encoded = EncodedTrainingData.encode(command.data[-1], load_tokenizer(command.source))
    seed = SeedTraining(command.run, command.source, 1, lambda event: None)
    model = seed.load_model(encoded, None)
    with torch.no_grad():  # adapters that differ
        for parameter_name, parameter in model.module.named_parameters():
            if "adapter_modules.de_DE" in parameter_name:
                parameter.normal_(std=0.5)
    job, _ = seed.prepare(model, encoded)
    rows, languages = job.rows, job.languages
    batch = next(batch for batch in job.batches(0) if len(set(languages[np.concatenate(batch)])) == 2)
    assert len(batch) > 1
    loss = job.accumulate(batch)
    mixed = {name: item.grad.clone() for name, item in job.training_parameters().items()}
    model.module.zero_grad()
    units, total = np.concatenate(batch), 0.0
    for unit in units:
        inputs = collate(rows, [unit], pad_id=1)
        del inputs["lang_ids"]
        model.activate(("en_XX", "de_DE")[languages[unit]])
        item = model.module(**inputs).loss / len(units)
        item.backward()
        total += float(item.detach())
    assert loss == pytest.approx(total, abs=1e-6)
    for name, item in job.training_parameters().items():
        assert torch.allclose(mixed[name], item.grad, atol=1e-6), name


@pytest.mark.slow
def test_a_training_in_several_languages_goes_on_to_the_same_bits(tiny_model, two_sources, tmp_path):
    settings = ("sampling_alpha=0.3", "freeze=none")
    whole = Job(tiny_model, two_sources, tmp_path / "whole", *settings, lang="en,de")
    whole.train()
    assert {name.split(".")[6] for name in whole.delta() if "adapter_modules" in name} == {"en_XX", "de_DE"}
    stopped = Job(tiny_model, two_sources, tmp_path / "stopped", *settings, lang="en,de")
    stop_after(stopped, 11)
    again = Job(tiny_model, two_sources, tmp_path / "stopped", *settings, lang="en,de")
    assert steps(again.train())[0] == 12
    assert same(whole.delta(), again.delta())


def stage_of(folder: Path, epochs: int = 2) -> str:
    return f"stages=[{{task: xnli, epochs: {epochs}, data: {folder}}}]"


def test_a_stage_comes_first_and_hands_its_weights_and_head_on(tiny_model, pairs, tmp_path, write_pairs):
    write_pairs(tmp_path / "first", "en", "train", 24, seed=5)
    job = Job(tiny_model, pairs, tmp_path / "run", stage_of(tmp_path / "first"))
    events = job.train()
    started = [event for event in events if isinstance(event, SeedStarted)]
    assert [(item.stage, item.total_steps, item.steps_before) for item in started] == [("xnli", 6, 0), ("", 18, 6)]
    assert [event for event in events if isinstance(event, StepTaken)][6].step == 1
    stage = job.run.stage_folder(1, 1)
    assert [path.name for path in stage.iterdir()] == ["metrics.jsonl"], "what it trained is in the seed's delta now"
    alone = Job(tiny_model, pairs, tmp_path / "alone")
    alone.train()
    assert not same(job.delta(), alone.delta())


@pytest.mark.parametrize("stopped_at", [2, 9])
def test_a_training_stopped_in_any_stage_goes_on_to_the_same_bits(tiny_model, pairs, tmp_path, write_pairs, stopped_at):
    write_pairs(tmp_path / "first", "en", "train", 24, seed=5)
    stage = stage_of(tmp_path / "first")
    whole = Job(tiny_model, pairs, tmp_path / "whole", stage)
    whole.train()
    stopped = Job(tiny_model, pairs, tmp_path / "stopped", stage)
    taken = 0

    def interrupt(event: Event) -> None:
        nonlocal taken
        taken += isinstance(event, StepTaken)
        if isinstance(event, StepTaken) and taken == stopped_at:
            os.kill(os.getpid(), signal.SIGINT)

    place = r"step 2 of 6 \(seed 1, stage xnli\)" if stopped_at == 2 else r"step 3 of 18 \(seed 1\)"
    with pytest.raises(Interrupted, match=place):
        stopped.train(interrupt)
    again = Job(tiny_model, pairs, tmp_path / "stopped", stage)
    assert len(steps(again.train())) == 24 - stopped_at
    assert same(whole.delta(), again.delta())


def test_each_draw_of_shots_is_a_seed_that_trains_on_other_examples_from_the_same_start(tiny_model, pairs, tmp_path):
    shots = {"shots": 6, "shot_langs": "de,fr", "shot_seeds": 2, "seeds": 4}
    job = Job(tiny_model, pairs, tmp_path / "run", **shots)
    events = job.train()
    message = next(event for event in events if isinstance(event, DataEncoded)).notes
    assert [note.partition(" are")[0] for note in message] == ["shots of de_DE", "shots of fr_XX"]
    assert message[0].endswith("de/validation.jsonl")
    started = [event for event in events if isinstance(event, SeedStarted)]
    assert [item.languages for item in started] == [(("en_XX", 48), ("de_DE", 6), ("fr_XX", 6))] * 2
    first, second = (json.loads(job.run.shots(seed).read_text()) for seed in (1, 2))
    assert [(item["language"], item["adapter"], item["split"], len(item["ids"])) for item in first] == [
        ("de", "de_DE", "validation", 6), ("fr", "fr_XX", "validation", 6),
    ]  # fmt: skip
    assert first[0]["ids"] != second[0]["ids"]
    assert not same(job.delta(1), job.delta(2))


def test_rows_longer_than_the_model_reads_are_refused_before_training(tiny_model, pairs, tmp_path):
    path = pairs / "en" / "train.jsonl"
    row = json.loads(path.read_text().splitlines()[0]) | {"premise": "cat " * 90}
    path.write_text(path.read_text() + json.dumps(row) + "\n")
    recipe = tmp_path / "long.yaml"
    recipe.write_text("title: long\nepochs: 1\nbatch_size: 8\nlearning_rate: 0.01\nmax_length: 200\n")
    with pytest.raises(UserError, match=r"max_length is 200, but .* at most 64 tokens; add --set max_length=64"):
        finetune("xnli", "en", model=tiny_model, data=pairs, recipe=recipe, out=tmp_path / "run", listen=print)
    assert not list(tmp_path.glob("run/seed-*"))


@pytest.mark.parametrize(
    "settings", [("code_switching=0.3",), ("code_switching=0.3", "rdrop=1", "dropout=0.1")], ids=len
)
def test_a_code_switched_training_that_was_stopped_ends_with_the_same_bits(settings, tiny_model, pairs, tmp_path):
    unbroken = Job(tiny_model, pairs, tmp_path / "unbroken", *settings, "epochs=1")
    unbroken.train()
    plain = Job(tiny_model, pairs, tmp_path / "plain", *settings, "epochs=1", "code_switching=0")
    plain.train()
    stopped = Job(tiny_model, pairs, tmp_path / "stopped", *settings, "epochs=1")
    stop_after(stopped, 2)
    stopped.train()
    tensors = unbroken.delta()
    assert all(torch.equal(tensor, stopped.delta()[name]) for name, tensor in tensors.items())
    assert any(not torch.equal(tensor, plain.delta()[name]) for name, tensor in tensors.items())
