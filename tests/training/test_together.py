"""Runs whose seeds are trained together: the files of each seed are those that it has when it trains alone."""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
import torch
from command_line import finetune as finetune_command
from command_line import refused
from test_fine_tuning import DiedError, Job, flip, notices, same

from xmodctl.core.events import Event, SeedFinished, SeedStarted, StepsTaken, StepTaken
from xmodctl.core.signals import Interrupted
from xmodctl.run.deltas import load_delta
from xmodctl.run.jobs import joined

SEEDS = (1, 2, 3)
TOGETHER = "seeds_together=true"


def job(tiny_model, pairs, folder: Path, *settings: str, together: bool = True, **options) -> Job:
    return Job(tiny_model, pairs, folder, *settings, *[TOGETHER] * together, seeds=SEEDS, **options)


def steps_together(events) -> list[int]:
    """Return the steps that all seeds took together."""
    taken = [event.steps for event in events if isinstance(event, StepsTaken)]
    assert all(len({step.step for step in steps.values()}) == 1 for steps in taken)
    return [next(iter(steps.values())).step for steps in taken]


def lines_of(folder: Path, seed: int) -> list[dict]:
    return [json.loads(line) for line in (folder / f"seed-{seed}" / "metrics.jsonl").read_text().splitlines()]


def close(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.allclose(one[name], other[name], atol=1e-4) for name in one)


def deltas(own: Job) -> list[dict[str, torch.Tensor]]:
    return [own.delta(seed) for seed in SEEDS]


@pytest.mark.parametrize(
    "settings",
    [
        ("keep=last", "layer_decay=0.8"),
        ("keep=source-dev", "tokens_per_step=64"),
        ("keep=average:2", "save_steps=4"),
        ("keep=ema:0.8", "code_switching=0.3"),
    ],
    ids=lambda settings: settings[0],
)
def test_each_seed_has_the_files_that_it_has_alone(settings, tiny_model, pairs, tmp_path):
    both = [job(tiny_model, pairs, tmp_path / str(mode), *settings, together=mode) for mode in (True, False)]
    events = both[0].train()
    both[1].train()
    assert steps_together(events) == list(range(1, 19))
    assert [(event.seed, event.known) for event in events if isinstance(event, SeedFinished)] == [
        (seed, False) for seed in SEEDS
    ]
    for seed in SEEDS:
        folders = [one.run.folder / f"seed-{seed}" for one in both]
        assert [sorted(path.name for path in folder.iterdir()) for folder in folders] == [
            ["delta.safetensors", "metrics.jsonl"]
        ] * 2
        logs = [lines_of(one.run.folder, seed) for one in both]
        for together, alone in zip(*logs, strict=True):
            assert together.keys() == alone.keys()
            seconds = together.pop("seconds", 1.0), alone.pop("seconds", 1.0)
            assert min(seconds) > 0
            for key, value in alone.items():
                assert together[key] == (pytest.approx(value, rel=1e-5) if isinstance(value, float) else value), key
        (own, facts), (other, expected) = (load_delta(one.run.delta(seed), one.source) for one in both)
        assert close(own, other)
        assert facts == expected


def test_seeds_that_train_in_several_languages_have_the_losses_that_they_have_alone(
    tiny_model, pairs, tmp_path, write_pairs
):
    write_pairs(pairs, "de", "train", 20)
    both = [
        job(tiny_model, pairs, tmp_path / str(mode), "epochs=1", together=mode, lang="en,de") for mode in (True, False)
    ]
    assert steps_together(both[0].train()) == list(range(1, 10))
    both[1].train()
    for seed in SEEDS:
        losses = [[line["loss"] for line in lines_of(one.run.folder, seed) if "loss" in line] for one in both]
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_run_that_is_stopped_goes_on_together_to_the_same_bits(tiny_model, pairs, tmp_path):
    whole = job(tiny_model, pairs, tmp_path / "whole")
    whole.train()
    stopped = job(tiny_model, pairs, tmp_path / "stopped")

    def interrupt(event: Event) -> None:
        if isinstance(event, StepsTaken) and event.mean.step == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match=r"at step 4 of 18 \(seeds 1, 2, 3\)"):
        stopped.train(interrupt)
    for seed in SEEDS:
        assert [path.name for path in (stopped.run.folder / f"seed-{seed}" / "checkpoints").iterdir()] == ["step-4"]
    events = job(tiny_model, pairs, tmp_path / "stopped").train()
    assert [event.resumed_at for event in events if isinstance(event, SeedStarted)] == [4, 4, 4]
    assert steps_together(events) == list(range(5, 19))
    assert all(same(*pair) for pair in zip(deltas(whole), deltas(stopped), strict=True))


def died_at_14(tiny_model, pairs, folder: Path) -> Job:
    died = job(tiny_model, pairs, folder)

    def die(event: Event) -> None:
        if isinstance(event, StepsTaken) and event.mean.step == 14:
            raise DiedError

    with pytest.raises(DiedError):
        died.train(die)
    return died


