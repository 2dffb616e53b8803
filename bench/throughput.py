"""Measures of throughput: training, adding a language, and a sweep over languages."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from bench import gpu, lengths, sides
from bench.measures import PACKED, Line, Setting, check_equal, lines_of
from bench.operations import operations, peak, training_operations
from bench.timing import Figure, ratios, seconds, take_turns
from xmodctl.catalog import catalog
from xmodctl.core.encoded import Encoded, Ragged
from xmodctl.core.visible import one_line
from xmodctl.model.inference import batches_of
from xmodctl.training.loop import Training
from xmodctl.training.together import SeedsTogether

XNLI = [
    "ar_AR", "bg_BG", "de_DE", "el_GR", "en_XX", "es_XX", "fr_XX", "hi_IN", "ru_RU", "sw_KE", "th_TH", "tr_TR", "ur_PK",
    "vi_VN", "zh_CN",
]  # fmt: skip

COMPILED = "xmodctl, compile=true"

Variants = dict[str, Callable[[int], float]]
"""How fast each variant is in a round, by name: called with the number of the round."""


@dataclass(frozen=True)
class Trained:
    """One way to train: what a round consists of, and what takes its steps."""

    chosen: Callable[[int], list[Any]]  # the batches of a round
    take: Callable[[list[Any]], object]
    tokens: Callable[[list[Any]], int]  # of these batches, without padding
    module: torch.nn.Module
    optimizer: torch.optim.Optimizer

    def rate(self, number: int, device: str) -> float:
        """Return tokens per second."""
        batches = self.chosen(number)
        return self.tokens(batches) / seconds(partial(self.take, batches), device)


def ours(loop: Training, steps: int) -> Trained:
    """Return xmodctl's training, which takes so many steps in a round."""
    rows = loop.rows
    return Trained(
        chosen=lambda number: sides.typical(loop.batches(number), rows, steps, number),
        take=lambda batches: [loop.take(parts) for parts in batches],
        tokens=lambda batches: sum(int(rows.tokens[part].sum()) for parts in batches for part in parts),
        module=loop.module,
        optimizer=loop.optimizer,
    )


def stocks(side: sides.StockTraining, steps: int, size: int, **how: Any) -> Trained:
    """Return stock's training, with batches of so many rows."""

    def chosen(number: int) -> list[Any]:
        order = np.random.default_rng(number).permutation(len(side.rows))[: size * steps]
        return np.split(order, steps)

    return Trained(
        chosen=chosen,
        take=partial(side.steps, **how),
        tokens=lambda batches: int(side.rows.tokens[np.concatenate(batches)].sum()),
        module=side.module,
        optimizer=side.optimizer,
    )


def training(setting: Setting, benchmark: str, *, everything: bool) -> tuple[list[Line], dict[str, Any]]:
    """Measure training throughput on the lengths of `benchmark`, in non-padding tokens per second.

    `everything` adds stock padded to the maximum length, stock with eager attention, and stock with a single language.
    On a GPU, launches per step, memory, and the share of the best rate of matrix products are measured too.
    """
    head = lengths.HEADS[benchmark]
    counts, origin = lengths.training_lengths(benchmark, 4000)
    rows = lengths.encoded(benchmark, counts, setting.config["vocab_size"])
    models = _our_models(setting, head)
    whole = sides.stock(setting.folder, head, None, setting.dtype, setting.device)
    facts: dict[str, Any] = {"lengths": origin, "tokens per example": round(float(rows.tokens.mean()), 1)}
    for name, model in models.items():
        if head != "span":  # there stock's loss counts the padding
            model.leave_padding_out()
        if name == "xmodctl" or (model.variable_length and head != "span"):
            differences = "largest differences" + name.removeprefix("xmodctl")
            facts[differences] = check_equal(setting, whole, model, rows)
    makers = {name: _our_training(setting, name, model) for name, model in models.items()}
    makers |= _stock_trainings(setting, benchmark, whole, everything=everything)
    trained = {name: make(rows) for name, make in makers.items()}
    variants: Variants = {name: partial(each.rate, device=setting.device) for name, each in trained.items()}
    facts |= warmed(variants, setting)
    measured = take_turns(variants, setting.rounds)
    lines = lines_of(f"training, {benchmark}", measured, "tokens/s")
    if setting.is_gpu:
        lines += _shares(setting, benchmark, measured, rows)
        lines += _launches_and_memory(setting, benchmark, {name: makers[name] for name in measured}, trained)
        limit = lengths.MAXIMA[benchmark]
        predicted = sides.predicted_memory(models["xmodctl"], setting.precision, limit)
        facts["predicted peak of memory, xmodctl, GB"] = predicted / 1e9
    return lines, facts


