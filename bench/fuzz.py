"""Damaged files: `python -m bench.fuzz` damages every kind of file that xmodctl reads, and counts faults.

Each kind is damaged in a process of its own. A fault is any exception but UserError, more than five seconds, more than
one gigabyte of memory added by one file, or the use of a damaged weight file. The table is that of
`docs/reliability.md`.
"""

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

SECONDS, BYTES = 5, 10**9
SHOWN = 3
"""Faults of one kind that are reported in full."""


@dataclass
class Count:
    """What came of the damaged files of one kind."""

    files: int = 0
    refused: int = 0
    read: int = 0
    slowest: float = 0.0  # seconds
    largest: int = 0  # bytes of memory that one file added to the process, at most
    faults: dict[str, int] = field(default_factory=dict)
    reports: list[str] = field(default_factory=list)

    def add_fault(self, kind: str, report: str) -> None:
        """Count a fault; the first ones are kept."""
        self.faults[kind] = self.faults.get(kind, 0) + 1
        if len(self.reports) < SHOWN or self.faults[kind] == 1:
            self.reports.append(report)


class TooSlow(BaseException):
    """A reader took too long; no reader catches this."""


def fuzz(name: str, examples: int, home: Path, *, seed: int = 0) -> Count:
    """Damage the files of a target one at a time, each `examples` times in all, and read them."""
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded
    from hypothesis import strategies as st

    from bench.fuzz_mutations import mutated
    from bench.fuzz_targets import TARGETS

    target = TARGETS[name]
    folder = home / "whole"
    folder.mkdir(parents=True)
    target.build(folder)
    whole = target.read(folder)
    paths = sorted({path for pattern in target.files for path in folder.glob(pattern) if path.is_file()})
    assert paths, f"{name} has no files"
    contents = {path: path.read_bytes() for path in paths}
    everything = {path: path.read_bytes() for path in folder.rglob("*") if target.writes and path.is_file()}
    count = Count()

    @seeded(seed)
    @settings(
        max_examples=examples, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.data())
    def damage(data: Any) -> None:
        path = data.draw(st.sampled_from(paths))
        content = data.draw(mutated(contents[path], structured=target.structured))
        if content == contents[path]:
            return
        path.write_bytes(content)
        try:
            _read(target, folder, whole, count, f"{path.relative_to(folder)}: {content[:300]!r}")
        finally:
            _restore(path, contents[path])
            if target.writes:
                _restore_all(folder, everything)

    before = signal.signal(signal.SIGALRM, _too_slow)
    try:
        damage()
    finally:
        signal.signal(signal.SIGALRM, before)
    return count


def _restore(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.rmtree(path)
    path.write_bytes(content)


def _restore_all(folder: Path, everything: Mapping[Path, bytes]) -> None:
    for path in folder.rglob("*"):
        if path.is_file() and path not in everything:
            path.unlink()
    for path, content in everything.items():
        if not path.is_file() or path.read_bytes() != content:
            _restore(path, content)


def _read(target: Any, folder: Path, whole: Any, count: Count, damaged: str) -> None:
    from xmodctl.core.errors import UserError

    count.files += 1
    _forget_peak()
    held = _peak()
    started = time.perf_counter()
    try:
        signal.alarm(SECONDS + 1)
        try:
            value = target.read(folder)
        finally:
            signal.alarm(0)
        count.read += 1
        if target.sealed and value != whole:
            count.add_fault("damage used", f"{damaged}: a damaged file was used")
    except UserError:
        count.refused += 1
    except TooSlow:
        count.add_fault("slow", f"{damaged}: more than {SECONDS} s\n{traceback.format_exc()}")
    except Exception:  # noqa: BLE001 (the fault that is looked for)
        count.add_fault("traceback", f"{damaged}\n{traceback.format_exc()}")
    seconds = time.perf_counter() - started
    count.slowest = max(count.slowest, seconds)
    if seconds > SECONDS and "slow" not in count.faults:
        count.add_fault("slow", f"{damaged}: {seconds:.1f} s")
    added = _peak() - held
    count.largest = max(count.largest, added)
    if added > BYTES:
        count.add_fault("memory", f"{damaged}: {added / 1e9:.1f} GB")


def _forget_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # not Linux, or not allowed: the peak is that of the whole process
        return


def _peak() -> int:
    """Return the most memory, in bytes, that this process has held since `_forget_peak`."""
    try:
        status = Path("/proc/self/status").read_text()
        return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def fuzz_alone(name: str, examples: int, seed: int) -> dict[str, Any]:
    """Damage the files of a target in this process, which does nothing else, and return the counts."""
    with tempfile.TemporaryDirectory(prefix="xmodctl-fuzz-") as home:
        os.environ |= {
            "XMODCTL_CACHE": f"{home}/cache", "HF_HOME": f"{home}/hf",
            "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1",
        }  # fmt: skip
        resource.setrlimit(
            resource.RLIMIT_DATA, (16 * BYTES, 16 * BYTES)
        )  # the machine survives what is counted as a fault
        warnings.simplefilter("ignore")
        return asdict(fuzz(name, examples, Path(home) / "files", seed=seed))


def _too_slow(*_: object) -> None:
    raise TooSlow


def table(counts: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    yield "| what is damaged | files | refused | still valid | faults | slowest, s | memory added, GB |"
    yield "|---|---|---|---|---|---|---|"
    for name, count in counts.items():
        yield (
            f"| {name} | {count['files']:,} | {count['refused']:,} | {count['read']:,} | "
            f"{sum(count['faults'].values())} | {count['slowest']:.1f} | {count['largest'] / 1e9:.2f} |"
        )
    files, refused, read = (sum(count[key] for count in counts.values()) for key in ("files", "refused", "read"))
    faults = sum(sum(count["faults"].values()) for count in counts.values())
    slowest, largest = (max(count[key] for count in counts.values()) for key in ("slowest", "largest"))
    yield f"| total | {files:,} | {refused:,} | {read:,} | {faults} | {slowest:.1f} | {largest / 1e9:.2f} |"


def main() -> None:
    """Run the command line."""
    from bench.fuzz_targets import TARGETS

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=300, help="damaged files of each kind")
    parser.add_argument("--only", default="", help="kinds whose name contains this")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        print(json.dumps(fuzz_alone(options.only, options.examples, options.seed)))
        return
    counts = {}
    for name in TARGETS:
        if options.only not in name:
            continue
        words = ["--alone", f"--only={name}", "--examples", str(options.examples), "--seed", str(options.seed)]
        result = subprocess.run(
            [sys.executable, "-m", "bench.fuzz", *words], capture_output=True, text=True, check=False
        )
        if result.returncode:
            sys.exit(f"{name} ended with {result.returncode}: {result.stderr[-3000:]}")
        counts[name] = json.loads(result.stdout.splitlines()[-1])
        for report in counts[name]["reports"]:
            print(f"{name}: {report}", file=sys.stderr)
    print("\n".join(table(counts)))
    if any(count["faults"] for count in counts.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
