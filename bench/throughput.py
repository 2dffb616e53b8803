"""Measures of throughput: training, adding a language, and a sweep over languages."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from bench import lengths, sides
from bench.measures import Line, Setting, check_equal, lines_of
from bench.timing import Figure, ratios, seconds, take_turns
from xmodctl.catalog import catalog
from xmodctl.core.encoded import Encoded, Ragged
from xmodctl.training.loop import Training
from xmodctl.training.together import SeedsTogether

XNLI = [
    "ar_AR", "bg_BG", "de_DE", "el_GR", "en_XX", "es_XX", "fr_XX", "hi_IN", "ru_RU", "sw_KE", "th_TH", "tr_TR", "ur_PK",
    "vi_VN", "zh_CN",
]  # fmt: skip


PACKED = "variable_length=true, attention_dropout=0"


def training(setting: Setting, benchmark: str, *, everything: bool) -> tuple[list[Line], dict[str, Any]]:
    """Measure training throughput on the lengths of `benchmark`, in non-padding tokens per second.

    `everything` adds stock padded to the maximum length, stock with eager attention, and stock with a single language.
    """
    head = lengths.HEADS[benchmark]
    counts, origin = lengths.training_lengths(benchmark, 4000)
    rows = lengths.encoded(benchmark, counts, setting.config["vocab_size"])
    model = sides.ours(setting.folder, head, [setting.source], setting.device)
    language = setting.languages.index(setting.source)
    size = min(sides.BATCH, max(4, int(sides.BATCH * 64 / rows.tokens.mean())))  # smaller batches of long windows

    def our_rate(number: int, loop: Training) -> float:
        chosen = sides.typical(loop.batches(number), rows, setting.steps, number)
        tokens = sum(int(rows.tokens[part].sum()) for parts in chosen for part in parts)
        return tokens / seconds(lambda: [loop.take(parts) for parts in chosen], setting.device)

    def stock_rate(number: int, side: sides.StockTraining, attention: str, width: int | None, language: int) -> float:
        order = np.random.default_rng(number).permutation(len(rows))[: size * setting.steps]
        chosen = np.split(order, setting.steps)
        work = partial(side.steps, chosen, attention=attention, width=width, language=language)
        return int(rows.tokens[order].sum()) / seconds(work, setting.device)

    whole = sides.StockTraining(
        sides.stock(setting.folder, head, None, setting.dtype, setting.device), rows, setting.device
    )
    if head != "span":  # there stock's loss counts the padding
        model.leave_padding_out()
    differences = check_equal(setting, whole.module, model, rows)
    our_loop = sides.our_training(model, rows, setting.precision)
    all_of_them = f"{len(setting.languages)} languages"
    variants: dict[str, Callable[[int], float]] = {"xmodctl": partial(our_rate, loop=our_loop)}
    if setting.compiled:
        compiled = sides.ours(setting.folder, head, [setting.source], setting.device)
        loop = sides.our_training(compiled, rows, setting.precision, compiled=True)
        variants["xmodctl, compile=true"] = partial(our_rate, loop=loop)
    facts: dict[str, Any] = {}
    if setting.variable_length:
        packed = sides.without_padding(sides.ours(setting.folder, head, [setting.source], setting.device))
        if head != "span":  # as above
            packed.leave_padding_out()
            facts[f"largest differences, {PACKED}"] = check_equal(setting, whole.module, packed, rows)
        variants[f"xmodctl, {PACKED}"] = partial(our_rate, loop=sides.our_training(packed, rows, setting.precision))
    used_well = f"stock, {all_of_them}, dynamic padding"
    variants[used_well] = partial(stock_rate, side=whole, attention="sdpa", width=None, language=language)
    if everything:
        single = sides.StockTraining(
            sides.stock(setting.folder, head, [setting.source], setting.dtype, setting.device), rows, setting.device
        )
        limit = lengths.MAXIMA[benchmark]
        variants |= {
            f"stock, {all_of_them}, padded to {limit}": partial(
                stock_rate, side=whole, attention="sdpa", width=limit, language=language
            ),
            f"stock, {all_of_them}, dynamic, eager": partial(
                stock_rate, side=whole, attention="eager", width=None, language=language
            ),
            "stock, 1 language, dynamic padding": partial(
                stock_rate, side=single, attention="sdpa", width=None, language=0
            ),
        }
    for variant in variants.values():  # the first step allocates
        variant(99)
    for number in range(setting.rounds if setting.compiled else 0):  # and each new shape is compiled
        variants["xmodctl, compile=true"](number)
    measured = take_turns(variants, setting.rounds)
    facts |= {
        "lengths": origin,
        "tokens per example": round(float(rows.tokens.mean()), 1),
        "largest differences": differences,
    }
    return lines_of(f"training, {benchmark}", measured, "tokens/s"), facts


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


def sweep(setting: Setting, per_language: int) -> tuple[list[Line], dict[str, Any]]:
    """Measure predicting test rows in fifteen languages, in non-padding tokens per second and as a share of the bound.

    The bound is the time that the matrix products of all layers take for non-padding tokens at the best measured rate.
    """
    counts, origin = lengths.test_lengths(per_language)
    names = dict(zip(counts, _fifteen(setting), strict=True))
    rows = {
        language: lengths.encoded("xnli", count, setting.config["vocab_size"]) for language, count in counts.items()
    }
    tokens = sum(int(count.sum()) for count in counts.values())
    model = sides.ours(setting.folder, "sequence", [setting.source], setting.device)
    stock = sides.stock(setting.folder, "sequence", None, setting.dtype, setting.device)
    differences = check_equal(setting, stock, model, rows["en"])
    peaks: list[float] = []

    def our_rate(_: int, swept: sides.Xmod = model) -> float:
        peaks.append(peak(setting))
        work = [partial(sides.our_sweep, swept, rows[name], names[name], setting.precision) for name in rows]
        spent = seconds(lambda: [step() for step in work], setting.device)
        peaks.append(peak(setting))
        return tokens / spent

    def stock_rate(_: int, width: int | None) -> float:
        def work() -> None:
            for name, encoded in rows.items():
                number = setting.languages.index(names[name])
                sides.stock_sweep(stock, encoded, width=width, language=number, device=setting.device)

        return tokens / seconds(work, setting.device)

    variants: dict[str, Callable[[int], float]] = {
        "xmodctl": our_rate,
        "stock, dynamic padding": partial(stock_rate, width=None),
        "stock, padded to 128": partial(stock_rate, width=128),
    }
    if setting.variable_length:
        packed = sides.without_padding(sides.ours(setting.folder, "sequence", [setting.source], setting.device))
        variants[f"xmodctl, {PACKED}"] = partial(our_rate, swept=packed)
    our_rate(0)
    peaks.clear()
    measured = take_turns(variants, setting.rounds)
    needed = sum(operations(setting.config, count) for count in counts.values()) / tokens
    shares = [rate * needed / max(peaks) for rate in measured["xmodctl"]]
    lines = lines_of("sweep of 15 languages", measured, "tokens/s")
    lines.append(Line("sweep of 15 languages", "xmodctl, of the matrix-product bound", Figure.of(shares), "share", {}))
    lines.append(Line("matrix products", "best measured", Figure.of([p / 1e9 for p in peaks]), "GFLOP/s", {}))
    return lines, {"lengths": origin, "rows per language": per_language, "largest differences": differences}


def peak(setting: Setting) -> float:
    """Return the best rate, in operations per second, at which this machine multiplies matrices of these sizes."""
    hidden, wide = setting.config["hidden_size"], setting.config["intermediate_size"]
    dtype = torch.float32 if setting.device == "cpu" else setting.dtype
    count = 2048 if setting.device == "cpu" else 16384
    x = torch.randn(count, hidden, device=setting.device, dtype=dtype)
    weight = torch.randn(wide, hidden, device=setting.device, dtype=dtype)
    products: list[Callable[[], object]] = [lambda: torch.nn.functional.linear(x, weight)]
    if setting.device == "cpu" and hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        products.append(lambda: torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], ""))
    least = min(seconds(product, setting.device) for product in products for _ in range(5))
    return 2 * count * hidden * wide / least


def operations(config: Mapping[str, Any], counts: np.ndarray, *, first: bool = False) -> float:
    """Return the operations of all matrix products of the encoder over rows of these lengths, without padding.

    With `first`, only the first token of each row is read: the last layer then needs the keys and values of all tokens,
    and everything else of those alone. Stock computes all of it.
    """
    hidden, layers = config["hidden_size"], config["num_hidden_layers"]
    adapter = 2 * hidden * (hidden // config["adapter_reduction_factor"])
    tokens, pairs = float(counts.sum()), float((counts.astype(float) ** 2).sum())
    queried = (float(len(counts)), tokens) if first else (tokens, pairs)

    def layer(tokens_queried: float, pairs_attended: float) -> float:
        per_query = 2 * hidden**2 + 2 * hidden * config["intermediate_size"] + adapter
        return 2 * (2 * hidden**2 * tokens + per_query * tokens_queried + 2 * hidden * pairs_attended)

    return (layers - 1) * layer(tokens, pairs) + layer(*queried)


def _fifteen(setting: Setting) -> list[str]:
    available = setting.languages
    return XNLI if set(XNLI) <= set(available) else [available[number % len(available)] for number in range(15)]
