import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from xmodctl.catalog.recipe import Recipe
from xmodctl.core.encoded import Encoded, Ragged
from xmodctl.core.errors import UserError
from xmodctl.model import find, freeze, load
from xmodctl.model.precision import resolve_precision
from xmodctl.run.checkpoints import latest_checkpoint, remove_others, save_checkpoint
from xmodctl.training.loop import Training
from xmodctl.training.memory import Memory
from xmodctl.training.optimization import adamw, schedule, total_steps
from xmodctl.training.world import World

RECIPE = Recipe(epochs=2, batch_size=8, learning_rate=1e-3, max_length=32, tokens_per_step=4096)


def sentences(count: int = 22) -> Encoded:
    draw = np.random.default_rng(0)
    rows = [draw.integers(5, 18, draw.integers(3, 30)).astype(np.int32) for _ in range(count)]
    return Encoded(
        input_ids=Ragged.of(rows),
        rows=np.arange(count),
        scalars={"labels": draw.integers(0, 3, count)},
        ragged={},
        counts={"truncated": 0},
    )


def training(tiny_model, recipe: Recipe = RECIPE, *, seed: int = 1, dropout: float | None = None) -> Training:
    model = load(find(str(tiny_model)), "sequence", ["en_XX"], num_labels=3, seed=seed)
    model.activate("en_XX")
    model.set_dropout(hidden=dropout, attention=dropout)
    freeze(model, recipe.freeze)
    rows = sentences()
    return Training(model, rows, np.ones(len(rows.input_ids)), recipe, seed=seed, precision="fp32", pad_id=1)


def weights(job: Training) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in job.trained().items()}