Maker = Callable[[Encoded], Trained]


def _our_models(setting: Setting, head: str) -> dict[str, sides.Xmod]:
    """Return a model for each way in which xmodctl trains, by name."""

    def load() -> sides.Xmod:
        return sides.ours(setting.folder, head, [setting.source], setting.device)

    models = {"xmodctl": load()}
    if setting.compiled:
        models[COMPILED] = load()
    if setting.variable_length:
        models[f"xmodctl, {PACKED}"] = sides.without_padding(load())
    return models


def _our_training(setting: Setting, name: str, model: sides.Xmod) -> Maker:
    """Return what makes xmodctl's training of a model, named as in `_our_models`."""

    def make(rows: Encoded) -> Trained:
        loop = sides.our_training(model, rows, setting.precision, compiled=name == COMPILED)
        return ours(loop, setting.steps)

    return make


def _stock_trainings(setting: Setting, benchmark: str, whole: Any, *, everything: bool) -> dict[str, Maker]:
    """Return stock's ways to train, by name; `whole` is its model with all languages."""
    head, limit = lengths.HEADS[benchmark], lengths.MAXIMA[benchmark]
    mean = lengths.encoded(benchmark, lengths.training_lengths(benchmark, 4000)[0], 10).tokens.mean()
    size = min(sides.BATCH, max(4, int(sides.BATCH * 64 / mean)))  # smaller batches of long windows
    language = setting.languages.index(setting.source)

    def load(languages: list[str] | None, dtype: torch.dtype) -> Any:
        return sides.stock(setting.folder, head, languages, dtype, setting.device)

    def make(
        module: Any,
        rows: Encoded,
        *,
        attention: str = "sdpa",
        width: int | None = None,
        language: int = language,
        mixed: torch.dtype | None = None,
    ) -> Trained:
        side = sides.StockTraining(module, rows, setting.device, mixed)
        return stocks(side, setting.steps, size, attention=attention, width=width, language=language)

    all_of_them = f"stock, {len(setting.languages)} languages"
    makers: dict[str, Maker] = {f"{all_of_them}, dynamic padding": partial(make, whole)}
    if setting.compiled:
        compiled = load(None, setting.dtype)
        compiled.compile(dynamic=True)
        makers[f"{all_of_them}, dynamic padding, compiled"] = partial(make, compiled)
    if everything:
        makers[f"{all_of_them}, padded to {limit}"] = partial(make, whole, width=limit)
        makers[f"{all_of_them}, dynamic, eager"] = partial(make, whole, attention="eager")
        single = load([setting.source], setting.dtype)
        makers["stock, 1 language, dynamic padding"] = partial(make, single, language=0)
    if setting.is_gpu and setting.dtype != torch.float32:  # as the Trainer does with --bf16 or --fp16
        mixed = f"{all_of_them}, fp32 weights and autocast, padded to {limit}"
        makers[mixed] = partial(make, load(None, torch.float32), width=limit, mixed=setting.dtype)
    return makers


def warmed(variants: Variants, setting: Setting) -> dict[str, str]:
    """Let every variant allocate and compile before it is measured; return why variants of stock are not measured.

    Variants of stock that fail are removed; a failure of xmodctl ends the measure.
    """
    failures = {}
    for name, variant in list(variants.items()):
        compiles = "compile" in name
        try:
            for number in (99, *range(setting.rounds if compiles else 0)):  # each new shape is compiled
                variant(number)
        except RuntimeError as error:
            if not name.startswith("stock"):
                raise
            failures[f"not measured: {name}"] = one_line(str(error))[:200]
            del variants[name]
    return failures


def _shares(setting: Setting, benchmark: str, measured: dict[str, list[float]], rows: Encoded) -> list[Line]:
    """Return what share of the best rate of matrix products each variant reaches, over tokens without padding."""
    needed = training_operations(setting.config, rows.input_ids.lengths) / float(rows.tokens.sum())
    best = max(peak(setting) for _ in range(3))
    lines = [
        Line(
            f"share of the matrix-product bound, {benchmark}", name, Figure.of([r * needed / best for r in rates]),
            "share", {},
        )
        for name, rates in measured.items()
    ]  # fmt: skip
    return [*lines, Line("matrix products", "best measured", Figure.of([best / 1e9]), "GFLOP/s", {})]


