"""The peak memory of `finetune` against the prediction of `--dry-run`: `python -m bench.memory --out DIR`.

Four kinds of task and three sizes of models with random weights. Each training is a process of its own that takes two
optimizer steps on texts of `max_length` tokens; the kernel reports the largest resident memory of the process.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bench.small_model import write_small_model
from xmodctl.model import find, load_tokenizer

LENGTH = 128
BATCH = 16
ROWS = 2 * BATCH
KINDS = {"nli": "xnli", "ner": "wikiann", "qa": "xquad", "mc": "xcopa"}
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")

SIZES: dict[str, dict[str, Any]] = {
    "small": {},
    "mini": {},
    "base": {
        "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
        "vocab_size": 250_002, "max_position_embeddings": 514,
    },
}  # fmt: skip
"""How a model differs from the small one. `mini` is the embedded model; `base` has the geometry of xmod-base, two
languages, and mini's tokenizer, which has as many pieces."""


@dataclass(frozen=True)
class Peak:
    """The memory of one training, in bytes."""

    size: str
    kind: str
    settings: str
    predicted: int
    measured: int

    @property
    def error(self) -> float:
        """By which share the prediction is too large."""
        return self.predicted / self.measured - 1


@cache
def vocabulary() -> list[str]:
    """Return words that mini's tokenizer has as one piece each, from all of its vocabulary."""
    pieces = load_tokenizer(find("mini")).get_vocab()
    return sorted(piece[1:] for piece in pieces if piece[0] == "▁" and piece[1:].isalpha() and piece.isprintable())


def write_model(size: str, folder: Path) -> None:
    """Write the model of a size, unless it is there."""
    if (folder / "complete").exists():
        return
    mini = find("mini").folder
    if size == "mini":
        shutil.copytree(mini, folder, dirs_exist_ok=True)
    else:
        write_small_model(folder, [" ".join(vocabulary()[::1000])], languages=["en_XX", "de_DE"], **SIZES[size])
    if size == "base":
        for name in TOKENIZER:
            if (mini / name).exists():
                shutil.copy(mini / name, folder / name)
    (folder / "complete").touch()


def write_rows(folder: Path, kind: str) -> None:
    """Write training rows whose texts are longer than `LENGTH` tokens."""
    draw, words = random.Random(0), vocabulary()

    def text(count: int) -> str:
        return " ".join(draw.choices(words, k=count))

    (folder / "en").mkdir(parents=True, exist_ok=True)
    if kind == "qa":
        entries = []
        for number in range(ROWS):
            context = text(LENGTH)
            answer = {"text": context.split()[0], "answer_start": 0}
            question = {"id": str(number), "question": text(5), "answers": [answer]}
            entries.append({"title": "", "paragraphs": [{"context": context, "qas": [question]}]})
        (folder / "en" / "train.json").write_text(json.dumps({"version": "1.1", "data": entries}), encoding="utf-8")
        return
    rows: list[dict[str, Any]] = []
    for number in range(ROWS):
        match kind:
            case "nli":
                label = ("entailment", "neutral", "contradiction")[number % 3]
                rows.append({"premise": text(LENGTH), "hypothesis": text(LENGTH), "label": label})
            case "ner":
                rows.append({"tokens": text(LENGTH).split(), "ner_tags": ["B-LOC", *["O"] * (LENGTH - 1)]})
            case _:
                choices = {"choice1": text(LENGTH), "choice2": text(LENGTH)}
                rows.append({"premise": text(LENGTH), **choices, "question": "cause", "label": number % 2})
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "en" / "train.jsonl").write_text(lines, encoding="utf-8")


def peak_of(size: str, kind: str, settings: Sequence[str], out: Path) -> Peak:
    """Return the predicted and the measured peak of one training."""
    words = [
        sys.executable, "-m", "xmodctl", "finetune", "--task", KINDS[kind], "--lang", "en", "--model",
        str(out / size), "--precision", "fp32", "--data", str(out / kind),
        "--out", str(out / "runs" / f"{size}-{kind}"),
    ]  # fmt: skip
    for setting in ("epochs=1", f"batch_size={BATCH}", f"max_length={LENGTH}", "stride=8", "stages=[]", *settings):
        words += ["--set", setting]
    planned = subprocess.run([*words, "--dry-run", "--json"], check=True, capture_output=True, text=True)
    predicted = json.loads(planned.stdout)["memory_bytes"]
    return Peak(size, kind, " ".join(settings), predicted, resident_peak([*words, "--on-exists", "redo", "--quiet"]))


LAUNCHER = """
import json, os, sys
process = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)])
_, status, usage = os.wait4(process, 0)
print(json.dumps([os.waitstatus_to_exitcode(status), usage.ru_maxrss]))
"""
"""Starts a command: a process inherits the peak of the one that starts it, so that must be a small one."""


def resident_peak(words: Sequence[str]) -> int:
    """Return the largest resident memory of a command, in bytes.

    Raises:
        CalledProcessError: The command failed.
    """
    launched = subprocess.run([sys.executable, "-c", LAUNCHER, *words], check=True, stdout=subprocess.PIPE, text=True)
    code, peak = json.loads(launched.stdout)
    if code:
        raise subprocess.CalledProcessError(code, words)
    return int(peak) * (1 if sys.platform == "darwin" else 1024)


def table(peaks: Sequence[Peak]) -> str:
    """Return the peaks as a Markdown table."""
    lines = ["| model | kind | settings | predicted | measured | error |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {peak.size} | {peak.kind} | {peak.settings} | {peak.predicted / 1e9:.2f} GB | {peak.measured / 1e9:.2f} GB "
        f"| {100 * peak.error:+.0f} % |"
        for peak in peaks
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """Measure, and print a table; return 1 if a prediction is off by more than `--within` percent."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="where models, data and runs are written"
    )
    parser.add_argument("--only", default=",".join(SIZES), help="sizes to measure (default: %(default)s)")
    parser.add_argument("--kinds", default=",".join(KINDS), help="kinds to measure (default: %(default)s)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the recipe")
    parser.add_argument("--within", type=float, default=15, help="percent (default: %(default)s)")
    options = parser.parse_args(arguments)
    out = options.out.resolve()
    for kind in options.kinds.split(","):
        write_rows(out / kind, kind)
    peaks = []
    for size in options.only.split(","):
        write_model(size, out / size)
        for kind in options.kinds.split(","):
            peaks.append(peak_of(size, kind, options.set, out))
            print(table(peaks[-1:]).splitlines()[-1], flush=True)
    print(table(peaks))
    return int(any(abs(peak.error) > options.within / 100 for peak in peaks))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