def differ(item: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    return max(float((item[name] - other[name]).abs().max()) for name in item)


def test_micro_batches_give_the_gradient_of_the_whole_batch(tiny_model):
    whole = training(tiny_model, dropout=0.0)
    cut = training(tiny_model, replace_recipe(tokens_per_step=64), dropout=0.0)
    assert all(len(batch) == 1 for batch in whole.batches(0))
    assert any(len(batch) > 1 for batch in cut.batches(0))
    losses = [(first.loss, other.loss) for first, other in zip(whole, cut, strict=True)]
    assert all(first == pytest.approx(other, abs=1e-6) for first, other in losses)
    assert differ(weights(whole), weights(cut)) < 1e-5


def replace_recipe(**changes) -> Recipe:
    return RECIPE.with_values(changes, origin="test")


@pytest.mark.parametrize("changes", [{}, {"layer_decay": 0.9}, {"keep": "ema:0.9"}, {"rdrop": 1}], ids=str)
def test_a_training_that_continues_from_a_checkpoint_ends_with_the_same_bits(changes, tiny_model, tmp_path):
    recipe = replace_recipe(**changes)
    unbroken = training(tiny_model, recipe)
    list(unbroken)

    broken = training(tiny_model, recipe)
    for step in broken:
        if step.step == 4:
            break
    save_checkpoint(tmp_path, broken.progress(), broken.trained(), broken.optimizer_state())
    checkpoint = latest_checkpoint(tmp_path)
    assert checkpoint is not None
    continued = training(tiny_model, recipe)
    continued.restore(checkpoint)
    steps = [step.step for step in continued]
    assert steps == list(range(5, unbroken.total_steps + 1))
    assert differ(weights(unbroken), weights(continued)) == 0.0
    assert differ(unbroken.averages(), continued.averages()) == 0.0


def test_a_checkpoint_of_another_length_of_training_is_refused(tiny_model, tmp_path):
    job = training(tiny_model)
    next(iter(job))
    checkpoint = save_checkpoint(tmp_path, job.progress(), job.trained(), job.optimizer_state())
    with pytest.raises(UserError, match="belongs to a training of 6 steps, but this one has 9"):
        training(tiny_model, replace_recipe(epochs=3)).restore(checkpoint)


def test_every_row_is_seen_once_an_epoch_and_the_end_of_each_epoch_is_told(tiny_model):
    job = training(tiny_model)
    seen = np.concatenate([part for batch in job.batches(0) for part in batch])
    assert sorted(seen) == list(range(22))
    assert [step.step for step in job if step.ends_epoch] == [3, 6]


def test_frozen_tensors_do_not_move_and_trained_ones_do(tiny_model):
    job = training(tiny_model)
    before = {name: tensor.clone() for name, tensor in job.model.module.state_dict().items()}
    list(job)
    moved = {name for name, tensor in job.model.module.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved
    assert not {name for name in moved if "embeddings" in name or "adapter_modules" in name}
    assert any("classifier" in name for name in moved)
    assert any("attention" in name for name in moved)


def test_a_part_of_an_epoch_can_be_trained():
    assert total_steps(100, replace_recipe(epochs=0.5, batch_size=10)) == 5
    assert total_steps(3, replace_recipe(epochs=0.01, batch_size=10)) == 1


def test_the_learning_rate_warms_up_to_its_peak_and_falls_to_nothing():
    recipe = replace_recipe(warmup=0.2)
    rates = [schedule(recipe, step, 10) for step in range(10)]
    assert rates == pytest.approx([1 / 3, 2 / 3, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8])
    assert schedule(replace_recipe(warmup=0, schedule="constant"), 9, 10) == 1
    assert schedule(replace_recipe(warmup=0, schedule="cosine"), 5, 10) == pytest.approx(0.5)


def test_biases_and_layer_norms_are_not_decayed_and_frozen_tensors_are_not_handed_over(tiny_model):
    model = load(find(str(tiny_model)), "sequence", ["en_XX"], num_labels=3)
    freeze(model, "embeddings+adapters")
    groups = adamw(model.module, RECIPE).param_groups
    assert {group["weight_decay"] == 0: {item.ndim < 2 for item in group["params"]} for group in groups} == {
        False: {False},
        True: {True},
    }
    handed = sum(item.numel() for group in groups for item in group["params"])
    assert handed == sum(item.numel() for item in model.module.parameters() if item.requires_grad)


def test_the_moving_average_is_that_of_the_weights_after_each_step(tiny_model):
    job = training(tiny_model, replace_recipe(keep="ema:0.5"))
    expected: dict[str, torch.Tensor] = {}
    for step in job:
        decay = min(0.5, step.step / (step.step + 9))
        now = weights(job)
        expected = {name: decay * expected.get(name, value) + (1 - decay) * value for name, value in now.items()}
    last, averages = weights(job), {name: tensor.clone() for name, tensor in job.averages().items()}
    assert step.step == 6
    assert differ(averages, expected) < 1e-6 < differ(averages, last)


@pytest.mark.parametrize("keep", ["ema:", "ema:0", "ema:1", "ema:x", "ema:nan", "ema0.9", "average:1", "best"])
def test_other_weights_to_keep_are_refused(keep):
    with pytest.raises(UserError, match="is not 'last', 'source-dev', 'average:N' with N of at least 2, or 'ema:D'"):
        replace_recipe(keep=keep)


def test_each_layer_has_a_share_of_the_learning_rate_of_the_layer_above(tiny_model):
    """AdamW's first step is as large as the learning rate, whatever the gradient, as long as nothing decays."""
    job = training(
        tiny_model, replace_recipe(layer_decay=0.5, weight_decay=0, warmup=0, freeze="adapters"), dropout=0.0
    )
    before = weights(job)
    next(iter(job))
    moved = {name: float((tensor - before[name]).abs().max()) for name, tensor in job.trained().items()}
    layers = job.module.config.num_hidden_layers
    assert layers == 2
    for part, share in {
        "classifier.out_proj.weight": 1,
        "roberta.encoder.layer.1.intermediate.dense.weight": 1,
        "roberta.encoder.layer.0.intermediate.dense.weight": 0.5,
        "roberta.embeddings.word_embeddings.weight": 0.25,
    }.items():
        assert moved[part] == pytest.approx(RECIPE.learning_rate * share, rel=0.01), part


def test_with_one_learning_rate_for_all_layers_weights_have_the_bits_of_earlier_versions(tiny_model):
    """Earlier versions gave AdamW two groups, and set their learning rate before each step."""
    job, other = (training(tiny_model, dropout=0.0) for _ in range(2))
    groups = [
        [item for item in other.training_parameters().values() if (item.ndim >= 2) is is_matrix]
        for is_matrix in (True, False)
    ]
    other.optimizer = torch.optim.AdamW(
        [
            {"params": groups[0], "weight_decay": 0.01, "rate": 1.0},
            {"params": groups[1], "weight_decay": 0.0, "rate": 1.0},
        ],
        lr=RECIPE.learning_rate,
        fused=True,
    )
    list(job), list(other)
    assert differ(weights(job), weights(other)) == 0.0


@pytest.mark.parametrize(
    ("taken", "remedy"),
    [(0, "check the weights of the model, which no step has changed yet"), (1, "use a lower learning rate")],
)
def test_a_loss_that_is_no_number_stops_the_training_with_a_remedy(tiny_model, taken, remedy):
    job = training(tiny_model)
    steps = iter(job)
    for _ in range(taken):
        next(steps)
    with torch.no_grad():
        next(iter(job.training_parameters().values())).fill_(float("nan"))
    with pytest.raises(UserError, match=rf"the loss \(nan\) is not finite at step {taken + 1} of 6 .*; {remedy}"):
        next(steps)


def test_a_gradient_that_is_not_finite_is_refused_before_the_optimizer_steps(tiny_model):
    job = training(tiny_model)
    job.describe = lambda units: f"rows {sorted(units.tolist())}"
    steps = iter(job)
    next(steps)
    before = weights(job)
    parameter = next(iter(job.training_parameters().values()))
    parameter.register_hook(lambda gradient: gradient * float("inf"))
    batch = job.batches(0)[1]
    with pytest.raises(UserError, match=r"the gradient \(norm (nan|inf)\) is not finite at step 2 of 6") as error:
        next(steps)
    assert f"rows {sorted(np.concatenate(batch).tolist())}" in str(error.value)
    assert differ(before, weights(job)) == 0
    assert job.step == 1


class Scarce:
    """A model that runs out of memory with more than so many tokens."""

    def __init__(self, module: torch.nn.Module, limit: int, error: Exception) -> None:
        self.module, self.limit, self.error, self.failures = module, limit, error, 0

    def __call__(self, **inputs: torch.Tensor):
        if inputs["input_ids"].numel() > self.limit:
            self.failures += 1
            raise self.error
        return self.module(**inputs)

    def __getattr__(self, name: str):
        return getattr(self.module, name)


MEMORY_ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory"),
    MemoryError(),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
]


@pytest.mark.parametrize("error", MEMORY_ERRORS, ids=["cuda", "python", "cpu"])
def test_a_batch_that_memory_does_not_hold_is_halved_and_gives_the_same_weights(tiny_model, error):
    whole, scarce = training(tiny_model, dropout=0.0), training(tiny_model, dropout=0.0)
    scarce.module = Scarce(scarce.module, 130, error)
    notices = []
    for batch in scarce.remaining():
        scarce.update(batch, scarce.gradient(batch, notices.append))
    for _ in whole:
        pass
    assert differ(weights(whole), weights(scarce)) < 1e-5
    assert 1 <= len(notices) == scarce.module.failures < 6, "a size that failed is not tried again"
    assert "so it is halved" in notices[0].text
    size = int(notices[-1].text.rpartition("=")[2])
    fits = training(tiny_model, replace_recipe(tokens_per_step=size), dropout=0.0)
    fits.module = Scarce(fits.module, 130, error)
    for batch in fits.remaining():
        fits.update(batch, fits.gradient(batch, notices.append))
    assert fits.module.failures == 0, "the remedy avoids the attempt"


def test_a_batch_that_the_memory_of_another_process_does_not_hold_is_halved_in_all(tiny_model):
    reports = [0]

    class Neighbor(World):  # once, the memory of another process does not hold the first micro-batch
        def least(self, number: int) -> int:
            return min(number, reports.pop()) if reports else number

    alone, together = training(tiny_model, dropout=0.0), training(tiny_model, dropout=0.0)
    together.world, notices = Neighbor(), []
    batch = next(iter(alone.remaining()))
    assert together.gradient(batch, notices.append).loss == pytest.approx(alone.gradient(batch).loss, rel=1e-6)
    assert len(notices) == 1
    assert len(together.memory.fitting(batch)) == 2 * len(alone.memory.fitting(batch)) == 2


@pytest.mark.parametrize(("tokens", "remedy"), [(16, "use a smaller --set max_length=8, or close"), (15, "close")])
def test_a_row_that_memory_does_not_hold_is_named_with_a_remedy_that_is_accepted(tokens, remedy):
    memory = Memory(Encoded(Ragged.of([np.zeros(tokens, dtype=np.int32)]), np.arange(1)))
    expected = f"for row [0] ({tokens} tokens) at step 1; {remedy} other programs, or use a machine with more memory"
    with pytest.raises(UserError, match=re.escape(expected)):
        memory.exceeded(np.array([0]), 1, lambda units: f"row {units.tolist()}", torch.device("cpu"))
    with pytest.raises(UserError, match="or compute on the CPU: put CUDA_VISIBLE_DEVICES= before the command"):
        memory.exceeded(np.array([0]), 1, str, torch.device("cuda"))


@pytest.mark.parametrize(("tokens", "remedy"), [(64, ". To avoid the attempt, use --set tokens_per_step=64"), (63, "")])
def test_a_micro_batch_that_is_halved_is_told_with_a_remedy_that_is_accepted(tokens, remedy):
    memory = Memory(Encoded(Ragged.of([np.zeros(tokens, dtype=np.int32)] * 2), np.arange(2)))
    notice = memory.exceeded(np.arange(2), 1, str, torch.device("cpu"))
    assert notice.text.endswith(f"the same up to rounding and dropout{remedy}")


def test_micro_batches_without_padding_are_halved_by_their_real_tokens():
    lengths = [10, 4, 4, 4]
    rows = Encoded(Ragged.of([np.zeros(length, dtype=np.int32) for length in lengths]), np.arange(4))
    for packed, size in ((False, 40), (True, 22)):
        memory = Memory(rows, packed=packed)
        notice = memory.exceeded(np.arange(4), 1, str, torch.device("cuda"))
        assert notice.text.startswith(f"there is not enough memory for a micro-batch of {size} tokens")
        assert [part.tolist() for part in memory.fitting([np.arange(4)])] == [[0, 1], [2, 3]]


def test_a_row_that_memory_does_not_hold_ends_the_training(tiny_model):
    job = training(tiny_model)
    job.describe = lambda units: f"row {units.tolist()}"
    job.module = Scarce(job.module, 8, MemoryError())
    with pytest.raises(UserError, match=r"there is not enough memory for row \[\d+\] \(\d+ tokens\) at step 1; "):
        job.gradient(job.batches(0)[0], lambda _: None)


def test_the_state_of_the_optimizer_that_memory_does_not_hold_is_one_sentence(tiny_model, monkeypatch):
    job = training(tiny_model)

    def exhausted(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(job.optimizer, "step", exhausted)
    with pytest.raises(
        UserError, match="there is not enough memory for the gradient and the optimizer's state at step 1"
    ):
        next(iter(job))


def test_other_errors_are_not_taken_for_a_lack_of_memory(tiny_model):
    job = training(tiny_model)
    job.module = Scarce(job.module, 0, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        next(iter(job))


def test_the_scale_of_fp16_is_saved_and_restored(tiny_model, tmp_path):
    job = training(tiny_model)
    job.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, enabled=True)
    next(iter(job))
    job.scaler.load_state_dict({**job.scaler.state_dict(), "scale": 256.0, "_growth_tracker": 7})
    saved = save_checkpoint(tmp_path, job.progress(), job.trained(), job.optimizer_state())
    resumed = training(tiny_model)
    resumed.scaler = torch.amp.GradScaler("cpu", enabled=True)
    resumed.restore(saved)
    state = resumed.scaler.state_dict()
    assert (state["scale"], state["_growth_tracker"]) == (256.0, 7)


def test_a_gradient_that_overflows_in_fp16_skips_the_step_until_the_scale_is_used_up(tiny_model):
    job = training(tiny_model)
    job.scaler = torch.amp.GradScaler("cpu", init_scale=4.0, enabled=True)
    parameter = next(iter(job.training_parameters().values()))
    parameter.register_hook(lambda gradient: gradient * float("inf"))
    steps, before = iter(job), weights(job)
    next(steps)
    next(steps)
    assert job.scaler.get_scale() == 1
    assert differ(before, weights(job)) == 0
    with pytest.raises(UserError, match=r"the gradient .* is not finite at step 3 of 6"):
        next(steps)


@pytest.mark.parametrize(("requested", "message"), [("fp16", "needs a CUDA GPU"), ("fp8", "choose from auto")])
def test_a_precision_that_the_device_cannot_do_is_refused(requested, message, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=message):
        resolve_precision(requested)


def test_bf16_is_refused_by_a_processor_without_it(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for native in (True, False):
        monkeypatch.setattr("xmodctl.model.kernels.has_bf16", lambda native=native: native)
        if native:
            assert resolve_precision("bf16") == "bf16"
        else:
            with pytest.raises(UserError, match=r"no bf16 arithmetic.*--precision fp32"):
                resolve_precision("bf16")


def test_precision_auto_is_fp32_on_a_processor(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_precision("auto") == "fp32"


@pytest.mark.parametrize(
    ("cuda", "capability", "has_bf16", "expected"),
    [
        ("13.0", (8, 0), True, "bf16"),
        ("13.0", (7, 5), False, "fp16"),
        ("13.0", (7, 0), False, "fp16"),
        ("12.6", (6, 1), False, "fp32"),
        (None, (9, 0), True, "bf16"),
        (None, (9, 0), False, "fp32"),
    ],
)
def test_precision_auto_is_the_narrowest_for_which_a_gpu_has_arithmetic(
    cuda, capability, has_bf16, expected, monkeypatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_arch_list", list)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: has_bf16)
    assert resolve_precision("auto") == expected


def test_a_damaged_checkpoint_is_passed_over_for_an_older_whole_one(tiny_model, tmp_path):
    job = training(tiny_model)
    iterator = iter(job)
    next(iterator)
    older = save_checkpoint(tmp_path / "a", job.progress(), job.trained(), job.optimizer_state())
    next(iterator)
    newer = save_checkpoint(tmp_path / "b", job.progress(), job.trained(), job.optimizer_state())
    newer.folder.rename(tmp_path / "a" / newer.folder.name)
    damaged = tmp_path / "a" / newer.folder.name / "trained.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    result = latest_checkpoint(tmp_path / "a")
    assert result is not None
    assert result.folder == older.folder


def test_the_last_two_checkpoints_are_kept_and_nothing_else_is_removed(tiny_model, tmp_path):
    job = training(tiny_model)
    (tmp_path / "step-1 (copy)").mkdir()
    (tmp_path / "step-99").mkdir()  # of an attempt that had come further
    for _ in job:
        save_checkpoint(tmp_path, job.progress(), job.trained(), job.optimizer_state())
        remove_others(tmp_path, job.step)
    assert {path.name for path in tmp_path.iterdir()} == {"step-1 (copy)", f"step-{job.step - 1}", f"step-{job.step}"}
    assert latest_checkpoint(tmp_path).progress == job.progress()


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"files": {}}',
        b'{"files": [], "progress": {}}',
        "cut",
    ],
)
def test_a_checkpoint_with_a_damaged_manifest_is_passed_over(tiny_model, tmp_path, manifest):
    job = training(tiny_model)
    for _ in range(2):
        next(iter(job))
        save_checkpoint(tmp_path, job.progress(), job.trained(), job.optimizer_state())
    path = tmp_path / f"step-{job.step}" / "manifest.json"
    path.write_bytes(path.read_bytes()[:-20] if manifest == "cut" else manifest)
    (tmp_path / "step-99 (copy)").mkdir()
    checkpoint = latest_checkpoint(tmp_path)
    assert checkpoint is not None
    assert checkpoint.progress.step == job.step - 1


def test_equal_trainings_write_equal_checkpoints(tiny_model, tmp_path):
    for name in "ab":
        job = training(tiny_model)
        next(iter(job))
        save_checkpoint(tmp_path / name, job.progress(), job.trained(), job.optimizer_state())
    for path in (tmp_path / "a" / "step-1").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / "step-1" / path.name).read_bytes()


def test_progress_comes_back_from_a_checkpoint_as_it_was(tiny_model, tmp_path):
    job = training(tiny_model)
    next(iter(job))
    saved = save_checkpoint(tmp_path, job.progress(), job.trained(), job.optimizer_state())
    result = latest_checkpoint(tmp_path)
    assert result is not None
    assert result.progress == saved.progress == replace(job.progress())
