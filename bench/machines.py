"""Two machines, each in a network namespace of its own: `python -m bench.machines --out DIR`.

It needs root and `ip` (iproute2). The namespaces are connected only by a virtual cable, and each has one process of
torchrun, folders of results and caches of its own, and its own copy of the training data in another place; the second
has no texts. A training, the addition of two languages, a sweep, and predictions run once on one machine and once on
both: losses must differ by rounding only, and the sweep and the predictions must have the same bytes. Then everything
on the second machine is killed in the middle of a training: what runs on the first must end within 30 seconds, and the
same commands must continue.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.exactness import LANGUAGES, TOLERANCE, losses, trainings
from bench.kill_scenarios import Words
from bench.kills import Workplace, compare
from bench.ranks import LIMIT

PROGRAM = shutil.which("ip", path=f"{os.environ['PATH']}:/usr/sbin") or ""
ADDRESSES = ("10.213.7.1", "10.213.7.2")
LAUNCHER = "torchelastic_"
"""How folders begin that torchrun leaves among the temporary files."""
CABLE = "cable"
"""What both ends of the cable are called."""
PORT = 29500
SIGNALED = 3
"""Steps after which the second machine is lost."""


@dataclass(frozen=True)
class Machine:
    """A network namespace, its address, and its folders."""

    namespace: str
    address: str
    place: Workplace

    def start(self, words: Words) -> subprocess.Popen[bytes]:
        """Start a command as one of two machines."""
        launcher = [
            sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend",
            "c10d", "--rdzv-endpoint", f"{ADDRESSES[0]}:{PORT}", "--rdzv-id", "bench", "--local-addr", self.address,
            "--rdzv-conf", f"is_host={self.address == ADDRESSES[0]}",  # the name of this host says nothing here
        ]  # fmt: skip
        own = self.place.placed(words)  # the launcher would take an option of ours that begins like its own
        words = ("ip", "netns", "exec", self.namespace, *launcher, "-m", "--", "xmodctl", *own)
        environment = {**os.environ, **self.place.variables, "GLOO_SOCKET_IFNAME": CABLE}
        with self.place.errors.open("w") as errors:
            return subprocess.Popen(
                words, executable=PROGRAM, env=environment, stdout=subprocess.DEVNULL, stderr=errors
            )

    @property
    def pids(self) -> list[str]:
        """The processes of the machine."""
        return _ip("netns", "pids", self.namespace).split()


def _ip(*words: str) -> str:
    return subprocess.run([PROGRAM, *words], check=True, capture_output=True, text=True).stdout


@contextmanager
def machines(folder: Path) -> Iterator[tuple[Machine, Machine]]:
    """Make two machines that are connected, and remove them afterwards."""
    names = [f"xmodctl-{os.getpid()}-{number}" for number in (1, 2)]
    with ExitStack() as stack:
        for name in names:
            _ip("netns", "add", name)
            stack.callback(_ip, "netns", "del", name)
        _ip("link", "add", CABLE, "netns", names[0], "type", "veth", "peer", "name", CABLE, "netns", names[1])
        for name, address in zip(names, ADDRESSES, strict=True):
            _ip("-n", name, "address", "add", f"{address}/24", "dev", CABLE)
            for device in ("lo", CABLE):
                _ip("-n", name, "link", "set", device, "up")
        places = (Workplace(folder), Workplace(folder / "second"))
        first, second = (Machine(*parts) for parts in zip(names, ADDRESSES, places, strict=True))
        yield first, second


def run_on_both(both: tuple[Machine, Machine], words: Words) -> None:
    """Run a command on both machines.

    Raises:
        SystemExit: It fails.
    """
    started = [machine.start(words) for machine in both]
    for machine, process in zip(both, started, strict=True):
        if code := process.wait():
            raise SystemExit(f"{' '.join(words)} ends with {code}: {machine.place.errors.read_text()}")


def difference(alone: dict[str, list[float]], together: dict[str, list[float]]) -> tuple[int, float]:
    """Return the number of steps, and the largest relative difference of their losses; infinite for other steps."""
    if not alone or {name: len(log) for name, log in alone.items()} != {
        name: len(log) for name, log in together.items()
    }:
        return 0, float("inf")
    pairs = [pair for name, log in alone.items() for pair in zip(log, together[name], strict=True)]
    return len(pairs), max(abs(other - loss) / abs(loss) for loss, other in pairs)


def train(both: tuple[Machine, Machine], name: str, words: Words) -> Iterator[str]:
    """Train on one machine and on both; yield what is wrong."""
    place = both[0].place
    place.restore(None)
    place.run(words)
    alone = losses(place.state / "results")
    place.keep(f"alone-{name}")
    _clear(both)
    run_on_both(both, words)
    steps, largest = difference(alone, losses(place.state / "results"))
    print(f"{name}: {steps} steps, losses differ by at most {largest:.1e} of their value", flush=True)
    if largest > TOLERANCE:
        yield f"{name}: losses differ by {largest:.1e}"
    yield from (f"{name}: the second machine has {path}" for path in _results_of(both[1]))


def score(both: tuple[Machine, Machine], trained: Path) -> Iterator[str]:
    """Score and predict on one machine and on both; yield what is wrong."""
    place = both[0].place
    sweep = ("eval-transfer", "--run", "OUT/run", "--langs", ",".join(LANGUAGES), "--controls", "source,none")
    rows = str(place.inputs / "predict-nli.jsonl")
    prediction = ("predict", "--run", "OUT/run", "--lang", "de", rows, "--out", "OUT/labels.jsonl")
    place.restore(trained)
    for words in (sweep, prediction):
        place.run(words)
    expected = place.keep("expected")
    _clear(both)
    for machine in both:
        machine.place.restore(trained)
    before = _results_of(both[1])
    for words in (sweep, prediction):
        run_on_both(both, words)
    problems = [each for each in compare(expected, place.state) if LAUNCHER not in each]
    problems += [f"the second machine has {path}" for path in _results_of(both[1]) if path not in before]
    print(f"sweep and predictions: {'; '.join(problems) or 'the same bytes'}", flush=True)
    yield from problems


def lose_second(both: tuple[Machine, Machine], words: Words) -> Iterator[str]:
    """Kill the programs of the second machine in the middle of a training, and repeat it; yield what is wrong."""
    place = both[0].place
    _clear(both)
    started = [machine.start(words) for machine in both]
    while started[0].poll() is None and not _has_begun(place):
        time.sleep(0.05)
    for pid in both[1].pids:
        os.kill(int(pid), signal.SIGKILL)
    began = time.monotonic()
    try:
        code = started[0].wait(2 * LIMIT)
    except subprocess.TimeoutExpired:
        started[0].kill()
        code = 0
    seconds = time.monotonic() - began
    started[1].wait()
    print(f"the second machine is lost: the first ends after {seconds:.1f} s with exit code {code}", flush=True)
    if not code or seconds > LIMIT:
        yield f"without the second machine, the first ends after {seconds:.0f} s: {place.errors.read_text()[-500:]}"
    yield from (f"process {pid} is left" for machine in both for pid in machine.pids)
    run_on_both(both, words)
    steps, largest = difference(losses(place.folder / "alone-nli" / "results"), losses(place.state / "results"))
    print(f"continued: {steps} steps, losses differ by at most {largest:.1e} of their value", flush=True)
    if largest > TOLERANCE:
        yield f"the continued training: losses differ by {largest:.1e}"


def _has_begun(place: Workplace) -> bool:
    return any(len(log) >= SIGNALED for log in losses(place.state / "results").values())


def _clear(both: tuple[Machine, Machine]) -> None:
    for machine in both:
        machine.place.restore(None)


def _results_of(machine: Machine) -> list[str]:
    folder = machine.place.state / "results"
    return [str(path.relative_to(folder)) for path in sorted(folder.rglob("*"))]


def main(arguments: list[str]) -> int:
    """Run everything, and return 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench.machines", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="holds inputs and runs")
    options = parser.parse_args(arguments)
    if os.geteuid() or not PROGRAM:
        raise SystemExit("network namespaces need root, and the program ip")
    with machines(options.out.resolve()) as both:
        first, second = (machine.place for machine in both)
        first.prepare()
        shutil.rmtree(second.inputs, ignore_errors=True)
        shutil.copytree(first.inputs / "nli", second.inputs / "nli")
        model = str(first.inputs / "model")
        named = {each.name: tuple(word.replace("IN/model", model) for word in each.words) for each in trainings()}
        problems: list[str] = []
        for name in ("nli", "add-language"):
            problems += train(both, name, named[name])
        problems += score(both, first.folder / "alone-nli")
        problems += lose_second(both, (*named["nli"], "--set", "save_steps=1"))
    print("\n".join(problems) or "two machines do what one does")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
