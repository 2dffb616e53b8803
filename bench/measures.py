"""What is measured; each measure returns plain values, checked for equality with stock before it is timed."""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import lengths, sides
from bench.timing import Figure, ratios, seconds, take_turns
from xmodctl.catalog import catalog as library
from xmodctl.core.encoded import Encoded, Ragged
from xmodctl.model import find, look_up
from xmodctl.model.precision import Precision
from xmodctl.run.checkpoints import latest_checkpoint, save_checkpoint
from xmodctl.run.deltas import save_delta
from xmodctl.training.loop import Training

XNLI = "ar_AR bg_BG de_DE el_GR en_XX es_XX fr_XX hi_IN ru_RU sw_KE th_TH tr_TR ur_PK vi_VN zh_CN"


@dataclass(frozen=True)
class Setting:
    """Where and how to measure."""

    folder: Path
    device: str
    precision: Precision
    rounds: int
    steps: int  # optimiser steps a round

    @property
    def languages(self) -> tuple[str, ...]:
        """The checkpoint's languages."""
        return look_up(str(self.folder)).languages or ()

    @property
    def dtype(self) -> torch.dtype:
        """What stock keeps its weights in: mixed precision is not an option for it."""
        return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[self.precision]

    @property
    def config(self) -> dict[str, Any]:
        """The checkpoint's configuration."""
        return dict(look_up(str(self.folder)).config)


@dataclass(frozen=True)
class Line:
    """One line of the table."""

    measure: str
    variant: str
    figure: Figure
    unit: str
    against: Mapping[str, Figure]  # variant -> how many times better this one is


class UnequalError(Exception):
    """The two sides do not compute the same; timing them would mean nothing."""


def check_equal(setting: Setting, theirs: Any, ours: sides.Xmod, rows: Encoded) -> dict[str, float]:
    """Compare logits, loss and gradients of one batch without dropout, and return the greatest differences.

    Raises:
        UnequalError: one of them differs by more than 1e-5 + 1e-4 of its value (fp32).
    """
    shared = dict(ours.module.named_parameters())
    stocks = {name: parameter for name, parameter in theirs.named_parameters() if name in shared}
    with torch.no_grad():  # heads are drawn at random: make them the same
        for name in ours.initialised:
            stocks[name].copy_(shared[name])
    language = setting.languages.index(ours.languages[0])
    batch = sides.stock_batch(rows, np.arange(min(4, len(rows))), None, language, setting.device)
    theirs.eval()
    ours.module.eval()
    stock_out = theirs(**batch)
    batch.pop("lang_ids")
    our_out = ours.module(**batch)
    stock_out.loss.backward()
    our_out.loss.backward()
    real = batch["attention_mask"].bool()
    per_token = our_out.loss is not None and "logits" in our_out and our_out["logits"].shape[:2] == real.shape
    logits = [out["logits"] if "logits" in out else out["start_logits"] for out in (our_out, stock_out)]
    if per_token or "start_logits" in our_out:
        logits = [values[real] for values in logits]
    pairs = {"logits": logits, "loss": [our_out.loss, stock_out.loss]}
    gradients = [name for name, parameter in shared.items() if parameter.grad is not None]
    if not gradients or any(stocks[name].grad is None for name in gradients):
        raise UnequalError("the two sides train different tensors")
    pairs |= {f"gradient of {name}": [shared[name].grad, stocks[name].grad] for name in gradients}
    worst = {"logits": 0.0, "loss": 0.0, "gradients": 0.0}
    for name, (mine, other) in pairs.items():
        difference = (mine.detach() - other.detach()).abs()
        if bool((difference > 1e-5 + 1e-4 * other.abs()).any()) and setting.precision == "fp32":
            raise UnequalError(f"{name} differs by {float(difference.max()):.2e}")
        group = name if name in worst else "gradients"
        worst[group] = max(worst[group], float(difference.max()))
    for module in (theirs, ours.module):
        module.zero_grad(set_to_none=True)
    return worst


