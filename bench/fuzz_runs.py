"""Runs that `bench.fuzz` damages, the input of `predict`, and what reads them."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from bench.fuzz_data import rows_of
from bench.fuzz_reading import CHANGED, Target, build_tiny_model, command, commands, digest


def write_run(folder: Path) -> None:
    """Write a run that was trained with shots and scored, its data, its model, and rows to label."""
    build_tiny_model(folder / "model")
    for language in ("en", "de"):
        for split, count in (("train", 12), ("validation", 6), ("test", 12)):
            path = folder / "data" / language / f"{split}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps(row) + "\n" for row in rows_of("pairs") * (count // 6)))
    settings = [word for change in (*CHANGED, "epochs=1") for word in ("--set", change)]
    command("finetune", "--task", "xnli", "--lang", "en", "--model", folder / "model", "--data", folder / "data",
            "--out", folder / "runs/a", *settings, "--shots", "3", "--shot-langs", "de")  # fmt: skip
    command("finetune", "--task", "xnli", "--lang", "en", "--model", folder / "model", "--data", folder / "data",
            "--out", folder / "runs/a", *settings)  # fmt: skip
    command("eval-transfer", "--run", folder / "runs/a", "--langs", "en,de", "--controls", "source,none")
    (folder / "text.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows_of("pairs")))


def _use_run(folder: Path) -> object:
    """Run every command that reads a run without its model."""
    trained = folder / "runs/a"
    commands(
        ("runs", folder / "runs"), ("report", trained, "--format", "csv"), ("compare", trained),
        ("report", trained, "--out", folder / "report.html"), ("score", "--run", trained), ("doctor", "--run", trained),
    )  # fmt: skip
    return None


def _write_seeds(folder: Path) -> None:
    write_run(folder)
    settings = [word for change in (*CHANGED, "epochs=1", "head_seed=1") for word in ("--set", change)]
    command("finetune", "--task", "xnli", "--lang", "en", "--model", folder / "model", "--data", folder / "data",
            "--out", folder / "runs/b", "--seeds", "1,2", *settings)  # fmt: skip
    command("eval-transfer", "--run", folder / "runs/b", "--langs", "en,de")


def _use_seeds(folder: Path) -> object:
    """Run what reads several seeds or runs, and what writes folders made from a run."""
    seeds, mean, exported = folder / "runs/b", folder / "mean", folder / "exported"
    for output in (mean, exported):
        shutil.rmtree(output, ignore_errors=True)
    commands(
        ("score", "--run", seeds, "--ensemble"), ("compare", folder / "runs/a", seeds),
        ("runs", "average", seeds, "--out", mean), ("export", "--run", seeds, "--langs", "de", "--out", exported),
    )  # fmt: skip
    return None


def _sweep_run(folder: Path) -> object:
    commands(["eval-transfer", "--run", folder / "runs/a", "--langs", "en,de", "--json"])
    return None


def _write_mean(folder: Path) -> None:
    _write_seeds(folder)
    command("runs", "average", folder / "runs/b", "--out", folder / "runs/mean")
    command("eval-transfer", "--run", folder / "runs/mean", "--langs", "en,de")


def _use_mean(folder: Path) -> object:
    mean = folder / "runs/mean"
    commands(
        ("report", mean, "--format", "csv"), ("compare", mean, folder / "runs/b"), ("doctor", "--run", mean),
        ("runs", folder / "runs"), ("runs", "average", folder / "runs/b", "--out", mean),
    )  # fmt: skip
    return None


def _write_mixed(folder: Path) -> None:
    write_run(folder)
    words = ("eval-transfer", "--run", folder / "runs/a", "--langs")
    command(*words, "de=0.7*en+0.3*sw,en=mix", "--mix-by", "entropy")
    shutil.copy(folder / "runs/a/results.jsonl", folder / "whole.jsonl")


def _use_mixed(folder: Path) -> object:
    """Run what shows mixtures, and score one again whose weights a row records."""
    rows = [json.loads(line) for line in (folder / "whole.jsonl").read_text().splitlines()]
    name = next(row["mixture"]["name"] for row in rows if "@" in (row.get("mixture") or {"name": ""})["name"])
    trained = folder / "runs/a"
    commands(
        ("report", trained, "--format", "markdown"), ("compare", trained), ("doctor", "--run", trained),
        ("eval-transfer", "--run", trained, "--langs", f"en={name}", "--json"),
    )  # fmt: skip
    return None


def _label_with_run(folder: Path) -> object:
    """Return the predictions of a run, or nothing if it is refused."""
    from xmodctl.core.errors import UserError

    printed = command("predict", "--run", folder / "runs/a", "--lang", "en", folder / "text.jsonl")
    if not printed:
        raise UserError("refused")
    return printed


def _read_input(folder: Path) -> object:
    texts = sorted(folder.glob("text*"))
    commands(*(("predict", "--run", folder / "runs/a", "--lang", "en", path) for path in texts))
    return None


def _write_input(folder: Path) -> None:
    write_run(folder)
    (folder / "text.csv").write_text("premise,hypothesis\nthe cat,red\n")


def _write_tables(folder: Path) -> None:
    write_run(folder)
    (folder / "text.tsv").write_bytes("premise\thypothesis\tlanguage\r\nthe cat\tred\tde\r\n".encode("utf-16"))
    (folder / "text.ndjson").write_text('{"premise": "the cat", "hypothesis": "red", "language": "en"}\n' * 3)
    (folder / "text.jsonl").unlink()


def _read_tables(folder: Path) -> object:
    """Label rows of several languages, and write the input's columns, too."""
    words = ("predict", "--run", folder / "runs/a", "--keep-input")
    commands(*((*words, path, "--out", folder / "labels.csv") for path in sorted(folder.glob("text*"))))
    return None


