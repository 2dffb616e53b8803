"""Measure xmodctl against stock transformers on this machine: `python -m bench`."""

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers

from bench import storage, throughput
from bench.checkpoints import folder_of
from bench.measures import Line, Setting, UnequalError
from xmodctl.core.errors import UserError
from xmodctl.model.kernels import onednn_is_faster
from xmodctl.model.precision import resolve_precision
from xmodctl.model.variable_length import check_variable_length

Measure = Callable[[Setting], tuple[list[Line], dict[str, Any]]]

MEASURES: dict[str, Measure] = {
    "startup": storage.startup,
    "loading": storage.loading,
    "saving": storage.saving,
    "training": partial(throughput.training, benchmark="xnli", everything=True),
    "panx": partial(throughput.training, benchmark="panx", everything=False),
    "xquad": partial(throughput.training, benchmark="xquad", everything=False),
    "xcopa": partial(throughput.training, benchmark="xcopa", everything=False),
    "seeds": partial(throughput.seeds, count=3),
    "adding": partial(throughput.adding, pieces=6_000),
    "sweep": partial(throughput.sweep, per_language=16),
}


def main(arguments: list[str]) -> int:
    """Run the measures, print a table, write JSON."""
    options = _options(arguments)
    torch.set_num_threads(options.threads)
    try:
        if options.device == "cuda" and not torch.cuda.is_available():
            raise UserError("torch finds no CUDA GPU on this machine; use --device cpu, or install torch with CUDA")
        precision = resolve_precision(options.precision if options.device == "cuda" else "fp32")
        folder = folder_of(options.model)
        setting = Setting(
            folder, options.device, precision, options.rounds, options.steps, options.compile, options.variable_length
        )
        if setting.variable_length:
            check_variable_length(setting.config, precision, attention_dropout=0.0, compiled=False)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    report: dict[str, Any] = {"machine": _machine(options), "model": options.model, "measures": {}}
    for name, value in report["machine"].items():
        print(f"{name}: {value}")
    for name in options.only:
        try:
            lines, facts = MEASURES[name](setting)
        except UnequalError as error:
            print(f"\n{name}: not timed, because the two sides compute different results: {error}", file=sys.stderr)
            return 1
        print(f"\n{name} {json.dumps(facts) if facts else ''}")
        print(table(lines), flush=True)
        report["measures"][name] = {"facts": facts, "lines": [asdict(line) for line in lines]}
        if options.json:
            options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


def table(lines: list[Line]) -> str:
    """Return lines as a Markdown table: median, range, and the factors by which a variant is better than others."""
    rows = [("measure", "variant", "median", "range", "times better than")]
    for line in lines:
        better = "; ".join(
            f"{ratio.median:.2f} ({ratio.low:.2f}-{ratio.high:.2f}) {name}" for name, ratio in line.against.items()
        )
        figure = line.figure
        spread = f"{_number(figure.low)}-{_number(figure.high)}"
        rows.append((line.measure, line.variant, f"{_number(figure.median)} {line.unit}", spread, better))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    text = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return "\n".join([text[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *text[1:]])


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _machine(options: argparse.Namespace) -> Mapping[str, object]:
    processor = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        processor = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), processor)
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "threads": options.threads,
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "oneDNN for linear layers": onednn_is_faster(),
        "accelerator": torch.cuda.get_device_name() if options.device == "cuda" else None,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
    }


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--model", default="base", help="base, large, mini, tiny, or the folder of a checkpoint (default: %(default)s)"
    )
    parser.add_argument(
        "--only", default=list(MEASURES), type=_names, help=f"measures to run, of {','.join(MEASURES)} (default: all)"
    )
    parser.add_argument(
        "--rounds", default=3, type=int, help="how often each variant is measured (default: %(default)s)"
    )
    parser.add_argument("--steps", default=2, type=int, help="training steps per round (default: %(default)s)")
    parser.add_argument("--threads", default=1, type=int, help="CPU threads (default: %(default)s)")
    parser.add_argument(
        "--device", default="cpu", choices=["cpu", "cuda"], help="nothing has been measured on CUDA yet"
    )
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16", "fp16"], help="on CUDA")
    parser.add_argument("--compile", action="store_true", help="also measure training with compile=true")
    parser.add_argument(
        "--variable-length",
        action="store_true",
        help="also measure trainings and sweeps with variable_length=true on CUDA, after a comparison of both sides",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures to this file")
    return parser.parse_args(arguments)


def _names(text: str) -> list[str]:
    chosen = text.split(",")
    if wrong := [name for name in chosen if name not in MEASURES]:
        raise argparse.ArgumentTypeError(f"no measure {wrong[0]!r}; choose from {', '.join(MEASURES)}")
    return chosen


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