def _launches_and_memory(
    setting: Setting, benchmark: str, makers: dict[str, Maker], trained: dict[str, Trained]
) -> list[Line]:
    """Return each variant's launches per step, and its peak of memory with texts of the maximum length."""
    limit = lengths.MAXIMA[benchmark]
    longest = lengths.encoded(benchmark, np.full(4 * sides.BATCH, limit), setting.config["vocab_size"])
    lines = []
    for name in makers:
        each = trained[name]
        count = gpu.launches(partial(each.take, each.chosen(98))) / setting.steps
        lines.append(Line(f"launches per step, {benchmark}", name, Figure.of([count]), "", {}))
    for name, make in makers.items():
        each = make(longest)
        batches = each.chosen(0)[:2]
        each.take(batches[:1])  # the first step makes the optimizer's state
        size = gpu.memory_of(partial(each.take, batches[1:]), each.module, each.optimizer)
        lines.append(Line(f"memory, {benchmark}, texts of {limit} tokens", name, Figure.of([size / 1e9]), "GB", {}))
    return lines


def seeds(setting: Setting, count: int) -> tuple[list[Line], dict[str, Any]]:
    """Measure the training of several seeds on the lengths of XNLI: together, and one after the other."""
    counts, origin = lengths.training_lengths("xnli", 4000)
    rows = lengths.encoded("xnli", counts, setting.config["vocab_size"])

    def loops() -> list[Training]:
        models = [sides.ours(setting.folder, "sequence", [setting.source], setting.device) for _ in range(count)]
        return [sides.our_training(model, rows, setting.precision, seed=seed) for seed, model in enumerate(models)]

    def rate(number: int, chosen: list[Training], take: Callable[[list[Any]], object]) -> float:
        parts = [loop.batches(number)[: setting.steps] for loop in chosen]
        tokens = sum(int(rows.tokens[part].sum()) for own in parts for batch in own for part in batch)
        return tokens / seconds(lambda: take(parts), setting.device)

    alone, joined = loops(), loops()
    together = SeedsTogether(joined)

    def take_alone(parts: list[Any]) -> None:
        for loop, own in zip(alone, parts, strict=True):
            for batch in own:
                loop.take(batch)

    def take_together(parts: list[Any]) -> None:
        for batches in zip(*parts, strict=True):
            for loop, batch, gradient in zip(joined, batches, together.gradients(batches), strict=True):
                loop.update(batch, gradient)
                list(loop.read())

    one_by_one = f"{count} seeds, one after the other"
    variants: dict[str, Callable[[int], float]] = {
        f"{count} seeds, seeds_together=true": partial(rate, chosen=joined, take=take_together),
        one_by_one: partial(rate, chosen=alone, take=take_alone),
    }
    for variant in variants.values():  # the first step allocates
        variant(99)
    measured = take_turns(variants, setting.rounds)
    lines = [Line("seeds, xnli", name, Figure.of(values), "tokens/s", {}) for name, values in measured.items()]
    joint, separate = measured.values()
    lines[0] = replace(lines[0], against={one_by_one: ratios(joint, separate)})
    return lines, {"lengths": origin}


def adding(setting: Setting, pieces: int) -> tuple[list[Line], dict[str, Any]]:
    """Measure training a new adapter against fine-tuning the same model on the same sequences, in tokens per second.

    Sequences have the length that the recipe packs them to, and a batch has 4,096 tokens; a text uses `pieces` of the
    vocabulary. The memory of an optimizer is the size of its state after one step.
    """
    pieces = min(pieces, setting.config["vocab_size"])
    recipe = catalog.recipe("add-language-mini" if setting.config["hidden_size"] < 768 else "add-language")
    batch = 4096 // recipe.max_length
    recipe = recipe.model_copy(update={"batch_size": batch})
    rng = np.random.default_rng(0)
    sequences = Ragged.of([rng.integers(5, pieces, recipe.max_length) for _ in range(batch * (setting.steps + 2))])
    packed = Encoded(sequences, np.arange(len(sequences)))
    labeled = replace(packed, scalars={"labels": rng.integers(0, 3, len(packed))})
    tagged = replace(packed, ragged={"labels": Ragged(rng.integers(0, 7, len(sequences.values)), sequences.bounds)})

    def loaded(head: Any) -> sides.Xmod:
        return sides.ours(setting.folder, head, [setting.source], setting.device)

    loops = {
        "xmodctl": sides.our_adding(loaded("masked-lm"), packed, recipe, setting.precision, pieces),
        "fine-tuning, sequence classification": sides.our_training(
            loaded("sequence"), labeled, setting.precision, recipe.tokens_per_step, batch
        ),
        "fine-tuning, token classification": sides.our_training(
            loaded("tokens"), tagged, setting.precision, recipe.tokens_per_step, batch
        ),
    }

    def rate(number: int, loop: Training) -> float:
        chosen = loop.batches(number)[: setting.steps]
        tokens = sum(int(packed.tokens[part].sum()) for parts in chosen for part in parts)
        return tokens / seconds(lambda: [loop.take(parts) for parts in chosen], setting.device)

    variants: dict[str, Callable[[int], float]] = {name: partial(rate, loop=loop) for name, loop in loops.items()}
    for variant in variants.values():  # the first step allocates
        variant(99)
    lines = lines_of("adding a language", take_turns(variants, setting.rounds), "tokens/s")
    for name, loop in loops.items():
        state = loop.optimizer_state().values()
        lines.append(Line("optimizer state", name, Figure.of([sum(tensor.nbytes for tensor in state) / 1e6]), "MB", {}))
    return lines, {"tokens per sequence": recipe.max_length, "pieces": pieces}


