"""The benchmark of GPUs, with a CPU in the place of the GPU: every measure runs, and its table is complete."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bench import __main__ as bench
from bench import correctness, gpu, lengths, measures, operations, sides, throughput
from bench.checkpoints import folder_of
from bench.measures import BEST, Setting, UnequalError

LAUNCHED = [("cudaLaunchKernel", 640), ("cuLaunchKernelEx", 60), ("cudaGraphLaunch", 4), ("aten::mm", 9)]
ADDED = 2_000_000
"""Bytes that a step adds on the pretended GPU."""


pytestmark = pytest.mark.usefixtures("drawn_lengths")


class Profile:
    """In the place of torch's profiler."""

    def __init__(self, *, activities) -> None:
        assert torch.profiler.ProfilerActivity.CUDA in activities

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def key_averages(self):
        return [SimpleNamespace(key=key, count=count) for key, count in LAUNCHED]


@pytest.fixture
def asked(monkeypatch) -> list[object]:
    """Let a CPU be the GPU that is measured; return what it is asked for."""
    asked: list[object] = []
    real_lengths = lengths.test_lengths

    def few_lengths(count):
        asked.append(count)
        return real_lengths(4)

    values = {
        "is_available": True, "is_bf16_supported": True, "get_device_name": "Tesla X", "get_arch_list": [],
        "get_device_capability": (9, 0), "synchronize": None, "reset_peak_memory_stats": None,
        "memory_allocated": 1_000_000, "max_memory_allocated": 1_000_000 + ADDED,
    }  # fmt: skip
    for name, value in values.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, value=value, **__: value)
    monkeypatch.setattr(torch.profiler, "profile", Profile)
    monkeypatch.setattr(measures.Setting, "is_gpu", True)
    monkeypatch.setattr(bench, "Setting", lambda folder, device, *rest: Setting(folder, "cpu", *rest))
    monkeypatch.setattr(throughput, "peak", lambda setting: 1e12)
    monkeypatch.setattr(lengths, "test_lengths", few_lengths)
    monkeypatch.setattr(lengths, "MAXIMA", dict.fromkeys(lengths.MAXIMA, 48))
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module, **settings: asked.append(("compile", settings)))
    return asked


def report_of(tmp_path, *options) -> dict:
    """Return the figures of a benchmark, by measure."""
    path = tmp_path / "figures.json"
    words = ["--model", "tiny", "--device", "cuda", "--rounds", "1", "--steps", "1", "--json", str(path), *options]
    assert bench.main(words) == 0
    report = json.loads(path.read_text())
    assert report["machine"]["accelerator"] == "Tesla X"
    return report["measures"]


def lines_of(measured: dict, name: str) -> dict[str, dict]:
    """Return the lines of a table whose measure begins with a name, by variant."""
    return {line["variant"]: line for line in measured["lines"] if line["measure"].startswith(name)}


def check_training(measured: dict, benchmark: str) -> None:
    """Check that every variant has a line for each thing that is measured."""
    rates = lines_of(measured, f"training, {benchmark}")
    assert {"xmodctl", "stock, 81 languages, dynamic padding"} <= rates.keys()
    mixed = "stock, 81 languages, fp32 weights and autocast, padded to 48"
    assert mixed in rates or measured["facts"][f"not measured: {mixed}"]  # some versions of stock cannot
    stock = [line["figure"]["median"] for name, line in rates.items() if name.startswith("stock")]
    for name in [name for name in rates if name.startswith("xmodctl") and len(stock) > 1]:
        ratio = rates[name]["against"][BEST]["median"]
        assert ratio == pytest.approx(rates[name]["figure"]["median"] / max(stock))
    for name in ("share of the matrix-product bound", "launches per step", "memory"):
        assert lines_of(measured, name).keys() == rates.keys()
    for line in lines_of(measured, "launches per step").values():
        assert line["figure"]["median"] == 704
    for line in lines_of(measured, "memory").values():
        assert line["figure"]["median"] > ADDED / 1e9
    assert measured["facts"]["predicted peak of memory, xmodctl, GB"] > 0


def test_one_command_measures_what_decides_on_a_gpu(asked, tmp_path, capsys):
    measured = report_of(tmp_path, "--only", "correctness,panx,sweep", "--precision", "bf16")
    assert list(measured) == ["correctness, bf16", "panx, bf16", "sweep, bf16"]
    compared = lines_of(measured["correctness, bf16"], "difference from fp32 on a CPU")
    assert set(compared) == {f"xmodctl, {name}" for name in ("logits", "loss", "gradients")}
    assert len(measured["correctness, bf16"]["lines"]) == 4 * len(compared)
    assert all(0 < line["figure"]["median"] < 0.05 for line in compared.values())
    check_training(measured["panx, bf16"], "panx")
    sweep = measured["sweep, bf16"]
    assert asked == [512]
    for name in ("launches per batch, sweep", "memory, sweep"):
        assert lines_of(sweep, name).keys() == {"xmodctl", "stock, dynamic padding", "stock, padded to 128"}
    printed = capsys.readouterr().out
    assert "--compile in bf16 is not measured: compile=true needs Triton on a GPU" in printed
    assert "--variable-length in bf16 is not measured: variable_length=true needs an NVIDIA GPU" in printed


