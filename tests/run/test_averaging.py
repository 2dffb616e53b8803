"""Averages of runs: the mean of the trained weights, as a run that every command reads."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from command_line import finetune, refused, run

from xmodctl.evaluation.results import read_rows
from xmodctl.run import averaging
from xmodctl.run.deltas import load_delta
from xmodctl.run.loading import find_base
from xmodctl.run.run import Run

ONE_HEAD = ("--set", "head_seed=7", "--set", "epochs=2")


@pytest.fixture(scope="module")
def seeds(tiny_model: Path, finished_run: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of two seeds with one head."""
    out = tmp_path_factory.mktemp("seeds") / "run"
    result = finetune(tiny_model, finished_run[1], out, *ONE_HEAD, "--seeds", "1,2")
    assert result.exit_code == 0, result.output
    return out


@pytest.fixture(scope="module")
def mean(seeds: Path) -> Path:
    """Return the average of both."""
    out = seeds.parent / "mean"
    result = run("runs", "average", seeds, "--out", out)
    assert result.exit_code == 0, result.output
    return out


def tensors(folder: Path, seed: int) -> dict[str, torch.Tensor]:
    read = Run.read(folder)
    return load_delta(read.delta(seed), find_base(read))[0]


def test_an_average_is_the_mean_of_every_trained_tensor(seeds: Path, mean: Path):
    one, two, both = tensors(seeds, 1), tensors(seeds, 2), tensors(mean, 1)
    assert both.keys() == one.keys()
    assert any(not torch.equal(one[name], two[name]) for name in one)
    for name, tensor in both.items():
        torch.testing.assert_close(tensor, (one[name] + two[name]) / 2)


def test_an_average_records_its_members_and_says_what_it_is(seeds: Path, mean: Path, finished_run: tuple[Path, Path]):
    members = json.loads((mean / "run.json").read_text())["plan"]["average"]["members"]
    assert [(Path(member["run"]), member["seed"]) for member in members] == [(seeds, 1), (seeds, 2)]
    scored = run("eval-transfer", "--run", mean, "--langs", "en,de", "--data", finished_run[1])
    assert scored.exit_code == 0, scored.output
    assert "mean of the weights of 2 models" in " ".join(scored.output.split())
    (row, *_) = read_rows(mean / "results.jsonl")
    assert row.members == 2
    assert "averaged models" in row.selected_on
    assert run("report", mean).exit_code == 0
    assert "mean of the weights of 2 models" in (mean / "report.html").read_text()
    exported = run("export", "--run", mean, "--langs", "en,de", "--out", mean.parent / "exported")
    assert exported.exit_code == 0, exported.output
    card = (mean.parent / "exported" / "README.md").read_text()
    assert "the mean of the weights of 2 models" in card
    assert card.count("sha256 of its weights") == 2
    assert run("eval-transfer", "--run", seeds, "--langs", "en,de", "--data", finished_run[1]).exit_code == 0
    compared = run("compare", seeds, mean)
    assert compared.exit_code == 0, compared.output
    predicted = run("predict", finished_run[1] / "de" / "test.jsonl", "--run", mean, "--lang", "de")
    assert predicted.exit_code == 0, predicted.output


def test_seeds_with_heads_of_their_own_are_refused_and_the_remedy_works(
    tiny_model: Path, finished_run: tuple[Path, Path], seeds: Path, tmp_path: Path
):
    other = tmp_path / "other"
    assert finetune(tiny_model, finished_run[1], other, "--set", "epochs=2", "--seeds", "1,2").exit_code == 0
    message = refused(run("runs", "average", other, "--out", tmp_path / "mean"))
    assert "start from different random weights" in message
    assert "--set head_seed=1" in message
    assert not (tmp_path / "mean").exists()
    alike = run("runs", "average", other, seeds, "--seeds", "1", "--out", tmp_path / "mean")
    assert "start from different random weights" in refused(alike)


