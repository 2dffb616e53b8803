"""The benchmark runs, compares results before it measures time, and stops where the sides differ."""

import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench import __main__ as bench
from bench import measures, sides, timing
from bench.checkpoints import folder_of
from bench.stops import stages

ROOT = Path(__file__).parents[1]


pytestmark = pytest.mark.usefixtures("drawn_lengths")


@pytest.mark.slow
def test_every_measure_gives_a_table_and_json(tmp_path, capsys):
    path = tmp_path / "figures.json"
    names = [name for name in bench.MEASURES if name != "loading"]
    command = ["--model", "tiny", "--rounds", "1", "--steps", "1", "--only", ",".join(names), "--json", str(path)]
    assert bench.main(command) == 0
    report = json.loads(path.read_text())
    assert list(report["measures"]) == names
    for name in ("training", "panx", "xquad", "xcopa", "sweep"):
        assert report["measures"][name]["facts"]["largest differences"]["logits"] < 1e-5
        first = report["measures"][name]["lines"][0]
        assert first["variant"] == "xmodctl"
        assert all(ratio["median"] > 0 for ratio in first["against"].values())
    assert "| training, xnli | xmodctl " in capsys.readouterr().out


def test_seeds_are_measured_together_and_one_after_the_other(capsys):
    assert bench.main(["--model", "tiny", "--rounds", "1", "--steps", "1", "--only", "seeds"]) == 0
    together, alone = (line for line in capsys.readouterr().out.splitlines() if line.startswith("| seeds, xnli"))
    assert "| 3 seeds, seeds_together=true | " in together
    assert together.rstrip(" |").endswith(") 3 seeds, one after the other")
    assert "| 3 seeds, one after the other | " in alone


@pytest.mark.slow
@pytest.mark.parametrize("side", ["stock", "ours"])
def test_loading_prints_seconds_and_memory(side):
    # A process of its own, as the benchmark starts it: one that ran other tests may give memory back meanwhile.
    command = [sys.executable, "-m", "bench.loading", side, str(folder_of("tiny")), "de_DE,en_XX"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["seconds"] > 0
    assert figures["used"] >= 0


@pytest.mark.slow
def test_a_round_of_jobs_on_one_run_of_which_one_is_killed_leaves_the_files_of_one_job(tmp_path):
    command = [
        sys.executable,
        "-m",
        "bench.jobs",
        "--forked",
        "--rounds",
        "1",
        "--only",
        "training and",
        "--out",
        tmp_path,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 of 1 rounds the same" in done.stdout


@pytest.mark.slow
def test_sides_that_differ_are_not_timed(capsys, monkeypatch):
    honest = sides.stock

    def wrong(*arguments):
        module = honest(*arguments)
        with torch.no_grad():
            module.roberta.encoder.layer[0].output.dense.bias[0] += 0.5
        return module

    monkeypatch.setattr(sides, "stock", wrong)
    assert bench.main(["--model", "tiny", "--rounds", "1", "--only", "panx"]) == 1
    assert "panx: not timed, because the two sides compute different results: logits differs" in capsys.readouterr().err


def test_variants_take_turns_and_ratios_stay_within_a_round():
    order = []

    def variant(name, slowness):
        def run(number):
            order.append(name)
            return slowness * (number + 1)

        return run

    measured = timing.take_turns({"a": variant("a", 4.0), "b": variant("b", 2.0)}, rounds=3)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert timing.ratios(measured["a"], measured["b"]) == timing.Figure(2.0, 2.0, 2.0)
    line = measures.Line("speed", "a", timing.Figure.of(measured["a"]), "x/s", {"b": timing.Figure(2.0, 1.5, 2.5)})
    assert "2.00 (1.50-2.50) b" in bench.table([line])


def test_an_unknown_measure_is_refused(capsys):
    with pytest.raises(SystemExit):
        bench.main(["--only", "speed"])
    assert "no measure 'speed'; choose from startup" in capsys.readouterr().err


def test_parallel_rows_become_pairs_without_repeated_texts(tmp_path):
    from bench.parallel_rows import write_pairs

    for language, words in {"en": ["a", "b", "a"], "de": ["x", "y", "z"]}.items():
        for split in ("validation", "test"):
            path = tmp_path / "xnli" / language / f"{split}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps({"premise": f"{word}{split[0]}"}) + "\n" for word in words))
    counts = write_pairs(tmp_path / "xnli", "premise", "en", ["validation", "test"], tmp_path / "pairs")
    assert counts == {"de": 4}
    lines = (tmp_path / "pairs" / "de" / "test.jsonl").read_text().splitlines()
    assert [tuple(json.loads(line).values()) for line in lines] == [
        ("0", "xv", "av"), ("1", "yv", "bv"), ("3", "xt", "at"), ("4", "yt", "bt"),
    ]  # fmt: skip


def test_cuda_is_refused_where_there_is_none_before_anything_is_measured(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert bench.main(["--model", "tiny", "--device", "cuda"]) == 2
    printed = capsys.readouterr()
    assert printed.err == ("torch finds no CUDA GPU on this machine; use --device cpu, or install torch with CUDA\n")
    assert printed.out == ""


def test_batches_without_padding_are_refused_where_there_is_no_gpu_for_them(capsys):
    assert bench.main(["--model", "tiny", "--variable-length"]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("variable_length=true needs an NVIDIA GPU; ")
    assert printed.out == ""


def test_a_cpu_beside_a_gpu_is_refused_because_trainings_would_use_the_gpu(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert bench.main(["--model", "tiny", "--device", "cpu"]) == 2
    assert "put CUDA_VISIBLE_DEVICES= before the command" in capsys.readouterr().err


@pytest.mark.parametrize("stage", [stage for stage in stages("mini") if stage.begins], ids=lambda stage: stage.name)
def test_every_place_where_a_command_is_stopped_exists(stage):
    assert callable(pkgutil.resolve_name(stage.begins))
