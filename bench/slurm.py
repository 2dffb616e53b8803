"""A SLURM on this machine, an array of shards on one run, and a task that is signaled and queued again.

`python -m bench.slurm --out DIR` needs root, and the programs of Debian's `slurmctld`, `slurmd`, `slurm-client`, and
`munge`. It starts them with files of their own in DIR and ends them afterwards. An array of four jobs then trains four
seeds, the job of one of which gets USR1 in the middle, exits with 143, and queues itself again; a second array, which
depends on the first, shares the sweep. Every file must equal that of a single job.
"""

import argparse
import os
import re
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.kill_scenarios import Scenario, scenarios, write_inputs_apart
from bench.kills import Workplace, compare, whole

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scancel", "scontrol", "sinfo", "squeue", "srun")
TASKS = 4
SIGNALED = 3
"""Steps of seed 2 after which its job is signaled."""
PATIENCE = 300.0
"""Seconds after which something that does not happen is an error."""

CONFIGURATION = """ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=2
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs={tasks} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""

TRAIN = """#!/bin/bash
#SBATCH --array=1-{tasks} --requeue --open-mode=append --output={logs}/train-%a.txt
srun {command}
code=$?
if [ "$code" = 143 ]; then scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID"; fi
exit "$code"
"""
SCORE = """#!/bin/bash
#SBATCH --array=1-{tasks} --output={logs}/score-%a.txt
srun {command}
"""


def missing() -> str:
    """Return why SLURM cannot be started here; empty if it can."""
    absent = [name for name in PROGRAMS if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None]
    if absent:
        return f"SLURM is not installed: {', '.join(absent)}"
    return "" if os.geteuid() == 0 else "slurmd needs root"


@dataclass(frozen=True)
class Slurm:
    """A SLURM of one machine."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """What its programs need."""
        path = f"{os.environ['PATH']}:/usr/sbin"
        return {**os.environ, "PATH": path, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def ask(self, *words: object, **more: str) -> str:
        """Run one of its programs, and return what it prints."""
        environment = {**self.environment, **more}
        return subprocess.run(
            list(map(str, words)), env=environment, check=True, capture_output=True, text=True
        ).stdout.strip()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start it, and end it and its jobs."""
        shutil.rmtree(self.folder, ignore_errors=True)
        munge = self.folder / "munge"
        for path in (munge, self.folder / "state", self.folder / "spool"):
            path.mkdir(parents=True)
        munge.chmod(0o700)
        (munge / "key").write_bytes(secrets.token_bytes(128))
        (munge / "key").chmod(0o400)
        text = CONFIGURATION.format(host=socket.gethostname(), ports=_ports(), folder=self.folder, tasks=TASKS)
        (self.folder / "slurm.conf").write_text(text)
        files = [f"--{name}-file={munge / name}" for name in ("key", "pid", "log", "seed")]
        with ExitStack() as stack:
            stack.enter_context(self._daemon("munged", "-F", "--force", *files, f"--socket={munge / 'socket'}"))
            wait_until((munge / "socket").exists, "munged has no socket")
            stack.enter_context(self._daemon("slurmctld", "-D", "-i"))
            stack.enter_context(self._daemon("slurmd", "-D"))
            wait_until(lambda: "idle" in self._state(), "the node is not idle")
            yield
            self.ask("scancel", "--user=root")

    def _state(self) -> str:
        try:
            return self.ask("sinfo", "--noheader", "--format=%t")
        except subprocess.CalledProcessError:  # slurmctld does not answer yet
            return ""

    @contextmanager
    def _daemon(self, *words: str) -> Iterator[None]:
        with (self.folder / f"{words[0]}.txt").open("w") as log:
            process = subprocess.Popen(words, env=self.environment, stdout=log, stderr=log)
            try:
                yield
            finally:
                process.terminate()
                process.wait()


def _ports() -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def wait_until(happens: Callable[[], bool], otherwise: str) -> None:
    """Wait for something.

    Raises:
        SystemExit: It does not happen in `PATIENCE` seconds.
    """
    end = time.monotonic() + PATIENCE
    while not happens():
        if time.monotonic() > end:
            raise SystemExit(otherwise)
        time.sleep(0.05)


def scenario() -> Scenario:
    """Return the commands: four seeds that save checkpoints often, and a sweep."""
    (whole_one,) = (each for each in scenarios() if each.name == "training and sweep")
    training, sweep = whole_one.commands
    return Scenario("slurm", ((*training, "--seeds", "1,2,3,4", "--set", "epochs=6"), sweep))


def run_arrays(place: Workplace, slurm: Slurm) -> list[str]:
    """Run the scenario as two arrays; return what is wrong."""
    logs = slurm.folder / "logs"
    logs.mkdir()
    jobs: list[str] = []
    for name, text, words in zip(("train", "score"), (TRAIN, SCORE), scenario().commands, strict=True):
        command = shlex.join([sys.executable, "-m", "xmodctl", *place.placed(words)])
        script = slurm.folder / f"{name}.sh"
        script.write_text(text.format(tasks=TASKS, logs=logs, command=command))
        after = [f"--dependency=afterok:{jobs[0]}"] if jobs else []
        jobs.append(slurm.ask("sbatch", "--parsable", *after, script, **place.variables))
    metrics = place.state / "results" / "run" / "seed-2" / "metrics.jsonl"
    wait_until(lambda: metrics.exists() and metrics.read_bytes().count(b"\n") >= SIGNALED, "seed 2 does not train")
    slurm.ask("scancel", "--signal=USR1", f"{jobs[0]}_2")
    wait_until(lambda: not slurm.ask("squeue", "--noheader"), "the jobs do not end")
    texts = {path.stem: path.read_text() for path in sorted(logs.glob("*.txt"))}
    expected = [f"{name}-{number}" for name in ("train", "score") for number in range(1, TASKS + 1)]
    problems = [
        f"{name}: {texts.get(name, 'it has not run')[-500:]}"
        for name in expected
        if f"shard: {name[-1]}/{TASKS}" not in texts.get(name, "")
    ]
    if not re.search(r"seed 2: resum", texts.get("train-2", "")):
        problems.append(f"seed 2 was not resumed: {texts.get('train-2', '')[-500:]}")
    return problems


def main(arguments: list[str]) -> int:
    """Run the arrays, and return 1 if anything is wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench.slurm", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="holds inputs, runs, and SLURM's files")
    options = parser.parse_args(arguments)
    if reason := missing():
        raise SystemExit(reason)
    place = Workplace(options.out.resolve())
    write_inputs_apart(place.inputs)
    _, end, _ = whole(place, scenario())
    place.restore(None)
    slurm = Slurm(place.folder / "slurm")
    with slurm.running():
        problems = [*run_arrays(place, slurm), *compare(end, place.state)]
    print("; ".join(problems) or f"{TASKS} shards of training and sweep, one of them queued again: the same")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