def _write_checkpoints(folder: Path) -> None:
    import torch

    from xmodctl.run.checkpoints import Progress, save_checkpoint

    for step in (2, 4):
        tensors = {"w": torch.arange(6.0) + step, "b": torch.ones(3)}
        optimizer = {f"{name}.exp_avg": tensor / 2 for name, tensor in tensors.items()}
        save_checkpoint(folder / "checkpoints", Progress(step, 9, step / 9, 1), tensors, optimizer)


def _read_checkpoints(folder: Path) -> object:
    from xmodctl.core.errors import UserError
    from xmodctl.run.checkpoints import checkpoints

    (_, newest), (_, other) = checkpoints(folder / "checkpoints")
    if newest is None or other is None:
        raise UserError("passed over")
    return [(digest(each.tensors()), digest(each.optimizer())) for each in (newest, other)]


RUNS: Mapping[str, Target] = {
    "run: run.json": Target(write_run, ("runs/a/run.json",), _use_run),
    "run: results": Target(write_run, ("runs/a/results.jsonl",), _use_run),
    "run: several seeds": Target(
        _write_seeds, ("runs/b/*.json*", "runs/b/predictions/**/*", "runs/b/seed-*/*"), _use_seeds
    ),
    "run: sweep": Target(write_run, ("runs/a/results.jsonl", "runs/a/run.json"), _sweep_run, writes=True),
    "run: mixtures": Target(_write_mixed, ("runs/a/results.jsonl",), _use_mixed, writes=True),
    "run: mean": Target(_write_mean, ("runs/mean/*.json*", "runs/mean/predictions/**/*"), _use_mean, writes=True),
    "run: predictions": Target(write_run, ("runs/a/predictions/**/*.jsonl",), _use_run),
    "run: logs": Target(write_run, ("runs/a/seed-*/*.json*",), _use_run),
    "run: delta": Target(write_run, ("runs/a/seed-*/delta.safetensors",), _label_with_run, sealed=True),
    "run: checkpoints": Target(_write_checkpoints, ("checkpoints/*/*",), _read_checkpoints, sealed=True),
    "predict: input": Target(_write_input, ("text*",), _read_input),
    "predict: input, languages in a column": Target(_write_tables, ("text*",), _read_tables),
}
"""The runs that are damaged, and what reads them."""