@pytest.mark.slow
def test_every_measure_runs_in_fp32_and_in_the_narrow_type_of_the_gpu(asked, tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "check_compiler", lambda **settings: None)
    monkeypatch.setattr(torch, "compile", lambda function, **settings: function)  # it would ask CUDA for its state
    measured = report_of(tmp_path)
    expected = [f"{name}, {precision}" for name in bench.BY_DEFAULT["cuda"] for precision in ("fp32", "bf16")]
    assert list(measured) == expected
    for benchmark, name in (("xnli", "training"), ("panx", "panx"), ("xquad", "xquad"), ("xcopa", "xcopa")):
        own = measured[f"{name}, bf16"]
        check_training(own, benchmark)
        assert "xmodctl, compile=true" in lines_of(own, "training")
        assert "stock, 81 languages, dynamic padding, compiled" in lines_of(own, "training")
    assert ("compile", {"dynamic": True}) in asked


def test_precisions_are_those_of_the_gpu_or_those_that_are_named(asked, monkeypatch, capsys):
    def precisions(*words):
        return bench._precisions(bench._options(["--device", "cuda", *words]))

    assert precisions() == ["fp32", "bf16"]
    assert precisions("--precision", "fp16,fp32") == ["fp16", "fp32"]
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **settings: False)
    assert precisions() == ["fp32", "fp16"]
    assert bench.main(["--model", "tiny", "--device", "cuda", "--precision", "bf16"]) == 2
    assert "this GPU has no bf16 arithmetic; use --precision fp16 or fp32" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        precisions("--precision", "fp8")


def test_a_variant_that_is_asked_for_and_not_possible_is_refused(asked, capsys):
    assert bench.main(["--model", "tiny", "--device", "cuda", "--compile"]) == 2
    assert capsys.readouterr().err.startswith("compile=true needs Triton on a GPU")


def test_a_variant_of_stock_that_fails_is_named_and_xmodctls_own_failure_ends_the_measure(asked, monkeypatch):
    def fail(number):
        raise RuntimeError("no kernel image")

    setting = Setting(folder_of("tiny"), "cpu", "fp32", rounds=1, steps=1)
    variants = {"xmodctl": float, "stock, compiled": fail}
    assert throughput.warmed(variants, setting) == {"not measured: stock, compiled": "no kernel image"}
    assert list(variants) == ["xmodctl"]
    with pytest.raises(RuntimeError, match="no kernel image"):
        throughput.warmed({"xmodctl": fail}, setting)


def test_a_device_that_computes_something_else_ends_the_comparison(asked, monkeypatch):
    setting, honest = Setting(folder_of("tiny"), "cpu", "fp32", rounds=1, steps=1), sides.our_training

    def wrong(model, *arguments, **settings):
        training = honest(model, *arguments, **settings)
        with torch.no_grad():
            model.module.roberta.encoder.layer[1].output.dense.weight.mul_(1.5)
        return training

    monkeypatch.setattr(sides, "our_training", wrong)
    with pytest.raises(UnequalError, match="xnli, xmodctl: gradients differ by"):
        correctness.correctness(setting)


@pytest.mark.parametrize("head", ["sequence", "span"])
def test_gradients_in_fp16_are_compared_without_the_scale_of_the_loss(head):
    rows = lengths.encoded("xnli" if head == "sequence" else "xquad", np.array([9, 12, 5]), 500)
    setting = Setting(folder_of("tiny"), "cpu", "fp16", rounds=1, steps=1)
    expected = correctness._on_cpu(correctness._model(setting, head, "cpu"), rows)
    own = correctness._on_device(correctness._model(setting, head, "cpu"), rows, "fp16", compiled=False)
    for name, value in expected.items():
        assert correctness._relative(own[name], value) < correctness.LIMITS["fp16"]


def test_the_best_rate_of_a_gpu_is_that_of_many_products_without_a_pause(monkeypatch):
    setting = Setting(folder_of("tiny"), "cpu", "bf16", rounds=1, steps=1)
    products = []
    monkeypatch.setattr(torch.nn.functional, "linear", lambda x, weight: products.append((x, weight)))
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", lambda x, weight, *_: products.append((x, weight)))
    monkeypatch.setattr(operations, "seconds", lambda work, device: (work(), 0.5)[1])
    for is_gpu, count, times, dtype in ((True, 16384, 50, torch.bfloat16), (False, 2048, 1, torch.float32)):
        monkeypatch.setattr(measures.Setting, "is_gpu", is_gpu)
        products.clear()
        assert operations.peak(setting) == 2 * times * count * 32 * 64 / 0.5
        assert len(products) % (5 * times) == 0
        assert all(x.shape == (count, 32) and x.dtype == weight.dtype == dtype for x, weight in products)


def test_the_memory_of_a_variant_is_its_own(asked):
    module = torch.nn.Linear(10, 4)
    module.tied = torch.nn.Linear(10, 4, bias=False)
    module.tied.weight = module.weight
    optimizer = torch.optim.AdamW(module.parameters())
    assert gpu.memory_of(lambda: None, module, optimizer) == 4 * 44 + ADDED
    module(torch.ones(1, 10)).sum().backward()
    optimizer.step()
    steps = sum(state["step"].nbytes for state in optimizer.state.values())
    assert gpu.memory_of(lambda: None, module, optimizer) == 3 * 4 * 44 + steps + ADDED
