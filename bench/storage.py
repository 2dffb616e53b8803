"""Measures of loading, saving and start-up."""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bench import lengths, sides
from bench.measures import Line, Setting
from bench.timing import Figure, ratios, take_turns
from xmodctl.model import find
from xmodctl.run.checkpoints import latest_checkpoint, save_checkpoint
from xmodctl.run.deltas import save_delta


def loading(setting: Setting) -> tuple[list[Line], dict[str, Any]]:
    """Measure loading and memory, each in its own process."""
    everything = setting.languages
    choices: dict[str, tuple[str, Sequence[str]]] = {f"stock, {len(everything)} languages": ("stock", ())}
    for count in dict.fromkeys(min(count, len(everything)) for count in (1, 2, 15, 81)):
        choices[f"xmodctl, {count} languages"] = ("ours", everything[:count])
        if count < len(everything):
            choices[f"stock, reduced to {count} languages"] = ("stock", everything[:count])
    figures: dict[str, list[dict[str, float]]] = {name: [] for name in choices}

    def load(_: int, name: str) -> float:
        side, languages = choices[name]
        command = [sys.executable, "-m", "bench.loading", side, str(setting.folder), ",".join(languages)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        figures[name].append(json.loads(done.stdout.splitlines()[-1]))
        return figures[name][-1]["seconds"]

    measured = take_turns({name: partial(load, name=name) for name in choices}, setting.rounds)
    first = next(iter(choices))
    lines = [
        Line(
            "load", name, Figure.of(values), "s",
            {first: ratios(measured[first], values)} if name.startswith("xmodctl") else {},
        )
        for name, values in measured.items()
    ]  # fmt: skip
    for name, rounds in figures.items():
        for memory in ("used", "anonymous"):
            lines.append(Line(f"memory, {memory}", name, Figure.of([figure[memory] for figure in rounds]), "MB", {}))
    return lines, {"first load, with imports": {name: figures[name][0]["first"] for name in figures}}


def saving(setting: Setting) -> tuple[list[Line], dict[str, Any]]:
    """Measure what a run stores against `save_pretrained`, and what interrupting and resuming costs."""
    source = find(str(setting.folder))
    counts, _ = lengths.training_lengths("xnli", 200)
    rows = lengths.encoded("xnli", counts, setting.config["vocab_size"])
    model = sides.ours(setting.folder, "sequence", [setting.source], setting.device)
    loop = sides.our_training(model, rows, setting.precision)
    loop.take(loop.batches(0)[0])
    stock = sides.stock(setting.folder, "sequence", None, torch.float32, setting.device)
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
            model = sides.ours(setting.folder, "sequence", [setting.source], setting.device)
            kept = latest_checkpoint(place)
            assert kept is not None
            sides.our_training(model, rows, setting.precision).restore(kept)

        return timed("resume", work, place)

    def pretrained(_: int) -> float:
        place = folder / "pretrained"
        return timed("save_pretrained", lambda: stock.save_pretrained(place), place)

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
        Line("save", "xmodctl, checkpoint with optimizer", Figure.of(measured["checkpoint"]), "s", {}),
        Line("size", "xmodctl, checkpoint with optimizer", Figure.of([sizes["checkpoint"] / 1e6]), "MB", {}),
        Line("resume", "xmodctl, load and restore", Figure.of(measured["resume"]), "s", {}),
    ]
    return lines, {}


def startup(setting: Setting) -> tuple[list[Line], dict[str, Any]]:
    """Measure how long `xmodctl --help` takes."""

    def run_help(_: int) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "xmodctl", "--help"], check=True, capture_output=True)
        return time.perf_counter() - start

    measured = [run_help(0) for _ in range(max(5, setting.rounds))]
    return [Line("start-up", "xmodctl --help", Figure.of(measured), "s", {})], {}
