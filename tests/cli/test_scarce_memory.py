"""Commands that run out of memory: they go on with smaller batches, or say in one sentence what helps."""

import json
from pathlib import Path

import pytest
import torch

from tests.command_line import finetune, refused, run
from tests.scarce import CUDA, Scarcity
from xmodctl.core.files import sha256_of

Panic = type("PanicException", (BaseException,), {"__module__": "pyo3_runtime"})
"""As extensions in Rust make it, each for itself."""
ONE_EPOCH = ("--set", "epochs=1", "--set", "save_steps=2", "--seeds", "1")


def values(folder: Path) -> list[tuple[str, float]]:
    rows = map(json.loads, (folder / "results.jsonl").read_text().splitlines())
    return [(row["language"], row["value"]) for row in rows]


def labels_in(file: Path) -> list[str]:
    return [json.loads(line)["prediction"] for line in file.read_text().splitlines()]


def test_a_sweep_and_predictions_go_on_with_smaller_batches(trained, tmp_path, monkeypatch):
    folder, data = trained
    sweep = ("eval-transfer", "--run", folder, "--langs", "de,sw", "--data", data)
    assert run(*sweep).exit_code == 0
    before = values(folder)
    (folder / "results.jsonl").unlink()
    label = ("predict", "--run", folder, "--lang", "de", data / "de" / "test.jsonl", "--out")
    assert run(*label, tmp_path / "before.jsonl").exit_code == 0
    scarcity = Scarcity(100).install(monkeypatch)
    result = run(*sweep)
    assert result.exit_code == 0, result.output
    assert "so batches of this size are halved" in " ".join(result.stderr.split())
    assert values(folder) == before
    assert run(*label, tmp_path / "after.jsonl").exit_code == 0
    labels = [labels_in(tmp_path / name) for name in ("before.jsonl", "after.jsonl")]
    assert labels[0] == labels[1]
    assert scarcity.failures


def test_a_row_that_memory_does_not_hold_leaves_no_output(trained, tmp_path, monkeypatch):
    folder, data = trained
    Scarcity(3).install(monkeypatch)
    out = tmp_path / "labels.csv"
    message = refused(run("predict", "--run", folder, "--lang", "de", data / "de" / "test.jsonl", "--out", out))
    assert "there is not enough memory for one row of" in message
    assert not out.exists()


def test_a_model_that_memory_does_not_hold_ends_a_sweep_at_once(trained, monkeypatch):
    folder, data = trained
    loads = []

    def fail(*_, **__):
        loads.append(1)
        raise RuntimeError(CUDA)

    monkeypatch.setattr("xmodctl.model.loading.fill", fail)
    message = refused(run("eval-transfer", "--run", folder, "--langs", "de,sw", "--data", data))
    assert "there is not enough memory for the model" in message
    assert len(loads) == 1


def test_validation_goes_on_with_smaller_batches(tiny_model, pairs, tmp_path, monkeypatch):
    assert finetune(tiny_model, pairs, tmp_path / "before", *ONE_EPOCH).exit_code == 0
    scarcity = Scarcity(60).install(monkeypatch)
    result = finetune(tiny_model, pairs, tmp_path / "after", *ONE_EPOCH)
    assert result.exit_code == 0, result.output
    assert scarcity.failures
    deltas = [sha256_of(tmp_path / name / "seed-1" / "delta.safetensors") for name in ("before", "after")]
    assert deltas[0] == deltas[1]


def test_what_the_optimizer_cannot_hold_is_one_sentence_and_the_training_continues_later(
    tiny_model, pairs, tmp_path, monkeypatch
):
    assert finetune(tiny_model, pairs, tmp_path / "whole", *ONE_EPOCH).exit_code == 0
    steps, step = [], torch.optim.AdamW.step

    def limited(optimizer, *arguments, **options):
        steps.append(1)
        if len(steps) == 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return step(optimizer, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", limited)
        message = refused(finetune(tiny_model, pairs, tmp_path / "stopped", *ONE_EPOCH))
    assert "there is not enough memory for the gradient and the optimizer's state at step 4 with seed 1" in message
    assert list((tmp_path / "stopped").rglob("step-2"))
    assert finetune(tiny_model, pairs, tmp_path / "stopped", *ONE_EPOCH).exit_code == 0
    deltas = [sha256_of(tmp_path / name / "seed-1" / "delta.safetensors") for name in ("whole", "stopped")]
    assert deltas[0] == deltas[1]


def test_a_remedy_names_what_trains_less(tiny_model, pairs, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr(torch.optim.AdamW, "step", fail)
    result = finetune(tiny_model, pairs, tmp_path / "out", *ONE_EPOCH, "--set", "freeze=none")
    assert "train fewer parameters with --set freeze=embeddings+adapters, or" in refused(result)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError(CUDA),
        OSError(12, "Cannot allocate memory"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        Panic("PyObject pointer is null"),
        Panic("The global thread pool has not been initialized.: ThreadPoolBuildError { kind: IOError(...) }"),
    ],
)
def test_memory_that_does_not_suffice_anywhere_else_is_one_sentence(error, monkeypatch):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("xmodctl.core.cache.list_cache", fail)
    message = refused(run("cache", "list"))
    assert "close other programs, or use a machine with more memory" in message


def test_another_panic_of_a_library_stays_what_it_is(monkeypatch):
    def fail(*_, **__):
        raise Panic("index out of bounds: the len is 0 but the index is 1")

    monkeypatch.setattr("xmodctl.core.cache.list_cache", fail)
    with pytest.raises(Panic):
        run("cache", "list")