def training(setting: Setting, benchmark: str, *, everything: bool) -> tuple[list[Line], dict[str, Any]]:
    """Measure training throughput on the lengths of `benchmark`, in real tokens a second.

    `everything` adds stock padded to the maximum, stock with eager attention, and stock with a single language.
    """
    kind = lengths.KINDS[benchmark]
    counts, origin = lengths.training_lengths(benchmark, 4000)
    rows = lengths.encoded(benchmark, counts, setting.config["vocab_size"])
    model = sides.ours(setting.folder, kind, [_source(setting)], setting.device)
    language = setting.languages.index(_source(setting))
    size = min(sides.BATCH, max(4, int(sides.BATCH * 64 / rows.tokens.mean())))  # long windows in smaller batches

    def ours(number: int) -> float:
        chosen = sides.typical(training_loop.batches(number), rows, setting.steps, number)
        tokens = sum(int(rows.tokens[part].sum()) for parts in chosen for part in parts)
        return tokens / seconds(lambda: [training_loop.take(parts) for parts in chosen], setting.device)

    def stock(number: int, side: sides.StockTraining, attention: str, width: int | None, language: int) -> float:
        order = np.random.default_rng(number).permutation(len(rows))[: size * setting.steps]
        chosen = np.split(order, setting.steps)
        work = partial(side.steps, chosen, attention=attention, width=width, language=language)
        return int(rows.tokens[order].sum()) / seconds(work, setting.device)

    whole = sides.StockTraining(
        sides.stock(setting.folder, kind, None, setting.dtype, setting.device), rows, setting.device
    )
    if kind != "question-answering":  # there stock's loss counts the padding
        model.leave_padding_out()
    differences = check_equal(setting, whole.module, model, rows)
    training_loop = sides.our_training(model, rows, setting.precision)
    all_of_them = f"{len(setting.languages)} languages"
    variants: dict[str, Callable[[int], float]] = {"xmodctl": ours}
    used_well = f"stock, {all_of_them}, dynamic padding"
    variants[used_well] = partial(stock, side=whole, attention="sdpa", width=None, language=language)
    if everything:
        single = sides.StockTraining(
            sides.stock(setting.folder, kind, [_source(setting)], setting.dtype, setting.device), rows, setting.device
        )
        limit = lengths.MAXIMA[benchmark]
        variants |= {
            f"stock, {all_of_them}, padded to {limit}": partial(
                stock, side=whole, attention="sdpa", width=limit, language=language
            ),
            f"stock, {all_of_them}, dynamic, eager": partial(
                stock, side=whole, attention="eager", width=None, language=language
            ),
            "stock, 1 language, dynamic padding": partial(stock, side=single, attention="sdpa", width=None, language=0),
        }
    for variant in variants.values():  # the first step allocates
        variant(99)
    measured = take_turns(variants, setting.rounds)
    facts = {
        "lengths": origin,
        "tokens an example": round(float(rows.tokens.mean()), 1),
        "greatest differences": differences,
    }
    return _lines(f"training, {benchmark}", measured, "tokens/s"), facts


def adding(setting: Setting, pieces: int) -> tuple[list[Line], dict[str, Any]]:
    """Measure training a new adapter against fine-tuning the same model on the same sequences, in tokens a second.

    Sequences have the length that the recipe packs them to, 4,096 tokens a batch; a text uses `pieces` of the
    vocabulary. The memory of an optimiser is that of its state after a step.
    """
    pieces = min(pieces, setting.config["vocab_size"])
    recipe = library.recipe("add-language-mini" if setting.config["hidden_size"] < 768 else "add-language")
    batch = 4096 // recipe.max_length
    recipe = recipe.model_copy(update={"batch_size": batch})
    rng = np.random.default_rng(0)
    sequences = Ragged.of([rng.integers(5, pieces, recipe.max_length) for _ in range(batch * (setting.steps + 2))])
    packed = Encoded(sequences, np.arange(len(sequences)))
    labelled = replace(packed, scalars={"labels": rng.integers(0, 3, len(packed))})
    tagged = replace(packed, ragged={"labels": Ragged(rng.integers(0, 7, len(sequences.values)), sequences.offsets)})

    def loaded(head: Any) -> sides.Xmod:
        return sides.ours(setting.folder, head, [_source(setting)], setting.device)

    loops = {
        "xmodctl": sides.our_adding(loaded("masked-lm"), packed, recipe, setting.precision, pieces),
        "fine-tuning, sequence classification": sides.our_training(
            loaded("sequence-classification"), labelled, setting.precision, recipe.tokens_per_step, batch
        ),
        "fine-tuning, token classification": sides.our_training(
            loaded("token-classification"), tagged, setting.precision, recipe.tokens_per_step, batch
        ),
    }

    def rate(number: int, loop: Training) -> float:
        chosen = loop.batches(number)[: setting.steps]
        tokens = sum(int(packed.tokens[part].sum()) for parts in chosen for part in parts)
        return tokens / seconds(lambda: [loop.take(parts) for parts in chosen], setting.device)

    variants: dict[str, Callable[[int], float]] = {name: partial(rate, loop=loop) for name, loop in loops.items()}
    for variant in variants.values():  # the first step allocates
        variant(99)
    lines = _lines("adding a language", take_turns(variants, setting.rounds), "tokens/s")
    for name, loop in loops.items():
        state = loop.optimizer_state().values()
        lines.append(Line("optimiser state", name, Figure.of([sum(one.nbytes for one in state) / 1e6]), "MB", {}))
    return lines, {"tokens a sequence": recipe.max_length, "pieces": pieces}