def test_a_run_that_died_goes_on_together_from_the_last_whole_epoch(tiny_model, pairs, tmp_path):
    whole = job(tiny_model, pairs, tmp_path / "whole")
    whole.train()
    died = died_at_14(tiny_model, pairs, tmp_path / "died")
    assert steps_together(job(tiny_model, pairs, tmp_path / "died").train()) == list(range(13, 19))
    assert all(same(*pair) for pair in zip(deltas(whole), deltas(died), strict=True))


SAVES = {
    "in the first epoch": ("resumable.save_checkpoint", 1, [0, 0, 0]),
    "in the second epoch": ("resumable.save_checkpoint", 5, [6, 6, 6]),
    "between deltas": ("open_training.save_delta", 1, [18, 18]),
    "before the last delta": ("open_training.save_delta", 2, [18]),
}


@pytest.mark.parametrize("settings", [(), ("save_steps=5", "keep=average:2")], ids=str)
@pytest.mark.parametrize("moment", SAVES)
def test_a_run_that_is_killed_while_it_saves_its_seeds_goes_on_to_the_same_bits(
    moment, settings, tiny_model, pairs, tmp_path, monkeypatch
):
    whole = job(tiny_model, pairs, tmp_path / "whole", *settings)
    whole.train()
    name, count, starts = SAVES[moment]
    module, _, function = name.partition(".")
    save, calls = getattr(sys.modules[f"xmodctl.training.{module}"], function), []

    def save_and_die(*args):
        save(*args)
        calls.append(args)
        if len(calls) == count:
            raise DiedError

    died = job(tiny_model, pairs, tmp_path / "died", *settings)
    with monkeypatch.context() as patch:
        patch.setattr(f"xmodctl.training.{name}", save_and_die)
        with pytest.raises(DiedError):
            died.train()
    events = job(tiny_model, pairs, tmp_path / "died", *settings).train()
    expected = [step and step - step % 5 if settings and step < 18 else step for step in starts]
    assert [event.resumed_at for event in events if isinstance(event, SeedStarted)] == expected
    assert "trained alone" not in notices(events)
    for seed in SEEDS:
        assert whole.run.delta(seed).read_bytes() == died.run.delta(seed).read_bytes()
        folder = died.run.folder / f"seed-{seed}"
        assert sorted(path.name for path in folder.iterdir()) == ["delta.safetensors", "metrics.jsonl"]
        steps = [line["step"] for line in lines_of(died.run.folder, seed) if "loss" in line]
        assert steps == list(range(1, 19))


def test_a_damaged_checkpoint_takes_all_seeds_to_the_one_before(tiny_model, pairs, tmp_path):
    whole = job(tiny_model, pairs, tmp_path / "whole")
    whole.train()
    died = died_at_14(tiny_model, pairs, tmp_path / "died")
    flip(died.run.folder / "seed-2" / "checkpoints" / "step-12" / "optimizer.safetensors")
    events = job(tiny_model, pairs, tmp_path / "died").train()
    assert "seed 2: training resumes from the checkpoint before it, at step 6" in notices(events)
    assert steps_together(events) == list(range(7, 19))
    assert all(same(*pair) for pair in zip(deltas(whole), deltas(died), strict=True))


def test_seeds_without_a_shared_checkpoint_go_on_alone_and_this_is_said(tiny_model, pairs, tmp_path):
    whole = job(tiny_model, pairs, tmp_path / "whole", together=False)
    whole.train()
    died = died_at_14(tiny_model, pairs, tmp_path / "died")
    shutil.rmtree(died.run.folder / "seed-2" / "checkpoints")
    events = job(tiny_model, pairs, tmp_path / "died").train()
    assert "(seed 1 at step 12, seed 2 at step 0, seed 3 at step 12), so each is trained alone" in notices(events)
    assert not steps_together(events)
    assert [event.resumed_at for event in events if isinstance(event, SeedStarted)] == [12, 0, 12]
    assert all(close(*pair) for pair in zip(deltas(whole), deltas(died), strict=True))


def test_a_seed_that_is_new_does_not_take_the_others_back_to_the_start(tiny_model, pairs, tmp_path):
    stopped = job(tiny_model, pairs, tmp_path / "run")

    def interrupt(event: Event) -> None:
        if isinstance(event, StepsTaken) and event.mean.step == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted):
        stopped.train(interrupt)
    shutil.rmtree(stopped.run.folder / "seed-3")
    events = job(tiny_model, pairs, tmp_path / "run").train()
    assert [event.resumed_at for event in events if isinstance(event, SeedStarted)] == [4, 4, 0]


def test_a_seed_that_is_trained_is_not_trained_again(tiny_model, pairs, tmp_path):
    first = job(tiny_model, pairs, tmp_path / "run", "epochs=1")
    first.train()
    before = first.run.delta(2).read_bytes()
    expected = deltas(first)
    for seed in (1, 3):
        shutil.rmtree(first.run.folder / f"seed-{seed}")
    events = job(tiny_model, pairs, tmp_path / "run", "epochs=1").train()
    assert [event.seed for event in events if isinstance(event, SeedStarted)] == [1, 3]
    assert {tuple(event.steps) for event in events if isinstance(event, StepsTaken)} == {(1, 3)}
    assert {(event.seed, event.known) for event in events if isinstance(event, SeedFinished)} == {
        (1, False), (2, True), (3, False),
    }  # fmt: skip
    assert first.run.delta(2).read_bytes() == before
    assert all(close(*pair) for pair in zip(expected, deltas(first), strict=True))


