"""Compiled training steps: the losses of steps that are not compiled, without a graph break, and with few graphs.

By default, steps are traced and run without a compiler (`eager`); a slow test uses torch's own.
"""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from command_line import finetune, refused
from test_accelerator_steps import KINDS_TRAINED, training_of

from xmodctl.core.errors import UserError
from xmodctl.model import compiling
from xmodctl.model.compiling import CompiledEncoder, check_compiler
from xmodctl.model.modules import routed
from xmodctl.run.checkpoints import Checkpoint
from xmodctl.training.loop import Training

KINDS_COMPILED = [
    pytest.param(kind, languages, marks=() if kind == "token-classification" else pytest.mark.slow)
    for kind in KINDS_TRAINED
    for languages in (1, 2)
    if (kind, languages) != ("masked-lm", 2)
]
SHAPES: list[tuple[int, ...]] = []  # of the token ids of each graph


def noting(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]):
    """Run a graph as it is, and note its shape."""
    SHAPES.extend(tuple(tensor.shape) for tensor in inputs[:1])
    return graph.forward


@pytest.fixture(autouse=True)
def _without_a_compiler(monkeypatch):
    monkeypatch.setattr(compiling, "BACKEND", "eager")
    torch.compiler.reset()
    SHAPES.clear()


def compiled_training(tiny_model, kind: str, *, languages: int = 1, dropout: float = 0.0, compiled: bool = True):
    training = training_of(tiny_model, kind, languages=languages)
    training.model.set_dropout(hidden=dropout, attention=dropout)
    if languages > 1 and training.rows.choices:
        ids = training.rows.rows % languages
        training.rows = replace(training.rows, scalars={**training.rows.scalars, "lang_ids": ids})
    batch_size = 4 if kind == "masked-lm" else 5
    changes = {"compile": compiled, "tokens_per_step": 200, "batch_size": batch_size}
    training.recipe = training.recipe.model_copy(update=changes)
    training.steps_per_epoch, training.total_steps = -(-len(training.units) // batch_size), 3
    if compiled:
        training.model.compile_steps()
    return training


@pytest.mark.parametrize(("kind", "languages"), KINDS_COMPILED)
def test_compiled_steps_give_the_losses_and_gradients_of_others(kind, languages, tiny_model):
    compiled, expected = (
        compiled_training(tiny_model, kind, languages=languages, compiled=compiled) for compiled in (True, False)
    )
    both = (compiled, expected)
    for training in both:
        training.gradient(training.batches(0)[0])
    for tensors in zip(*(training.training_parameters().values() for training in both), strict=True):
        torch.testing.assert_close(*(tensor.grad for tensor in tensors), atol=1e-6, rtol=1e-4)
    losses = [[step.loss for step in training] for training in both]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_compiler_of_torch_gives_the_same_losses(tiny_model, monkeypatch):
    monkeypatch.setattr(compiling, "BACKEND", "inductor")
    training, expected = (
        compiled_training(tiny_model, "token-classification", languages=2, compiled=compiled)
        for compiled in (True, False)
    )
    assert [step.loss for step in training] == pytest.approx([step.loss for step in expected], abs=1e-5)
    torch.compiler.reset()


@pytest.mark.parametrize("languages", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_batches_of_any_mixture_of_languages_share_a_graph_for_each_shape(languages, tiny_model, monkeypatch):
    monkeypatch.setattr(compiling, "BACKEND", noting)
    training = compiled_training(tiny_model, "sequence-classification", languages=languages)
    compiled, seen = routed(training.module).compiled, set()
    for epoch in range(3):
        for part in (part for batch in training.batches(epoch) for part in batch):
            inputs = training.collate(part)
            seen.add(compiled.shape(*inputs["input_ids"].shape))
            assert torch.isfinite(training.module.train()(**inputs).loss)
    assert len(SHAPES) == len(seen) <= 3


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=() if kind == "question-answering" else pytest.mark.slow) for kind in KINDS_TRAINED],
)
def test_neither_a_training_batch_nor_one_of_a_sweep_breaks_the_graph(kind, tiny_model):
    training = training_of(tiny_model, kind)
    inputs = training.collate(training.batches(0)[0][0])
    traced = training.module.train()
    if kind == "masked-lm":  # which tokens have a label decides on the host what its head computes
        traced, inputs = routed(traced), {name: inputs[name] for name in ("input_ids", "attention_mask")}
    assert torch._dynamo.explain(traced)(**inputs).graph_break_count == 0
    with torch.no_grad():
        swept = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        explained = torch._dynamo.explain(training.module.eval())(**swept)
    assert (explained.graph_count, explained.graph_break_count) == (1, 0)


