"""Steps and sweeps on an accelerator, proven without one.

Tensors of the device `meta`, and fake ones of `cuda`, have shapes, types, and devices, but no values: mixed devices and
every place that would wait for a value raise an error. A torch without CUDA computes no gradients of fake tensors, so
whole steps run on `meta`, and in each precision on the CPU, in a mode that refuses whatever waits.
"""

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_training_of_kinds import TRAINED, prepared
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoTokenizer

from xmodctl.catalog.recipe import Recipe
from xmodctl.core.encoded import Encoded, Ragged
from xmodctl.core.errors import UserError
from xmodctl.model import Xmod, find, freeze_all_but, load
from xmodctl.model.batches import collate
from xmodctl.model.inference import logits_of, predict, predicting
from xmodctl.model.modules import routed
from xmodctl.model.precision import autocast, narrow_type, resolve_precision
from xmodctl.model.seeds import SeedModels, joined_ids
from xmodctl.model.storing import store_narrow
from xmodctl.model.transfer import host_values, on_device
from xmodctl.training.loop import Training
from xmodctl.training.masked_lm.masked_training import MaskedTraining
from xmodctl.training.masked_lm.masking import Masker
from xmodctl.training.optimization import AVERAGE_STATE, adamw
from xmodctl.training.readings import READ_EVERY, Readings
from xmodctl.training.together import SeedsTogether
from xmodctl.training.world import World

KINDS_TRAINED = (*TRAINED, "masked-lm")
PRECISIONS = ("fp32", "bf16", "fp16")

CASES = [
    pytest.param(kind, precision, marks=() if (number + place) % 3 == 0 else pytest.mark.slow)
    for number, kind in enumerate(KINDS_TRAINED)
    for place, precision in enumerate(PRECISIONS)
]
"""Every kind in every precision; by default, each kind in one of them."""

WAITS = {
    torch.ops.aten._local_scalar_dense.default,
    torch.ops.aten.nonzero.default,
    torch.ops.aten.masked_select.default,
    torch.ops.aten.is_nonzero.default,
    torch.ops.aten.equal.default,
}


class NoWaiting(TorchDispatchMode):
    """Refuses every operation whose result the host needs before it can go on."""

    def __torch_dispatch__(self, operation, types, arguments=(), settings=None):
        indexes = arguments[1] if operation is torch.ops.aten.index.Tensor else ()
        assert operation not in WAITS, f"{operation} waits for the device"
        assert not any(index is not None and index.dtype == torch.bool for index in indexes), "a mask is an index"
        return operation(*arguments, **(settings or {}))


def masked_training(tiny_model, precision: str = "fp32") -> MaskedTraining:
    model = load(find(str(tiny_model)), "masked-lm", ["en_XX"], seed=1)
    freeze_all_but(model, "en_XX")
    draw = np.random.default_rng(0)
    rows = Ragged.of([draw.integers(5, 18, length).astype(np.int32) for length in (24, 17, 24, 9)])
    text = Encoded(input_ids=rows, rows=np.arange(4), counts={"truncated": 0})
    masker = Masker.of(AutoTokenizer.from_pretrained(tiny_model), text)
    recipe = Recipe(epochs=30, batch_size=4, learning_rate=0.01, max_length=24, stride=8)
    return MaskedTraining(model, text, masker, recipe, seed=1, precision=precision, pad_id=1)


def training_of(tiny_model, kind: str, *, languages: int = 1, seed: int = 1) -> Training:
    if kind == "masked-lm":
        return masked_training(tiny_model)
    training, encoded = prepared(tiny_model, kind, tokens_per_step=128, seed=seed)
    training.model.set_dropout(hidden=0.1, attention=0.1)
    if languages > 1:
        training.model.swap(["en_XX", "de_DE"])
        ids = np.arange(len(encoded.input_ids)) % languages
        if encoded.choices:  # a row's id is repeated for its choices by torch, where fake tensors lose their values
            return training
        training.rows = replace(encoded, scalars={**encoded.scalars, "lang_ids": ids})
    return training


class WithoutDeviceGuard(TorchFunctionMode):
    """Slices with functions in place of brackets, which ask the device's library for a guard."""

    def __torch_function__(self, function, types, arguments=(), settings=None):
        if function is torch.Tensor.contiguous and arguments[0].device.type == "cuda":
            return arguments[0].clone(memory_format=torch.contiguous_format)
        if function is not torch.Tensor.__getitem__ or arguments[0].device.type != "cuda":
            return function(*arguments, **(settings or {}))
        tensor, index = arguments
        dimension = 0
        for item in index if isinstance(index, tuple) else (index,):
            if item is None:
                tensor = tensor.unsqueeze(dimension)
            elif isinstance(item, int):
                tensor, dimension = tensor.select(dimension, item), dimension - 1
            elif isinstance(item, torch.Tensor):
                assert item.dtype == torch.int64
                tensor = tensor.index_select(dimension, item)
            else:
                start, stop, _ = item.indices(tensor.shape[dimension])
                tensor = tensor.narrow(dimension, start, stop - start)
            dimension += 1
        return tensor