def test_a_seed_that_another_job_trains_is_left_to_it(tiny_model, pairs, tmp_path):
    own = job(tiny_model, pairs, tmp_path / "run", "epochs=1")
    with joined(own.run.folder) as other, other.claim("seed 1") as is_free:
        assert is_free
        events: list[Event] = []
        with pytest.raises(Exception, match="seed 1"):
            own.train(events.append)
    assert {tuple(event.steps) for event in events if isinstance(event, StepsTaken)} == {(2, 3)}
    events = job(tiny_model, pairs, tmp_path / "run", "epochs=1").train()
    assert [event.seed for event in events if isinstance(event, SeedStarted)] == [1], "a single seed trains alone"
    assert sum(isinstance(event, StepTaken) for event in events) == 6


def test_the_plan_has_the_switch_and_resume_follows_it(tiny_model, pairs, tmp_path):
    from xmodctl.new_language.resuming import resume

    folder = tmp_path / "run"
    own = job(tiny_model, pairs, folder, "epochs=1")
    assert json.loads((folder / "run.json").read_text())["plan"]["recipe"]["seeds_together"] is True
    events: list[Event] = []
    resume(folder, listen=events.append)
    assert steps_together(events) == list(range(1, 7))
    assert own.run.delta(3).exists()


def test_the_command_says_which_seed_was_scored_and_writes_what_it_writes_alone(tiny_model, pairs, tmp_path):
    words = ("--seeds", "1,2", "--set", "epochs=2", "--json")
    results = [
        finetune_command(tiny_model, pairs, tmp_path / mode, *words, "--set", f"seeds_together={mode}")
        for mode in ("true", "false")
    ]
    assert [result.exit_code for result in results] == [0, 0], results[0].output
    together, alone = (json.loads(result.stdout) for result in results)
    assert together.keys() == alone.keys()
    assert "seed 1, epoch 1: " in results[0].stderr
    assert "seed 2, epoch 2: " in results[0].stderr
    assert "step 12 of 12" in results[0].stderr


REFUSED = {
    ("--set", "compile=true"): "cannot be combined with compile=true; use --set compile=false, or train one seed after",
    (
        "--set",
        "rdrop=0.5",
        "--set",
        "dropout=0.1",
    ): "cannot be combined with rdrop=0.5; use --set rdrop=0, or train one seed after",
    ("--set", "tokens_per_step=auto"): "needs a number of tokens_per_step; use --set tokens_per_step=4096, or train",
    ("--set", "stages=[{task: xnli}]"): "is for recipes without stages; use --set 'stages=[]', or train one seed after",
    (
        "--lang",
        "en,de",
        "--set",
        "freeze=none",
    ): "needs frozen adapters; use --set freeze=embeddings+adapters, name one",
    ("--shots", "2", "--shot-langs", "de"): "needs the same rows for every seed; omit --shots, or train one seed after",
}


@pytest.mark.parametrize("words", REFUSED, ids=" ".join)
def test_what_cannot_be_trained_together_is_refused_before_anything_is_read(words, tiny_model, pairs, tmp_path):
    for more in (("--dry-run",), ()):
        result = finetune_command(tiny_model, pairs, tmp_path / "run", "--set", TOGETHER, *words, *more)
        assert REFUSED[words] in refused(result)
    assert not (tmp_path / "run").exists()


def test_several_processes_and_trackers_are_refused(tiny_model, pairs, tmp_path, monkeypatch):
    from xmodctl.training.joint_checks import check_one_process
    from xmodctl.training.world import World

    own = job(tiny_model, pairs, tmp_path / "run")
    check_one_process(own.run.plan, World())
    with pytest.raises(Exception, match=r"needs a single process; omit --processes"):
        check_one_process(own.run.plan, World(rank=1, size=2))
    monkeypatch.setattr("xmodctl.training.trackers.find_spec", lambda name: True)
    result = finetune_command(
        tiny_model, pairs, tmp_path / "tracked", "--set", TOGETHER, "--seeds", "1,2", "--track", "tensorboard"
    )
    assert "cannot be combined with --track tensorboard; omit --track" in refused(result)
    assert not (tmp_path / "tracked").exists()


def test_a_dry_run_counts_the_memory_and_the_disk_of_all_seeds(tiny_model, pairs, tmp_path):
    words = ("--seeds", "1,2,3", "--dry-run", "--json")
    alone, together = (
        json.loads(
            finetune_command(tiny_model, pairs, tmp_path / "run", *words, "--set", f"seeds_together={mode}").stdout
        )
        for mode in ("false", "true")
    )
    assert together["memory_bytes"] > alone["memory_bytes"]
    assert together["disk_bytes"] > alone["disk_bytes"]
    assert together["tokens_per_step"] == alone["tokens_per_step"]
