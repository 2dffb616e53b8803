"""What saving and verification cost: `python -m bench.overhead --out DIR`.

The demonstration is trained and scored in this process, and the time spent within the functions that save or verify
files is added up. A function that another of them calls is not counted twice.
"""

import argparse
import functools
import importlib
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import xmodctl
from xmodctl.data.demonstrations import demonstration_folder

FUNCTIONS = (
    "run.checkpoints:save_checkpoint",
    "run.checkpoints:latest_checkpoint",
    "run.deltas:save_delta",
    "run.deltas:check_delta",
    "core.safetensors_io:check_seal",
    "core.files:sha256_of",
    "core.files:remembered_digest",
    "core.files:write_json",
    "evaluation.results:append_row",
    "evaluation.results:write_predictions",
)
METHODS = (("training.kept_weights:KeptWeights", ("end_epoch", "validated", "choose")),)


class Meter:
    """Adds up the seconds within functions; those within a function that is being measured are its own."""

    def __init__(self) -> None:
        """Start at nothing."""
        self.seconds: Counter[str] = Counter()
        self._depth = 0

    def measured(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function whose calls are measured."""

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            start, self._depth = time.perf_counter(), self._depth + 1
            try:
                return function(*args, **kwargs)
            finally:
                self._depth -= 1
                if not self._depth:
                    self.seconds[name] += time.perf_counter() - start

        return call

    def install(self) -> None:
        """Measure the functions wherever a module has them."""
        modules = [
            importlib.import_module(module.name)
            for module in walk_packages(xmodctl.__path__, "xmodctl.")
            if ".__main__" not in module.name
        ]
        for place in FUNCTIONS:
            home, name = place.split(":")
            original = getattr(importlib.import_module(f"xmodctl.{home}"), name)
            wrapped = self.measured(name, original)
            for module in modules:
                for attribute, value in list(vars(module).items()):
                    if value is original:
                        setattr(module, attribute, wrapped)
        for place, names in METHODS:
            home, owner = place.split(":")
            kind = getattr(importlib.import_module(f"xmodctl.{home}"), owner)
            for name in names:
                setattr(kind, name, self.measured(f"{owner}.{name}", getattr(kind, name)))

    def take(self) -> Counter[str]:
        """Return the seconds since the last call."""
        seconds, self.seconds = self.seconds, Counter()
        return seconds


def main(arguments: list[str] | None = None) -> int:
    """Train and score the demonstration, and print what share of the time saving and verification take."""
    parser = argparse.ArgumentParser(prog="python -m bench.overhead", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="a folder for the run; it is emptied")
    out: Path = parser.parse_args(arguments).out / "run"
    shutil.rmtree(out, ignore_errors=True)
    data = demonstration_folder("nli")
    meter = Meter()
    meter.install()
    from xmodctl.evaluation.evaluate import evaluate
    from xmodctl.training.finetune import finetune

    def silent(_: object) -> None:
        """Ignore an event."""

    parts = {
        "finetune": lambda: finetune(
            "xnli", "en_XX", model="mini", recipe="demo-nli", data=data, out=out, on_exists="redo", listen=silent
        ),
        "eval-transfer, 15 languages": lambda: evaluate(out, "all", data=data, listen=silent),
    }
    print("| command | seconds | saving and verification, seconds | share | of which |\n|---|---|---|---|---|")
    for name, work in parts.items():
        start = time.perf_counter()
        work()
        seconds, spent = time.perf_counter() - start, meter.take()
        own = sum(spent.values())
        most = ", ".join(f"`{function}` {value:.2f}" for function, value in spent.most_common(4))
        print(f"| {name} | {seconds:.1f} | {own:.2f} | {own / seconds:.1%} | {most} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