def test_what_cannot_be_averaged_is_refused(
    tiny_model: Path, finished_run: tuple[Path, Path], seeds: Path, mean: Path, tmp_path: Path
):
    frozen = tmp_path / "frozen"
    trained = finetune(tiny_model, finished_run[1], frozen, *ONE_HEAD, "--set", "freeze=adapters", "--seeds", "1")
    assert trained.exit_code == 0, trained.output
    for words, reason in (
        ((frozen, seeds, "--seeds", "1"), "trained different tensors"),
        ((frozen,), "at least two models"),
        ((seeds, "--seeds", "1,5"), "seed 5 is not finished"),
        ((seeds, seeds), "the same weights are given twice"),
        ((tmp_path / "none", seeds), "is not a run"),
    ):
        assert reason in refused(run("runs", "average", *words, "--out", tmp_path / "out"))
    assert "contains another run" in refused(run("runs", "average", seeds, "--out", frozen))


@pytest.mark.parametrize("place", [0, 20, -1])  # the length of the header, the header, the last weight
def test_a_damaged_member_is_refused_with_the_command_that_trains_it_again(seeds: Path, tmp_path: Path, place: int):
    damaged = tmp_path / "damaged"
    shutil.copytree(seeds, damaged)
    path = Run.read(damaged).delta(2)
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(content)
    message = refused(run("runs", "average", damaged, "--out", tmp_path / "mean"))
    assert str(path) in message
    assert "damaged" in message
    assert "xmodctl resume" in message


def test_a_damaged_average_is_made_again_by_the_command_that_the_message_names(seeds: Path, mean: Path):
    before = tensors(mean, 1)
    assert f"xmodctl runs average {seeds} --seeds 1,2 --out {mean}" in refused(run("resume", mean))
    Run.read(mean).delta(1).unlink()
    assert run("runs", "average", seeds, "--seeds", "1,2", "--out", mean).exit_code == 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in tensors(mean, 1).items())


@pytest.mark.parametrize("moment", ["before its delta", "after its delta"])
def test_an_average_that_was_killed_is_made_by_the_same_command_which_doctor_names(
    moment: str, seeds: Path, mean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "mean"
    save = averaging.save_delta

    def die(path: Path, *arguments: object) -> None:
        path.parent.mkdir()
        if moment == "after its delta":
            save(path, *arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(averaging, "save_delta", die)
        run("runs", "average", seeds, "--out", out)
    assert not (out / "seed-1" / "delta.safetensors").exists() or moment == "after its delta"
    if moment == "before its delta":
        checked = run("doctor", "--run", out)
        assert f"xmodctl runs average {seeds} --seeds 1,2 --out {out}" in " ".join(checked.output.split())
        assert "xmodctl resume" not in checked.output
    again = run("runs", "average", seeds, "--out", out)
    assert again.exit_code == 0, again.output
    assert Run.read(out).state == "finished"
    assert Run.read(out).delta(1).read_bytes() == Run.read(mean).delta(1).read_bytes()


def test_a_damaged_average_is_made_by_the_command_that_doctor_names(seeds: Path, mean: Path, tmp_path: Path):
    damaged = shutil.copytree(mean, tmp_path / "mean")
    with Run.read(damaged).delta(1).open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x7f")
    (finding,) = (
        each
        for each in json.loads(run("doctor", "--run", damaged, "--json").stdout)["files"]
        if each["state"] == "damaged"
    )
    assert finding["remedy"] == f"xmodctl runs average {seeds} --seeds 1,2 --out {damaged}"


def test_runs_lists_without_the_name_of_the_subcommand(seeds: Path, mean: Path):
    listed = json.loads(run("runs", seeds.parent, "--json").output)
    assert {Path(each["run"]).name for each in listed} == {"run", "mean"}
    assert json.loads(run("runs", "list", seeds.parent, "--json").output) == listed