def saved(training: Training, folder) -> Checkpoint:
    from xmodctl.run.checkpoints import latest_checkpoint, save_checkpoint

    save_checkpoint(folder, training.progress(), training.trained(), training.optimizer_state())
    checkpoint = latest_checkpoint(folder)
    assert checkpoint is not None
    return checkpoint


def test_a_compiled_training_that_resumes_has_the_bits_of_one_that_was_not_stopped(tiny_model, tmp_path):
    whole = compiled_training(tiny_model, "sequence-classification", dropout=0.1)
    checkpoint = None
    for step in whole:
        checkpoint = checkpoint or (saved(whole, tmp_path) if step.step == 2 else None)
    torch.compiler.reset()
    resumed = compiled_training(tiny_model, "sequence-classification", dropout=0.1)
    resumed.restore(checkpoint)
    assert [step.step for step in resumed] == [3]
    for tensor, other in zip(resumed.trained().values(), whole.trained().values(), strict=True):
        assert torch.equal(tensor, other)


def test_validation_and_sweeps_are_not_compiled(tiny_model):
    training = compiled_training(tiny_model, "sequence-classification")
    inputs = training.collate(training.batches(0)[0][0])
    routed(training.module).compiled.compiled = None  # whatever calls it fails
    with torch.no_grad():
        training.module.train()(**inputs)
        training.module.eval()(**inputs)
    with pytest.raises(TypeError):
        training.module.train()(**inputs)


def test_padding_attends_to_something_and_reaches_no_result():
    encoder = CompiledEncoder(lambda ids, mask: ids, torch.device("cpu"), longest=60, pad_id=1)
    ids, mask = torch.full((3, 20), 7), torch.ones((3, 20), dtype=torch.int64)
    ids, mask = encoder.padded(ids, mask)
    assert ids.shape == mask.shape == (4, 32)
    assert (ids[:3, :20] == 7).all()
    assert (ids[3:] == 1).all()
    assert (ids[:, 20:] == 1).all()
    assert mask.sum(1).tolist() == [20, 20, 20, 1]
    assert encoder.shape(5, 49) == (8, 60)


def test_a_compiler_that_fails_is_one_sentence(tiny_model, monkeypatch):
    def broken(graph, inputs):
        raise RuntimeError("no Python.h")

    monkeypatch.setattr(compiling, "BACKEND", broken)
    training = compiled_training(tiny_model, "sequence-classification")
    with pytest.raises(UserError, match=r"torch.compile does not work on this machine .*--set compile=false"):
        next(iter(training))


def test_what_cannot_be_compiled_is_refused_before_anything_is_read(tiny_model, pairs, tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    for more in (("--dry-run",), ()):
        result = finetune(tiny_model, pairs, tmp_path / "run", "--set", "compile=true", *more)
        assert "there is no `no-such-compiler`; install one" in refused(result)
    assert not (tmp_path / "run").exists()
    monkeypatch.delenv("CXX")
    settings = {"languages": 2, "freeze": "embeddings+adapters", "precision": "fp32"}
    with pytest.raises(UserError, match="needs frozen adapters; use --set freeze=embeddings"):
        check_compiler(**{**settings, "freeze": "none"})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))
    monkeypatch.setattr(compiling, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs Triton on a GPU; run: pip install triton"):
        check_compiler(**settings)
    monkeypatch.setattr(compiling, "find_spec", lambda name: name)
    with pytest.raises(UserError, match="several languages needs bf16 on an NVIDIA GPU of the Hopper generation"):
        check_compiler(**{**settings, "precision": "bf16"})
    check_compiler(**{**settings, "languages": 1})
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    check_compiler(**{**settings, "precision": "bf16"})


def test_the_plan_records_that_steps_are_compiled_and_keeps_its_digest_otherwise(finished_run):
    from xmodctl.run.run import Run

    plan = Run.read(finished_run[0]).plan
    assert not {"compile", "head_seed"} & plan.to_json()["recipe"].keys()
    compiled = replace(plan, recipe=plan.recipe.with_values({"compile": True}, origin="--set"))
    assert compiled.to_json()["recipe"]["compile"] is True
    assert compiled.digest != plan.digest
    same = plan.recipe.with_values({"compile": False, "head_seed": None}, origin="--set")
    assert replace(plan, recipe=same).digest == plan.digest
    assert np.isclose(same.learning_rate, plan.recipe.learning_rate)