@contextmanager
def pretended_cuda(monkeypatch) -> Iterator[FakeTensorMode]:
    """Let torch believe in a GPU; its tensors are fake."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)  # before torch believes: it would initialize CUDA
    for name in ("is_available", "is_bf16_supported"):
        monkeypatch.setattr(torch.cuda, name, lambda *arguments, **settings: True)
    monkeypatch.setattr("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)
    monkeypatch.setattr("xmodctl.model.inference.collate", on_host(collate))
    for module in ("routing", "modules"):
        monkeypatch.setattr(f"xmodctl.model.{module}.host_values", on_host(host_values))
    monkeypatch.setattr("xmodctl.model.seeds.joined_ids", on_host(joined_ids))

    def pinned(tensor: torch.Tensor) -> torch.Tensor:
        fake = mode.from_tensor(tensor)
        fake.constant = None  # a value that fake tensors keep for small ones
        return fake

    monkeypatch.setattr("xmodctl.model.transfer.pinned", pinned)
    with mode, WithoutDeviceGuard():
        yield mode


def on_host(function):
    """Let a function return tensors with values, as the host has them."""

    def real(*arguments, **settings):
        with unset_fake_temporarily():
            return function(*arguments, **settings)

    return real


def move(module: torch.nn.Module, mode: FakeTensorMode) -> None:
    """Put fake tensors on `cuda` in the place of a module's own; tied ones stay tied."""
    moved: dict[int, torch.Tensor] = {}

    def of(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in moved:
            fake = mode.from_tensor(tensor.detach()).to("cuda:0")
            is_parameter = isinstance(tensor, torch.nn.Parameter)
            moved[id(tensor)] = torch.nn.Parameter(fake, requires_grad=False) if is_parameter else fake
        return moved[id(tensor)]

    for part in module.modules():
        for tensors in (part._parameters, part._buffers):
            for name, tensor in tensors.items():
                if tensor is not None:
                    tensors[name] = of(tensor)


def put_on_cuda(training: Training, kind: str, precision: str, mode: FakeTensorMode) -> None:
    """Put the model of a training on `cuda`, stored as it trains there."""
    if kind != "masked-lm":
        store_narrow(training.module, precision)
    move(training.model.module, mode)
    if kind == "masked-lm":
        training.module.candidates = mode.from_tensor(training.module.candidates).to("cuda:0")


@pytest.mark.parametrize(("kind", "precision"), CASES)
def test_a_batch_on_cuda_neither_mixes_devices_nor_waits(kind, precision, tiny_model, monkeypatch):
    training = training_of(tiny_model, kind, languages=2)
    (part, *_), swept = training.batches(0)[0], []
    training.collate = on_host(training.collate)
    monkeypatch.setattr("xmodctl.model.inference.one_behind", lambda computed, device: swept.extend(computed) or ())
    with pretended_cuda(monkeypatch) as mode:
        put_on_cuda(training, kind, precision, mode)
        inputs = on_device(training.collate(part), torch.device("cuda:0"), host=training.host)
        products = Products()
        with torch.no_grad(), autocast(torch.device("cuda:0"), precision), products:
            loss = training.module.train()(**inputs).loss
        assert (loss.device.type, loss.shape) == ("cuda", ())
        assert products.dtypes == {{"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]}
        training.model.activate("en_XX")
        if kind == "masked-lm":
            return
        assert list(predict(training.model, training.rows, precision=precision, pad_id=1)) == []
    assert sum(len(units) for units, _ in swept) == len(training.rows)
    for units, logits in swept:
        assert (logits.shape[0], logits.device.type, logits.dtype) == (len(units), "cuda", torch.float32)


class Products(TorchDispatchMode):
    """Notes the types of the operands of matrix products."""

    def __init__(self) -> None:
        super().__init__()
        self.dtypes: set[torch.dtype] = set()

    def __torch_dispatch__(self, operation, types, arguments=(), settings=None):
        if operation in (torch.ops.aten.mm.default, torch.ops.aten.addmm.default, torch.ops.aten.baddbmm.default):
            self.dtypes |= {tensor.dtype for tensor in arguments[-2:]}
        return operation(*arguments, **(settings or {}))


@pytest.mark.parametrize("kind", KINDS_TRAINED)
def test_a_gradient_of_a_device_without_values_is_computed_and_clipped(kind, tiny_model, monkeypatch):
    monkeypatch.setattr("xmodctl.training.loop.autocast", lambda device, precision: nullcontext())  # has no `meta`
    training = training_of(tiny_model, kind, languages=2)
    training.device = training.module.to("meta").device
    training.readings = Readings.of(training.device)
    if kind == "masked-lm":
        training.model.score_labeled_only(training.masker.candidates.tolist())
    gradient = training.gradient(training.batches(0)[0])
    assert gradient.loss.device.type == gradient.norm.device.type == "meta"
    assert {tensor.grad.device.type for tensor in training.training_parameters().values()} == {"meta"}


@pytest.mark.parametrize(("kind", "precision"), CASES)
def test_no_operation_of_a_step_waits_for_the_device(kind, precision, tiny_model):
    training = training_of(tiny_model, kind, languages=2)
    training.precision, training.readings = precision, Readings(READ_EVERY)
    training.scaler = torch.amp.GradScaler("cpu", enabled=precision == "fp16")
    routed(training.module).packs_on = frozenset()
    batch, training.steps_per_epoch = training.batches(0)[0], 4
    with NoWaiting():
        assert [training.take(batch) for _ in range(2)] == [[], []]
    first, second = training.read(early=True)
    assert (first.step, second.step, list(training.read(early=True))) == (1, 2, [])
    assert 0 < second.loss < math.inf
    assert first.seconds == second.seconds > 0
    trained = training.training_parameters().values()
    assert {value.dtype for tensor in trained for value in training.optimizer.state[tensor].values()} == {torch.float32}


def test_moving_averages_and_learning_rates_of_layers_do_not_wait_for_the_device(tiny_model):
    training = training_of(tiny_model, "sequence-classification")
    training.recipe = training.recipe.with_values({"keep": "ema:0.9", "layer_decay": 0.8}, origin="test")
    training.optimizer = adamw(training.module, training.recipe)
    training.readings, training.steps_per_epoch = Readings(READ_EVERY), 4
    routed(training.module).packs_on = frozenset()
    batch = training.batches(0)[0]
    with NoWaiting():
        assert [training.take(batch) for _ in range(3)] == [[], [], []]
    assert len(list(training.read(early=True))) == 3
    averaged = sum(AVERAGE_STATE in state for state in training.optimizer.state.values())
    assert averaged == len(training.training_parameters())


SEED_CASES = [case for case in CASES if case.values[0] != "masked-lm"]


@pytest.mark.parametrize(("kind", "precision"), SEED_CASES)
def test_no_operation_of_a_step_of_several_seeds_waits_for_the_device(kind, precision, tiny_model):
    trainings = [training_of(tiny_model, kind, languages=2, seed=seed) for seed in (1, 2)]
    for training in trainings:
        training.precision, training.readings = precision, Readings(READ_EVERY)
        training.scaler = torch.amp.GradScaler("cpu", enabled=precision == "fp16")
        routed(training.module).packs_on = frozenset()
        training.steps_per_epoch = 4
    together = SeedsTogether(trainings)
    batches = [training.batches(0)[0] for training in trainings]
    with NoWaiting():
        for _ in range(2):
            gradients = together.gradients(batches)
            for training, batch, gradient in zip(trainings, batches, gradients, strict=True):
                training.update(batch, gradient)
                assert list(training.read()) == []
    for training in trainings:
        first, second = training.read(early=True)
        assert (first.step, second.step) == (1, 2)
        assert 0 < second.loss < math.inf
        assert second.gradient_norm > 0
        assert first.seconds == second.seconds > 0


@pytest.mark.parametrize("kind", TRAINED)
def test_the_gradients_of_several_seeds_of_a_device_without_values_are_computed(kind, tiny_model, monkeypatch):
    monkeypatch.setattr("xmodctl.training.together.autocast", lambda device, precision: nullcontext())
    trainings = [training_of(tiny_model, kind, languages=2, seed=seed) for seed in (1, 2)]
    for training in trainings:
        training.device = training.module.to("meta").device
        training.readings = Readings.of(training.device)
    together = SeedsTogether(trainings)
    for gradient in together.gradients([training.batches(0)[0] for training in trainings]):
        assert gradient.loss.device.type == gradient.norm.device.type == "meta"
    for training in trainings:
        for tensor in training.training_parameters().values():
            assert (tensor.grad.device.type, tensor.grad.shape) == ("meta", tensor.shape)


@pytest.mark.parametrize(("kind", "precision"), SEED_CASES)
def test_batches_of_several_seeds_on_cuda_neither_mix_devices_nor_wait(kind, precision, tiny_model, monkeypatch):
    trainings = [training_of(tiny_model, kind, languages=2, seed=seed) for seed in (1, 2)]
    parts = [training.batches(0)[0][0] for training in trainings]
    with pretended_cuda(monkeypatch) as mode:
        for training in trainings:
            store_narrow(training.module, precision)
            names = list(training.training_parameters())
            move(training.module, mode)
            for name in names:
                training.module.get_parameter(name).requires_grad_(True)
        models, cuda, products = SeedModels([each.model for each in trainings]), torch.device("cuda:0"), Products()
        assert {stack.tensor.shape[0] for stack in models.stacks} == {2}
        for tensor in (
            *(stack.tensor for stack in models.stacks),
            *(tensor for training in trainings for tensor in training.module.parameters()),
        ):
            tensor.requires_grad_(False)  # autocast would keep what it casts with the device's library
        inputs = [
            on_device(on_host(training.collate)(part), cuda, host=training.host)
            for training, part in zip(trainings, parts, strict=True)
        ]
        with torch.no_grad(), autocast(cuda, precision), products:
            losses = models.losses(inputs, None)
        assert [(loss.device.type, loss.shape) for loss in losses.values()] == [("cuda", ())] * 2
        assert products.dtypes == {{"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]}


def test_the_mode_refuses_what_waits():
    values = torch.arange(4)
    for wait in (lambda: values.sum().item(), lambda: values[values > 1], values.nonzero, lambda: bool(values.any())):
        with pytest.raises(AssertionError), NoWaiting():
            wait()


def test_losses_that_are_read_later_are_those_that_are_read_at_once(tiny_model):
    late, at_once = (training_of(tiny_model, "sequence-classification") for _ in range(2))
    late.readings = Readings(READ_EVERY)
    for training in (late, at_once):
        training.recipe = training.recipe.model_copy(update={"batch_size": 4})
        training.steps_per_epoch = training.total_steps = 4
    steps, expected = list(late), list(at_once)
    assert [(step.step, step.loss, step.gradient_norm, step.ends_epoch) for step in steps] == [
        (step.step, pytest.approx(step.loss), pytest.approx(step.gradient_norm), step.ends_epoch) for step in expected
    ]


def test_a_loss_that_is_read_later_and_is_not_finite_is_named_by_its_step_and_rows(tiny_model):
    training = training_of(tiny_model, "sequence-classification")
    training.recipe = training.recipe.model_copy(update={"batch_size": 4})
    training.describe = lambda units: f"rows {sorted(units.tolist())}"
    training.steps_per_epoch, training.readings = 4, Readings(READ_EVERY)
    first, second, third, _ = training.batches(0)
    training.take(first)
    with torch.no_grad():
        training.module.classifier.out_proj.bias.fill_(math.nan)
    training.take(second)
    training.take(third)
    rows = f"rows {sorted(np.concatenate(second).tolist())}"
    with pytest.raises(UserError, match=f"the loss \\(nan\\) is not finite at step 2 .* {re.escape(rows)}"):
        list(training.read(early=True))


@pytest.mark.parametrize("kind", TRAINED)
def test_padded_batches_give_the_logits_of_packed_ones(kind, tiny_model):
    training = training_of(tiny_model, kind)
    settings = {"precision": "fp32", "pad_id": 1}
    packed = logits_of(training.model, training.rows, **settings)
    routed(training.module).packs_on = frozenset()
    padded = logits_of(training.model, training.rows, **settings)
    for one, other, length in zip(packed, padded, training.rows.lengths.tolist(), strict=True):
        own = length if one.ndim == 2 else len(one)  # what a token's logits are in the padding is undefined
        torch.testing.assert_close(torch.from_numpy(one[:own]), torch.from_numpy(other[:own]), atol=1e-5, rtol=1e-4)


class Summing(World):
    """Two processes that add up in one: the other one has the same rows, and its gradients are equal."""

    def __init__(self) -> None:
        super().__init__(rank=0, size=2)

    def share(self, sizes: np.ndarray) -> np.ndarray:
        return np.arange(len(sizes))

    def least(self, number: int) -> int:
        return number


def test_losses_that_stay_on_the_device_are_added_up_there_without_waiting(tiny_model, monkeypatch):
    monkeypatch.setattr("xmodctl.training.world._sum", lambda tensor: tensor.mul_(2))
    monkeypatch.setattr("xmodctl.training.loop.Part.of", lambda *_: None)  # arithmetic of the host
    at_once, late = (training_of(tiny_model, "sequence-classification") for _ in range(2))
    late.readings = Readings(READ_EVERY)
    routed(late.module).packs_on = routed(at_once.module).packs_on = frozenset()
    for training in (at_once, late):
        training.world, training.steps_per_epoch = Summing(), 4
    batch = late.batches(0)[0]
    (expected,) = at_once.take(batch)
    with NoWaiting():
        assert late.take(batch) == []
    (step,) = late.read(early=True)
    assert step.loss == pytest.approx(expected.loss, rel=1e-6)
    assert step.gradient_norm == pytest.approx(expected.gradient_norm, rel=1e-6)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_weights_that_are_stored_narrow_train_and_score_with_the_same_bits(precision, tiny_model):
    runs = [training_of(tiny_model, "token-classification") for _ in range(2)]
    for training in runs:
        training.precision = precision
        training.scaler = torch.amp.GradScaler("cpu", init_scale=64.0, enabled=precision == "fp16")
        training.total_steps = 3
    wide, narrow = runs
    store_narrow(narrow.module, precision)
    dtype = narrow_type(precision)
    stored = {name: tensor.dtype for name, tensor in narrow.module.named_parameters()}
    assert all(stored[name] == torch.float32 for name in narrow.training_parameters())
    assert {kind for name, kind in stored.items() if "adapter_modules" in name} == {dtype}
    assert {kind for name, kind in stored.items() if "embeddings" in name} == {torch.float32}
    assert [step.loss for step in wide] == [step.loss for step in narrow]
    pairs = zip(wide.trained().values(), narrow.trained().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    store_narrow(narrow.module, precision, trained=True)
    logits = [logits_of(each.model, each.rows, precision=precision, pad_id=1) for each in runs]
    assert all(np.array_equal(one, other) for one, other in zip(*logits, strict=True))


def test_adapters_that_arrive_in_a_sweep_on_an_accelerator_are_stored_as_its_others(tiny_model, monkeypatch):
    model = load(find(str(tiny_model)), "sequence", ["en_XX"], num_labels=3, seed=1)
    monkeypatch.setattr(Xmod, "device", property(lambda self: torch.device("meta")))
    model.store_for_scoring("bf16")
    model.use("de_DE")
    dtypes = {name: tensor.dtype for name, tensor in model.module.named_parameters() if "dense" in name}
    assert any("adapter_modules.de_DE" in name for name in dtypes)
    assert set(dtypes.values()) == {torch.bfloat16}


def test_tf32_is_a_precision_of_its_own_and_nothing_uses_it_unasked(monkeypatch):
    cpu = torch.device("cpu")
    assert torch.backends.cuda.matmul.allow_tf32 is False
    try:
        for enter in (autocast, predicting):
            with enter(cpu, "tf32"):
                assert torch.backends.cuda.matmul.allow_tf32 is True
            with enter(cpu, "fp32"):
                assert torch.backends.cuda.matmul.allow_tf32 is False
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False
    with pytest.raises(UserError, match=r"TF32 needs an NVIDIA GPU .*--precision fp32"):
        resolve_precision("tf32")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))
    assert resolve_precision("tf32") == "tf32"


@pytest.mark.parametrize(
    ("built", "capability", "usable"),
    [
        (["sm_75", "sm_80", "sm_90a", "sm_120"], (8, 6), True),
        (["sm_75", "sm_80", "sm_90a", "sm_120"], (9, 0), True),
        (["sm_75", "sm_80"], (9, 0), False),
        (["sm_75", "sm_80", "compute_80"], (9, 0), True),
        (["sm_75", "sm_120", "compute_120"], (5, 2), False),
        (["gfx90a", "gfx942"], (9, 0), True),
        ([], (9, 0), True),
    ],
)
def test_a_gpu_that_torch_has_no_code_for_is_refused_before_anything_is_computed(
    built, capability, usable, monkeypatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for name, value in (("arch_list", built), ("device_capability", capability), ("device_name", "Tesla X")):
        monkeypatch.setattr(torch.cuda, f"get_{name}", lambda value=value: value)
    if usable:
        assert resolve_precision("fp32") == "fp32"
        return
    expected = (
        rf"has no code for Tesla X, a GPU of compute capability {capability[0]}\.{capability[1]}: it has that for 7\.5"
    )
    for precision in ("fp32", "auto"):
        with pytest.raises(
            UserError, match=f"{expected} to .*install a torch built for this GPU, or compute on the CPU"
        ):
            resolve_precision(precision)
