"""Trackers hear what the display hears; they are optional, and told when missing."""

import sys
from pathlib import Path

import pytest
from scored import make_run

from xmodctl.core.errors import UserError
from xmodctl.core.events import StepTaken
from xmodctl.run.run import Run
from xmodctl.training import trackers
from xmodctl.training.finetune import finetune


def test_a_tracker_that_does_not_exist_is_refused_with_near_misses():
    with pytest.raises(UserError, match="did you mean wandb"):
        trackers.check_trackers(["wand"])


@pytest.mark.parametrize("name", trackers.TRACKERS)
def test_a_missing_package_is_told_with_the_one_command_that_installs_it(name, monkeypatch):
    monkeypatch.setattr(trackers, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=rf'pip install "xmodctl\[{name}\]"'):
        trackers.check_trackers([name])


def test_each_tracker_has_an_extra_that_installs_its_package():
    import tomllib

    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    extras = tomllib.loads(text)["project"]["optional-dependencies"]
    for name in trackers.TRACKERS:
        assert [package.partition(">")[0] for package in extras[name]] == [name]


@pytest.mark.parametrize("name", trackers.TRACKERS)
def test_accelerate_has_an_adapter_of_each_that_takes_our_arguments(name, tmp_path):
    made = trackers.Trackers([name], make_run(tmp_path))._make(name, 1)
    assert made.name == name
    assert callable(made.start)


def train(model: Path, data: Path, out: Path, listen) -> Run:
    overrides = {"epochs": 1, "batch_size": 8, "max_length": 32}
    return finetune(
        "xnli", "en", model=str(model), data=data, overrides=overrides, seeds=(1, 2), out=out,
        track=["tensorboard"], listen=listen,
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_gets_the_curve_of_each_seed(tiny_model, pairs, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    losses: list[float] = []
    run = train(
        tiny_model,
        pairs,
        tmp_path / "run",
        lambda event: losses.append(event.loss) if isinstance(event, StepTaken) else 0,
    )
    results = []
    for seed in run.seeds:
        events = EventAccumulator(str(run.folder / "tensorboard" / f"seed-{seed}"))
        events.Reload()
        curve = events.Scalars("train/loss")
        assert [point.step for point in curve] == [1, 2, 3, 4, 5, 6]
        results += [point.value for point in curve]
        assert len(events.Scalars("validation/accuracy")) == 1
    assert results == pytest.approx(losses)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_steps_of_a_stage_come_before_those_of_the_task(tiny_model, pairs, tmp_path, write_pairs):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write_pairs(tmp_path / "first", "en", "train", 16, seed=5)
    stages = [{"task": "xnli", "epochs": 2, "data": str(tmp_path / "first")}]
    overrides = {"epochs": 1, "batch_size": 8, "max_length": 32, "stages": stages}
    run = finetune(
        "xnli", "en", model=str(tiny_model), data=pairs, overrides=overrides, out=tmp_path / "run",
        track=["tensorboard"],
    )  # fmt: skip
    events = EventAccumulator(str(run.folder / "tensorboard" / "seed-1"))
    events.Reload()
    assert [point.step for point in events.Scalars("train/loss")] == list(range(1, 11))
    assert [point.step for point in events.Scalars("validation/accuracy")] == [10]


class Talkative:
    """A tracker that prints, as some do."""

    name, finished = "talkative", False

    def start(self) -> None:
        sys.stdout.write("started")

    def store_init_configuration(self, values: dict[str, object]) -> None:
        sys.stdout.write(str(values))

    def finish(self) -> None:
        sys.stdout.write("finished")
        self.finished = True


@pytest.fixture
def talkative(monkeypatch) -> Talkative:
    tracker = Talkative()
    monkeypatch.setattr(trackers.Trackers, "_make", lambda *_: tracker)
    return tracker


def test_an_interrupted_training_closes_its_trackers(tmp_path, talkative):
    def interrupted() -> None:
        with trackers.Trackers(["talkative"], make_run(tmp_path)) as opened:
            opened.start(1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert talkative.finished


def test_standard_output_is_kept_for_results(tmp_path, talkative, capsys):
    with trackers.Trackers(["talkative"], make_run(tmp_path)) as opened:
        opened.start(1)
    printed = capsys.readouterr()
    assert not printed.out
    assert "finished" in printed.err


def test_the_settings_are_plain_values_that_tell_the_run(tmp_path):
    settings = trackers.Trackers([], make_run(tmp_path)).settings(3)
    assert settings["seed"] == 3
    assert settings["learning_rate"] == 2e-5
    assert settings["language"] == "en_XX"
    assert all(isinstance(value, bool | int | float | str) for value in settings.values())
