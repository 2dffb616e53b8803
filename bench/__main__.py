"""Measure xmodctl against stock transformers on this machine: `python -m bench`.

With `--device cuda`, one command compares results with the CPU's, and then measures training and sweeps in fp32 and in
the narrow type that the GPU has.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
import transformers

from bench import correctness, storage, throughput
from bench.checkpoints import folder_of
from bench.measures import Line, Setting, UnequalError
from xmodctl.core.errors import UserError
from xmodctl.model.compiling import check_compiler
from xmodctl.model.kernels import onednn_is_faster
from xmodctl.model.precision import Precision, resolve_precision
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
    "sweep": throughput.sweep,
    "correctness": correctness.correctness,
}
BY_DEFAULT = {
    "cpu": [name for name in MEASURES if name != "correctness"],
    "cuda": ["correctness", "training", "panx", "xquad", "xcopa", "sweep", "seeds", "adding"],
}
"""Without `--only`; on a CPU, there is nothing to compare with the CPU."""
IN_EVERY_PRECISION = ("correctness", "training", "panx", "xquad", "xcopa", "sweep", "seeds", "adding")
PRECISIONS = ("fp32", "bf16", "fp16")
STEPS = {"cpu": 2, "cuda": 32}
"""Optimizer steps per round, without `--steps`: a GPU takes a step in milliseconds."""


def main(arguments: list[str]) -> int:
    """Run the measures, print a table, write JSON."""
    options = _options(arguments)
    torch.set_num_threads(options.threads)
    try:
        _check_device(options.device)
        folder = folder_of(options.model)
        settings = [_setting(options, folder, precision) for precision in _precisions(options)]
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    report: dict[str, Any] = {"machine": _machine(options), "model": options.model, "measures": {}}
    for name, value in report["machine"].items():
        print(f"{name}: {value}")
    for name in options.only or BY_DEFAULT[options.device]:
        for setting in settings if name in IN_EVERY_PRECISION else settings[:1]:
            title = f"{name}, {setting.precision}" if setting.is_gpu and name in IN_EVERY_PRECISION else name
            try:
                lines, facts = MEASURES[name](setting)
            except UnequalError as error:
                print(
                    f"\n{title}: not timed, because the two sides compute different results: {error}", file=sys.stderr
                )
                return 1
            print(f"\n{title} {json.dumps(facts) if facts else ''}")
            print(table(lines), flush=True)
            report["measures"][title] = {"facts": facts, "lines": [asdict(line) for line in lines]}
            if options.json:
                options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


def _check_device(device: str) -> None:
    """Refuse a GPU that this machine does not have, and a CPU beside a GPU, which trainings would use.

    Raises:
        UserError: It cannot be measured.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("torch finds no CUDA GPU on this machine; use --device cpu, or install torch with CUDA")
    if device == "cpu" and torch.cuda.is_available():
        raise UserError(
            "trainings use the GPU of this machine; use --device cuda, or put CUDA_VISIBLE_DEVICES= before the command"
        )


def _precisions(options: argparse.Namespace) -> list[Precision]:
    """Return the precisions to measure: on a GPU, fp32 and the narrow type that it has, unless some are named.

    Raises:
        UserError: The GPU does not support one.
    """
    if options.device == "cpu":
        return ["fp32"]
    narrow = "bf16" if resolve_precision("auto") == "bf16" else "fp16"
    names = ["fp32", narrow] if options.precision == ["auto"] else options.precision
    return [resolve_precision(name) for name in names]


def _setting(options: argparse.Namespace, folder: Path, precision: Precision) -> Setting:
    """Return a setting with the variants that were asked for, or on a GPU with all that are possible.

    Raises:
        UserError: A variant that was asked for is not possible.
    """
    steps = options.steps or STEPS[options.device]
    setting = Setting(folder, options.device, precision, options.rounds, steps)
    packing = partial(check_variable_length, setting.config, precision, attention_dropout=0.0, compiled=False)
    compiling = partial(check_compiler, languages=1, freeze="embeddings+adapters", precision=precision)
    return replace(
        setting,
        compiled=_is_measured("compile", options.compile, compiling, setting),
        variable_length=_is_measured("variable-length", options.variable_length, packing, setting),
    )


def _is_measured(name: str, wanted: bool | None, check: Callable[[], None], setting: Setting) -> bool:
    """Return whether a variant is measured; if it was not asked for, a GPU that cannot do it measures the others."""
    if wanted is None and not setting.is_gpu:
        return False
    if wanted is False:
        return False
    try:
        check()
    except UserError as error:
        if wanted:
            raise
        print(f"--{name} in {setting.precision} is not measured: {error}")
        return False
    return True


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
        "--only",
        type=_names,
        help=f"measures to run, of {','.join(MEASURES)} (default: all that are for the device)",
    )
    parser.add_argument(
        "--rounds", default=3, type=int, help="how often each variant is measured (default: %(default)s)"
    )
    parser.add_argument(
        "--steps", type=int, help=f"training steps per round (default: {STEPS['cpu']}, on CUDA {STEPS['cuda']})"
    )
    parser.add_argument("--threads", default=1, type=int, help="CPU threads (default: %(default)s)")
    parser.add_argument(
        "--device", default="cpu", choices=["cpu", "cuda"], help="nothing has been measured on CUDA yet"
    )
    parser.add_argument(
        "--precision",
        default=["auto"],
        type=_precision_names,
        help="on CUDA, the precisions to measure, of fp32,bf16,fp16 (default: fp32, and bf16 or else fp16)",
    )
    parser.add_argument(
        "--compile",
        action=argparse.BooleanOptionalAction,
        help="also measure trainings with compile=true, and stock compiled (default: on CUDA, if it is possible)",
    )
    parser.add_argument(
        "--variable-length",
        action=argparse.BooleanOptionalAction,
        help="also measure trainings and sweeps with variable_length=true (default: on CUDA, if it is possible)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures to this file")
    return parser.parse_args(arguments)


def _precision_names(text: str) -> list[str]:
    chosen = text.split(",")
    if chosen == ["auto"]:
        return chosen
    if wrong := [name for name in chosen if name not in PRECISIONS]:
        raise argparse.ArgumentTypeError(f"no precision {wrong[0]!r}; choose from {', '.join(PRECISIONS)}, or auto")
    return chosen


def _names(text: str) -> list[str]:
    chosen = text.split(",")
    if wrong := [name for name in chosen if name not in MEASURES]:
        raise argparse.ArgumentTypeError(f"no measure {wrong[0]!r}; choose from {', '.join(MEASURES)}")
    return chosen


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