def sweep(setting: Setting, per_language: int) -> tuple[list[Line], dict[str, Any]]:
    """Measure predicting test rows in fifteen languages, in real tokens a second and as a share of the bound.

    The bound is the time the products of all layers over the real tokens take at the best measured rate.
    """
    counts, origin = lengths.test_lengths(per_language)
    names = dict(zip(counts, _fifteen(setting), strict=True))
    rows = {
        language: lengths.encoded("xnli", count, setting.config["vocab_size"]) for language, count in counts.items()
    }
    tokens = sum(int(count.sum()) for count in counts.values())
    model = sides.ours(setting.folder, "sequence-classification", [_source(setting)], setting.device)
    theirs = sides.stock(setting.folder, "sequence-classification", None, setting.dtype, setting.device)
    differences = check_equal(setting, theirs, model, rows["en"])
    peaks: list[float] = []

    def ours(_: int) -> float:
        peaks.append(peak(setting))
        work = [partial(sides.our_sweep, model, rows[name], names[name], setting.precision) for name in rows]
        spent = seconds(lambda: [one() for one in work], setting.device)
        peaks.append(peak(setting))
        return tokens / spent

    def stock(_: int, width: int | None) -> float:
        def work() -> None:
            for name, some in rows.items():
                number = setting.languages.index(names[name])
                sides.stock_sweep(theirs, some, width=width, language=number, device=setting.device)

        return tokens / seconds(work, setting.device)

    variants: dict[str, Callable[[int], float]] = {
        "xmodctl": ours,
        "stock, dynamic padding": partial(stock, width=None),
        "stock, padded to 128": partial(stock, width=128),
    }
    ours(0)
    peaks.clear()
    measured = take_turns(variants, setting.rounds)
    operations = sum(_operations(setting.config, count) for count in counts.values()) / tokens
    shares = [rate * operations / max(peaks) for rate in measured["xmodctl"]]
    lines = _lines("sweep of 15 languages", measured, "tokens/s")
    lines.append(Line("sweep of 15 languages", "xmodctl, of the matrix-product bound", Figure.of(shares), "share", {}))
    lines.append(Line("matrix products", "best measured", Figure.of([p / 1e9 for p in peaks]), "GFLOP/s", {}))
    return lines, {"lengths": origin, "rows a language": per_language, "greatest differences": differences}


