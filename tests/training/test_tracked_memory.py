"""The predicted peak of memory on an accelerator is that of torch's memory tracker, over fake tensors.

A step runs on the path for accelerators. Both sides use attention as products of matrices, because which of its kernels
a GPU would use is not known without one.
"""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker
from torch.nn.attention import SDPBackend, sdpa_kernel

from bench.memory import SIZES
from tests.model.geometries import tiny_config
from xmodctl.catalog.recipe import Recipe
from xmodctl.model import activations, kernels
from xmodctl.model.activations import LANGUAGE
from xmodctl.model.building import build
from xmodctl.model.freezing import PRESETS, group_of, report_of
from xmodctl.model.modules import RoutedModel, RoutedQuestionAnswering, routed
from xmodctl.model.precision import autocast
from xmodctl.model.storing import store_narrow
from xmodctl.training import peak_memory
from xmodctl.training.optimization import adamw, update_averages
from xmodctl.training.peak_memory import memory_needs

CPU = torch.device("cpu")
LENGTH, BATCH = 128, 16
MINI = {
    "hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 1536,
    "vocab_size": 250_037, "max_position_embeddings": 512,
}  # fmt: skip
SMALL = {"hidden_size": 128, "num_hidden_layers": 4, "intermediate_size": 512, "max_position_embeddings": 130}
GEOMETRIES = {"small": SMALL, "mini": MINI, "base": SIZES["base"]}
HEADS = ("sequence", "tokens", "span", "choice")
WITHIN = 0.15


def trains(name: str) -> bool:
    return group_of(name) not in PRESETS["embeddings+adapters"]


@pytest.fixture(autouse=True)
def _on_the_path_of_accelerators(monkeypatch):
    monkeypatch.setattr(RoutedModel, "packs_on", frozenset())
    monkeypatch.setattr(kernels, "is_fp32_cpu", lambda *_: False)
    with sdpa_kernel(SDPBackend.MATH):
        yield


def predicted(config: dict, head: str, recipe: Recipe, precision: str, module, monkeypatch) -> int:
    """Return the peak that `--dry-run` predicts on an accelerator."""
    count, prepare = activations.kept_per_token, activations._prepared

    def prepared(body, device):
        store_narrow(body, precision)
        return prepare(body, device)

    monkeypatch.setattr(peak_memory, "_device", lambda: torch.device("meta"))
    monkeypatch.setattr(activations, "_prepared", prepared)
    monkeypatch.setattr(activations, "kept_per_token", lambda *a, **settings: count(*a, **{**settings, "device": CPU}))
    needs = memory_needs(config, head, report_of(module), recipe, precision, trains=trains)
    return needs.peak(int(recipe.tokens_per_step))


def fake_model(config: dict, head: str, precision: str) -> torch.nn.Module:
    """Return a model of fake tensors that trains as on an accelerator; to be called in the mode of fake tensors."""
    module = build(config, head, [LANGUAGE], num_labels=None if head == "span" else 3)
    for part in module.modules():
        for tensors in (part._parameters, part._buffers):
            for name, tensor in tensors.items():
                if tensor is not None:
                    fake = torch.zeros(tensor.shape, dtype=tensor.dtype)
                    tensors[name] = torch.nn.Parameter(fake) if isinstance(tensor, torch.nn.Parameter) else fake
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(trains(name))
    store_narrow(module, precision)
    activations._prepared(routed(module), CPU)
    if isinstance(module, RoutedQuestionAnswering):
        module.padding_counts = False
    return module.train()


def inputs_of(head: str, rows: int) -> dict[str, torch.Tensor]:
    shape = (rows, 2, LENGTH) if head == "choice" else (rows, LENGTH)
    ids = torch.full(shape, 5)
    labels = torch.zeros(shape if head == "tokens" else (rows,), dtype=torch.int64)
    targets = {"start_positions": labels, "end_positions": labels} if head == "span" else {"labels": labels}
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), **targets}


class Tracker(MemTracker):
    """Torch's tracker without figures for each module, which it cannot give where parameters are frozen."""

    def _ignore(self, *_) -> None:
        """Do nothing."""

    _pre_fw_hook = _post_fw_hook = _pre_bw_hook = _post_bw_hook = _ignore


def tracked(config: dict, head: str, recipe: Recipe, precision: str) -> int:
    """Return the bytes at the peak of the second step, as torch tracks them."""
    with FakeTensorMode():
        module = fake_model(config, head, precision)
        optimizer = adamw(module, recipe)
        per_row = LENGTH * (2 if head == "choice" else 1)
        rows = min(BATCH, int(recipe.tokens_per_step) // per_row)
        tracker = Tracker()

        def step() -> None:
            for _ in range(BATCH // rows):
                with autocast(CPU, precision):
                    loss = module(**inputs_of(head, rows)).loss
                loss.backward()
            trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if recipe.moving_decay:
                update_averages(optimizer, recipe.moving_decay, 1)

        step()
        tracker.track_external(module, optimizer)
        with tracker:
            step()
    return sum(kinds["Total"] for kinds in tracker.get_tracker_snapshot("peak").values())


CASES = [
    pytest.param(
        geometry, head, precision, tokens,
        marks=() if geometry == "small" and tokens == 8192 else pytest.mark.slow,
    )
    for geometry in GEOMETRIES
    for head in HEADS
    for precision in ("fp32", "bf16")
    for tokens in (1024, 8192)
]  # fmt: skip
"""Each kind and geometry, in two precisions, with several micro-batches and with one."""


def check(geometry: str, head: str, precision: str, recipe: Recipe, monkeypatch, within: float = WITHIN) -> None:
    """Check the predicted peak of a training."""
    config = tiny_config(**GEOMETRIES[geometry], attention_probs_dropout_prob=0.1, hidden_dropout_prob=0.1).to_dict()
    config["pad_token_id"] = 1
    module = build(config, head, [LANGUAGE], num_labels=None if head == "span" else 3)
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(trains(name))
    measured = tracked(config, head, recipe, precision)
    assert predicted(config, head, recipe, precision, module, monkeypatch) == pytest.approx(measured, rel=within)


@pytest.mark.parametrize(("geometry", "head", "precision", "tokens"), CASES)
def test_the_peak_of_a_step_is_predicted(geometry, head, precision, tokens, monkeypatch):
    check(geometry, head, precision, Recipe(batch_size=BATCH, max_length=LENGTH, tokens_per_step=tokens), monkeypatch)


def test_the_peak_with_moving_averages_is_predicted(monkeypatch):
    recipe = Recipe(batch_size=BATCH, max_length=LENGTH, tokens_per_step=128, keep="ema:0.9")
    check("small", "sequence", "fp32", recipe, monkeypatch, within=0.05)