def sweep(setting: Setting) -> tuple[list[Line], dict[str, Any]]:
    """Measure predicting test rows in fifteen languages, in non-padding tokens per second and as a share of the bound.

    The bound is the time that the matrix products of all layers take for non-padding tokens at the best measured rate.
    On a GPU, launches per batch and memory are measured too.
    """
    per_language = 512 if setting.is_gpu else 16
    counts, origin = lengths.test_lengths(per_language)
    names = dict(zip(counts, _fifteen(setting), strict=True))
    rows = {
        language: lengths.encoded("xnli", count, setting.config["vocab_size"]) for language, count in counts.items()
    }
    tokens = sum(int(count.sum()) for count in counts.values())
    models = {name: model for name, model in _our_models(setting, "sequence").items() if name != COMPILED}
    stock = sides.stock(setting.folder, "sequence", None, setting.dtype, setting.device)
    facts: dict[str, Any] = {"lengths": origin, "rows per language": per_language}
    facts["largest differences"] = check_equal(setting, stock, models["xmodctl"], rows["en"])
    for model in models.values():
        model.store_for_scoring(setting.precision)
    peaks: list[float] = []

    def swept(model: sides.Xmod) -> None:
        for name, encoded in rows.items():
            sides.our_sweep(model, encoded, names[name], setting.precision)

    def swept_by_stock(module: Any, width: int | None = None) -> None:
        for name, encoded in rows.items():
            number = setting.languages.index(names[name])
            sides.stock_sweep(module, encoded, width=width, language=number, device=setting.device)

    def rate(_: int, work: Callable[[], object], *, with_peak: bool) -> float:
        peaks.extend([peak(setting)] * with_peak)
        spent = seconds(work, setting.device)
        peaks.extend([peak(setting)] * with_peak)
        return tokens / spent

    works: dict[str, tuple[torch.nn.Module, Callable[[], object]]] = {
        name: (model.module, partial(swept, model)) for name, model in models.items()
    }
    works["stock, dynamic padding"] = (stock, partial(swept_by_stock, stock))
    works["stock, padded to 128"] = (stock, partial(swept_by_stock, stock, 128))
    if setting.compiled:
        compiled = sides.stock(setting.folder, "sequence", None, setting.dtype, setting.device)
        compiled.compile(dynamic=True)
        works["stock, dynamic padding, compiled"] = (compiled, partial(swept_by_stock, compiled))
    variants: Variants = {name: partial(rate, work=work, with_peak=name in models) for name, (_, work) in works.items()}
    facts |= warmed(variants, setting)
    peaks.clear()
    measured = take_turns(variants, setting.rounds)
    needed = sum(operations(setting.config, count) for count in counts.values()) / tokens
    shares = [rate * needed / max(peaks) for rate in measured["xmodctl"]]
    lines = lines_of("sweep of 15 languages", measured, "tokens/s")
    lines.append(Line("sweep of 15 languages", "xmodctl, of the matrix-product bound", Figure.of(shares), "share", {}))
    lines.append(Line("matrix products", "best measured", Figure.of([p / 1e9 for p in peaks]), "GFLOP/s", {}))
    for name in measured if setting.is_gpu else ():
        module, work = works[name]
        own = sum(len(batches_of(encoded, torch.device(setting.device))) for encoded in rows.values())
        batches = own if name in models else sum(-(-len(encoded) // sides.BATCH) for encoded in rows.values())
        lines.append(Line("launches per batch, sweep", name, Figure.of([gpu.launches(work) / batches]), "", {}))
        lines.append(Line("memory, sweep", name, Figure.of([gpu.memory_of(work, module, None) / 1e9]), "GB", {}))
    return lines, facts


def _fifteen(setting: Setting) -> list[str]:
    available = setting.languages
    return XNLI if set(XNLI) <= set(available) else [available[number % len(available)] for number in range(15)]