def loading(setting: Setting) -> tuple[list[Line], dict[str, Any]]:
    """Measure loading and memory, each in a process of its own."""
    everything = setting.languages
    choices: dict[str, tuple[str, Sequence[str]]] = {f"stock, {len(everything)} languages": ("stock", ())}
    for count in dict.fromkeys(min(count, len(everything)) for count in (1, 2, 15, 81)):
        choices[f"xmodctl, {count} languages"] = ("ours", everything[:count])
        if count < len(everything):
            choices[f"stock, cut to {count} languages"] = ("stock", everything[:count])
    found: dict[str, list[dict[str, float]]] = {name: [] for name in choices}

    def load(_: int, name: str) -> float:
        side, languages = choices[name]
        command = [sys.executable, "-m", "bench.loading", side, str(setting.folder), ",".join(languages)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found[name].append(json.loads(done.stdout.splitlines()[-1]))
        return found[name][-1]["seconds"]

    measured = take_turns({name: partial(load, name=name) for name in choices}, setting.rounds)
    first = next(iter(choices))
    lines = [
        Line(
            "load", name, Figure.of(values), "s",
            {first: ratios(measured[first], values)} if name.startswith("xmodctl") else {},
        )
        for name, values in measured.items()
    ]  # fmt: skip
    for name, rounds in found.items():
        for what in ("used", "anonymous"):
            lines.append(Line(f"memory, {what}", name, Figure.of([one[what] for one in rounds]), "MB", {}))
    return lines, {"first load, with imports": {name: found[name][0]["first"] for name in found}}


def saving(setting: Setting) -> tuple[list[Line], dict[str, Any]]:
    """Measure what a run keeps against `save_pretrained`, and what interrupting and continuing costs."""
    source = find(str(setting.folder))
    counts, _ = lengths.training_lengths("xnli", 200)
    rows = lengths.encoded("xnli", counts, setting.config["vocab_size"])
    model = sides.ours(setting.folder, "sequence-classification", [_source(setting)], setting.device)
    loop = sides.our_training(model, rows, setting.precision)
    loop.take(loop.batches(0)[0])
    theirs = sides.stock(setting.folder, "sequence-classification", None, torch.float32, setting.device)
    folder = Path(tempfile.mkdtemp(prefix="xmodctl-bench-"))
    sizes: dict[str, int] = {}

    def timed(name: str, work: Callable[[], object], place: Path) -> float:
        start = time.perf_counter()
        work()
        spent = time.perf_counter() - start
        sizes[name] = sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
        shutil.rmtree(place)
        return spent

    def delta(_: int) -> float:
        place = folder / "delta"
        place.mkdir()
        return timed("delta", lambda: save_delta(place / "delta.safetensors", loop.trained(), source, {}), place)

    def checkpoint(_: int) -> float:
        place = folder / "checkpoints"
        work = partial(save_checkpoint, place, loop.progress(), loop.trained(), loop.optimizer_state())
        return timed("checkpoint", work, place)

    def resume(_: int) -> float:
        place = folder / "resume"
        save_checkpoint(place, loop.progress(), loop.trained(), loop.optimizer_state())

        def work() -> None:
            again = sides.ours(setting.folder, "sequence-classification", [_source(setting)], setting.device)
            kept = latest_checkpoint(place)
            assert kept is not None
            sides.our_training(again, rows, setting.precision).restore(kept)

        return timed("resume", work, place)

    def pretrained(_: int) -> float:
        place = folder / "pretrained"
        return timed("save_pretrained", lambda: theirs.save_pretrained(place), place)

    try:
        turns = {"delta": delta, "save_pretrained": pretrained, "checkpoint": checkpoint, "resume": resume}
        measured = take_turns(turns, setting.rounds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    faster = {"save_pretrained": ratios(measured["save_pretrained"], measured["delta"])}
    smaller = {"save_pretrained": Figure.of([sizes["save_pretrained"] / sizes["delta"]])}
    lines = [
        Line("save", "xmodctl, delta of a run", Figure.of(measured["delta"]), "s", faster),
        Line("save", "stock, save_pretrained", Figure.of(measured["save_pretrained"]), "s", {}),
        Line("size", "xmodctl, delta of a run", Figure.of([sizes["delta"] / 1e6]), "MB", smaller),
        Line("size", "stock, save_pretrained", Figure.of([sizes["save_pretrained"] / 1e6]), "MB", {}),
        Line("save", "xmodctl, checkpoint with optimiser", Figure.of(measured["checkpoint"]), "s", {}),
        Line("size", "xmodctl, checkpoint with optimiser", Figure.of([sizes["checkpoint"] / 1e6]), "MB", {}),
        Line("resume", "xmodctl, load and restore", Figure.of(measured["resume"]), "s", {}),
    ]
    return lines, {}


def startup(setting: Setting) -> tuple[list[Line], dict[str, Any]]:
    """Measure how long the command line takes to answer."""

    def ask(_: int) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "xmodctl", "--help"], check=True, capture_output=True)
        return time.perf_counter() - start

    measured = [ask(0) for _ in range(max(5, setting.rounds))]
    return [Line("start-up", "xmodctl --help", Figure.of(measured), "s", {})], {}


def peak(setting: Setting) -> float:
    """Return the best rate, in operations a second, at which this machine multiplies matrices of the model's sizes."""
    hidden, wide = setting.config["hidden_size"], setting.config["intermediate_size"]
    dtype = torch.float32 if setting.device == "cpu" else setting.dtype
    count = 2048 if setting.device == "cpu" else 16384
    x = torch.randn(count, hidden, device=setting.device, dtype=dtype)
    weight = torch.randn(wide, hidden, device=setting.device, dtype=dtype)
    ways: list[Callable[[], object]] = [lambda: torch.nn.functional.linear(x, weight)]
    if setting.device == "cpu" and hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        ways.append(lambda: torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], ""))
    least = min(seconds(way, setting.device) for way in ways for _ in range(5))
    return 2 * count * hidden * wide / least


def _operations(config: Mapping[str, Any], counts: np.ndarray) -> float:
    """Return the operations of all matrix products of stock's encoder over rows of these lengths, without padding."""
    hidden, layers = config["hidden_size"], config["num_hidden_layers"]
    adapter = 2 * hidden * (hidden // config["adapter_reduction_factor"])
    weights = 4 * hidden**2 + 2 * hidden * config["intermediate_size"] + adapter
    return float(2 * layers * (weights * counts.sum() + 2 * hidden * (counts.astype(float) ** 2).sum()))


def _lines(measure: str, measured: Mapping[str, Sequence[float]], unit: str) -> list[Line]:
    mine = measured["xmodctl"]
    against = {name: ratios(mine, values) for name, values in measured.items() if name != "xmodctl"}
    return [
        Line(measure, name, Figure.of(values), unit, against if name == "xmodctl" else {})
        for name, values in measured.items()
    ]


def _source(setting: Setting) -> str:
    return "en_XX" if "en_XX" in setting.languages else setting.languages[0]


def _fifteen(setting: Setting) -> list[str]:
    xnli = XNLI.split()
    spoken = setting.languages
    return xnli if set(xnli) <= set(spoken) else [spoken[number % len(spoken)] for number in range(15)]
