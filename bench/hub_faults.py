"""What commands do when the Hub is ill: `python -m bench.hub_faults` prints a table of faults, seconds and outcomes.

Each row starts the real command line twice, with the model and the data set in its cache and with an empty cache,
against a Hub on the loopback that has one fault. Nothing outside this machine is contacted.
"""

import argparse
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from hub_server import FAULTS, FILE_FAULTS, Illness, LocalHub, local_hub

MODEL, DATA = "someone/small-xmod", "google-research-datasets/paws-x"
COMMAND = ("inspect", "--task", "paws-x", "--lang", "de", "--split", "test", "--model", MODEL)
HEALTHY = "none"
CANARY = "hf_CANARYcanary0123456789"
MARK = "seconds spent on the Hub:"
TIMED = f"""
import sys, time
from xmodctl.core import hub_downloads
spent, fetch = [], hub_downloads.fetch
def timed(*arguments, **options):
    start = time.perf_counter()
    try:
        return fetch(*arguments, **options)
    finally:
        spent.append(time.perf_counter() - start)
        print("{MARK}", sum(spent), file=sys.stderr, flush=True)  # now: a command that fails ends its process at once
hub_downloads.fetch = timed
from xmodctl.__main__ import main
main()
"""
"""The command line, with the time that it waits for the Hub and its cache."""
WORDS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>", "ein", "das", "satz", "zwei", "haus", "rot", "ist")


@dataclass(frozen=True)
class Outcome:
    """How a command ended, how long it waited for the Hub, and its own CPU time, which other programs hardly change."""

    hub_seconds: float
    cpu_seconds: float
    code: int
    output: str


def main(arguments: list[str]) -> int:
    """Run every fault with a warm and a cold cache and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.hub_faults", description=main.__doc__)
    parser.add_argument("--only", help="faults whose name contains this")
    parser.add_argument("--jobs", type=int, default=2, help="commands at a time; a command mostly waits")
    options = parser.parse_args(arguments)
    faults = {HEALTHY: Illness(), **FAULTS, **FILE_FAULTS}
    if options.only:
        faults = {name: illness for name, illness in faults.items() if options.only in name}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        files = model_files(place / "model")
        warm = place / "warm"
        filled = run(Illness(), files, warm)
        if filled.code:
            raise SystemExit(f"the command does not run with a healthy Hub: {filled.output}")
        with ThreadPoolExecutor(options.jobs) as pool:
            rows = list(pool.map(partial(row, files=files, warm=warm, place=place), faults.items()))
    print("| fault | warm: Hub, CPU | outcome | cold: Hub, CPU | exit code | what the message says |")
    print("|---|---|---|---|---|---|")
    print("\n".join(rows))
    return 0


def row(fault: tuple[str, Illness], *, files: dict[str, bytes], warm: Path, place: Path) -> str:
    """Return the table's row of one fault."""
    name, illness = fault
    caches = [Path(tempfile.mkdtemp(dir=place)) / "cache" for _ in range(2)]
    shutil.copytree(warm, caches[0], symlinks=True)
    with_copy, without = (run(illness, files, cache) for cache in caches)
    for outcome in (with_copy, without):
        if CANARY in outcome.output or "Traceback" in outcome.output:
            raise SystemExit(f"{name}: {outcome.output}")
    notice = ", with a notice" if "local cache is used" in with_copy.output else ""
    ran = "failed" if with_copy.code else f"ran{notice}"
    message = " ".join(without.output.split("Error:")[-1].split()) if without.code else "ran"
    # The message names each place that may have the data; the first is enough here.
    message = re.sub(rf".*?{DATA}@main: (.*?)(?:; {DATA}@.*?)?\); (?!{DATA})", r"\1; ", message).replace("|", "/")
    times = [f"{outcome.hub_seconds:.1f}, {outcome.cpu_seconds:.1f}" for outcome in (with_copy, without)]
    return f"| {name} | {times[0]} | {ran} | {times[1]} | {without.code} | {message} |"


def run(illness: Illness, files: dict[str, bytes], cache: Path) -> Outcome:
    """Run the command against a Hub of its own."""
    with local_hub() as hub:
        publish(hub, files)
        hub.illness = illness
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "XMODCTL_"))}
        environment |= {
            "HF_ENDPOINT": hub.url, "HF_HOME": str(cache / "hf"), "XMODCTL_CACHE": str(cache / "own"),
            "HF_TOKEN": CANARY, "COLUMNS": "1000", "NO_COLOR": "1", "NO_PROXY": "127.0.0.1",
        }  # fmt: skip
        command = [sys.executable, "-c", TIMED, *COMMAND]
        with tempfile.TemporaryFile("w+") as printed, tempfile.TemporaryFile("w+") as errors:
            process = subprocess.Popen(command, env=environment, stdout=printed, stderr=errors)
            _, status, usage = os.wait4(process.pid, 0)
            code = process.returncode = os.waitstatus_to_exitcode(status)
            texts = [stream.seek(0) or stream.read() for stream in (printed, errors)]
        spent = re.findall(rf"^{MARK} (.*)\n", texts[1], re.MULTILINE)
        output = (texts[0] if not code else "") + re.sub(rf"^{MARK} .*\n", "", texts[1], flags=re.MULTILINE)
        return Outcome(
            hub_seconds=float(spent[-1]) if spent else 0.0,
            cpu_seconds=usage.ru_utime + usage.ru_stime,
            code=code,
            output=output.replace(hub.url, "http://127.0.0.1:PORT"),
        )


def publish(hub: LocalHub, files: dict[str, bytes]) -> None:
    """Give the Hub a model and a data set."""
    hub.add("models", MODEL, files)
    buffer = io.BytesIO()
    rows = [{"id": i, "sentence1": "ein haus ist rot", "sentence2": "das haus", "label": i % 2} for i in range(200)]
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    hub.add("datasets", DATA, {"de/test-00000-of-00001.parquet": buffer.getvalue()})


def model_files(folder: Path) -> dict[str, bytes]:
    """Return the files of a small X-MOD with random weights."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast, XmodConfig, XmodModel

    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>",
        pad_token="<pad>", unk_token="<unk>", mask_token="<mask>", model_max_length=64,
    ).save_pretrained(folder)  # fmt: skip
    config = XmodConfig(
        vocab_size=len(WORDS), hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128,
        max_position_embeddings=66, type_vocab_size=1, adapter_reduction_factor=2, languages=["en_XX", "de_DE"],
        pad_token_id=1, bos_token_id=0, eos_token_id=2,
    )  # fmt: skip
    XmodModel(config, add_pooling_layer=False).save_pretrained(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
